// Agents that run a command for each task.

#include "tests/cli_command.hpp"
#include "tests/script_swarm.hpp"

namespace micro_swarm::testing {
namespace {

constexpr const char* moody = R"END(
[[ $MICROSWARM_CAPABILITY == moody ]] || exit 9
payload=$(head -c 100)
case $payload in
  environment)
    printf '%s %s %s %s' "$MICROSWARM_TASK" "$MICROSWARM_ATTEMPT" "$MICROSWARM_AGENT_ID" \
      "${MICROSWARM_AGENT_FD:-none}" ;;
  inputs) cat "$MICROSWARM_FILES"/input-1 "$MICROSWARM_FILES"/input-2; echo "$MICROSWARM_INPUTS" ;;
  fail) echo "first line" >&2; echo "what went wrong" >&2; exit 7 ;;
  signal) kill -SEGV $$ ;;
  flood) head -c 1000000 /dev/zero | tr '\0' e >&2; echo " the end" >&2; exit 2 ;;
  big) head -c 5000000 /dev/zero ;;
  endless) cat /dev/zero ;;
  deaf) echo unheard ;;
  background) sleep 1000 & echo $! > "$STATE/child"; echo started ;;
  slow) sleep 1; echo slow ;;
  block)
    [[ $MICROSWARM_ATTEMPT == 1 ]] || { echo again; exit; }
    echo $$ > "$STATE/script"; sleep 1000 & echo $! > "$STATE/child"; wait ;;
  stubborn) trap '' TERM; echo $$ > "$STATE/script"; while :; do sleep 1000; done ;;
  *) printf '%s' "$payload" ;;
esac
)END";

struct Fixture {
  Fixture() {
    require(swarm.wait_for_live(2), [this] { return swarm.log(); });
    client.emplace(swarm);
  }
  ~Fixture() {
    client.reset();
    swarm.finish();
  }

  TaskResult run(std::string_view payload) { return client->run("moody", payload); }
  void check_works() {
    BOOST_TEST(run("still there").text() == "still there");
    BOOST_TEST(swarm.counter("agents_died") == 0u);
  }

  Scripts scripts;
  FaultSwarm swarm{
      "[memory]\npool_size = \"4MiB\"\n[tasks]\ncancel_grace_ms = 2000\n"
      "[supervision]\nhang_timeout_ms = 400\nbackoff_initial_ms = 1\n" +
      scripts.kind("moody", "exec", scripts.make("moody", moody)) +
      scripts.kind("cat", "exec", "cat")};
  std::optional<TaskClient> client;
};

BOOST_FIXTURE_TEST_SUITE(exec, Fixture)

BOOST_AUTO_TEST_CASE(payload_in_and_result_out) {
  BOOST_TEST(run("some text").text() == "some text");
  const auto number = client->submit("moody", "environment");
  const auto result = client->result_of(number);
  BOOST_TEST(result.text() == std::to_string(result.task_id()) + " 1 0 none");
  // It writes before it has read all.
  for (const std::size_t size : {0u, 1u, 65536u, 1u << 20}) {
    const std::string bytes = binary_bytes(size);
    const auto copy = client->run("cat", bytes);
    BOOST_TEST(copy.is_done(), copy.text().substr(0, 200));
    BOOST_TEST((copy.text() == bytes), size);
  }
}

BOOST_AUTO_TEST_CASE(inputs_are_files) {
  ::setenv("MICROSWARM_NAME", "test", 1);
  const auto id_of = [](const std::string& payload) {
    const auto end = microswarm({"task", "submit", "cat", "--file", "-"}, payload);
    BOOST_REQUIRE_MESSAGE(end.code == 0, end.err);
    return end.out.substr(0, end.out.find('\n'));
  };
  const auto end = microswarm(
      {"task", "submit", "moody", "--file", "-", "--wait", "--after", id_of("one "), id_of("two ")},
      "inputs");
  BOOST_TEST(end.code == 0, end.err);
  BOOST_TEST(end.out == "one two 2\n");
  ::unsetenv("MICROSWARM_NAME");
  BOOST_TEST(std::filesystem::is_empty(swarm.directory() / "test.files" / "0"));
}

BOOST_AUTO_TEST_CASE(how_it_ends_is_how_the_task_ends) {
  check_failed(run("fail"), "exit code 7: first line\nwhat went wrong");
  check_failed(run("signal"), "killed by SIGSEGV");
  const auto flood = run("flood");
  check_failed(flood, "exit code 2: ...eeee");
  BOOST_TEST(flood.text().ends_with("eee the end"));
  BOOST_TEST(flood.text().size() < 1100u);
  BOOST_TEST(wait_for([this] { return holds(swarm.log(), "moody/0: what went wrong"); }));
  check_works();
}

BOOST_AUTO_TEST_CASE(output_is_bounded_by_the_pool) {
  check_failed(run("big"), "its output is larger than the pool of 4194304 bytes");
  check_failed(run("endless"), "its output is larger than the pool of 4194304 bytes");
  check_works();
}

BOOST_AUTO_TEST_CASE(who_does_not_read_is_not_waited_for) {
  BOOST_TEST(client->run("moody", "deaf" + std::string(1 << 20, '\n')).is_done());
  check_works();
}

BOOST_AUTO_TEST_CASE(what_it_leaves_running_ends_with_it) {
  BOOST_TEST(run("background").text() == "started\n");
  const pid_t child = scripts.pid("child");
  BOOST_TEST(wait_for([child] { return process_start_ticks(child) == 0; }));
}

BOOST_AUTO_TEST_CASE(a_command_may_take_longer_than_a_hang) {
  BOOST_TEST(run("slow").text() == "slow\n");
  check_works();
}

BOOST_AUTO_TEST_CASE(a_killed_command_fails_its_task) {
  const auto number = client->submit("moody", "block");
  const Life script(scripts.pid("script"));
  const Life child(scripts.pid("child"));
  BOOST_REQUIRE(::kill(script.pid, SIGKILL) == 0);
  check_failed(client->result_of(number), "killed by SIGKILL");
  BOOST_TEST(child.ends());
  check_works();
}

BOOST_AUTO_TEST_CASE(a_killed_agent_takes_its_command_along) {
  const auto number = client->submit("moody", "block");
  const Life script(scripts.pid("script"));
  const Life child(scripts.pid("child"));
  BOOST_REQUIRE(::kill(swarm.agent_pid(0), SIGKILL) == 0);
  const auto result = client->result_of(number);
  BOOST_TEST(result.text() == "again\n");
  BOOST_TEST(result.attempts() == 2u);
  BOOST_TEST(script.ends());
  BOOST_TEST(child.ends());
}

BOOST_AUTO_TEST_CASE(a_cancelled_task_ends_its_command) {
  for (const std::string_view payload : {"block", "stubborn"}) {
    const auto number = client->submit("moody", payload);
    const TaskId id = client->id_of(number);
    const Life script(scripts.pid("script"));
    BOOST_TEST(swarm.cancel(id) == "asked");
    BOOST_TEST((client->result_of(number).state() == TaskState::cancelled), payload);
    BOOST_TEST(script.is_over());
  }
  check_works();
}

BOOST_AUTO_TEST_CASE(a_timeout_ends_it_too) {
  const auto number = client->submit("moody", "block", {.timeout_ms = 300});
  const Life script(scripts.pid("script"));
  BOOST_TEST((client->result_of(number).state() == TaskState::timed_out));
  BOOST_TEST(script.ends());
  check_works();
}

BOOST_AUTO_TEST_SUITE_END()

}  // namespace
}  // namespace micro_swarm::testing
