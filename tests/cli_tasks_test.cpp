// `task explain`, `task requeue`, `scheduler set` and the statistics, against real swarms: each
// reason is made true, asked for, and found among the pending counters.

#include <boost/test/unit_test.hpp>
#include <filesystem>
#include <fstream>

#include "ipc/client.hpp"
#include "tests/cli_command.hpp"
#include "tests/fault_text.hpp"

using namespace micro_swarm;
using nlohmann::json;

namespace {

bool holds(const std::string& text, std::string_view part) {
  return text.find(part) != std::string::npos;
}

struct Swarm {
  explicit Swarm(const std::string& sections, unsigned agents = 1)
      : swarm(sections + "[[agent]]\nname = \"worker\"\ncount = " + std::to_string(agents) +
              "\nversion = 2\ncapabilities = [\"noop\", \"echo\", \"sleep\", \"fail\", \"concat\", "
              "\"fault.crash\"]\n") {
    ::setenv("MICROSWARM_NAME", "test", 1);
    BOOST_REQUIRE_MESSAGE(swarm.wait_for_live(agents), swarm.log());
  }
  ~Swarm() { ::unsetenv("MICROSWARM_NAME"); }

  std::string submit(std::vector<std::string> args, std::string_view input = {}) const {
    args.insert(args.begin(), {"task", "submit"});
    if (!input.empty()) args.insert(args.end(), {"--file", "-"});
    const auto end = microswarm(args, input);
    BOOST_REQUIRE_MESSAGE(end.code == 0, end.err);
    return end.out.substr(0, end.out.size() - 1);
  }
  std::string submit_long() const { return submit({"sleep"}, "600000"); }
  json explain(const std::string& id) const {
    const auto end = microswarm({"task", "explain", id, "--format", "json"});
    BOOST_REQUIRE_MESSAGE(end.code == 0, end.err);
    return end.json();
  }
  /// The task is where it is for this reason, it says so in words too, and it is counted.
  json check(const std::string& id, const std::string& reason, const std::string& words) {
    const json why = explain(id);
    BOOST_TEST(why.at("reason") == reason, why.dump());
    BOOST_TEST(holds(why.at("text"), words), why.dump());
    const auto text = microswarm({"task", "explain", id});
    BOOST_TEST(text.code == 0, text.err);
    BOOST_TEST(text.out.starts_with("task " + id + " "), text.out);
    BOOST_TEST(holds(text.out, words), text.out);
    const json status = swarm.status();
    if (status.at("pending").contains(reason)) {
      BOOST_TEST(status.at("pending").at(reason) == 1, status.at("pending").dump());
      BOOST_TEST(holds(microswarm({"status"}).out, reason + "=1"));
    }
    return why;
  }
  bool wait_for_state(const std::string& id, const std::string& state) {
    return swarm.wait_until([&](const json&) {
      return swarm.ask({{"verb", "task.show"}, {"id", std::stoull(id)}})["task"]["state"] == state;
    });
  }
  std::string path(const std::string& name) const { return (swarm.directory() / name).string(); }

  SwarmProcess swarm;
};

constexpr const char* quick = R"(
[tasks]
attempts_max = 2
in_flight_per_agent = 1
[supervision]
intensity = 1000
backoff_initial_ms = 1
backoff_max_ms = 5
)";

}  // namespace

BOOST_AUTO_TEST_SUITE(explain)

BOOST_AUTO_TEST_CASE(dependencies_backoff_versions_and_ends) {
  Swarm s(quick);
  const std::string slow = s.submit_long();
  BOOST_REQUIRE(s.wait_for_state(slow, "running"));
  const json running = s.check(slow, "running", "agent 0 runs it");
  BOOST_TEST(running["agent"] == 0);

  const std::string after =
      s.submit({"concat", "--after", slow, "--on-dependency-failure", "skip"});
  const json waits = s.check(after, "dependencies", "waits for the end of task " + slow);
  BOOST_TEST(waits["waits_for"] == json::array({std::stoull(slow)}));
  BOOST_TEST(waits["state"] == "pending");

  const std::string newer = s.submit({"noop", "--min-version", "3"});
  const json version = s.check(newer, "no_agent", "noop in version 3 or later");
  BOOST_TEST(version["min_version"] == 3);
  BOOST_TEST(microswarm({"task", "cancel", newer}).code == 0);

  const std::string next = s.submit({"noop"});
  const json queued = s.check(next, "queue", "queue position 1 of class normal");
  BOOST_TEST(queued["position"] == 1);
  BOOST_TEST(microswarm({"task", "cancel", next}).code == 0);

  BOOST_TEST(microswarm({"task", "cancel", slow}).code == 0);
  BOOST_TEST(microswarm({"task", "wait", after}).code == 6);
  const json skipped = s.check(after, "ended", "ended: cancelled after 0 attempts (skipped");
  BOOST_TEST(skipped["state"] == "cancelled");

  const std::string failing = s.submit({"fail", "--retries", "3", "--retry-backoff-ms", "600000"});
  BOOST_REQUIRE(s.wait_for_state(failing, "pending"));
  const json backoff = s.check(failing, "backoff", "attempt 1 failed; the next is in ");
  BOOST_TEST(backoff["expected_start_in_ms"].get<std::uint64_t>() > 0u);
  BOOST_TEST(backoff["retries"] == 3);

  const auto unknown = microswarm({"task", "explain", "5"});
  BOOST_TEST(unknown.code == 1);
  BOOST_TEST(holds(unknown.err, "no task 5"), unknown.err);
}

BOOST_AUTO_TEST_CASE(where_no_agent_lives) {
  Swarm s("[supervision]\nintensity = 0\n[tasks]\nattempts_max = 1\n");
  (void)s.submit({"fault.crash"});
  BOOST_REQUIRE(s.swarm.wait_until([](const json& now) { return now["agents"]["gave_up"] == 1; }));
  s.check(s.submit({"echo"}), "no_agent", "no live agent has the capability echo");
}

BOOST_AUTO_TEST_CASE(max_concurrent) {
  Swarm s("[tasks]\nmax_concurrent = 1\n", 2);
  (void)s.submit_long();
  s.check(s.submit({"noop"}), "max_concurrent", "as many as tasks.max_concurrent allows");
}

BOOST_AUTO_TEST_CASE(the_quota_of_a_category) {
  Swarm s("[[category]]\nname = \"bulk\"\nrunning_max = 1\n", 2);
  (void)s.submit({"sleep", "--category", "bulk"}, "600000");
  const json why =
      s.check(s.submit({"noop", "--category", "bulk"}), "category_quota",
              "category bulk has as many tasks in flight as its running_max allows (1)");
  BOOST_TEST(why["category"] == "bulk");
  BOOST_TEST(microswarm({"task", "submit", "noop", "--category", "odd"}).code == 1);
}

BOOST_AUTO_TEST_CASE(the_quota_of_a_client_and_memory) {
  Swarm s("[scheduler]\nclient_running_max = 1\n[memory]\npool_size = \"4MiB\"\n", 2);
  auto client = Client::connect("test");
  BOOST_REQUIRE_MESSAGE(client.has_value(), fault_text(client));
  const auto submit = [&](std::string_view capability, std::string_view payload,
                          std::uint32_t regions) {
    TaskOptions options;
    options.resource_regions = regions;
    TaskRequest request;
    request.capability = capability;
    request.payload = std::as_bytes(std::span(payload.data(), payload.size()));
    request.options = &options;
    const auto number = client->submit(std::move(request));
    BOOST_REQUIRE_MESSAGE(number.has_value(), fault_text(number));
    std::string id;
    BOOST_REQUIRE(s.swarm.wait_until([&](const json&) {
      auto control = ControlClient::connect("test");
      const auto found = control->request({{"verb", "task.find"},
                                           {"client", client->party()},
                                           {"incarnation", client->incarnation()},
                                           {"number", *number}});
      if (found) id = found->object["id"].dump();
      return found.has_value();
    }));
    return id;
  };
  (void)submit("sleep", "600000", 60);
  const std::string second = submit("noop", "", 0);
  s.check(second, "client_quota", "scheduler.client_running_max allows (1)");
  // Another client's reservation.
  std::ofstream(s.path("lines")) << R"({"capability":"noop","resource_regions":10})" << '\n';
  Command other({SwarmProcess::binary(), "task", "submit", "--batch", s.path("lines")});
  std::string third;
  BOOST_REQUIRE(s.swarm.wait_until([&](const json& now) {
    if (now["pending"]["memory"] != 1) return false;
    const json ready = s.swarm.ask({{"verb", "task.list"}, {"state", "ready"}});
    for (const json& task : ready.at("tasks"))
      if (task["id"].dump() != second) third = task["id"].dump();
    return !third.empty();
  }));
  const json why = s.check(third, "memory", "it asks for 10 regions and 0 bytes");
  BOOST_TEST(why["regions"] == 10);
}

BOOST_AUTO_TEST_SUITE_END()

BOOST_AUTO_TEST_SUITE(dead_letters)

BOOST_AUTO_TEST_CASE(are_listed_with_their_certificates_and_tried_again) {
  Swarm s(quick);
  const std::string large(100'000, 'p');
  for (const std::string& payload : {std::string("small"), large}) {
    const std::string id = s.submit({"fault.crash"}, payload);
    BOOST_TEST(microswarm({"task", "wait", id}).code == 7);
    const auto listed =
        microswarm({"task", "list", "--state", "dead_letter", "--format", "json"}).json()["tasks"];
    BOOST_TEST(std::any_of(listed.begin(), listed.end(),
                           [&](const json& task) { return task["id"].dump() == id; }));
    s.check(id, "ended", "ended: dead_letter after 2 attempts");
    json shown;
    BOOST_TEST(s.swarm.wait_until([&](const json&) {
      shown = microswarm({"task", "show", id, "--format", "json"}).json()["task"];
      return shown["death_certificates"].size() == 2;
    }),
               shown.dump());
    BOOST_TEST(shown["death_certificates"][0]["task_in_hand"].dump() == id);
    BOOST_TEST(holds(microswarm({"task", "show", id}).out, "signal"));

    // Over a new supervisor, which finds what there is in the records.
    const auto epoch = s.swarm.status()["epoch"].get<unsigned>();
    ::kill(s.swarm.supervisor(), SIGKILL);
    BOOST_REQUIRE(s.swarm.wait_until([&](const json& now) { return now["epoch"] == epoch + 1; }));
    const auto again = microswarm({"task", "requeue", id, "--format", "json"});
    BOOST_TEST(again.code == 0, again.err);
    BOOST_TEST(again.json()["requeue"] == "requeued");
    BOOST_TEST(microswarm({"task", "wait", id}).code == 7);  // it is no better
    BOOST_TEST(microswarm({"task", "show", id, "--format", "json"}).json()["task"]["crashes"] == 2);
  }
  BOOST_TEST(s.swarm.counter("tasks_requeued") == 2u);

  const std::string done = s.submit({"echo"}, "x");
  BOOST_TEST(microswarm({"task", "wait", done}).code == 0);
  const auto refused = microswarm({"task", "requeue", done});
  BOOST_TEST(refused.code == 5);
  BOOST_TEST(holds(refused.err, "is no dead letter but done"), refused.err);
}

BOOST_AUTO_TEST_CASE(end_well_when_the_cause_is_gone_and_are_not_recycled_while_alive) {
  // The agent that is killed at its work is the cause here, not the task. Its client stays, and
  // hears of its end once.
  Swarm s(
      "[memory]\npool_size = \"1MiB\"\n[tasks]\nqueue_size = 16\nattempts_max = 1\n"
      "in_flight_per_agent = 1\nwhen_client_dies = \"cancel\"\n"
      "[supervision]\nintensity = 1000\nbackoff_initial_ms = 1\nbackoff_max_ms = 5\n",
      2);
  auto client = Client::connect("test");
  BOOST_REQUIRE_MESSAGE(client.has_value(), fault_text(client));
  const std::string payload = std::string(1000, '0') + "2000";  // in a region
  TaskRequest request;
  request.capability = "sleep";
  request.payload = std::as_bytes(std::span(payload.data(), payload.size()));
  BOOST_REQUIRE(client->submit(std::move(request)).has_value());
  std::string id;
  BOOST_REQUIRE(s.swarm.wait_until([&](const json&) {
    const json running = s.swarm.ask({{"verb", "task.list"}, {"state", "running"}});
    if (!running.at("tasks").empty()) id = running.at("tasks").at(0).at("id").dump();
    return !id.empty();
  }));
  const auto agent = s.explain(id)["agent"].get<unsigned>();
  BOOST_REQUIRE(s.swarm.wait_until([&](const json&) {
    return s.swarm.ask({{"verb", "agent.show"}, {"id", agent}})["agent"].contains("task_in_hand");
  }));
  ::kill(s.swarm.agents().at(agent), SIGKILL);
  BOOST_TEST(microswarm({"task", "wait", id}).code == 7);
  const auto told = client->next_result(20'000);
  BOOST_REQUIRE((told.has_value() && told->has_value()));
  BOOST_TEST(((*told)->state() == TaskState::dead_letter));
  BOOST_TEST(s.swarm.status()["memory"]["tokens_out"] == 1);
  BOOST_REQUIRE(s.swarm.wait_for_live(2));
  BOOST_TEST(microswarm({"task", "requeue", id}).code == 0);
  BOOST_TEST(microswarm({"task", "requeue", id, "--format", "json"}).json()["requeue"] ==
             "already");
  std::string many;
  for (int i = 0; i < 40; ++i)
    many += "{\"capability\":\"noop\"}\n";  // more than there are records
  const auto end = microswarm({"task", "submit", "--batch", "-"}, many);
  BOOST_TEST(end.code == 0, end.err);
  BOOST_TEST(s.explain(id)["state"] == "running");
  BOOST_TEST(microswarm({"task", "wait", id}).code == 0);
  BOOST_TEST(microswarm({"task", "result", id}).code == 0);
  BOOST_TEST(!client->next_result(0)->has_value());
  BOOST_TEST(s.swarm.wait_until([&](const json& now) {
    (void)client->next_result(0);  // takes home what is its own
    return now["memory"]["tokens_out"] == 0;
  }));
}

BOOST_AUTO_TEST_CASE(give_their_payload_up_for_those_who_need_the_room) {
  Swarm s(
      "[memory]\npool_size = \"1MiB\"\nregion_size = \"4KiB\"\n[tasks]\nattempts_max = 1\n"
      "[supervision]\nintensity = 1000\nbackoff_initial_ms = 1\nbackoff_max_ms = 5\n");
  const std::string id = s.submit({"fault.crash"}, std::string(600'000, 'p'));
  BOOST_TEST(microswarm({"task", "wait", id}).code == 7);
  BOOST_TEST(s.swarm.status()["memory"]["tokens_out"] == 1);
  const std::string other = s.submit({"echo"}, std::string(500'000, 'q'));
  BOOST_TEST(microswarm({"task", "show", id}).code == 0);
  const auto refused = microswarm({"task", "requeue", id});
  BOOST_TEST(refused.code == 5);
  BOOST_TEST(holds(refused.err, "the payload of task " + id + " is not here any more"),
             refused.err);
}

BOOST_AUTO_TEST_SUITE_END()

BOOST_AUTO_TEST_CASE(the_strategy_is_changed_while_it_runs) {
  Swarm s(quick);
  BOOST_TEST(s.swarm.status()["scheduler"]["strategy"] == "least_loaded");
  for (const std::string strategy :
       {"round_robin", "load_balanced", "capability_based", "least_loaded"}) {
    const auto set = microswarm({"scheduler", "set", strategy, "--format", "json"});
    BOOST_TEST(set.code == 0, set.err);
    BOOST_TEST(set.json()["strategy"] == strategy);
    BOOST_TEST(s.swarm.status()["scheduler"]["strategy"] == strategy);
    BOOST_TEST(microswarm({"task", "submit", "echo", "--file", "-", "--wait"}, strategy).out ==
               strategy);
  }
  BOOST_TEST(microswarm({"scheduler", "set", "fastest"}).code == 2);
  auto control = ControlClient::connect("test");
  const auto odd = control->request({{"verb", "scheduler.set"}, {"strategy", "fastest"}});
  BOOST_TEST((odd.has_error() && odd.error().code == ErrorCode::usage));
  // A new supervisor begins with what is configured.
  BOOST_TEST(microswarm({"scheduler", "set", "round_robin"}).code == 0);
  ::kill(s.swarm.supervisor(), SIGKILL);
  BOOST_TEST(s.swarm.wait_until(
      [](const json& now) { return now["scheduler"]["strategy"] == "least_loaded"; }));
}

BOOST_AUTO_TEST_CASE(statistics_say_where_the_time_goes) {
  Swarm s(quick);
  for (int i = 0; i < 3; ++i)
    BOOST_TEST(
        microswarm({"task", "submit", "sleep", "--file", "-", "--priority", "high", "--wait"}, "30")
            .code == 0);
  BOOST_TEST(microswarm({"task", "submit", "noop", "--wait"}).code == 0);
  const json status = microswarm({"status", "--format", "json"}).json();
  const json& statistics = status.at("statistics");
  const auto row = [&](const char* group, const char* what, const char* name) {
    for (const json& one : statistics.at(group))
      if (one.at(what) == name) return one;
    BOOST_FAIL(std::string(name) + " is not in " + statistics.dump());
    return json();
  };
  for (const json& one :
       {row("priorities", "priority", "high"), row("capabilities", "capability", "sleep")}) {
    for (const char* stage : {"queue", "dispatch", "execution", "return"})
      BOOST_TEST(one.at(stage).at("count") == 3, one.dump());
    BOOST_TEST(one["execution"]["p50_ns"].get<std::uint64_t>() >= 30'000'000u);
    BOOST_TEST(one["queue"]["p50_ns"].get<std::uint64_t>() < 30'000'000u);
  }
  BOOST_TEST(row("priorities", "priority", "normal")["execution"]["count"] == 1);
  BOOST_TEST(statistics["throughput_per_s"].get<double>() > 0);
  BOOST_TEST(statistics["utilisation"].get<double>() > 0);
  BOOST_TEST(statistics["utilisation"].get<double>() <= 1);
  const auto text = microswarm({"status"}).out;
  for (const char* part : {"throughput_per_s", "utilisation", "by_priority", "by_capability",
                           "execution_p99_ns", "pending"})
    BOOST_TEST(holds(text, part), part);
}
