// Agents die, hang and leave things behind: what the death certificates say, what happens to the
// task in hand, when a restart waits and when it is given up.

#include <algorithm>

#include "tests/fault_swarm.hpp"

namespace micro_swarm::testing {
namespace {

/// One agent that can do everything wrong, beside one that only works.
std::string toml_with(const std::string& supervision, const std::string& tasks = "",
                      const std::string& more_of_victim = "") {
  return R"(
[[agent]]
name = "victim"
count = 1
capabilities = ["sleep", "spin", "hash", "fault.crash", "fault.exit", "fault.hang", "fault.stop",
                "fault.fork_away"]
)" + more_of_victim +
         R"(
[[agent]]
name = "worker"
count = 1
capabilities = ["echo"]
[tasks]
attempts_max = 3
cancel_grace_ms = 200
)" + tasks +
         R"(
[supervision]
backoff_initial_ms = 1
hang_timeout_ms = 300
)" + supervision;
}
constexpr PartyId victim = 0;
constexpr PartyId worker = 1;

bool has_event(const nlohmann::json& certificate, std::string_view name) {
  const auto& events = certificate.at("last_events");
  return std::any_of(events.begin(), events.end(),
                     [&](const auto& event) { return event.at("event") == name; });
}

BOOST_AUTO_TEST_CASE(a_certificate_names_the_signal_and_the_task_in_hand) {
  FaultSwarm swarm(toml_with(""));
  BOOST_REQUIRE(swarm.wait_for_live(2));
  TaskClient client(swarm);
  const auto number = client.submit("sleep", "60000");
  const TaskId id = client.id_of(number);
  swarm.require_in_hand(victim, id);
  const pid_t pid = swarm.agent_pid(victim);
  swarm.remember(pid);
  const pid_t other = swarm.agent_pid(worker);
  BOOST_REQUIRE_EQUAL(::kill(pid, SIGKILL), 0);

  const auto certificate = swarm.certificate(victim);
  BOOST_TEST(certificate.at("signal") == SIGKILL);
  BOOST_TEST(certificate.at("pid") == pid);
  BOOST_TEST(certificate.at("incarnation") == 1);
  BOOST_TEST(certificate.at("kind") == "victim");
  BOOST_TEST(certificate.at("registered") == true);
  BOOST_TEST(certificate.at("task_in_hand") == id);
  BOOST_TEST(certificate.contains("uptime_ms"));
  BOOST_TEST(!certificate.contains("killed_because"));
  BOOST_TEST(has_event(certificate, "handler_started"));
  BOOST_TEST(swarm.events("agent_died").size() == 1u);

  // The successor has the task in hand: its second attempt.
  swarm.require_in_hand(victim, id);
  BOOST_TEST(swarm.task(id).at("attempts") == 2);
  BOOST_TEST(swarm.agent(victim).at("incarnation") == 2);
  BOOST_TEST(swarm.agent_pid(victim) != pid);
  BOOST_TEST(swarm.agent_pid(worker) == other);
  BOOST_TEST(swarm.cancel(id) == "asked");
  const TaskResult result = client.result_of(number);
  BOOST_TEST((result.state() == TaskState::cancelled));
  BOOST_TEST(result.attempts() == 2u);
  swarm.finish();
}

BOOST_AUTO_TEST_CASE(a_task_that_kills_its_agents_becomes_a_dead_letter) {
  FaultSwarm swarm(toml_with("intensity = 100\n"));
  BOOST_REQUIRE(swarm.wait_for_live(2));
  TaskClient client(swarm);
  const auto number = client.submit("fault.crash");
  const TaskId id = client.id_of(number);
  const TaskResult result = client.result_of(number);
  BOOST_TEST((result.state() == TaskState::dead_letter));
  BOOST_TEST(result.attempts() == 3u);
  for (std::size_t life = 1; life <= 3; ++life) {
    const auto certificate = swarm.certificate(victim, life);
    BOOST_TEST(certificate.at("signal") == SIGSEGV);
    BOOST_TEST(certificate.at("task_in_hand") == id);
    BOOST_TEST(has_event(certificate, "handler_started"));
  }
  BOOST_TEST(swarm.task(id).at("crashes") == 3);
  BOOST_TEST(swarm.events("task_dead_letter").size() == 1u);
  // The poison is out of the way: the fourth life works.
  BOOST_TEST(client.run("hash", "x").is_done());
  client.check_echo("never bothered");
  BOOST_TEST(swarm.agent(worker).at("deaths") == 0);
  swarm.finish();
}

BOOST_AUTO_TEST_CASE(tasks_behind_a_poison_are_not_blamed_for_it) {
  FaultSwarm swarm(toml_with("intensity = 100\n"));
  BOOST_REQUIRE(swarm.wait_for_live(2));
  TaskClient client(swarm);
  const auto poison = client.submit("fault.crash");
  std::vector<std::uint64_t> others;
  for (int i = 0; i < 6; ++i) others.push_back(client.submit("hash", "x"));
  BOOST_TEST((client.result_of(poison).state() == TaskState::dead_letter));
  for (const auto number : others) BOOST_TEST(client.result_of(number).is_done());
  swarm.finish();
}

BOOST_AUTO_TEST_CASE(a_certificate_names_the_exit_code) {
  FaultSwarm swarm(toml_with("intensity = 100\n"));
  BOOST_REQUIRE(swarm.wait_for_live(2));
  TaskClient client(swarm);
  BOOST_TEST((client.run("fault.exit", "7").state() == TaskState::dead_letter));
  const auto certificate = swarm.certificate(victim, 3);
  BOOST_TEST(certificate.at("exit_code") == 7);
  BOOST_TEST(!certificate.contains("signal"));
  swarm.finish();
}

BOOST_AUTO_TEST_CASE(a_hanging_task_times_out_and_its_agent_is_killed_after_the_grace) {
  FaultSwarm swarm(toml_with(""));
  BOOST_REQUIRE(swarm.wait_for_live(2));
  TaskClient client(swarm);
  const TaskResult result = client.run("fault.hang", "", {.timeout_ms = 200});
  BOOST_TEST((result.state() == TaskState::timed_out));
  BOOST_TEST(result.attempts() == 1u);
  const auto certificate = swarm.certificate(victim);
  BOOST_TEST(certificate.at("signal") == SIGKILL);
  BOOST_TEST(certificate.at("killed_because").get<std::string>().find("timed out") !=
             std::string::npos);
  BOOST_TEST(swarm.counter("agents_killed_late") == 1u);
  BOOST_TEST(client.run("hash", "x").is_done());
  swarm.finish();
}

BOOST_AUTO_TEST_CASE(a_stopped_agent_is_found_killed_and_replaced) {
  FaultSwarm swarm(toml_with(""));
  BOOST_REQUIRE(swarm.wait_for_live(2));
  TaskClient client(swarm);
  const auto number = client.submit("sleep", "700");
  swarm.require_in_hand(victim, client.id_of(number));
  BOOST_REQUIRE_EQUAL(::kill(swarm.agent_pid(victim), SIGSTOP), 0);
  const TaskResult result = client.result_of(number);
  BOOST_TEST(result.is_done());
  BOOST_TEST(result.attempts() == 2u);
  BOOST_TEST(swarm.certificate(victim).at("killed_because").get<std::string>().find("hung") !=
             std::string::npos);
  BOOST_TEST(swarm.counter("agents_killed_hung") == 1u);
  BOOST_TEST(swarm.agent(worker).at("deaths") == 0);

  // One that stops its agents itself is a poison too.
  BOOST_TEST((client.run("fault.stop").state() == TaskState::dead_letter));
  BOOST_TEST(swarm.counter("agents_killed_hung") == 4u);
  swarm.finish();
}

BOOST_AUTO_TEST_CASE(a_stopped_agent_does_not_keep_what_comes_home_to_it) {
  FaultSwarm swarm(toml_with(""));
  BOOST_REQUIRE(swarm.wait_for_live(2));
  TaskClient client(swarm);
  TaskResult result = client.result_of(client.submit("echo", std::string(5'000, 'x')));
  BOOST_REQUIRE(result.is_done());
  const pid_t pid = swarm.agent_pid(worker);
  swarm.remember(pid);
  // Idle, so that nothing but the unread token shows that it has stopped.
  BOOST_REQUIRE_EQUAL(::kill(pid, SIGSTOP), 0);
  result.release();
  BOOST_TEST(
      swarm.wait_until([](const auto& s) { return s.at("memory").at("tokens_out") == 0; }, 5'000));
  BOOST_TEST(swarm.agent_pid(worker) != pid);
  swarm.finish();
}

BOOST_AUTO_TEST_CASE(early_deaths_are_answered_later_and_later) {
  FaultSwarm swarm(R"(
[swarm]
agents = 2
[supervision]
backoff_initial_ms = 400
backoff_max_ms = 800
stable_after_ms = 60000
)");
  BOOST_REQUIRE(swarm.wait_for_live(2));
  for (std::size_t death = 1; death <= 4; ++death) {
    BOOST_REQUIRE(swarm.wait_for_live(2));
    BOOST_REQUIRE_EQUAL(::kill(swarm.agent_pid(0), SIGKILL), 0);
    static_cast<void>(swarm.certificate(0, death));
  }
  BOOST_REQUIRE(swarm.wait_for_live(2));
  const auto died = swarm.events("agent_died");
  const auto live = swarm.events("agent_live");
  BOOST_REQUIRE_EQUAL(died.size(), 4u);
  BOOST_REQUIRE_EQUAL(live.size(), 4u);
  // At least half of 0, 400, 800, 800 ms; one millisecond for the rounding of two clocks' ends. The
  // first successor waits for nothing, not even for the event of the death.
  constexpr std::int64_t least_ms[] = {0, 199, 399, 399};
  for (std::size_t i = 1; i < 4; ++i) {
    const auto waited_ms =
        live[i].at("time_ms").get<std::int64_t>() - died[i].at("time_ms").get<std::int64_t>();
    BOOST_TEST(waited_ms >= least_ms[i]);
  }
  BOOST_TEST(swarm.agent(1).at("deaths") == 0);
  swarm.finish();
}

BOOST_AUTO_TEST_CASE(an_agent_that_dies_too_often_is_given_up_and_the_others_go_on) {
  FaultSwarm swarm(toml_with("intensity = 2\nperiod_ms = 60000\n"));
  BOOST_REQUIRE(swarm.wait_for_live(2));
  TaskClient client(swarm);
  for (int death = 0; death < 3; ++death) {
    BOOST_REQUIRE(swarm.wait_for_live(2));
    const pid_t pid = swarm.agent_pid(victim);
    swarm.remember(pid);
    BOOST_REQUIRE_EQUAL(::kill(pid, SIGKILL), 0);
    static_cast<void>(swarm.certificate(victim, static_cast<std::size_t>(death) + 1));
  }
  BOOST_REQUIRE(swarm.wait_until([](const auto& s) { return s.at("agents").at("gave_up") == 1; }));
  const auto shown = swarm.agent(victim);
  BOOST_TEST(shown.at("state") == "gave_up");
  BOOST_TEST(shown.at("give_up_reason") == "died more than 2 times in 60000 ms");
  BOOST_TEST(shown.at("restarts") == 2);
  BOOST_TEST(shown.at("deaths") == 3);
  BOOST_TEST(swarm.events("agent_gave_up").size() == 1u);

  BOOST_TEST(swarm.status().at("state") == "running");
  client.check_echo("goes on");
  const auto orphan = client.submit("hash", "x", {.timeout_ms = 300});
  BOOST_TEST(swarm.task(client.id_of(orphan)).at("waits_for") ==
             "no live agent has this capability");
  const TaskResult result = client.result_of(orphan);
  BOOST_TEST((result.state() == TaskState::timed_out));
  BOOST_TEST(result.attempts() == 0u);
  swarm.finish();
}

BOOST_AUTO_TEST_CASE(tasks_are_cancelled_wherever_they_are) {
  FaultSwarm swarm(toml_with("", "in_flight_per_agent = 1\n"));
  BOOST_REQUIRE(swarm.wait_for_live(2));
  TaskClient client(swarm);
  const pid_t pid = swarm.agent_pid(victim);
  const auto running = client.submit("sleep", "60000");
  const TaskId running_id = client.id_of(running);
  swarm.require_in_hand(victim, running_id);

  const auto waiting = client.submit("hash", "x");
  const TaskId waiting_id = client.id_of(waiting);
  BOOST_TEST(swarm.task_state(waiting_id) == "ready");
  BOOST_TEST(swarm.cancel(waiting_id) == "ended");
  const TaskResult never_ran = client.result_of(waiting);
  BOOST_TEST((never_ran.state() == TaskState::cancelled));
  BOOST_TEST(never_ran.attempts() == 0u);
  BOOST_TEST(swarm.cancel(waiting_id) == "already_over");

  BOOST_TEST(swarm.cancel(running_id) == "asked");
  const TaskResult cooperative = client.result_of(running);
  BOOST_TEST((cooperative.state() == TaskState::cancelled));
  BOOST_TEST(swarm.agent_pid(victim) == pid);
  BOOST_TEST(swarm.agent(victim).at("deaths") == 0);

  // It works on, and makes progress: only its end helps.
  const auto stubborn = client.submit("spin", "60000");
  const TaskId stubborn_id = client.id_of(stubborn);
  swarm.require_in_hand(victim, stubborn_id);
  BOOST_TEST(swarm.cancel(stubborn_id) == "asked");
  BOOST_TEST((client.result_of(stubborn).state() == TaskState::cancelled));
  const auto certificate = swarm.certificate(victim);
  BOOST_TEST(certificate.at("pid") == pid);
  BOOST_TEST(certificate.at("signal") == SIGKILL);
  BOOST_TEST(certificate.at("task_in_hand") == stubborn_id);
  BOOST_TEST(certificate.at("killed_because").get<std::string>().find("cancelled") !=
             std::string::npos);
  BOOST_TEST(client.run("hash", "x").is_done());
  swarm.finish();
}

BOOST_AUTO_TEST_CASE(the_task_before_a_cancelled_one_is_not_disturbed) {
  FaultSwarm swarm(toml_with(""));
  BOOST_REQUIRE(swarm.wait_for_live(2));
  TaskClient client(swarm);
  const auto innocent = client.submit("sleep", "1000");
  const auto behind = client.submit("fault.hang");
  swarm.require_in_hand(victim, client.id_of(innocent));
  const TaskId behind_id = client.id_of(behind);
  BOOST_TEST(swarm.task_state(behind_id) == "running");  // handed over, not begun
  BOOST_TEST(swarm.cancel(behind_id) == "asked");
  const TaskResult first = client.result_of(innocent);
  BOOST_TEST(first.is_done());
  BOOST_TEST(first.attempts() == 1u);
  BOOST_TEST((client.result_of(behind).state() == TaskState::cancelled));
  BOOST_TEST(swarm.agent(victim).at("deaths") == 0);
  swarm.finish();
}

BOOST_AUTO_TEST_CASE(a_cancel_is_carried_through_by_the_next_supervisor) {
  FaultSwarm swarm(toml_with(""));
  BOOST_REQUIRE(swarm.wait_for_live(2));
  TaskClient client(swarm);
  const auto number = client.submit("spin", "60000");
  const TaskId id = client.id_of(number);
  swarm.require_in_hand(victim, id);
  BOOST_TEST(swarm.cancel(id) == "asked");
  BOOST_REQUIRE_EQUAL(::kill(swarm.supervisor(), SIGKILL), 0);
  const TaskResult result = client.result_of(number);
  BOOST_TEST((result.state() == TaskState::cancelled));
  BOOST_TEST(result.attempts() == 1u);
  swarm.finish();
}

// Contained, it could not fork.
BOOST_AUTO_TEST_CASE(what_an_agent_leaves_behind_is_killed_with_it) {
  FaultSwarm swarm(toml_with("", "", "contain = false"));
  BOOST_REQUIRE(swarm.wait_for_live(2));
  TaskClient client(swarm);
  const auto before = children_of(swarm.root());
  BOOST_REQUIRE(!before.empty());
  BOOST_TEST(client.run("fault.fork_away").is_done());
  // Its parent is dead, so it is a child of root now: the one that was not there before, and no
  // template's spare agent, which may be made at any moment.
  std::vector<pid_t> strays;
  for (const pid_t pid : children_of(swarm.root()))
    if (std::find(before.begin(), before.end(), pid) == before.end() &&
        command_name(pid) != "ms-spare")
      strays.push_back(pid);
  BOOST_REQUIRE_EQUAL(strays.size(), 1u);
  swarm.remember(strays[0]);
  BOOST_REQUIRE_EQUAL(::kill(swarm.agent_pid(victim), SIGKILL), 0);
  BOOST_TEST(
      swarm.wait_until([](const auto& s) { return s.at("counters").at("strays_killed") == 1; }));
  BOOST_TEST(wait_for([&] { return process_start_ticks(strays[0]) == 0; }));
  BOOST_TEST(swarm.wait_for_live(2));
  BOOST_TEST(client.run("hash", "x").is_done());
  // And one whose agent lives until the swarm ends: finish() looks for it.
  BOOST_TEST(client.run("fault.fork_away").is_done());
  swarm.finish();
}

BOOST_AUTO_TEST_CASE(a_killed_template_is_replaced_and_its_agents_work_on) {
  FaultSwarm swarm(toml_with(""));
  BOOST_REQUIRE(swarm.wait_for_live(2));
  const auto template_pid = [&] {
    for (const pid_t pid : children_of(swarm.root()))
      if (command_name(pid) == "ms-t-victim") return pid;
    return pid_t{0};
  };
  const pid_t first = template_pid();
  BOOST_REQUIRE(first > 1);
  swarm.remember(first);
  const auto agents = swarm.agents();
  TaskClient client(swarm);
  const auto number = client.submit("sleep", "300");
  BOOST_REQUIRE_EQUAL(::kill(first, SIGKILL), 0);
  BOOST_TEST(client.result_of(number).attempts() == 1u);
  BOOST_TEST(wait_for([&] { return swarm.events("template_died").size() == 1; }));
  BOOST_TEST(wait_for([&] { return template_pid() > 1 && template_pid() != first; }));
  BOOST_TEST(swarm.agents() == agents, boost::test_tools::per_element());
  // The next one makes agents.
  swarm.remember_all();
  BOOST_REQUIRE_EQUAL(::kill(agents[0], SIGKILL), 0);
  static_cast<void>(swarm.certificate(victim));
  BOOST_REQUIRE(swarm.wait_for_live(2));
  BOOST_TEST(swarm.agent_pid(victim) != agents[0]);
  BOOST_TEST(client.run("hash", "x").is_done());
  swarm.finish();
}

BOOST_AUTO_TEST_CASE(agents_and_their_template_may_die_together) {
  FaultSwarm swarm(toml_with(""));
  BOOST_REQUIRE(swarm.wait_for_live(2));
  TaskClient client(swarm);
  const auto number = client.submit("sleep", "50");
  swarm.remember_all();
  for (const pid_t pid : children_of(swarm.root()))
    if (command_name(pid).starts_with("ms-t-") || command_name(pid).starts_with("ms-agent-"))
      ::kill(pid, SIGKILL);
  BOOST_TEST(client.result_of(number).is_done());
  client.check_echo("again");
  swarm.finish();
}

}  // namespace
}  // namespace micro_swarm::testing
