// More agents, fewer, others: while the swarm works. No task is lost and none is run twice.

#include "tests/fault_swarm.hpp"

namespace micro_swarm::testing {
namespace {

std::string toml_with(unsigned count, const std::string& agent = "",
                      const std::string& supervision = "") {
  return "[[agent]]\nname = \"worker\"\ncount = " + std::to_string(count) +
         "\ncapabilities = [\"echo\", \"sleep\", \"fault.crash\"]\n" + agent +
         "[supervision]\nbackoff_initial_ms = 1\n" + supervision;
}

nlohmann::json scale(FaultSwarm& swarm, unsigned count) {
  return swarm.ask({{"verb", "agent.scale"}, {"kind", "worker"}, {"count", count}});
}
void restart(FaultSwarm& swarm, PartyId id) { swarm.ask({{"verb", "agent.restart"}, {"id", id}}); }
bool wait_for_renewed(FaultSwarm& swarm, std::uint64_t count) {
  return swarm.wait_until(
      [&](const auto& s) { return s.at("counters").at("agents_renewed") >= count; }, patience_ms);
}

/// Tasks that go on while things change; at the end each has ended once, at its first attempt.
struct Work {
  explicit Work(FaultSwarm& swarm) : client(swarm) {}
  void some(unsigned count = 50) {
    for (unsigned i = 0; i < count; ++i)
      numbers.push_back(i % 5 == 0 ? client.submit("sleep", "2") : client.submit("echo", "work"));
  }
  void all_ended_at_their_first_attempt() {
    for (const std::uint64_t number : numbers) {
      const TaskResult result = client.result_of(number);
      BOOST_TEST(result.is_done());
      BOOST_TEST(result.attempts() == 1u);
    }
    numbers.clear();
  }
  TaskClient client;
  std::vector<std::uint64_t> numbers;
};

BOOST_AUTO_TEST_CASE(all_are_replaced_one_by_one_under_load) {
  FaultSwarm swarm(toml_with(6));
  BOOST_REQUIRE(swarm.wait_for_live(6));
  {
    Work work(swarm);
    swarm.remember_all();
    const auto before = swarm.agents();
    for (PartyId id = 0; id < 6; ++id) restart(swarm, id);
    unsigned fewest = 6;
    do {
      work.all_ended_at_their_first_attempt();
      work.some();
      unsigned working = 0;
      const auto listed = swarm.ask({{"verb", "agent.list"}});
      for (const auto& agent : listed.at("agents"))
        working += agent.at("state") == "live" && agent.at("activity") != "draining" ? 1 : 0;
      fewest = std::min(fewest, working);
    } while (swarm.counter("agents_renewed") < 6);
    BOOST_TEST(fewest >= 5u);
    BOOST_TEST(swarm.wait_for_live(6));
    work.some();
    work.all_ended_at_their_first_attempt();
    const auto after = swarm.agents();
    for (const pid_t pid : before)
      BOOST_TEST((std::find(after.begin(), after.end(), pid) == after.end()));
    BOOST_TEST(swarm.counter("agents_renewed") == 6u);
    BOOST_TEST(swarm.counter("agents_died") == 0u);
    BOOST_TEST(swarm.counter("tasks_rerun") == 0u);
    BOOST_TEST(swarm.agent(0).at("death_certificates").empty());
  }
  swarm.finish();
}

BOOST_AUTO_TEST_CASE(a_task_in_hand_is_finished_first) {
  FaultSwarm swarm(toml_with(1));
  BOOST_REQUIRE(swarm.wait_for_live(1));
  {
    TaskClient client(swarm);
    const auto number = client.submit("sleep", "300");
    swarm.require_in_hand(0, client.id_of(number));
    const auto waiting = client.submit("echo", "behind it");
    restart(swarm, 0);
    restart(swarm, 0);  // it is going already
    BOOST_TEST(swarm.agent(0).at("activity") == "draining");
    BOOST_TEST(client.result_of(number).attempts() == 1u);
    BOOST_TEST(client.result_of(waiting).text() == "behind it");
    BOOST_TEST(wait_for_renewed(swarm, 1));
    BOOST_TEST(swarm.wait_until([](const auto& s) { return s.at("agents").at("live") == 1; },
                                patience_ms));
    BOOST_TEST(swarm.agent(0).at("incarnation") == 2);
  }
  swarm.finish();
}

BOOST_AUTO_TEST_CASE(a_kind_grows_and_shrinks_under_load) {
  FaultSwarm swarm(toml_with(2));
  BOOST_REQUIRE(swarm.wait_for_live(2));
  {
    Work work(swarm);
    for (const unsigned count : {9u, 1u, 4u, 0u, 3u}) {
      work.some();
      scale(swarm, count);
      scale(swarm, count);  // the same once more is no more
      work.some();
      BOOST_TEST(swarm.wait_until(
                     [&](const auto& s) {
                       const auto& agents = s.at("agents");
                       return agents.at("configured") == count && agents.at("live") == count;
                     },
                     patience_ms),
                 swarm.status().at("agents").dump());
    }
    work.all_ended_at_their_first_attempt();
    BOOST_TEST(swarm.agent(8).at("state") == "stopped");
    BOOST_TEST(swarm.agent(2).at("state") == "live");
    BOOST_TEST(swarm.counter("agents_died") == 0u);
    BOOST_TEST(swarm.counter("agents_stopped") == 12u);
  }
  swarm.finish();
}

BOOST_AUTO_TEST_CASE(no_more_than_there_are_places_and_no_kind_that_is_not_there) {
  FaultSwarm swarm(toml_with(1));
  BOOST_REQUIRE(swarm.wait_for_live(1));
  BOOST_CHECK_THROW(scale(swarm, 257), std::runtime_error);
  BOOST_CHECK_THROW(swarm.ask({{"verb", "agent.scale"}, {"kind", "nobody"}, {"count", 1}}),
                    std::runtime_error);
  BOOST_CHECK_THROW(swarm.ask({{"verb", "agent.scale"}, {"kind", "worker"}, {"count", -1}}),
                    std::runtime_error);
  BOOST_CHECK_THROW(swarm.ask({{"verb", "agent.stop"}, {"id", 1}}), std::runtime_error);
  BOOST_TEST(swarm.status().at("agents").at("live") == 1);
  swarm.finish();
}

BOOST_AUTO_TEST_CASE(the_worn_out_are_replaced) {
  FaultSwarm swarm(toml_with(3, "max_tasks = 40\n"));
  BOOST_REQUIRE(swarm.wait_for_live(3));
  {
    Work work(swarm);
    while (swarm.counter("agents_renewed") < 6) {
      work.some();
      work.all_ended_at_their_first_attempt();
    }
    BOOST_TEST(swarm.counter("agents_died") == 0u);
  }
  swarm.finish();
}

BOOST_AUTO_TEST_CASE(the_old_are_replaced_without_any_work) {
  FaultSwarm swarm(toml_with(2, "max_age_ms = 50\n"));
  BOOST_TEST(wait_for_renewed(swarm, 4));
  BOOST_TEST(swarm.counter("agents_died") == 0u);
  swarm.finish();
}

BOOST_AUTO_TEST_CASE(a_new_supervisor_goes_on_with_it) {
  FaultSwarm swarm(toml_with(4));
  BOOST_REQUIRE(swarm.wait_for_live(4));
  {
    Work work(swarm);
    // What is in hand keeps the first of them from going.
    std::vector<std::uint64_t> naps;
    for (unsigned i = 0; i < 4; ++i) naps.push_back(work.client.submit("sleep", "400"));
    for (PartyId id = 0; id < 4; ++id)
      BOOST_REQUIRE(wait_for([&] { return swarm.agent(id).contains("task_in_hand"); }));
    for (PartyId id = 0; id < 3; ++id) restart(swarm, id);
    swarm.ask({{"verb", "agent.stop"}, {"id", 3}});
    BOOST_REQUIRE_EQUAL(::kill(swarm.supervisor(), SIGKILL), 0);
    swarm.wait_for_epoch(2);
    work.some();
    for (const std::uint64_t nap : naps) BOOST_TEST(work.client.result_of(nap).attempts() == 1u);
    BOOST_TEST(wait_for_renewed(swarm, 3));
    BOOST_TEST(swarm.wait_until(
        [](const auto& s) {
          return s.at("agents").at("live") == 3 && s.at("agents").at("stopped") == 1;
        },
        patience_ms));
    work.all_ended_at_their_first_attempt();
    // And the number of agents is still that, after one more.
    scale(swarm, 5);
    BOOST_REQUIRE_EQUAL(::kill(swarm.supervisor(), SIGKILL), 0);
    swarm.wait_for_epoch(3);
    BOOST_TEST(swarm.wait_for_live(5));
    work.some();
    work.all_ended_at_their_first_attempt();
  }
  swarm.finish();
}

BOOST_AUTO_TEST_CASE(who_crashes_while_it_finishes_is_a_death_and_its_task_runs_elsewhere) {
  FaultSwarm swarm(toml_with(2));
  BOOST_REQUIRE(swarm.wait_for_live(2));
  {
    TaskClient client(swarm);
    const auto number = client.submit("sleep", "700");
    const TaskId id = client.id_of(number);
    BOOST_REQUIRE(wait_for([&] { return swarm.has_in_hand(0, id) || swarm.has_in_hand(1, id); }));
    const PartyId agent = swarm.has_in_hand(0, id) ? 0 : 1;
    swarm.ask({{"verb", "agent.stop"}, {"id", agent}});
    const pid_t pid = swarm.agent_pid(agent);
    swarm.remember(pid);
    BOOST_REQUIRE_EQUAL(::kill(pid, SIGKILL), 0);
    const TaskResult result = client.result_of(number);
    BOOST_TEST(result.is_done());
    BOOST_TEST(result.attempts() == 2u);
    BOOST_TEST(swarm.certificate(agent).at("signal") == SIGKILL);
    BOOST_TEST(swarm.agent(agent).at("state") == "stopped");
    BOOST_TEST(swarm.counter("agents_died") == 1u);
  }
  swarm.finish();
}

BOOST_AUTO_TEST_CASE(who_does_not_end_is_killed) {
  FaultSwarm swarm(toml_with(2, "", "drain_timeout_ms = 200\n"));
  BOOST_REQUIRE(swarm.wait_for_live(2));
  swarm.remember_all();
  BOOST_REQUIRE_EQUAL(::kill(swarm.agent_pid(1), SIGSTOP), 0);
  swarm.ask({{"verb", "agent.stop"}, {"id", 1}});
  BOOST_TEST(swarm.wait_until([](const auto& s) { return s.at("agents").at("stopped") == 1; },
                              patience_ms));
  const auto killed = swarm.events("agent_killed");
  BOOST_REQUIRE(killed.size() == 1u);
  BOOST_TEST(killed[0].at("reason").get<std::string>().find("did not end in 200 ms") !=
             std::string::npos);
  // By its number it starts again.
  restart(swarm, 1);
  BOOST_TEST(swarm.wait_for_live(2));
  {
    Work work(swarm);
    work.some(10);
    work.all_ended_at_their_first_attempt();
  }
  swarm.finish();
}

}  // namespace
}  // namespace micro_swarm::testing
