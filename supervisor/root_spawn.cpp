#include "supervisor/root_spawn.hpp"

#include <fcntl.h>
#include <signal.h>
#include <sys/prctl.h>
#include <unistd.h>

#include <algorithm>

#include "supervisor/root_log.hpp"

namespace micro_swarm {

namespace {

constexpr rlim_t nofile_soft_min = 256;  ///< what an agent of ours may need at most

/// Common to both. PDEATHSIG first, then the look at the parent: a root that died in between would
/// never send it.
void become_child(pid_t root_pid, const char* name) noexcept {
  ::prctl(PR_SET_PDEATHSIG, SIGKILL);
  if (::getppid() != root_pid) ::_exit(to_int(ExitCode::failed));
  ::setsid();
  ::prctl(PR_SET_NAME, name);
  sigset_t none;
  ::sigemptyset(&none);
  ::sigprocmask(SIG_SETMASK, &none, nullptr);
}

/// The kernel's out-of-memory killer should take what is restarted most cheaply. Inherited by
/// agents. Raising it needs no privilege, but the file is uid 0's while we are not dumpable.
void prefer_for_oom_kill() noexcept {
  ::prctl(PR_SET_DUMPABLE, 1);
  const UniqueFd file(::open("/proc/self/oom_score_adj", O_WRONLY | O_CLOEXEC));
  [[maybe_unused]] const ssize_t written = file ? ::write(file.get(), "500", 3) : -1;
  ::prctl(PR_SET_DUMPABLE, 0);
}

[[noreturn]] void template_child(TemplateEntry entry, int socket, int log_pipe, int null_fd,
                                 rlim_t nofile_soft) noexcept {
  // The targets 0-3 may be among the sources: out of their way first.
  const int from_socket = ::fcntl(socket, F_DUPFD_CLOEXEC, 4);
  const int from_log = ::fcntl(log_pipe >= 0 ? log_pipe : STDERR_FILENO, F_DUPFD_CLOEXEC, 4);
  const int from_null = ::fcntl(null_fd, F_DUPFD_CLOEXEC, 4);
  if (from_socket < 0 || from_null < 0) ::_exit(to_int(ExitCode::failed));
  ::dup2(from_null, STDIN_FILENO);
  if (log_pipe >= 0) ::dup2(from_log, STDOUT_FILENO);
  ::dup2(from_log, STDERR_FILENO);
  ::dup3(from_socket, 3, O_CLOEXEC);
  ::closefrom(4);
  ::signal(SIGPIPE, SIG_DFL);
  rlimit nofile{};
  if (::getrlimit(RLIMIT_NOFILE, &nofile) == 0) {
    nofile.rlim_cur = std::min(std::max(nofile_soft, nofile_soft_min), nofile.rlim_max);
    ::setrlimit(RLIMIT_NOFILE, &nofile);
  }
  prefer_for_oom_kill();
  entry(3);
  ::_exit(to_int(ExitCode::failed));
}

}  // namespace

pid_t fork_supervisor(const SupervisorBoot& boot, const Segment& segment, RootEvents& events,
                      std::span<const int> root_fds) noexcept {
  const pid_t root_pid = ::getpid();
  if (auto given = segment.mapping().give_to_children(); !given) {
    errno = given.error().sys_errno;
    return -1;
  }
  const pid_t pid = ::fork();
  if (pid == 0) {
    // The child first of all: a fork of its own must not make a second writer.
    if (!segment.mapping().keep_from_children()) ::_exit(to_int(ExitCode::failed));
    become_child(root_pid, "ms-supervisor");
    for (const int fd : root_fds) ::close(fd);
    SupervisorBoot mine = boot;
    mine.recent_events = events.take_in_order();
    supervisor_main(mine);
  }
  const int error = errno;
  if (auto kept = segment.mapping().keep_from_children(); !kept) {
    // The next template would get the mapping. The swarm ends with root (PDEATHSIG).
    root_log(LogLevel::error, "%s", kept.error().message.c_str());
    ::_exit(to_int(ExitCode::failed));
  }
  errno = error;
  return pid;
}

pid_t fork_template(TemplateEntry entry, int socket, int log_pipe, int null_fd,
                    rlim_t nofile_soft) noexcept {
  const pid_t root_pid = ::getpid();
  const pid_t pid = ::fork();
  if (pid == 0) {
    become_child(root_pid, "ms-template");
    template_child(entry, socket, log_pipe, null_fd, nofile_soft);
  }
  return pid;
}

}  // namespace micro_swarm
