#include "supervisor/run.hpp"

#include <fcntl.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/signalfd.h>
#include <sys/stat.h>
#include <unistd.h>

#include <array>
#include <cstdio>
#include <cstdlib>
#include <cstring>

#include "supervisor/root.hpp"
#include "supervisor/root_log.hpp"
#include "supervisor/run_limits.hpp"

namespace micro_swarm {

namespace {

Result<UniqueFd> open_null() {
  auto fd = posix_call("open /dev/null", [] { return ::open("/dev/null", O_RDWR | O_CLOEXEC); });
  if (!fd) return fd.error();
  return UniqueFd(*fd);
}

/// Nothing of ours may become standard input, output or error by accident.
Result<void> fill_standard_descriptors() {
  for (;;) {
    auto fd = open_null();
    if (!fd) return fd.error();
    if (fd->get() > STDERR_FILENO) return {};
    const int standard = fd->release();
    ::fcntl(standard, F_SETFD, 0);
  }
}

/// What exec passed on: ignored signals (nohup, a background job) would also be ignored by agents,
/// and with SIGCHLD ignored the kernel would reap our children itself.
void take_default_dispositions() {
  for (int number = 1; number < NSIG; ++number) {
    struct sigaction action {};
    if (::sigaction(number, nullptr, &action) == 0 && action.sa_handler == SIG_IGN)
      ::signal(number, SIG_DFL);
  }
  ::signal(SIGPIPE, SIG_IGN);
}

/// Children are looked for in /proc by pid: one of another namespace would show somebody else's.
Result<void> check_proc() {
  std::array<char, 24> self{};
  const ssize_t size = ::readlink("/proc/self", self.data(), self.size() - 1);
  if (size > 0 && std::strtol(self.data(), nullptr, 10) == ::getpid()) return {};
  return Error{ErrorCode::system,
               "/proc is not mounted for this PID namespace: mount it (`mount -t proc proc /proc`)",
               0};
}

/// Made if it is missing, and ours alone from here on. A record lock belongs to this process: it
/// ends with the swarm, and supervisors come and go under it.
Result<UniqueFd> take_state_directory(const std::string& path) {
  const auto failed = [&](const char* what) {
    return Error{ErrorCode::system,
                 "state directory " + path + " " + what + ": " + std::strerror(errno) +
                     "; name one that this user can write (--state-dir)",
                 errno};
  };
  if (::mkdir(path.c_str(), 0700) != 0 && errno != EEXIST) return failed("cannot be made");
  const std::string name = path + "/lock";
  const int fd = ::open(name.c_str(), O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
  if (fd < 0) return failed("cannot be written");
  UniqueFd lock(fd);
  struct flock all {};
  all.l_type = F_WRLCK;
  if (::fcntl(fd, F_SETLK, &all) == 0) return lock;
  if (errno != EAGAIN && errno != EACCES) return failed("cannot be locked");
  ::fcntl(fd, F_GETLK, &all);
  return Error{ErrorCode::system,
               "state directory " + path + " is in use by the swarm of process " +
                   std::to_string(all.l_pid) + "; stop that one, or name another directory",
               0};
}

Result<UniqueFd> block_and_collect_signals() {
  const sigset_t signals = Root::handled_signals();
  if (::sigprocmask(SIG_SETMASK, &signals, nullptr) != 0) return system_error("sigprocmask", errno);
  auto fd =
      posix_call("signalfd", [&] { return ::signalfd(-1, &signals, SFD_CLOEXEC | SFD_NONBLOCK); });
  if (!fd) return fd.error();
  return UniqueFd(*fd);
}

Result<void> become_root() {
  // Orphans of agents come to us, however deep, and not to init.
  auto subreaper = posix_call("prctl(PR_SET_CHILD_SUBREAPER)",
                              [] { return ::prctl(PR_SET_CHILD_SUBREAPER, 1); });
  if (!subreaper) return subreaper.error();
  // An agent of the same uid must not reach the writable mapping through ptrace or /proc/PID/mem.
  auto hidden = posix_call("prctl(PR_SET_DUMPABLE)", [] { return ::prctl(PR_SET_DUMPABLE, 0); });
  if (!hidden) return hidden.error();
  return {};
}

}  // namespace

Result<int> run_swarm(const Config& config, const Endpoint& endpoint, TemplateEntry template_entry,
                      UniqueFd control_channel) {
  if (auto filled = fill_standard_descriptors(); !filled) return filled.error();
  if (auto ours = check_proc(); !ours) return ours.error();
  const auto nofile_soft = prepare_limits(needs_of(config), available_memory());
  if (!nofile_soft) return nofile_soft.error();
  auto null = open_null();
  if (!null) return null.error();

  const auto lock = acquire_swarm_lock(endpoint);
  if (!lock) return lock.error();
  auto socket = listen_control_socket(endpoint);
  if (!socket) {
    remove_endpoint_files(endpoint);
    return socket.error();
  }
  const auto give_back = [&](const Error& error) {
    remove_endpoint_files(endpoint);
    return error;
  };
  UniqueFd state_lock;
  if (!config.swarm.state_dir.empty()) {
    auto taken = take_state_directory(config.swarm.state_dir);
    if (!taken) return give_back(taken.error());
    state_lock = std::move(*taken);
  }
  auto segment = Segment::create_supervisor(config.tasks.queue_size, config.cache.entries_max);
  if (!segment) return give_back(segment.error());
  take_default_dispositions();
  auto signals = block_and_collect_signals();
  if (!signals) return give_back(signals.error());
  if (auto ready = become_root(); !ready) return give_back(ready.error());

  std::fflush(nullptr);  // what is buffered would leave once more with each child
  root_log_init(config.log.level);
  Root root(Root::Parts{config, endpoint, std::move(*segment), std::move(*socket), std::move(*null),
                        std::move(*signals), *nofile_soft, template_entry,
                        std::move(control_channel)});
  return root.run();
}

}  // namespace micro_swarm
