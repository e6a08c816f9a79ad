#include "agentproc/syscall_filter.hpp"

#include <fcntl.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <sched.h>
#include <seccomp.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <unistd.h>

#include <cstring>
#include <memory>

#include "common/posix.hpp"

namespace micro_swarm {

namespace {

using Context = std::unique_ptr<void, decltype(&::seccomp_release)>;

/// Names, of which an architecture need not have all.
constexpr const char* built_in_calls[] = {
    // memory
    "brk", "mmap", "munmap", "mprotect", "mremap", "madvise", "membarrier", "memfd_create",
    "ftruncate", "fallocate", "fchmod",
    // descriptors that it has, and those that come over its socket
    "read", "readv", "pread64", "write", "writev", "pwrite64", "lseek", "close", "close_range",
    "dup", "dup2", "dup3", "fcntl", "fstat", "fstatfs", "pipe", "pipe2", "eventfd2", "poll",
    "ppoll", "recvmsg", "recvfrom", "sendmsg", "sendto", "shutdown",
    // threads, locks, time
    "futex", "futex_waitv", "set_robust_list", "get_robust_list", "set_tid_address", "rseq",
    "sched_yield", "sched_getaffinity", "getcpu", "gettid", "getpid", "getppid", "clock_gettime",
    "clock_getres", "clock_nanosleep", "nanosleep", "gettimeofday", "time", "restart_syscall",
    // itself
    "exit", "exit_group", "rt_sigaction", "rt_sigprocmask", "rt_sigreturn", "sigaltstack",
    "arch_prctl", "prctl", "getrandom", "getrusage", "sysinfo", "uname", "getuid", "geteuid",
    "getgid", "getegid", "getgroups", "getpgid", "getsid"};

/// Their first argument is a process: only itself.
constexpr const char* signals_to_itself[] = {"kill", "tgkill"};

constexpr const char* external_calls_barred[] = {"ptrace",
                                                 "process_vm_readv",
                                                 "process_vm_writev",
                                                 "process_madvise",
                                                 "pidfd_getfd",
                                                 "kcmp",
                                                 "unshare",
                                                 "setns",
                                                 "mount",
                                                 "umount2",
                                                 "pivot_root",
                                                 "move_mount",
                                                 "open_tree",
                                                 "fsopen",
                                                 "fsmount",
                                                 "mount_setattr",
                                                 "chroot",
                                                 "bpf",
                                                 "userfaultfd",
                                                 "perf_event_open",
                                                 "add_key",
                                                 "request_key",
                                                 "keyctl",
                                                 "io_uring_setup",
                                                 "io_uring_enter",
                                                 "io_uring_register",
                                                 "kexec_load",
                                                 "kexec_file_load",
                                                 "init_module",
                                                 "finit_module",
                                                 "delete_module",
                                                 "swapon",
                                                 "swapoff",
                                                 "reboot",
                                                 "acct",
                                                 "quotactl",
                                                 "personality"};

/// Stands in the compiled program where the process's own id is to be: no pid is as large.
constexpr unsigned own_pid_mark = 0x7fff'fff1;

int add(scmp_filter_ctx filter, std::uint32_t action, const char* name) {
  const int number = ::seccomp_syscall_resolve_name(name);
  return number == __NR_SCMP_ERROR ? 0 : ::seccomp_rule_add(filter, action, number, 0);
}

int add_where(scmp_filter_ctx filter, const char* name, scmp_arg_cmp condition) {
  const int number = ::seccomp_syscall_resolve_name(name);
  return ::seccomp_rule_add_array(filter, SCMP_ACT_ALLOW, number, 1, &condition);
}

int add_rules(scmp_filter_ctx filter, bool is_built_in) {
  int error = 0;
  const auto note = [&error](int result) {
    if (result != 0 && error == 0) error = result;
  };
  if (!is_built_in) {
    for (const char* name : external_calls_barred) note(add(filter, SCMP_ACT_ERRNO(EPERM), name));
    return error;
  }
  for (const char* name : built_in_calls) note(add(filter, SCMP_ACT_ALLOW, name));
  for (const char* name : signals_to_itself)
    note(add_where(filter, name, {0, SCMP_CMP_EQ, own_pid_mark, 0}));
  note(add_where(filter, "clone", {0, SCMP_CMP_MASKED_EQ, CLONE_THREAD, CLONE_THREAD}));
  note(add(filter, SCMP_ACT_ERRNO(ENOSYS), "clone3"));
  // How the C library asks about a descriptor.
  note(add_where(filter, "newfstatat", {3, SCMP_CMP_MASKED_EQ, AT_EMPTY_PATH, AT_EMPTY_PATH}));
  // Limits, to be read and lowered: of itself, whose number here is 0.
  note(add_where(filter, "prlimit64", {0, SCMP_CMP_EQ, 0, 0}));
  return error;
}

Error failed(const char* what, int negative_errno) { return system_error(what, -negative_errno); }

}  // namespace

Result<SyscallFilter> SyscallFilter::built_in_agent() { return compile(true); }
Result<SyscallFilter> SyscallFilter::external_agent() { return compile(false); }

Result<SyscallFilter> SyscallFilter::compile(bool is_built_in) {
  const Context context(
      ::seccomp_init(is_built_in ? SCMP_ACT_ERRNO(EPERM) : std::uint32_t{SCMP_ACT_ALLOW}),
      &::seccomp_release);
  if (!context) return system_error("seccomp_init", ENOMEM);
  // A search tree: what an agent calls most is in no particular place of the list.
  ::seccomp_attr_set(context.get(), SCMP_FLTATR_CTL_OPTIMIZE, 2);
  if (const int error = add_rules(context.get(), is_built_in); error != 0)
    return failed("seccomp_rule_add", error);
  const UniqueFd file(::memfd_create("microswarm-filter", MFD_CLOEXEC));
  if (!file) return system_error("memfd_create", errno);
  if (const int error = ::seccomp_export_bpf(context.get(), file.get()); error != 0)
    return failed("seccomp_export_bpf", error);
  const off_t size = ::lseek(file.get(), 0, SEEK_END);
  static_assert(sizeof(Instruction) == sizeof(sock_filter));
  SyscallFilter filter;
  filter.program_.resize(static_cast<std::size_t>(size) / sizeof(Instruction));
  if (::pread(file.get(), filter.program_.data(), static_cast<std::size_t>(size), 0) != size)
    return system_error("reading the compiled filter", errno);
  return filter;
}

Result<void> SyscallFilter::put_on() const {
  std::vector<Instruction> program = program_;
  const auto own_pid = static_cast<unsigned>(::getpid());
  for (Instruction& instruction : program)
    if (instruction.constant == own_pid_mark) instruction.constant = own_pid;
  sock_fprog whole{};
  whole.len = static_cast<unsigned short>(program.size());
  whole.filter = reinterpret_cast<sock_filter*>(program.data());
  if (::prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &whole) != 0)
    return system_error("prctl(PR_SET_SECCOMP)", errno);
  return {};
}

}  // namespace micro_swarm
