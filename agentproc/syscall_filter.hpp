#pragma once

#include <sys/types.h>

#include <cstddef>
#include <vector>

#include "common/result.hpp"

namespace micro_swarm {

/// A seccomp filter (seccomp(2)), compiled once and put on by each process it is for.
///
/// What it bars fails with EPERM, and nothing dies of it: code of libraries that tries and falls
/// back keeps working. clone3, whose flags no filter can see, fails with ENOSYS, after which the C
/// library uses clone.
class SyscallFilter {
 public:
  /// For agents that run nothing but our code: only the calls that it makes. Memory, locks, the
  /// descriptors they have, threads of their own, signals to themselves. No files, no sockets, no
  /// processes.
  static Result<SyscallFilter> built_in_agent();

  /// For agents that run somebody else's program: all but calls that reach into other processes
  /// (ptrace, process_vm_writev, pidfd_getfd...), into namespaces and mounts, or into parts of the
  /// kernel that are known for their faults (bpf, userfaultfd, io_uring, keyrings, perf).
  static Result<SyscallFilter> external_agent();

  /// For life, on the calling thread, which must be the only one, and on what it starts.
  /// Precondition: no_new_privs is set. Error (system).
  Result<void> put_on() const;

 private:
  /// As struct sock_filter.
  struct Instruction {
    unsigned short code;
    unsigned char jump_true, jump_false;
    unsigned int constant;
  };

  static Result<SyscallFilter> compile(bool is_built_in);

  std::vector<Instruction> program_;
};

}  // namespace micro_swarm
