// Every way a swarm ends: what it still does, with which code, and that nothing is left.

#include <algorithm>

#include "tests/fault_swarm.hpp"

namespace micro_swarm::testing {
namespace {

constexpr const char* toml = "[swarm]\nagents = 2\n";

/// `microswarm ARGS...`; returns its exit code.
int run_command(std::vector<std::string> args) {
  args.insert(args.begin(), SwarmProcess::binary());
  std::vector<char*> argv;
  for (auto& arg : args) argv.push_back(arg.data());
  argv.push_back(nullptr);
  posix_spawn_file_actions_t actions;
  ::posix_spawn_file_actions_init(&actions);
  ::posix_spawn_file_actions_addopen(&actions, 1, "/dev/null", O_WRONLY, 0);
  pid_t pid = 0;
  const int error = ::posix_spawn(&pid, argv[0], &actions, nullptr, argv.data(), environ);
  ::posix_spawn_file_actions_destroy(&actions);
  BOOST_REQUIRE_EQUAL(error, 0);
  int status = 0;
  BOOST_REQUIRE_EQUAL(::waitpid(pid, &status, 0), pid);
  return WIFEXITED(status) ? WEXITSTATUS(status) : -WTERMSIG(status);
}

void wait_for_draining(FaultSwarm& swarm) {
  BOOST_REQUIRE(swarm.wait_until([](const auto& s) { return s.at("state") == "draining"; }));
}

/// The first signal lets what runs finish, and what waits.
void check_drains(int signal) {
  FaultSwarm swarm(toml);
  BOOST_REQUIRE(swarm.wait_for_live(2));
  swarm.remember_all();
  TaskClient client(swarm);
  std::vector<std::uint64_t> numbers;
  for (int i = 0; i < 12; ++i) numbers.push_back(client.submit("sleep", "100"));
  static_cast<void>(client.id_of(numbers.back()));
  swarm.signal(signal);
  for (const auto number : numbers) BOOST_TEST(client.result_of(number).is_done());
  BOOST_TEST(swarm.wait() == 0);
  swarm.check_nothing_left();
}

BOOST_AUTO_TEST_CASE(sigterm_finishes_what_is_accepted_and_exits_0) { check_drains(SIGTERM); }
BOOST_AUTO_TEST_CASE(sigint_finishes_what_is_accepted_and_exits_0) { check_drains(SIGINT); }

BOOST_AUTO_TEST_CASE(a_draining_swarm_takes_nothing_new) {
  FaultSwarm swarm(toml);
  BOOST_REQUIRE(swarm.wait_for_live(2));
  TaskClient client(swarm);
  const auto running = client.submit("sleep", "1000");
  static_cast<void>(client.id_of(running));
  swarm.remember_all();
  swarm.signal(SIGTERM);
  wait_for_draining(swarm);
  const auto late = Client::connect("test", patience_ms);
  BOOST_REQUIRE(late.has_error());
  BOOST_TEST((late.error().code == ErrorCode::refused), late.error().message);
  TaskRequest request;
  request.capability = "noop";
  const auto refused = client.client().submit(std::move(request), patience_ms);
  BOOST_TEST(refused.has_error());
  BOOST_TEST(client.result_of(running).is_done());
  BOOST_TEST(swarm.wait() == 0);
  swarm.check_nothing_left();
}

/// The second one waits for nobody.
void check_forced(int signal, int code) {
  FaultSwarm swarm(toml);
  BOOST_REQUIRE(swarm.wait_for_live(2));
  TaskClient client(swarm);
  static_cast<void>(client.id_of(client.submit("sleep", "60000")));
  swarm.remember_all();
  swarm.signal(signal);
  wait_for_draining(swarm);
  swarm.signal(signal);
  BOOST_TEST(swarm.wait() == code);
  swarm.check_nothing_left();
}

BOOST_AUTO_TEST_CASE(a_second_sigterm_forces_143) { check_forced(SIGTERM, 143); }
BOOST_AUTO_TEST_CASE(a_second_sigint_forces_130) { check_forced(SIGINT, 130); }

BOOST_AUTO_TEST_CASE(what_does_not_finish_in_time_is_cancelled) {
  FaultSwarm swarm(std::string(toml) + "[supervision]\ndrain_timeout_ms = 200\n");
  BOOST_REQUIRE(swarm.wait_for_live(2));
  TaskClient client(swarm);
  const auto running = client.submit("sleep", "60000");
  static_cast<void>(client.id_of(running));
  swarm.remember_all();
  swarm.signal(SIGTERM);
  BOOST_TEST((client.result_of(running).state() == TaskState::cancelled));
  BOOST_TEST(swarm.wait() == 0);
  swarm.check_nothing_left();
}

BOOST_AUTO_TEST_CASE(an_agent_that_hangs_does_not_keep_the_swarm_from_ending) {
  FaultSwarm swarm(R"(
[[agent]]
name = "victim"
count = 2
capabilities = ["fault.hang"]
[supervision]
drain_timeout_ms = 200
)");
  BOOST_REQUIRE(swarm.wait_for_live(2));
  TaskClient client(swarm);
  const TaskId id = client.id_of(client.submit("fault.hang"));
  BOOST_REQUIRE(wait_for([&] { return swarm.task_state(id) == "running"; }));
  swarm.finish();
}

BOOST_AUTO_TEST_CASE(a_supervisor_that_dies_while_draining_is_followed_by_one_that_drains) {
  FaultSwarm swarm(toml);
  BOOST_REQUIRE(swarm.wait_for_live(2));
  TaskClient client(swarm);
  const auto running = client.submit("sleep", "500");
  static_cast<void>(client.id_of(running));
  swarm.remember_all();
  swarm.signal(SIGTERM);
  wait_for_draining(swarm);
  BOOST_REQUIRE_EQUAL(::kill(swarm.supervisor(), SIGKILL), 0);
  BOOST_TEST(client.result_of(running).is_done());
  BOOST_TEST(swarm.wait() == 0);
  swarm.check_nothing_left();
}

BOOST_AUTO_TEST_CASE(stop_drains_and_waits_until_the_swarm_is_gone) {
  FaultSwarm swarm(toml);
  BOOST_REQUIRE(swarm.wait_for_live(2));
  TaskClient client(swarm);
  const auto running = client.submit("sleep", "300");
  static_cast<void>(client.id_of(running));
  swarm.remember_all();
  // Root is this process's child: `stop` sees it gone before it is reaped here.
  BOOST_TEST(run_command({"stop", "--name", "test"}) == 0);
  BOOST_TEST(client.result_of(running).is_done());
  BOOST_TEST(swarm.wait() == 0);
  swarm.check_nothing_left();
  BOOST_TEST(run_command({"stop", "--name", "test"}) == 3);
}

BOOST_AUTO_TEST_CASE(stop_force_does_not_wait_for_tasks) {
  FaultSwarm swarm(toml);
  BOOST_REQUIRE(swarm.wait_for_live(2));
  TaskClient client(swarm);
  const auto running = client.submit("sleep", "60000");
  static_cast<void>(client.id_of(running));
  swarm.remember_all();
  BOOST_TEST(run_command({"stop", "--force", "--name", "test"}) == 0);
  BOOST_TEST((client.result_of(running).state() == TaskState::cancelled));
  BOOST_TEST(swarm.wait() == 0);
  swarm.check_nothing_left();
}

BOOST_AUTO_TEST_CASE(everything_dies_with_root_and_the_next_start_takes_over) {
  FaultSwarm swarm(toml);
  BOOST_REQUIRE(swarm.wait_for_live(2));
  {
    TaskClient client(swarm);
    static_cast<void>(client.id_of(client.submit("sleep", "60000")));
    std::vector<UniqueFd> alive;
    swarm.remember_all();
    for (const pid_t pid : children_of(swarm.root())) alive.emplace_back(pidfd_open(pid));
    BOOST_REQUIRE(alive.size() >= 4u);  // supervisor, template, agents
    swarm.signal(SIGKILL);
    BOOST_TEST(swarm.wait() == -SIGKILL);
    for (const UniqueFd& pidfd : alive) {
      pollfd death{pidfd.get(), POLLIN, 0};
      BOOST_REQUIRE_EQUAL(::poll(&death, 1, static_cast<int>(patience_ms)), 1);
    }
    // They are somebody else's to reap now, which may take a moment.
    BOOST_TEST(wait_for([&] { return swarm.none_left(); }));
    const auto result = client.client().next_result(patience_ms);
    BOOST_TEST((result.has_error() && result.error().code == ErrorCode::not_running));
  }
  auto left = swarm.leftovers();
  std::sort(left.begin(), left.end());
  const std::vector<std::string> expected{"test.lock", "test.sock"};
  BOOST_TEST(left == expected, boost::test_tools::per_element());

  swarm.start();
  BOOST_REQUIRE(swarm.wait_for_live(2));
  {
    TaskClient client(swarm);
    client.check_echo("after the takeover");
  }
  swarm.finish();
}

BOOST_AUTO_TEST_CASE(a_swarm_of_that_name_runs_once) {
  FaultSwarm swarm(toml);
  BOOST_REQUIRE(swarm.wait_for_live(2));
  const int code = run_command({"run", "--name", "test", "--agents", "1"});
  BOOST_TEST(code == 5);
  TaskClient client(swarm);
  client.check_echo("not disturbed");
  swarm.finish();
}

}  // namespace
}  // namespace micro_swarm::testing
