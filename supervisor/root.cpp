#include "supervisor/root.hpp"

#include <poll.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cstring>
#include <utility>

#include "common/clock.hpp"
#include "supervisor/root_log.hpp"
#include "supervisor/root_spawn.hpp"
#include "supervisor/stray_processes.hpp"

namespace micro_swarm {

namespace {

constexpr std::uint64_t kill_patience_ns = 5 * ns_per_s;
constexpr int kill_round_ms = 20;  ///< at least this often, children that forked are looked for

}  // namespace

Root::Root(Parts parts)
    : parts_(std::move(parts)),
      hang_(parts_.config.supervision.supervisor_hang_timeout_ms),
      restarts_(parts_.config.supervision.supervisor_restarts_max,
                parts_.config.supervision.supervisor_period_ms) {
  fds_.keep(fd_key::control_channel, std::move(parts_.control_channel));
}

sigset_t Root::handled_signals() {
  sigset_t set;
  ::sigemptyset(&set);
  for (const int signal : {SIGCHLD, SIGTERM, SIGINT, SIGHUP}) ::sigaddset(&set, signal);
  return set;
}

int Root::run() {
  while (stage_ == Stage::running) {
    if (supervisor_pid_ == 0 && !fork_failed_) start_supervisor();
    wait_for_something();
    read_signals();
    // Deaths before requests: a supervisor that is dead has sent all it ever will.
    reap();
    serve_requests();
    send_events();
    tick_if_due();
  }
  kill_everybody();
  remove_endpoint_files(parts_.endpoint);
  return exit_code_;
}

// ---- the supervisor ----

/// Called with no supervisor alive and everything served that the last one sent.
void Root::start_supervisor() {
  if (std::exchange(attempted_, true) && !restarts_.allow(now_ns())) {
    root_log(LogLevel::error,
             "giving up: the supervisor died more than %u times within %u ms; see its log lines "
             "above for why",
             parts_.config.supervision.supervisor_restarts_max,
             parts_.config.supervision.supervisor_period_ms);
    return quit(to_int(ExitCode::gave_up));
  }
  link_.reset();  // frees the descriptors the next pair needs
  int ends[2] = {-1, -1};
  if (::socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, ends) == 0) {
    link_.reset(ends[0]);
    const UniqueFd supervisor_end(ends[1]);
    const SupervisorBoot boot{parts_.config,
                              parts_.endpoint,
                              parts_.segment.view(),
                              parts_.segment.fd(),
                              supervisor_end.get(),
                              parts_.listen_socket.get(),
                              fds_,
                              {},
                              epoch_ + 1,
                              ::getpid(),
                              stop_signals_ > 0};
    const std::array root_fds{link_.get(), parts_.signals.get(), parts_.null.get()};
    supervisor_started_ns_ = now_ns();
    const pid_t pid = fork_supervisor(boot, parts_.segment, events_, root_fds);
    if (pid > 0) {
      ++epoch_;
      supervisor_pid_ = pid;
      sent_ = events_.last();
      link_is_full_ = false;
      hang_reported_ = false;
      hang_.start(parts_.segment.view().header().progress.load(std::memory_order_relaxed));
      next_tick_ns_ = supervisor_started_ns_ + hang_.tick_ms() * ns_per_ms;
      return;
    }
  }
  root_log(LogLevel::error, "no supervisor could be started: %s; trying again",
           std::strerror(errno));
  link_.reset();
  fork_failed_ = true;
  next_tick_ns_ = now_ns() + hang_.tick_ms() * ns_per_ms;
}

void Root::supervisor_died(int wait_status) {
  const auto uptime_ms = (now_ns() - supervisor_started_ns_) / ns_per_ms;
  root_log(LogLevel::warn, "supervisor %d %s after %llu.%03llu s", supervisor_pid_,
           describe_end(wait_status), static_cast<unsigned long long>(uptime_ms / 1000),
           static_cast<unsigned long long>(uptime_ms % 1000));
  supervisor_pid_ = 0;
}

void Root::tick_if_due() {
  const std::uint64_t now = now_ns();
  if (now < next_tick_ns_) return;
  next_tick_ns_ = now + hang_.tick_ms() * ns_per_ms;
  fork_failed_ = false;
  if (supervisor_pid_ == 0) return;
  const auto progress = parts_.segment.view().header().progress.load(std::memory_order_relaxed);
  if (!hang_.tick(progress)) return;
  if (!std::exchange(hang_reported_, true))
    root_log(LogLevel::error, "supervisor %d made no progress for %u ms: killing it",
             supervisor_pid_, parts_.config.supervision.supervisor_hang_timeout_ms);
  ::kill(supervisor_pid_, SIGKILL);
}

// ---- what wakes root ----

void Root::wait_for_something() {
  if (stage_ != Stage::running) return;
  std::array<pollfd, 2> wanted{
      pollfd{parts_.signals.get(), POLLIN, 0},
      pollfd{link_.get(), static_cast<short>(POLLIN | (link_is_full_ ? POLLOUT : 0)), 0}};
  const std::uint64_t now = now_ns();
  const std::uint64_t rest_ns = next_tick_ns_ > now ? next_tick_ns_ - now : 0;
  const timespec timeout{static_cast<time_t>(rest_ns / ns_per_s),
                         static_cast<long>(rest_ns % ns_per_s)};
  ::ppoll(wanted.data(), wanted.size(), &timeout, nullptr);
}

void Root::read_signals() {
  signalfd_siginfo info;
  while (::read(parts_.signals.get(), &info, sizeof info) == static_cast<ssize_t>(sizeof info)) {
    const int signal = static_cast<int>(info.ssi_signo);
    if (signal == SIGTERM || signal == SIGINT) stop_signal(signal);
    if (signal == SIGHUP) events_.add(RootEventKind::signal, 0, 0, SIGHUP);
    // SIGCHLD only wakes: one may stand for many deaths, reap() looks for itself.
  }
}

void Root::stop_signal(int signal) {
  if (++stop_signals_ == 1) {
    events_.add(RootEventKind::signal, 0, 0, signal);
    return;
  }
  root_log(LogLevel::warn, "second signal: stopping at once");
  quit(128 + signal);
}

void Root::reap() {
  for (;;) {
    int status = 0;
    const pid_t pid = ::waitpid(-1, &status, WNOHANG);
    if (pid <= 0) return;
    events_.add(RootEventKind::reaped, 0, pid, status);
    if (pid == supervisor_pid_) supervisor_died(status);
  }
}

// ---- the supervisor's requests, and events for it ----

void Root::serve_requests() {
  while (link_) {
    std::array<RootRequest, root_batch_max> requests;
    const auto got = receive_with_fds(link_.get(), std::as_writable_bytes(std::span(requests)));
    if (got.size < 0 && errno == EAGAIN) return;
    if (got.size == 0 || (got.size < 0 && errno != EMSGSIZE)) {
      // It cannot be served any more: if it is not dying already, it is broken.
      link_.reset();
      if (supervisor_pid_ != 0) ::kill(supervisor_pid_, SIGKILL);
      return;
    }
    std::array<UniqueFd, std::size(got.fds)> fds;
    for (int i = 0; i < got.fd_count; ++i) fds[static_cast<std::size_t>(i)].reset(got.fds[i]);
    auto left = std::span(fds).first(static_cast<std::size_t>(got.fd_count));
    if (got.size < 0 || static_cast<std::size_t>(got.size) % sizeof(RootRequest) != 0) {
      root_log(LogLevel::error, "a request of the supervisor was truncated and is lost");
      continue;
    }
    const auto count = static_cast<std::size_t>(got.size) / sizeof(RootRequest);
    for (const RootRequest& request : std::span(requests).first(count))
      left = left.subspan(serve(request, left));
  }
}

/// Returns how many of the descriptors were the request's.
std::size_t Root::serve(const RootRequest& request, std::span<UniqueFd> fds) {
  switch (request.kind) {
    case RootRequestKind::spawn_template: {
      const std::size_t taken = std::min<std::size_t>(fds.size(), 2);
      start_template(request.key, fds.first(taken));
      return taken;
    }
    case RootRequestKind::keep_fd:
      if (fds.empty() || !fds_.keep(request.key, std::move(fds[0])))
        root_log(LogLevel::error, "nothing to keep under key %u", request.key);
      return fds.empty() ? 0 : 1;
    case RootRequestKind::drop_fd: fds_.drop(request.key); return 0;
    case RootRequestKind::move_fd:
      if (!fds_.move(static_cast<std::uint32_t>(request.value), request.key))
        root_log(LogLevel::error, "nothing to move to key %u", request.key);
      return 0;
    case RootRequestKind::quit: quit(static_cast<int>(request.value)); return 0;
  }
  root_log(LogLevel::error, "unknown request %u", static_cast<unsigned>(request.kind));
  return 0;
}

void Root::start_template(std::uint32_t key, std::span<UniqueFd> fds) {
  if (stage_ != Stage::running) return;
  pid_t pid = -1;
  errno = EINVAL;
  if (!fds.empty())
    pid = fork_template(parts_.template_entry, fds[0].get(), fds.size() > 1 ? fds[1].get() : -1,
                        parts_.null.get(), parts_.nofile_soft);
  if (pid > 0)
    events_.add(RootEventKind::template_started, key, pid, 0);
  else
    events_.add(RootEventKind::template_started, key, 0, errno);
}

void Root::send_events() {
  link_is_full_ = false;
  while (link_ && supervisor_pid_ != 0 && sent_ < events_.last()) {
    const std::uint64_t next = std::max(sent_ + 1, events_.first());
    if (send_with_fds(link_.get(), std::as_bytes(std::span(&events_.at(next), 1)), {}) < 0) {
      // Anything but "full" shows at the next look at the socket.
      link_is_full_ = errno == EAGAIN;
      return;
    }
    sent_ = next;
  }
}

// ---- the end ----

void Root::quit(int exit_code) {
  if (stage_ == Stage::quitting) return;
  stage_ = Stage::quitting;
  exit_code_ = exit_code;
}

unsigned Root::kill_children() {
  std::array<pid_t, 1024> children;
  const int count = list_children(::getpid(), children);
  // They are root's own children and only root reaps: these pids are nobody else's.
  for (int i = 0; i < count; ++i) ::kill(children[static_cast<std::size_t>(i)], SIGKILL);
  return count > 0 ? static_cast<unsigned>(count) : 0;
}

/// Until there is no child left. Whoever dies leaves its own children to root, so this reaches
/// every descendant, whatever session it is in.
void Root::kill_everybody() {
  const std::uint64_t deadline_ns = now_ns() + kill_patience_ns;
  if (supervisor_pid_ != 0) ::kill(supervisor_pid_, SIGKILL);
  for (;;) {
    const unsigned seen = kill_children();
    pid_t reaped = 0;
    do {
      reaped = ::waitpid(-1, nullptr, WNOHANG);
    } while (reaped > 0);
    if (reaped < 0) return;
    if (now_ns() > deadline_ns) {
      root_log(LogLevel::error,
               "%u processes do not die (see `ps -o pid,stat,wchan --ppid %d`): leaving them", seen,
               ::getpid());
      return;
    }
    pollfd death{parts_.signals.get(), POLLIN, 0};
    ::poll(&death, 1, kill_round_ms);
    signalfd_siginfo info;
    while (::read(parts_.signals.get(), &info, sizeof info) > 0) {
    }
  }
}

}  // namespace micro_swarm
