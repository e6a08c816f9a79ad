// Agents that are scripts asked in lines: what they answer, and everything they can do wrong.

#include <nlohmann/json.hpp>

#include "tests/cli_command.hpp"
#include "tests/script_swarm.hpp"

namespace micro_swarm::testing {
namespace {

/// Does what its payload says. Who it is stands in $STATE before it may be killed.
constexpr const char* moody = R"END(
while IFS= read -r line; do
  task=${line#'{"task":'}
  task=${task%%,*}
  # What is looked for is there: a search in vain takes bash seconds in a long line.
  case $line in
    *'"payload_path":'*)
      path=${line#*'"payload_path":"'}
      path=${path%'"}'}
      cp "$path" "$MICROSWARM_FILES/result"
      printf '{"task":%s,"result_path":"%s"}\n' "$task" "$MICROSWARM_FILES/result"
      continue ;;
    *'"payload_base64":'*)
      bytes=${line#*'"payload_base64":"'}
      printf '{"result_base64":"%s"}\n' "${bytes%'"}'}"
      continue ;;
  esac
  payload=${line#*'"payload":"'}
  payload=${payload%'"}'}
  case $payload in
    pid) printf '{"result":"%s"}\n' $$ ;;
    line) printf '%s\n' "$line" > "$STATE/line"; echo '{"result":""}' ;;
    environment)
      printf '{"result":"%s %s %s"}\n' "$MICROSWARM_AGENT_ID" "$MICROSWARM_INCARNATION" \
        "${MICROSWARM_AGENT_FD:-none}" ;;
    exit) exit 3 ;;
    answer-and-exit) echo '{"result":"the last"}'; exit 0 ;;
    garbage) echo 'what?' ;;
    half) printf '{"result":"no newline'; exit 0 ;;
    long) head -c 1100000 /dev/zero | tr '\0' x ;;
    twice) env printf '{"result":"a"}\n{"result":"b"}\n' ;;
    other) echo '{"task":1,"result":"x"}' ;;
    error) printf '{"task":%s,"error":"on purpose"}\n' "$task" ;;
    close) exec >&-; read -r _ ;;
    progress)
      for _ in 1 2 3 4 5 6; do sleep 0.1; echo '{"progress":true}'; done
      echo '{"result":"slow"}' ;;
    big) head -c 5000000 /dev/zero > "$MICROSWARM_FILES/big"; echo '{"result_path":"big"}' ;;
    outside) echo '{"result_path":"/etc/passwd"}' ;;
    link) ln -s /etc/passwd "$MICROSWARM_FILES/link"; echo '{"result_path":"link"}' ;;
    stderr) echo "to be logged" >&2; echo '{"result":"said"}' ;;
    block)
      case $line in
        *'"attempt":1,'*) echo $$ > "$STATE/script"; sleep 1000 & echo $! > "$STATE/child"; wait ;;
        *) echo '{"result":"again"}' ;;
      esac ;;
    stubborn) trap '' TERM; echo $$ > "$STATE/script"; while :; do sleep 1000; done ;;
    *) printf '{"result":"%s"}\n' "$payload" ;;
  esac
done
)END";

struct Fixture {
  Fixture() {
    require(swarm.wait_for_live(1), [this] { return swarm.log(); });
    client.emplace(swarm);
  }
  ~Fixture() {
    client.reset();
    swarm.finish();
  }

  TaskResult run(std::string_view payload) { return client->run("moody", payload); }
  void check_works() {
    const auto result = run("still there");
    BOOST_TEST(result.text() == "still there");
    BOOST_TEST(swarm.counter("agents_died") == 0u);
  }
  void check_fails(std::string_view payload, std::string_view why) {
    check_failed(run(payload), why);
    check_works();
  }

  Scripts scripts;
  FaultSwarm swarm{
      "[memory]\npool_size = \"4MiB\"\n[tasks]\ncancel_grace_ms = 2000\n"
      "[supervision]\nhang_timeout_ms = 400\nbackoff_initial_ms = 1\n" +
      scripts.kind("moody", "stdio", scripts.make("moody", moody))};
  std::optional<TaskClient> client;
};

BOOST_FIXTURE_TEST_SUITE(stdio, Fixture)

BOOST_AUTO_TEST_CASE(one_script_answers_one_task_after_the_other) {
  for (const std::string_view text : {"", "two words", "caf\xc3\xa9 \\\" \n"})
    BOOST_TEST(run(text).text() == text);
  const auto first = run("pid");
  const auto second = run("pid");
  BOOST_TEST(first.text() == second.text());
  BOOST_TEST(run("environment").text() == "0 1 none");
  BOOST_TEST(run("answer-and-exit").text() == "the last");
  check_works();
}

BOOST_AUTO_TEST_CASE(bytes_of_any_kind_and_size_go_both_ways) {
  for (const std::size_t size : {3u, 1000u, 65536u, 65537u, 1u << 20}) {
    const std::string bytes = "\xff" + binary_bytes(size - 1);
    const auto result = run(bytes);
    BOOST_TEST(result.is_done(), result.text().substr(0, 200));
    BOOST_TEST((result.text() == bytes), size);
  }
  const std::string text(1 << 20, 't');  // by file, although it is text
  BOOST_TEST((run(text).text() == text));
  BOOST_TEST(std::filesystem::is_empty(swarm.directory() / "test.files" / "0"));
}

BOOST_AUTO_TEST_CASE(inputs_come_with_the_task) {
  ::setenv("MICROSWARM_NAME", "test", 1);
  const auto submit = [](const std::string& payload, std::vector<std::string> more) {
    std::vector<std::string> args{"task", "submit", "moody", "--file", "-"};
    args.insert(args.end(), more.begin(), more.end());
    const auto end = microswarm(args, payload);
    BOOST_REQUIRE_MESSAGE(end.code == 0, end.err);
    return end.out.substr(0, end.out.find('\n'));
  };
  const auto small = submit("small", {});
  const auto large = submit(std::string(100'000, 'l'), {});
  submit("line", {"--after", small, large, "--wait"});
  const auto line = nlohmann::json::parse(scripts.text("line"));
  BOOST_TEST(line.at("inputs").size() == 2u);
  BOOST_TEST(std::to_string(line["inputs"][0]["task"].get<TaskId>()) == small);
  BOOST_TEST(line["inputs"][0]["state"] == "done");
  BOOST_TEST(line["inputs"][0]["result"] == "small");
  BOOST_TEST(line["inputs"][1]["result_path"] ==
             (swarm.directory() / "test.files" / "0" / "input-2").string());
  BOOST_TEST(line["capability"] == "moody");
  BOOST_TEST(line["attempt"] == 1);
  ::unsetenv("MICROSWARM_NAME");
}

BOOST_AUTO_TEST_CASE(what_a_script_does_wrong_fails_its_task_and_no_other) {
  check_fails("error", "on purpose");
  check_fails("exit", "the script ended before it answered (exit code 3)");
  check_fails("garbage", "the script answered with no JSON object: \"what?\"");
  check_fails("half", "the script ended before it answered (exit code 0)");
  check_fails("long", "the script answered with a line of more than 1048576 bytes");
  check_fails("twice", "the script said more after its answer");
  check_fails("other", "the script answered for task 1, and was asked for ");
  check_fails("close", "the script closed its output before it answered");
}

BOOST_AUTO_TEST_CASE(a_result_is_only_taken_from_the_agents_directory) {
  check_fails("outside", "/etc/passwd is not in ");
  check_fails("link", "link is not in ");
  check_fails("big", "more than the whole pool (4194304 bytes)");
}

BOOST_AUTO_TEST_CASE(progress_is_no_answer) {
  BOOST_TEST(run("progress").text() == "slow");
  check_works();
}

BOOST_AUTO_TEST_CASE(what_it_says_on_stderr_is_logged_under_its_agent) {
  BOOST_TEST(run("stderr").text() == "said");
  BOOST_TEST(wait_for([this] { return holds(swarm.log(), "moody/0: to be logged"); }), swarm.log());
}

BOOST_AUTO_TEST_CASE(a_script_killed_in_the_middle_fails_its_task) {
  const auto number = client->submit("moody", "block");
  const Life script(scripts.pid("script"));
  const Life child(scripts.pid("child"));
  BOOST_REQUIRE(::kill(script.pid, SIGKILL) == 0);
  check_failed(client->result_of(number),
               "the script ended before it answered (killed by SIGKILL)");
  BOOST_TEST(script.is_over());
  BOOST_TEST(child.ends());
  check_works();
}

BOOST_AUTO_TEST_CASE(a_script_killed_between_tasks_is_replaced) {
  const auto pid = run("pid");
  const Life script(static_cast<pid_t>(std::stol(std::string(pid.text()))));
  BOOST_REQUIRE(::kill(script.pid, SIGKILL) == 0);
  // While it dies its read() may still take what is written to it.
  BOOST_REQUIRE(script.is_killed());
  check_works();
  BOOST_TEST(run("pid").text() != pid.text());
}

BOOST_AUTO_TEST_CASE(a_killed_agent_takes_its_script_along) {
  const auto number = client->submit("moody", "block");
  const Life script(scripts.pid("script"));
  const Life child(scripts.pid("child"));
  BOOST_REQUIRE(::kill(swarm.agent_pid(0), SIGKILL) == 0);
  const auto result = client->result_of(number);
  BOOST_TEST(result.text() == "again");
  BOOST_TEST(result.attempts() == 2u);
  BOOST_TEST(script.ends());
  BOOST_TEST(child.ends());
}

BOOST_AUTO_TEST_CASE(a_cancelled_task_ends_its_script) {
  const auto number = client->submit("moody", "block");
  const TaskId id = client->id_of(number);
  const Life script(scripts.pid("script"));
  const Life child(scripts.pid("child"));
  BOOST_TEST(swarm.cancel(id) == "asked");
  BOOST_TEST((client->result_of(number).state() == TaskState::cancelled));
  BOOST_TEST(script.is_over());
  BOOST_TEST(child.ends());
  check_works();
}

BOOST_AUTO_TEST_CASE(a_script_that_ignores_sigterm_is_killed) {
  const auto number = client->submit("moody", "stubborn");
  const TaskId id = client->id_of(number);
  const Life script(scripts.pid("script"));
  BOOST_TEST(swarm.cancel(id) == "asked");
  BOOST_TEST((client->result_of(number).state() == TaskState::cancelled));
  BOOST_TEST(script.is_over());
  check_works();
}

BOOST_AUTO_TEST_CASE(a_supervisor_may_die_meanwhile) {
  const auto number = client->submit("moody", "progress");
  swarm.require_in_hand(0, client->id_of(number));
  ::kill(swarm.supervisor(), SIGKILL);
  BOOST_TEST(client->result_of(number).text() == "slow");
  check_works();
}

BOOST_AUTO_TEST_SUITE_END()

BOOST_AUTO_TEST_CASE(a_script_that_never_answers_ends_its_agent_in_the_end) {
  Scripts scripts;
  FaultSwarm swarm("[supervision]\nbackoff_initial_ms = 1\n" +
                   scripts.kind("useless", "stdio", scripts.make("useless", "exit 4\n")));
  BOOST_REQUIRE(swarm.wait_for_live(1));
  {
    TaskClient client(swarm);
    // Whether it was still alive when the first task came or not, there are five failures.
    unsigned attempts = 1;
    for (int i = 0; i < 6 && attempts == 1; ++i) {
      const auto result = client.run("useless");
      BOOST_TEST((result.state() == TaskState::failed));
      BOOST_TEST(holds(result.text(), "exit code 4"), result.text());
      attempts = result.attempts();
    }
    BOOST_TEST(attempts == 2u);
  }
  const auto certificate = swarm.certificate(0);
  BOOST_TEST(certificate.at("exit_code") == 1);
  BOOST_TEST(holds(certificate.at("last_line").get<std::string>(), "no answer 5 times in a row"),
             certificate.dump());
  BOOST_TEST(holds(swarm.agent(0).at("last_death").get<std::string>(), "exit code 1 after "));
  swarm.finish();
}

BOOST_AUTO_TEST_CASE(what_everybodys_death_leaves_the_next_start_takes_away) {
  Scripts scripts;
  FaultSwarm swarm(scripts.kind("moody", "stdio", scripts.make("moody", moody)));
  BOOST_REQUIRE(swarm.wait_for_live(1));
  const auto directory = swarm.directory() / "test.files";
  BOOST_TEST(std::filesystem::exists(directory / "0"));
  std::ofstream(directory / "0" / "left") << "over";
  swarm.remember_all();
  swarm.signal(SIGKILL);
  swarm.wait();
  BOOST_TEST(wait_for([&] { return swarm.none_left(); }));
  BOOST_TEST(std::filesystem::exists(directory / "0" / "left"));
  swarm.start();
  BOOST_TEST(wait_until_it_answers(swarm));
  BOOST_REQUIRE(swarm.wait_for_live(1));
  BOOST_TEST(!std::filesystem::exists(directory / "0" / "left"));
  swarm.finish();
}

}  // namespace
}  // namespace micro_swarm::testing
