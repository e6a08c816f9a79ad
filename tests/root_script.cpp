// The scripted supervisor and template of root_harness.hpp.

#include <dirent.h>
#include <sys/resource.h>

#include <algorithm>
#include <cstdlib>

#include "root_harness.hpp"
#include "supervisor/root_events.hpp"
#include "supervisor/root_link.hpp"

namespace micro_swarm {

namespace root_test {
int supervisor_line = -1;
}

namespace {

using namespace root_test;

/// A process whose parent is dead by the time its pid is told; it runs `body` and then sleeps, as
/// do the others of the `count` that `body` makes of it. The pid is that of one of them.
template <class Body>
pid_t orphan(Body body, int count = 1) {
  int told[2];
  if (::pipe(told) != 0) return -1;
  const pid_t middle = ::fork();
  if (middle == 0) {
    const pid_t child = ::fork();
    if (child == 0) {
      body();
      const pid_t self = ::getpid();
      [[maybe_unused]] const ssize_t done = ::write(told[1], &self, sizeof self);
      for (;;) ::pause();
    }
    ::_exit(0);
  }
  ::waitpid(middle, nullptr, 0);
  pid_t pid = -1;
  for (int told_by = 0; told_by < count; ++told_by)
    if (::read(told[0], &pid, sizeof pid) != sizeof pid) pid = -1;
  ::close(told[0]);
  ::close(told[1]);
  return pid;
}

class ScriptedSupervisor {
 public:
  explicit ScriptedSupervisor(const SupervisorBoot& boot) : boot_(boot) {}

  [[noreturn]] void run() {
    Report report;
    report.kind = Report::hello;
    report.epoch = boot_.epoch;
    report.pid = ::getpid();
    report.drain_requested = boot_.drain_requested;
    report.recent = static_cast<std::uint32_t>(boot_.recent_events.size());
    report.kept = boot_.fds.size();
    report.value = reinterpret_cast<std::intptr_t>(boot_.segment.base());
    report.progress = boot_.segment.header().progress.load();
    tell(report);
    for (const RootEvent& event : boot_.recent_events) tell_event(event);
    for (;;) {
      boot_.segment.header().progress.fetch_add(1);
      std::array<pollfd, 2> wanted{pollfd{supervisor_line, POLLIN, 0},
                                   pollfd{boot_.root_socket, POLLIN, 0}};
      ::poll(wanted.data(), wanted.size(), 20);
      if ((wanted[1].revents & POLLIN) != 0) read_event();
      if ((wanted[0].revents & POLLIN) != 0) read_order();
      if ((wanted[0].revents & POLLHUP) != 0) ::_exit(97);  // the test is gone
    }
  }

 private:
  static void tell(const Report& report) {
    send_with_fds(supervisor_line, std::as_bytes(std::span(&report, 1)), {}, true);
  }
  void tell_event(const RootEvent& event) {
    Report report;
    report.kind = Report::event;
    report.epoch = boot_.epoch;
    report.root_event = event;
    tell(report);
  }
  void answer(std::int64_t value) {
    Report report;
    report.kind = Report::answer;
    report.epoch = boot_.epoch;
    report.value = value;
    tell(report);
  }
  void ask_root(RootRequestKind kind, std::uint32_t key, std::int64_t value,
                std::span<const int> fds = {}) {
    const RootRequest request{kind, key, value};
    if (send_with_fds(boot_.root_socket, std::as_bytes(std::span(&request, 1)), fds, true) < 0)
      ::_exit(96);
  }
  void read_event() {
    RootEvent event;
    const auto got =
        receive_with_fds(boot_.root_socket, std::as_writable_bytes(std::span(&event, 1)));
    if (got.size == static_cast<ssize_t>(sizeof event)) tell_event(event);
  }

  void read_order() {
    Order order;
    const auto got =
        receive_with_fds(supervisor_line, std::as_writable_bytes(std::span(&order, 1)));
    if (got.size != static_cast<ssize_t>(sizeof order)) return;
    const std::span<const int> fds(got.fds, static_cast<std::size_t>(got.fd_count));
    obey(order, fds);
    for (const int fd : fds) ::close(fd);
  }

  void obey(const Order& order, std::span<const int> fds) {
    switch (order.kind) {
      case Order::keep: return ask_root(RootRequestKind::keep_fd, order.key, 0, fds);
      case Order::keep_then_die:
        ask_root(RootRequestKind::keep_fd, order.key, 0, fds);
        ::kill(::getpid(), SIGKILL);
        return;
      case Order::keep_in_one: {
        RootBatch batch;
        batch.keep(order.key, fds[0]);
        batch.keep(order.key + 1, fds[1]);
        batch.drop(order.key);
        batch.move(order.key + 1, order.key + 2);
        RootLink(boot_.root_socket).send(batch);
        return;
      }
      case Order::drop: return ask_root(RootRequestKind::drop_fd, order.key, 0);
      case Order::read_kept: {
        std::int64_t value = -1;
        const int fd = boot_.fds.get(order.key);
        if (fd < 0 || ::pread(fd, &value, sizeof value, 0) != sizeof value) value = -1;
        return answer(value);
      }
      case Order::forward:
        return ask_root(static_cast<RootRequestKind>(order.key),
                        static_cast<std::uint32_t>(order.value), order.value, fds);
      case Order::quit: return ask_root(RootRequestKind::quit, 0, order.value);
      case Order::crash_abort: std::abort();
      case Order::crash_exit: ::_exit(static_cast<int>(order.value));
      case Order::hang_stopped: ::raise(SIGSTOP); return;
      case Order::hang_looping:
        for (volatile unsigned i = 0;;) i = i + 1;
      case Order::close_link: ::close(boot_.root_socket); return;
      case Order::flood: return flood(order.value);
      case Order::leave_orphan: return answer(orphan([] { ::setsid(); }));
      case Order::sweep: return answer(sweep(static_cast<pid_t>(order.value)));
      case Order::store_progress:
        boot_.segment.header().tasks_completed.store(static_cast<std::uint64_t>(order.value));
        return answer(0);
    }
  }

  /// Orphans for root, which exit at once.
  void flood(std::int64_t count) {
    const pid_t middle = ::fork();
    if (middle == 0) {
      for (std::int64_t i = 0; i < count; ++i)
        if (::fork() == 0) ::_exit(0);
      ::_exit(0);
    }
    ::waitpid(middle, nullptr, 0);
    answer(count);
  }

  std::int64_t sweep(pid_t known) {
    const pid_t self = ::getpid();
    return sweeper_.sweep([&](pid_t pid) { return pid == known || pid == self; });
  }

  SupervisorBoot boot_;
  StraySweeper sweeper_{boot_.root_pid};
};

std::uint32_t count_open_fds() {
  std::uint32_t count = 0;
  for (int fd = 0; fd < 1024; ++fd)
    if (::fcntl(fd, F_GETFD) >= 0) ++count;
  return count;
}

std::uint64_t signals_that_are_ignored() {
  std::uint64_t set = 0;
  for (int number = 1; number < 64; ++number) {
    struct sigaction action {};
    if (::sigaction(number, nullptr, &action) == 0 && action.sa_handler == SIG_IGN)
      set |= std::uint64_t{1} << number;
  }
  return set;
}

TemplateReport describe() {
  TemplateReport report;
  report.pid = ::getpid();
  report.parent = ::getppid();
  report.session = ::getsid(0);
  ::prctl(PR_GET_PDEATHSIG, &report.death_signal);
  report.dumpable = ::prctl(PR_GET_DUMPABLE);
  sigset_t blocked;
  ::sigprocmask(SIG_SETMASK, nullptr, &blocked);
  for (int number = 1; number < 64; ++number)
    if (::sigismember(&blocked, number) == 1) report.blocked_signals |= std::uint64_t{1} << number;
  report.ignored_signals = signals_that_are_ignored();
  report.open_fds = count_open_fds();
  rlimit nofile{};
  ::getrlimit(RLIMIT_NOFILE, &nofile);
  report.nofile_soft = nofile.rlim_cur;
  return report;
}

pid_t obey_in_template(const TemplateOrder& order) {
  switch (order.kind) {
    case TemplateOrder::leave_session: return orphan([] { ::setsid(); });
    case TemplateOrder::leave_group: return orphan([] { ::setpgid(0, 0); });
    case TemplateOrder::leave_stranger: {
      int told[2];
      if (::pipe(told) != 0) return -1;
      if (::fork() == 0) {
        if (::fork() == 0) {
          const pid_t self = ::getpid();
          [[maybe_unused]] const ssize_t done = ::write(told[1], &self, sizeof self);
        }
        ::_exit(0);
      }
      pid_t pid = -1;
      if (::read(told[0], &pid, sizeof pid) != sizeof pid) pid = -1;
      return pid;
    }
    case TemplateOrder::leave_stubborn:
      return orphan(
          [] {
            ::setsid();
            ::signal(SIGTERM, SIG_IGN);
            for (int doubling = 0; doubling < 5; ++doubling)
              if (::fork() == 0) ::setsid();
          },
          stubborn_count);
    case TemplateOrder::write_to: *reinterpret_cast<volatile char*>(order.address) = 1; return 0;
    default: ::_exit(0);
  }
}

}  // namespace

void root_test::scripted_template(int socket) {
  ::prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0);
  for (;;) {
    TemplateOrder order;
    const auto got = receive_with_fds(socket, std::as_writable_bytes(std::span(&order, 1)), true);
    if (got.size != static_cast<ssize_t>(sizeof order)) ::_exit(0);
    if (order.kind == TemplateOrder::describe) {
      const TemplateReport report = describe();
      send_with_fds(socket, std::as_bytes(std::span(&report, 1)), {}, true);
    } else {
      const pid_t pid = obey_in_template(order);
      send_with_fds(socket, std::as_bytes(std::span(&pid, 1)), {}, true);
    }
  }
}

void supervisor_main(SupervisorBoot boot) { ScriptedSupervisor(boot).run(); }

}  // namespace micro_swarm
