// Templates and the agents cloned from them, as real processes. The test stands for root (it is the
// template's parent) and for the supervisor (it holds the other end of its socket).

#include "agentproc/template_process.hpp"

#include <fcntl.h>
#include <poll.h>
#include <seccomp.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <boost/test/unit_test.hpp>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <functional>
#include <memory>
#include <mutex>
#include <thread>

#include "agentproc/neural_model.hpp"
#include "common/clock.hpp"
#include "fault_text.hpp"
#include "temporary_directory.hpp"

using namespace micro_swarm;

namespace {

constexpr int patience_ms = 20'000;

/// What a test agent says of itself.
struct AgentReport {
  pid_t pid = 0;
  pid_t thread_id = 0;
  pid_t parent = 0;
  pid_t session = 0;
  pid_t group = 0;
  std::uint16_t party = 0;
  std::uint16_t incarnation = 0;
  std::uint16_t capability = 0;
  int death_signal = 0;
  int dumpable = -1;
  int no_new_privs = -1;
  std::uint64_t core_limit = 1;
  std::uint32_t open_fds = 0;
  std::uint32_t uid = 0;
  std::uint32_t gid = 0;
  int groups = 0;
  bool library_works = false;
  char name[16] = {};
};

/// Threads, recursive and robust mutexes, malloc from several threads, raise: all that depends on
/// the C library's own idea of the thread.
bool library_works() {
  static thread_local int tls = 5;
  if (tls++ != 5) return false;
  std::recursive_mutex mutex;
  std::atomic<int> sum{0};
  mutex.lock();
  mutex.lock();
  std::vector<std::thread> threads;
  for (int i = 0; i < 4; ++i)
    threads.emplace_back([&] {
      if (mutex.try_lock()) ::abort();  // taken for its owner
      for (int n = 1; n < 2000; ++n) {
        auto memory = std::make_unique<char[]>(static_cast<std::size_t>(n));
        memory[0] = 1;
        sum += memory[0];
      }
      if (tls != 5 || gettid_now() == ::getpid()) ::abort();
    });
  for (auto& thread : threads) thread.join();
  mutex.unlock();
  mutex.unlock();
  if (sum != 4 * 1999) return false;

  pthread_mutexattr_t attributes;
  ::pthread_mutexattr_init(&attributes);
  ::pthread_mutexattr_setrobust(&attributes, PTHREAD_MUTEX_ROBUST);
  ::pthread_mutexattr_settype(&attributes, PTHREAD_MUTEX_ERRORCHECK);
  pthread_mutex_t robust;
  ::pthread_mutex_init(&robust, &attributes);
  std::thread([&] { ::pthread_mutex_lock(&robust); }).join();
  if (::pthread_mutex_lock(&robust) != EOWNERDEAD) return false;
  if (::pthread_mutex_lock(&robust) != EDEADLK) return false;

  static volatile sig_atomic_t raised = 0;
  ::signal(SIGUSR1, [](int) { raised = 1; });
  return ::raise(SIGUSR1) == 0 && raised == 1 && ::pthread_kill(::pthread_self(), 0) == 0;
}

void send_report(const AgentContext& context) {
  AgentReport report;
  report.pid = ::getpid();
  report.thread_id = gettid_now();
  report.parent = ::getppid();
  report.session = ::getsid(0);
  report.group = ::getpgid(0);
  report.party = context.party;
  report.incarnation = context.incarnation;
  report.capability = context.capabilities.at(0).id;
  ::prctl(PR_GET_PDEATHSIG, &report.death_signal);
  report.dumpable = ::prctl(PR_GET_DUMPABLE);
  report.no_new_privs = ::prctl(PR_GET_NO_NEW_PRIVS, 0, 0, 0, 0);
  rlimit core{};
  ::getrlimit(RLIMIT_CORE, &core);
  report.core_limit = core.rlim_cur;
  for (int fd = 0; fd < 1024; ++fd)
    if (::fcntl(fd, F_GETFD) >= 0) ++report.open_fds;
  report.uid = ::getuid();
  report.gid = ::getgid();
  report.groups = ::getgroups(0, nullptr);
  report.library_works = library_works();
  ::prctl(PR_GET_NAME, report.name);
  send_with_fds(context.socket, std::as_bytes(std::span(&report, 1)), {}, true);
}

void wait_for_the_end(int socket) {
  std::byte any;
  receive_with_fds(socket, std::span(&any, 1), true);
}

/// Does what the name of its first capability says.
int test_agent(const AgentContext& context) {
  const std::string& what = context.capabilities.at(0).name;
  *context.prepared = {};  // of no use here
  if (what == "touch") {
    const char here = 1;
    [[maybe_unused]] const ssize_t sent = ::write(context.socket, &here, 1);
  } else if (what == "report") {
    send_report(context);
  } else if (what == "print") {
    std::printf("agent %u says hello", unsigned{context.party});
    return 42;
  } else if (what == "neural") {
    std::vector<std::byte> input(784 * sizeof(float), std::byte{0});
    alignas(16) std::array<std::byte, 10 * sizeof(float)> output{};
    const auto size = context.models.front().model->run(input, output);
    if (!size) return 1;
    send_with_fds(context.socket, std::as_bytes(std::span(output)), {}, true);
  }
  wait_for_the_end(context.socket);
  return 0;
}

TemplateSpec spec_for(const std::string& capability) {
  TemplateSpec spec;
  spec.name = "testing";
  spec.capabilities = {{capability, 12}};
  spec.log_level = LogLevel::warn;
  return spec;
}

TemplateSpec external(std::vector<std::string> command) {
  TemplateSpec spec = spec_for("any");
  spec.kind = AgentKind::external;
  spec.command = std::move(command);
  return spec;
}

bool readable(int fd) {
  pollfd wanted{fd, POLLIN, 0};
  return ::poll(&wanted, 1, patience_ms) == 1;
}

template <class Message>
Message receive(int socket) {
  Message message;
  BOOST_REQUIRE(readable(socket));
  const auto got = receive_with_fds(socket, std::as_writable_bytes(std::span(&message, 1)));
  BOOST_REQUIRE(got.size == static_cast<ssize_t>(sizeof message));
  return message;
}

class Template {
 public:
  /// `confine` runs in the template's process before anything else.
  explicit Template(
      const TemplateSpec& spec, const std::function<void()>& confine = [] {}) {
    auto pair = seqpacket_pair();
    BOOST_REQUIRE(pair.has_value());
    const pid_t root = ::getpid();
    std::fflush(nullptr);  // a template flushes what it inherits
    pid_ = ::fork();
    if (pid_ == 0) {
      ::prctl(PR_SET_PDEATHSIG, SIGKILL);
      if (::getppid() != root) ::_exit(1);
      for (int number = 1; number < NSIG; ++number) ::signal(number, SIG_DFL);  // Boost.Test's
      const int socket = ::dup2(pair->second.get(), 50);
      pair->first.reset();
      pair->second.reset();
      confine();
      run_template(socket, {&test_agent});
    }
    BOOST_REQUIRE(pid_ > 0);
    line_ = std::move(pair->first);
    const auto packet = encode_template_spec(spec);
    BOOST_REQUIRE_MESSAGE(packet.has_value(), fault_text(packet));
    send_raw(*packet);
  }
  ~Template() {
    line_.reset();
    if (pid_ > 0) ::waitpid(pid_, nullptr, 0);
  }

  pid_t pid() const { return pid_; }
  int line() const { return line_.get(); }
  void send_raw(std::string_view packet) {
    BOOST_REQUIRE(send_with_fds(line_.get(), std::as_bytes(std::span(packet)), {}, true) > 0);
  }
  TemplateMessage message(UniqueFd* pidfd = nullptr) {
    TemplateMessage message;
    BOOST_REQUIRE(readable(line_.get()));
    const auto got = receive_with_fds(line_.get(), std::as_writable_bytes(std::span(&message, 1)));
    BOOST_REQUIRE(got.size == static_cast<ssize_t>(sizeof message));
    for (int i = 0; i < got.fd_count; ++i) {
      UniqueFd fd(got.fds[i]);
      if (pidfd != nullptr) *pidfd = std::move(fd);
    }
    return message;
  }
  void require_ready() {
    const auto ready = message();
    BOOST_REQUIRE_MESSAGE(ready.kind == TemplateMessageKind::ready, ready.text);
    BOOST_TEST(ready.pid == pid_);
  }
  void request(std::uint16_t party, std::uint16_t incarnation, int socket, int log = -1) {
    const SpawnRequest request{party, incarnation, 0};
    std::vector<int> fds{socket};
    if (log >= 0) fds.push_back(log);
    BOOST_REQUIRE(send_with_fds(line_.get(), std::as_bytes(std::span(&request, 1)), fds, true) > 0);
  }
  /// waitpid status of the template, which ends by itself.
  int wait_end() {
    int status = -1;
    BOOST_REQUIRE(::waitpid(pid_, &status, 0) == pid_);
    pid_ = -1;
    return status;
  }
  void kill() {
    BOOST_REQUIRE(::kill(pid_, SIGKILL) == 0);
    wait_end();
  }

 private:
  pid_t pid_ = -1;
  UniqueFd line_;
};

/// One agent, killed and reaped with its owner. Its parent is the test.
class Agent {
 public:
  Agent(Template& origin, std::uint16_t party, std::uint16_t incarnation = 1) {
    auto pair = seqpacket_pair();
    BOOST_REQUIRE(pair.has_value());
    int log[2];
    BOOST_REQUIRE(::pipe2(log, O_CLOEXEC) == 0);
    log_.reset(log[0]);
    const UniqueFd log_end(log[1]);
    origin.request(party, incarnation, pair->second.get(), log_end.get());
    spawned_ = origin.message(&pidfd_);
    socket_ = std::move(pair->first);
  }
  ~Agent() {
    socket_.reset();
    if (spawned_.pid > 0 && ::kill(spawned_.pid, SIGKILL) == 0) ::waitpid(spawned_.pid, nullptr, 0);
  }
  const TemplateMessage& spawned() const { return spawned_; }
  int pidfd() const { return pidfd_.get(); }
  int socket() const { return socket_.get(); }

  int wait_end() {
    BOOST_REQUIRE(readable(pidfd_.get()));
    int status = -1;
    BOOST_REQUIRE(::waitpid(spawned_.pid, &status, 0) == spawned_.pid);
    spawned_.pid = -1;
    return status;
  }
  /// All it wrote to standard output and error.
  std::string log() {
    std::string text;
    std::array<char, 4096> part;
    while (readable(log_.get())) {
      const ssize_t size = ::read(log_.get(), part.data(), part.size());
      if (size <= 0) break;
      text.append(part.data(), static_cast<std::size_t>(size));
    }
    return text;
  }

 private:
  TemplateMessage spawned_;
  UniqueFd pidfd_;
  UniqueFd socket_;
  UniqueFd log_;
};

void refuse(std::initializer_list<int> calls, int error) {
  scmp_filter_ctx filter = ::seccomp_init(SCMP_ACT_ALLOW);
  for (const int call : calls)
    ::seccomp_rule_add(filter, SCMP_ACT_ERRNO(static_cast<std::uint32_t>(error)), call, 0);
  if (::seccomp_load(filter) != 0) ::_exit(90);
  ::seccomp_release(filter);
}

void check_report(const AgentReport& report, const Agent& agent) {
  BOOST_TEST(report.pid == agent.spawned().pid);
  BOOST_TEST(report.thread_id == report.pid);
  BOOST_TEST(report.parent == ::getpid());
  BOOST_TEST(report.session == report.pid);
  BOOST_TEST(report.group == report.pid);
  BOOST_TEST(report.capability == 12u);
  BOOST_TEST(report.death_signal == SIGKILL);
  BOOST_TEST(report.dumpable == 0);
  BOOST_TEST(report.no_new_privs == 1);
  BOOST_TEST(report.core_limit == 0u);
  BOOST_TEST(report.open_fds == 4u);
  BOOST_TEST(report.library_works);
}

std::string name_of(pid_t pid) {
  std::ifstream file("/proc/" + std::to_string(pid) + "/comm");
  std::string name;
  std::getline(file, name);
  return name;
}

/// Our child that is one; made when the template has had nothing to do for a moment.
pid_t spare_of(pid_t origin) {
  for (int waited_ms = 0; waited_ms < patience_ms; ++waited_ms) {
    const std::string self = std::to_string(::getpid());
    std::ifstream children("/proc/self/task/" + self + "/children");
    for (pid_t child = 0; children >> child;)
      if (name_of(child) == "ms-spare" && ::getsid(child) == origin) return child;
    ::poll(nullptr, 0, 1);
  }
  BOOST_FAIL("the template made no spare");
  return -1;
}

std::string load_failure(const TemplateSpec& spec) {
  Template origin(spec);
  const auto message = origin.message();
  BOOST_TEST((message.kind == TemplateMessageKind::load_failed));
  BOOST_TEST(WIFEXITED(origin.wait_end()));
  return message.text;
}

}  // namespace

BOOST_AUTO_TEST_SUITE(agent_template)

BOOST_AUTO_TEST_CASE(an_agent_is_a_child_of_root_with_its_own_everything) {
  Template origin(spec_for("report"));
  origin.require_ready();
  for (std::uint16_t party = 0; party < 3; ++party) {
    Agent agent(origin, party, static_cast<std::uint16_t>(party + 7));
    BOOST_TEST((agent.spawned().kind == TemplateMessageKind::spawned));
    BOOST_TEST(agent.spawned().party == party);
    BOOST_TEST(agent.spawned().incarnation == party + 7);
    BOOST_TEST(pidfd_send_signal(agent.pidfd(), 0) == 0);
    const auto report = receive<AgentReport>(agent.socket());
    check_report(report, agent);
    BOOST_TEST(report.party == party);
    BOOST_TEST(report.incarnation == party + 7);
    BOOST_TEST(std::string(report.name) == "ms-agent-" + std::to_string(party));
  }
}

BOOST_AUTO_TEST_CASE(clone_stands_in_where_clone3_is_refused) {
  // EPERM is what some containers answer; there the C library itself cannot start a thread.
  for (const auto& [error, what] : {std::pair{ENOSYS, "report"}, {EPERM, "touch"}}) {
    Template origin(spec_for(what), [error = error] { refuse({SCMP_SYS(clone3)}, error); });
    origin.require_ready();
    for (std::uint16_t party = 0; party < 2; ++party) {
      Agent agent(origin, party);
      BOOST_TEST(pidfd_send_signal(agent.pidfd(), 0) == 0);
      if (error == ENOSYS)
        check_report(receive<AgentReport>(agent.socket()), agent);
      else
        BOOST_TEST(receive<char>(agent.socket()) == 1);
    }
  }
}

BOOST_AUTO_TEST_CASE(the_thread_id_is_found_without_help_from_the_kernel) {
  Template origin(spec_for("report"), [] {
    scmp_filter_ctx filter = ::seccomp_init(SCMP_ACT_ALLOW);
    const scmp_arg_cmp asks{0, SCMP_CMP_EQ, PR_GET_TID_ADDRESS, 0};
    ::seccomp_rule_add_array(filter, SCMP_ACT_ERRNO(EINVAL), SCMP_SYS(prctl), 1, &asks);
    if (::seccomp_load(filter) != 0) ::_exit(90);
    ::seccomp_release(filter);
  });
  origin.require_ready();
  Agent agent(origin, 1);
  check_report(receive<AgentReport>(agent.socket()), agent);
}

BOOST_AUTO_TEST_CASE(a_clone_that_fails_is_told_and_the_next_may_work) {
  Template origin(spec_for("report"), [] { refuse({SCMP_SYS(clone3), SCMP_SYS(clone)}, EAGAIN); });
  origin.require_ready();
  for (int i = 0; i < 2; ++i) {
    Agent agent(origin, 9);
    BOOST_TEST((agent.spawned().kind == TemplateMessageKind::spawn_failed));
    BOOST_TEST(agent.spawned().party == 9u);
    BOOST_TEST(agent.spawned().pid == -1);
    BOOST_TEST(agent.spawned().sys_errno == EAGAIN);
    BOOST_TEST(std::string(agent.spawned().text).find("clone") == 0u);
  }
}

BOOST_AUTO_TEST_CASE(exit_code_and_output_come_through) {
  Template origin(spec_for("print"));
  origin.require_ready();
  Agent agent(origin, 5);
  const int status = agent.wait_end();
  BOOST_TEST(WIFEXITED(status));
  BOOST_TEST(WEXITSTATUS(status) == 42);
  BOOST_TEST(agent.log() == "agent 5 says hello");
}

BOOST_AUTO_TEST_CASE(agents_outlive_their_template) {
  Template origin(spec_for("report"));
  origin.require_ready();
  Agent agent(origin, 1);
  origin.kill();
  check_report(receive<AgentReport>(agent.socket()), agent);
}

BOOST_AUTO_TEST_CASE(a_spare_becomes_the_agent_that_is_asked_for) {
  Template origin(spec_for("report"), [] { ::setsid(); });  // as root has it
  origin.require_ready();
  for (std::uint16_t party = 1; party <= 2; ++party) {
    const pid_t spare = spare_of(origin.pid());
    // How whoever looks for strays knows it.
    BOOST_TEST(::getsid(spare) == origin.pid());
    Agent agent(origin, party);
    BOOST_TEST(agent.spawned().pid == spare);
    const auto report = receive<AgentReport>(agent.socket());
    check_report(report, agent);
    BOOST_TEST(report.party == party);
    BOOST_TEST(report.name == "ms-agent-" + std::to_string(party));
  }
}

BOOST_AUTO_TEST_CASE(without_its_spare_a_template_clones_another) {
  Template origin(spec_for("report"), [] { ::setsid(); });  // as root has it
  origin.require_ready();
  const pid_t spare = spare_of(origin.pid());
  BOOST_REQUIRE(::kill(spare, SIGKILL) == 0);
  BOOST_REQUIRE(::waitpid(spare, nullptr, 0) == spare);
  Agent agent(origin, 7);
  BOOST_TEST(agent.spawned().pid != spare);
  check_report(receive<AgentReport>(agent.socket()), agent);
}

BOOST_AUTO_TEST_CASE(a_spare_ends_with_its_template) {
  Template origin(spec_for("report"), [] { ::setsid(); });  // as root has it
  origin.require_ready();
  const pid_t spare = spare_of(origin.pid());
  origin.kill();
  int status = -1;
  BOOST_REQUIRE(::waitpid(spare, &status, 0) == spare);
  BOOST_TEST(WIFEXITED(status));
}

BOOST_AUTO_TEST_CASE(a_template_ends_with_its_socket) {
  Template origin(spec_for("report"));
  origin.require_ready();
  ::shutdown(origin.line(), SHUT_RDWR);
  const int status = origin.wait_end();
  BOOST_TEST(WIFEXITED(status));
  BOOST_TEST(WEXITSTATUS(status) == 0);
}

BOOST_AUTO_TEST_CASE(agents_die_with_root) {
  int told[2];
  BOOST_REQUIRE(::pipe2(told, O_CLOEXEC) == 0);
  std::fflush(nullptr);
  const pid_t root = ::fork();
  if (root == 0) {
    Template origin(spec_for("report"));
    origin.require_ready();
    Agent agent(origin, 1);
    receive<AgentReport>(agent.socket());
    const pid_t pids[] = {agent.spawned().pid, origin.pid()};
    [[maybe_unused]] const ssize_t sent = ::write(told[1], pids, sizeof pids);
    for (;;) ::pause();
  }
  pid_t pids[2] = {};
  BOOST_REQUIRE(readable(told[0]));
  BOOST_REQUIRE(::read(told[0], pids, sizeof pids) == sizeof pids);
  const UniqueFd agent(pidfd_open(pids[0]));
  const UniqueFd origin(pidfd_open(pids[1]));
  BOOST_REQUIRE((agent && origin));
  BOOST_REQUIRE(::kill(root, SIGKILL) == 0);
  BOOST_TEST(readable(agent.get()));
  BOOST_TEST(readable(origin.get()));
  ::waitpid(root, nullptr, 0);
}

BOOST_AUTO_TEST_CASE(a_malformed_request_costs_nothing_else) {
  TemplateSpec spec = spec_for("report");
  spec.log_level = LogLevel::off;
  Template origin(spec);
  origin.require_ready();
  origin.send_raw("abc");
  const SpawnRequest without_socket{1, 1, 0};
  BOOST_REQUIRE(send_with_fds(origin.line(), std::as_bytes(std::span(&without_socket, 1)), {}) > 0);
  Agent agent(origin, 2);
  BOOST_TEST(agent.spawned().party == 2u);
  check_report(receive<AgentReport>(agent.socket()), agent);
}

BOOST_AUTO_TEST_CASE(a_specification_that_is_none_is_told) {
  Template origin(spec_for("report"));
  origin.require_ready();
  const auto refused = decode_template_spec("{\"name\": 5}");
  BOOST_TEST(refused.has_error());
  auto spec = external({"x"});
  spec.command.clear();
  BOOST_TEST(load_failure(spec).find("needs a command") != std::string::npos);
  spec.command = {std::string(template_spec_bytes_max, 'x')};
  const auto large = encode_template_spec(spec);
  BOOST_REQUIRE(large.has_error());
  BOOST_TEST((large.error().code == ErrorCode::too_large));
}

BOOST_AUTO_TEST_SUITE_END()

BOOST_AUTO_TEST_SUITE(agent_external)

BOOST_AUTO_TEST_CASE(an_executable_gets_its_environment_and_descriptor_3) {
  ::setenv("MICROSWARM_AGENT_ID", "from outside", 1);
  ::setenv("FROM_OUTSIDE", "kept", 1);
  auto spec = external({"sh", "-c",
                        "env; for fd in 0 1 2 3 4 5 6 7 8 9; do "
                        "[ -e /proc/self/fd/$fd ] && echo open=$fd; done; exit 5"});
  spec.environment = {{"ADDED", "a b"}, {"FROM_OUTSIDE", "replaced"}};
  Template origin(spec);
  origin.require_ready();
  for (const std::uint16_t party : {std::uint16_t{7}, std::uint16_t{200}}) {
    Agent agent(origin, party, 3);
    BOOST_TEST(WEXITSTATUS(agent.wait_end()) == 5);
    const std::string text = "\n" + agent.log();
    for (const std::string line :
         {"MICROSWARM_AGENT_FD=3", "MICROSWARM_PROTOCOL=1", "MICROSWARM_INCARNATION=3", "ADDED=a b",
          "FROM_OUTSIDE=replaced", "open=0", "open=1", "open=2", "open=3"})
      BOOST_TEST(text.find("\n" + line + "\n") != std::string::npos, line);
    BOOST_TEST(text.find("\nMICROSWARM_AGENT_ID=" + std::to_string(party) + "\n") !=
               std::string::npos);
    BOOST_TEST(text.find("from outside") == std::string::npos);
    for (int fd = 4; fd < 10; ++fd)
      BOOST_TEST(text.find("open=" + std::to_string(fd)) == std::string::npos);
  }
  ::unsetenv("MICROSWARM_AGENT_ID");
  ::unsetenv("FROM_OUTSIDE");
}

BOOST_AUTO_TEST_CASE(what_cannot_be_run_says_so) {
  {
    Template origin(external({"/no/such/program"}));
    origin.require_ready();
    Agent agent(origin, 3);
    BOOST_TEST(WEXITSTATUS(agent.wait_end()) == 127);
    BOOST_TEST(agent.log() ==
               "microswarm: agent 3: cannot run /no/such/program: No such file or directory\n");
  }
  Template origin(external({"/dev/null"}));
  origin.require_ready();
  Agent agent(origin, 3);
  BOOST_TEST(WEXITSTATUS(agent.wait_end()) == 126);
  BOOST_TEST(agent.log().find("Permission denied") != std::string::npos);
}

BOOST_AUTO_TEST_SUITE_END()

BOOST_AUTO_TEST_SUITE(agent_neural)

TemplateSpec neural(const std::string& model) {
  TemplateSpec spec = spec_for("neural");
  spec.kind = AgentKind::neural;
  spec.model = model;
  return spec;
}

BOOST_AUTO_TEST_CASE(agents_share_the_model_their_template_loaded) {
  Template origin(neural(MS_DIGITS_MODEL));
  origin.require_ready();
  using Output = std::array<float, 10>;
  const auto answer = [&](std::uint16_t party) {
    Agent agent(origin, party);
    return receive<Output>(agent.socket());
  };
  const Output first = answer(0);
  BOOST_TEST(answer(1) == first, boost::test_tools::per_element());
  BOOST_TEST(std::any_of(first.begin(), first.end(), [](float v) { return v != 0; }));
}

BOOST_AUTO_TEST_CASE(a_model_that_is_missing_or_damaged_is_told) {
  BOOST_TEST(load_failure(neural("/no/such/model.onnx")).find("/no/such/model.onnx") !=
             std::string::npos);
  TemporaryDirectory directory;
  const std::string path = (directory.path() / "half.onnx").string();
  std::ifstream whole(MS_DIGITS_MODEL, std::ios::binary);
  std::vector<char> half(2000);
  whole.read(half.data(), static_cast<std::streamsize>(half.size()));
  std::ofstream(path, std::ios::binary).write(half.data(), 2000);
  BOOST_TEST(load_failure(neural(path)).find(path) != std::string::npos);
}

BOOST_AUTO_TEST_CASE(the_model_is_read_before_and_parsed_after_the_uid_is_dropped,
                     *boost::unit_test::precondition([](auto) { return ::getuid() == 0; })) {
  TemporaryDirectory directory;
  const std::string path = (directory.path() / "private.onnx").string();
  std::filesystem::copy_file(MS_DIGITS_MODEL, path);
  BOOST_REQUIRE(::chmod(path.c_str(), 0600) == 0);
  auto spec = neural(path);
  spec.uid = 65534;
  spec.capabilities = {{"report", 12}};
  Template origin(spec);
  origin.require_ready();
  Agent agent(origin, 0);
  const auto report = receive<AgentReport>(agent.socket());
  check_report(report, agent);  // the death signal too, which setresuid clears
  BOOST_TEST(report.uid == 65534u);
  BOOST_TEST(report.gid == 65534u);
  BOOST_TEST(report.groups == 0);
}

BOOST_AUTO_TEST_SUITE_END()

BOOST_AUTO_TEST_SUITE(agent_start_time)

constexpr std::uint16_t crowd = 256;

/// The least that makes as many processes which say that they run.
std::uint64_t raw_forks_ns() {
  int here[2];
  BOOST_REQUIRE(::pipe2(here, O_CLOEXEC) == 0);
  std::vector<pid_t> pids;
  const std::uint64_t start = now_ns();
  for (int i = 0; i < crowd; ++i) {
    const pid_t pid = ::fork();
    if (pid == 0) {
      const char byte = 1;
      [[maybe_unused]] const ssize_t sent = ::write(here[1], &byte, 1);
      for (;;) ::pause();
    }
    pids.push_back(pid);
  }
  for (int seen = 0; seen < crowd;) {
    std::array<char, crowd> bytes;
    seen += static_cast<int>(::read(here[0], bytes.data(), bytes.size()));
  }
  const std::uint64_t took = now_ns() - start;
  for (const pid_t pid : pids) {
    ::kill(pid, SIGKILL);
    ::waitpid(pid, nullptr, 0);
  }
  ::close(here[0]);
  ::close(here[1]);
  return took;
}

/// From the first request to the last agent's first word, sockets made on the way.
std::uint64_t agents_ns(Template& origin) {
  std::vector<UniqueFd> sockets;
  std::vector<pid_t> pids;
  const std::uint64_t start = now_ns();
  for (std::uint16_t party = 0; party < crowd; ++party) {
    auto pair = seqpacket_pair();
    BOOST_REQUIRE(pair.has_value());
    origin.request(party, 1, pair->second.get());
    sockets.push_back(std::move(pair->first));
    // Answers are taken as they come, as the supervisor does: neither side's buffer fills.
    pollfd answered{origin.line(), POLLIN, 0};
    while (::poll(&answered, 1, 0) == 1) pids.push_back(origin.message().pid);
  }
  while (pids.size() < crowd) pids.push_back(origin.message().pid);
  for (const auto& socket : sockets) {
    char byte = 0;
    BOOST_REQUIRE(::read(socket.get(), &byte, 1) == 1);
  }
  const std::uint64_t took = now_ns() - start;
  for (const pid_t pid : pids) {
    BOOST_REQUIRE(pid > 0);
    ::kill(pid, SIGKILL);
    ::waitpid(pid, nullptr, 0);
  }
  return took;
}

BOOST_AUTO_TEST_CASE(a_crowd_starts_in_the_order_of_raw_forks) {
  Template origin(spec_for("touch"));
  origin.require_ready();
  std::vector<double> ratios;
  std::uint64_t raw_ns = 0;
  std::uint64_t ours_ns = 0;
  for (int round = 0; round < 6; ++round) {
    raw_ns = raw_forks_ns();
    ours_ns = agents_ns(origin);
    if (round > 0) ratios.push_back(static_cast<double>(ours_ns) / static_cast<double>(raw_ns));
  }
  std::sort(ratios.begin(), ratios.end());
  std::printf(
      "%u agents through a template: %.2f times %u raw forks (median of %zu; the last: "
      "%.1f ms and %.1f ms)\n",
      unsigned{crowd}, ratios[ratios.size() / 2], unsigned{crowd}, ratios.size(),
      static_cast<double>(ours_ns) / 1e6, static_cast<double>(raw_ns) / 1e6);
  BOOST_TEST(ratios[ratios.size() / 2] > 0);  // figures are the benchmark's business
}

BOOST_AUTO_TEST_SUITE_END()
