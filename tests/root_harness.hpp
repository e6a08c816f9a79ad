#pragma once

// A real root with a scripted supervisor and a scripted template: the test gives orders over a
// socket that every supervisor inherits, and sees what they report.

#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <boost/test/unit_test.hpp>
#include <filesystem>
#include <fstream>
#include <sstream>
#include <string>
#include <vector>

#include "common/clock.hpp"
#include "common/posix.hpp"
#include "fault_text.hpp"
#include "supervisor/run.hpp"
#include "supervisor/stray_processes.hpp"
#include "supervisor/supervisor_main.hpp"
#include "temporary_directory.hpp"

namespace micro_swarm::root_test {

/// What the test tells the supervisor that lives.
struct Order {
  enum Kind {
    keep,           // key, fd
    keep_then_die,  // key, fd
    keep_in_one,    // key, two fds: in one packet, kept under key and key + 1, the one under key
                    // dropped, the other moved to key + 2
    drop,           // key
    read_kept,      // key -> report with the first 8 bytes of that memfd in `value`
    forward,        // key = RootRequestKind, value = key of it; fds as they come
    quit,           // value = exit code
    crash_abort,
    crash_exit,  // value = exit code
    hang_stopped,
    hang_looping,
    close_link,
    flood,           // forks `value` children that exit at once, without looking at events
    leave_orphan,    // one that no template made -> its pid
    sweep,           // value = pid of the one more known process -> report with the count
    store_progress,  // value: what to write into the segment beyond the header's progress
  } kind = keep;
  std::uint32_t key = 0;
  std::int64_t value = 0;
};

/// What a supervisor tells the test.
struct Report {
  enum Kind { hello, event, answer } kind = hello;
  unsigned epoch = 0;
  pid_t pid = 0;
  bool drain_requested = false;
  std::uint32_t recent = 0;    // hello: number of recent events; they follow as `event`
  std::int64_t value = 0;      // answer; hello: address of the segment
  std::uint64_t kept = 0;      // hello: number of kept descriptors
  std::uint64_t progress = 0;  // hello: found in the segment
  RootEvent root_event{};
};

/// What the test tells a template, over the template's own socket.
struct TemplateOrder {
  enum Kind {
    describe,        // -> TemplateReport
    write_to,        // address: SIGSEGV is what should come of it
    leave_session,   // double fork + setsid; the orphan stays -> its pid
    leave_group,     // a child in a process group of its own stays -> its pid
    leave_stranger,  // double fork; the orphan exits at once -> its pid
    leave_stubborn,  // children that ignore SIGTERM and fork again -> pid of one
    end,
  } kind = describe;
  std::uint64_t address = 0;
};
struct TemplateReport {
  pid_t pid = 0;
  pid_t parent = 0;
  pid_t session = 0;
  int death_signal = 0;
  int dumpable = -1;
  std::uint64_t blocked_signals = 0;
  std::uint64_t ignored_signals = 0;
  std::uint32_t open_fds = 0;
  std::uint64_t nofile_soft = 0;
};

inline constexpr int patience_ms = 20'000;
inline constexpr int stubborn_count = 32;

/// The test's end of a SEQPACKET pair; every wait has an end.
class Line {
 public:
  Line() = default;
  explicit Line(UniqueFd fd) : fd_(std::move(fd)) {}

  template <class Message>
  void send(const Message& message, std::vector<int> fds = {}) {
    BOOST_REQUIRE(send_with_fds(fd_.get(), std::as_bytes(std::span(&message, 1)), fds, true) > 0);
  }
  /// False: closed by the other side, or nothing came in time.
  template <class Message>
  bool maybe_receive(Message& message, int wait_ms = patience_ms) {
    pollfd readable{fd_.get(), POLLIN, 0};
    if (::poll(&readable, 1, wait_ms) <= 0) return false;
    return receive_with_fds(fd_.get(), std::as_writable_bytes(std::span(&message, 1))).size ==
           static_cast<ssize_t>(sizeof message);
  }
  template <class Message>
  Message receive() {
    Message message;
    BOOST_REQUIRE(maybe_receive(message));
    return message;
  }
  int fd() const { return fd_.get(); }
  void close() { fd_.reset(); }

 private:
  UniqueFd fd_;
};

/// Blocks until the process is dead (zombie or gone); false if it lives too long.
inline bool wait_dead(pid_t pid, int wait_ms = patience_ms) {
  const UniqueFd pidfd(pidfd_open(pid));
  if (!pidfd) return errno == ESRCH;
  pollfd dead{pidfd.get(), POLLIN, 0};
  return ::poll(&dead, 1, wait_ms) == 1;
}

inline std::vector<pid_t> children_of(pid_t parent) {
  std::vector<pid_t> children(4096);
  const int count = list_children(parent, children);
  children.resize(count < 0 ? 0 : static_cast<std::size_t>(count));
  return children;
}

inline UniqueFd memfd_with(std::uint64_t value) {
  UniqueFd fd(::memfd_create("kept", MFD_CLOEXEC));
  BOOST_REQUIRE(fd);
  BOOST_REQUIRE(::write(fd.get(), &value, sizeof value) == sizeof value);
  return fd;
}

/// Set before the fork of root, inherited by every supervisor.
extern int supervisor_line;
void scripted_template(int socket);

class Swarm {
 public:
  enum class As { child, pid_1 };  // pid_1: of a PID namespace of its own; pids told are inner ones

  explicit Swarm(Config config = {}, As as = As::child) : config_(std::move(config)) {
    // What a root leaves behind would come to us.
    ::prctl(PR_SET_CHILD_SUBREAPER, 1);
    endpoint_ = Endpoint{"test", directory_.path().string()};
    auto pair = seqpacket_pair();
    BOOST_REQUIRE(pair.has_value());
    line_ = Line(std::move(pair->first));
    const std::string log = log_path();
    supervisor_line = pair->second.get();
    std::fflush(nullptr);  // run_swarm flushes what it inherits
    pid_ = as == As::child ? ::fork() : fork_pid_1();
    if (pid_ == 0) {
      line_.close();
      for (int number = 1; number < NSIG; ++number) ::signal(number, SIG_DFL);  // Boost.Test's
      if (std::freopen(log.c_str(), "a", stderr) == nullptr) ::_exit(99);
      const auto ended = run_swarm(config_, endpoint_, &scripted_template);
      if (!ended) std::fprintf(stderr, "%s\n", ended.error().message.c_str());
      ::_exit(ended ? *ended : 98);
    }
    BOOST_REQUIRE(pid_ > 0);
  }
  ~Swarm() {
    if (pid_ < 0) return;
    ::kill(pid_, SIGKILL);
    // Its children die with it, what those left behind comes up to us.
    do {
      for (const pid_t child : children_of(::getpid())) ::kill(child, SIGKILL);
    } while (::waitpid(-1, nullptr, 0) > 0);
  }

  Line& line() { return line_; }
  pid_t pid() const { return pid_; }
  const Endpoint& endpoint() const { return endpoint_; }
  void signal(int number) { BOOST_REQUIRE(::kill(pid_, number) == 0); }

  /// The next supervisor's hello; events in between are dropped.
  Report hello() {
    for (;;) {
      const auto report = line_.receive<Report>();
      if (report.kind == Report::hello) return report;
    }
  }
  Report answer() {
    for (;;) {
      const auto report = line_.receive<Report>();
      if (report.kind == Report::answer) return report;
    }
  }
  /// The next event of that kind (and pid, unless 0).
  RootEvent event(RootEventKind kind, pid_t pid = 0) {
    for (;;) {
      const auto report = line_.receive<Report>();
      if (report.kind == Report::event && report.root_event.kind == kind &&
          (pid == 0 || report.root_event.pid == pid))
        return report.root_event;
    }
  }
  void order(Order::Kind kind, std::uint32_t key = 0, std::int64_t value = 0,
             std::vector<int> fds = {}) {
    line_.send(Order{kind, key, value}, std::move(fds));
  }
  /// Has root start a template; the line to it, and its pid.
  std::pair<Line, pid_t> start_template(std::uint32_t key) {
    auto pair = seqpacket_pair();
    BOOST_REQUIRE(pair.has_value());
    order(Order::forward, static_cast<std::uint32_t>(RootRequestKind::spawn_template), key,
          {pair->second.get()});
    const RootEvent started = event(RootEventKind::template_started);
    BOOST_TEST(started.key == key);
    return {Line(std::move(pair->first)), started.pid};
  }

  /// waitpid status of root.
  int wait_end() {
    BOOST_REQUIRE(wait_dead(pid_));
    int status = -1;
    BOOST_REQUIRE(::waitpid(pid_, &status, 0) == pid_);
    pid_ = -1;
    return status;
  }
  int exit_code() {
    const int status = wait_end();
    BOOST_TEST_MESSAGE(log());
    return WIFEXITED(status) ? WEXITSTATUS(status) : -WTERMSIG(status);
  }
  std::string log() const {
    std::ostringstream text;
    text << std::ifstream(log_path()).rdbuf();
    return text.str();
  }
  bool left_files() const {
    return std::filesystem::exists(endpoint_.socket_path()) ||
           std::filesystem::exists(endpoint_.lock_path());
  }

 private:
  static pid_t fork_pid_1() {
    const long pid = ::syscall(SYS_clone, CLONE_NEWPID | CLONE_NEWNS | SIGCHLD, 0, 0, 0, 0);
    // Private, so that nobody else sees the new one; /, which in a chroot is no mount, may stay
    // shared.
    if (pid == 0 && (::mount(nullptr, "/proc", nullptr, MS_PRIVATE, nullptr) != 0 ||
                     ::mount("proc", "/proc", "proc", 0, nullptr) != 0))
      ::_exit(97);
    return static_cast<pid_t>(pid);
  }
  std::string log_path() const { return (directory_.path() / "log").string(); }

  Config config_;
  TemporaryDirectory directory_;
  Endpoint endpoint_;
  Line line_;
  pid_t pid_ = -1;
};

}  // namespace micro_swarm::root_test
