#pragma once

// From a template to an agent: one clone, and the child's order of steps up to its own code.

#include <sys/types.h>

#include <array>
#include <string>
#include <vector>

#include "agentproc/agent_main.hpp"
#include "common/posix.hpp"
#include "ipc/template_protocol.hpp"

namespace micro_swarm {

/// What a built-in agent runs (agent_main; tests give their own). Returns the exit code.
using AgentEntry = int (*)(const AgentContext& context);

/// Makes agents out of the calling process, which must be single-threaded. They are children of
/// its parent (CLONE_PARENT), so they outlive it, and share its memory copy-on-write.
///
/// A raw clone goes past the C library, which then would hold the parent's thread id for its own;
/// the kernel is told to store the right one where the library keeps it (agent.template shows that
/// threads, recursive mutexes and malloc work in the child).
class AgentCloner {
 public:
  /// `root_pid` is the caller's parent. Error (system): the C library's thread id is not where it
  /// is looked for.
  static Result<AgentCloner> create(const TemplateSpec& spec, NeuralModel* model, pid_t root_pid,
                                    AgentEntry entry);

  struct Child {
    pid_t pid = -1;  ///< -1: none, see sys_errno
    UniqueFd pidfd;
    int sys_errno = 0;
  };
  /// Clones one agent. It gets `party_socket` as descriptor 3 and `log_pipe` (-1: the caller's) as
  /// 1 and 2; both stay open here. Its other descriptors but 0 are closed; it leads a session of
  /// its own and dies with root. Everything else (uid, no_new_privs, not dumpable, no core files)
  /// it has from the caller.
  Child spawn(const SpawnRequest& request, int party_socket, int log_pipe) noexcept;

 private:
  AgentCloner(const TemplateSpec& spec, NeuralModel* model, pid_t root_pid, AgentEntry entry);

  pid_t clone(int& pidfd) noexcept;
  [[noreturn]] void child(const SpawnRequest& request, int party_socket, int log_pipe) noexcept;
  [[noreturn]] void exec_external() noexcept;
  void build_exec_arguments(const TemplateSpec& spec);

  AgentContext context_;
  LogLevel log_level_;
  pid_t root_pid_;
  AgentEntry entry_;
  pid_t* library_tid_ = nullptr;  ///< where the C library keeps the main thread's id
  void* robust_list_ = nullptr;   ///< its list of robust mutexes, which a clone does not take along
  std::size_t robust_list_bytes_ = 0;
  bool clone3_refused_ = false;

  // Kind external: everything execve needs, made before the clone.
  std::vector<std::string> argument_texts_;
  std::vector<std::string> environment_texts_;
  std::vector<char*> arguments_;
  std::vector<char*> environment_;
  std::array<char, 40> party_text_{};
  std::array<char, 40> incarnation_text_{};
};

}  // namespace micro_swarm
