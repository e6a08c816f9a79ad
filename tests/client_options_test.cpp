// What tasks may ask for beyond the request, against a real swarm: retries, categories, deadlines,
// versions, resources, and what a full queue does. Dependencies: client_graph_test.cpp.

#include <signal.h>

#include <boost/test/unit_test.hpp>
#include <string>

#include "ipc/client.hpp"
#include "tests/fault_text.hpp"
#include "tests/swarm_process.hpp"

using namespace micro_swarm;

namespace {

constexpr std::uint32_t patience_ms = 30'000;

TaskRequest request(std::string_view capability, std::string_view payload,
                    const TaskOptions* options = nullptr) {
  TaskRequest asked;
  asked.capability = capability;
  asked.payload = std::as_bytes(std::span(payload.data(), payload.size()));
  asked.options = options;
  return asked;
}

/// A swarm of `agents` generic agents and a client of it.
struct Swarm {
  Swarm(unsigned agents, const std::string& tables)
      : swarm("[log]\nlevel = \"warn\"\n[swarm]\nagents = " + std::to_string(agents) + "\n" +
              tables) {
    BOOST_REQUIRE_MESSAGE(swarm.wait_for_live(agents), swarm.log());
    auto connected = Client::connect("test", patience_ms);
    BOOST_REQUIRE_MESSAGE(connected.has_value(), fault_text(connected));
    client.emplace(std::move(*connected));
  }
  std::uint64_t submit(TaskRequest asked) {
    auto number = client->submit(std::move(asked));
    BOOST_REQUIRE_MESSAGE(number.has_value(), fault_text(number));
    return *number;
  }
  TaskResult next() {
    auto found = client->next_result(patience_ms);
    BOOST_REQUIRE_MESSAGE(found.has_value(), fault_text(found));
    BOOST_REQUIRE_MESSAGE(found->has_value(), "no result in time: " << swarm.status().dump());
    return std::move(**found);
  }
  TaskResult run(TaskRequest asked) {
    submit(std::move(asked));
    return next();
  }
  bool wait_for_tasks(const char* state, std::uint64_t count) {
    return swarm.wait_until([&](const auto& s) { return s.at("tasks").at(state) == count; });
  }

  SwarmProcess swarm;
  std::optional<Client> client;
};

}  // namespace

BOOST_AUTO_TEST_SUITE(options)

BOOST_AUTO_TEST_CASE(a_failed_task_is_tried_again_as_often_as_it_may) {
  Swarm s(2, "");
  TaskOptions twice;
  twice.retries = 2;
  twice.retry_backoff_ms = 1;
  const TaskResult done = s.run(request("flaky", "2", &twice));
  BOOST_TEST(done.is_done(), done.text());
  BOOST_TEST(done.text() == "3");
  BOOST_TEST(done.attempts() == 3u);
  const TaskResult failed = s.run(request("flaky", "3", &twice));
  BOOST_TEST((failed.state() == TaskState::failed));
  BOOST_TEST(failed.text() == "attempt 3 fails as asked");
  BOOST_TEST(failed.attempts() == 3u);
  const TaskResult at_once = s.run(request("flaky", "1"));
  BOOST_TEST((at_once.state() == TaskState::failed));
  BOOST_TEST(s.swarm.counter("tasks_retried") == 4u);
}

// The death of an agent is not the task's failure: its one retry is still there afterwards.
BOOST_AUTO_TEST_CASE(a_retry_is_not_spent_by_a_crash) {
  Swarm s(1, "[supervision]\nintensity = 100\n");
  TaskOptions once;
  once.retries = 1;
  once.retry_backoff_ms = 1;
  s.submit(request("sleep", "60000", &once));
  BOOST_REQUIRE(s.wait_for_tasks("running", 1));
  ::kill(s.swarm.agents().at(0), SIGKILL);
  BOOST_REQUIRE(s.swarm.wait_until(
      [](const auto& status) { return status.at("counters").at("tasks_rerun") == 1; }));
  BOOST_REQUIRE(s.wait_for_tasks("running", 1));
  BOOST_TEST(s.swarm.counter("tasks_retried") == 0u);
}

// A task that waits for its next attempt is found again by a new supervisor, and only then.
BOOST_AUTO_TEST_CASE(a_backoff_survives_the_supervisor) {
  Swarm s(1, "[scheduler]\nretry_backoff_max_ms = 400\n");
  TaskOptions once;
  once.retries = 1;
  once.retry_backoff_ms = 400;
  s.submit(request("flaky", "1", &once));
  BOOST_REQUIRE(s.wait_for_tasks("pending", 1));
  ::kill(s.swarm.supervisor(), SIGKILL);
  const TaskResult done = s.next();
  BOOST_TEST(done.text() == "2");
  BOOST_TEST(s.swarm.counter("tasks_retried") == 1u);
}

BOOST_AUTO_TEST_CASE(a_category_has_no_more_in_flight_than_it_may) {
  Swarm s(4, "[[category]]\nname = \"slow\"\nrunning_max = 2\n");
  TaskOptions slow;
  slow.category = "slow";
  for (int i = 0; i < 5; ++i) s.submit(request("sleep", "60000", &slow));
  BOOST_REQUIRE(s.wait_for_tasks("running", 2));
  const TaskResult other = s.run(request("noop", ""));  // two agents are free for others
  BOOST_TEST(other.is_done());
  BOOST_TEST(s.swarm.status().at("tasks").at("running") == 2);
  BOOST_TEST(s.swarm.status().at("tasks").at("ready") == 3);
}

BOOST_AUTO_TEST_CASE(what_cannot_be_is_refused_with_the_reason) {
  Swarm s(1, "[tasks]\nin_flight_per_agent = 2\n");
  const auto refused = [&](TaskOptions options) {
    const TaskResult result = s.run(request("noop", "", &options));
    BOOST_TEST(result.task_id() == 0u);
    return result.refusal_reason();
  };
  TaskOptions category;
  category.category = "nobody";
  BOOST_TEST((refused(category) == SubmitRefusal::unknown_category));
  TaskOptions slots;
  slots.cpu_slots = 3;
  BOOST_TEST((refused(slots) == SubmitRefusal::too_large));
  TaskOptions regions;
  regions.resource_regions = 1'000'000;
  BOOST_TEST((refused(regions) == SubmitRefusal::too_large));
  TaskOptions unknown;
  unknown.depends_on = {TaskDependency::task(make_task_id(3, 77))};
  BOOST_TEST((refused(unknown) == SubmitRefusal::unknown_dependency));
}

BOOST_AUTO_TEST_CASE(a_version_is_waited_for) {
  Swarm s(1, "");
  TaskOptions newer;
  newer.min_version = 2;
  s.submit(request("noop", "", &newer));
  const TaskResult other = s.run(request("noop", ""));
  BOOST_TEST(other.is_done());
  BOOST_TEST(s.swarm.status().at("tasks").at("ready") == 1);
}

BOOST_AUTO_TEST_CASE(a_deadline_goes_first_and_ends_what_is_late) {
  Swarm s(1, "[tasks]\nin_flight_per_agent = 1\n");
  const std::uint64_t blocking = s.submit(request("sleep", "300"));
  BOOST_REQUIRE(s.wait_for_tasks("running", 1));
  TaskOptions urgent, hopeless;
  urgent.deadline_ms = 60'000;
  hopeless.deadline_ms = 20;
  const std::uint64_t plain = s.submit(request("noop", ""));
  const std::uint64_t late = s.submit(request("noop", "", &hopeless));
  static_cast<void>(plain);
  const TaskResult first = s.next();
  BOOST_TEST(first.number() == late);
  BOOST_TEST((first.state() == TaskState::timed_out));
  BOOST_TEST(s.next().number() == blocking);
  BOOST_TEST(s.next().is_done());
}

BOOST_AUTO_TEST_CASE(a_full_quota_refuses_with_a_hint) {
  Swarm s(1, "[tasks]\nin_flight_per_agent = 1\n[scheduler]\nclient_queued_max = 2\n");
  s.submit(request("sleep", "60000"));
  BOOST_REQUIRE(s.wait_for_tasks("running", 1));
  s.submit(request("noop", ""));
  s.submit(request("noop", ""));
  const TaskResult refused = s.run(request("noop", ""));
  BOOST_TEST((refused.refusal_reason() == SubmitRefusal::client_quota));
  BOOST_TEST(refused.retry_after_ms() > 0u);
  std::vector<TaskRequest> batch;
  for (int i = 0; i < 3; ++i) batch.push_back(request("noop", ""));
  BOOST_REQUIRE(s.client->submit_batch(batch, patience_ms).has_value());
  for (int i = 0; i < 3; ++i)
    BOOST_TEST((s.next().refusal_reason() == SubmitRefusal::too_large));  // never
}

BOOST_AUTO_TEST_CASE(a_full_quota_blocks_until_there_is_room) {
  Swarm s(1,
          "[tasks]\nin_flight_per_agent = 1\n[scheduler]\nclient_queued_max = 2\n"
          "when_full = \"block\"\n");
  for (int i = 0; i < 50; ++i) s.submit(request("noop", ""));
  for (int i = 0; i < 50; ++i) {
    const TaskResult result = s.next();
    BOOST_TEST(result.is_done(), result.text());
  }
  BOOST_TEST(s.swarm.counter("tasks_refused") == 0u);
}

BOOST_AUTO_TEST_CASE(a_full_quota_sheds_what_is_wanted_least) {
  Swarm s(1,
          "[tasks]\nin_flight_per_agent = 1\n[scheduler]\nclient_queued_max = 2\n"
          "when_full = \"shed\"\n");
  s.submit(request("sleep", "60000"));
  BOOST_REQUIRE(s.wait_for_tasks("running", 1));
  TaskRequest low = request("noop", "");
  low.priority = Priority::low;
  const std::uint64_t victim = s.submit(std::move(low));
  s.submit(request("noop", ""));
  TaskRequest high = request("noop", "");
  high.priority = Priority::high;
  s.submit(std::move(high));
  const TaskResult shed = s.next();
  BOOST_TEST(shed.number() == victim);
  BOOST_TEST((shed.state() == TaskState::cancelled));
  BOOST_TEST(shed.text() == "shed: more wanted tasks");
  BOOST_TEST(s.swarm.counter("tasks_shed") == 1u);
  TaskRequest low_again = request("noop", "");
  low_again.priority = Priority::low;
  BOOST_TEST((s.run(std::move(low_again)).refusal_reason() == SubmitRefusal::client_quota));
}

BOOST_AUTO_TEST_SUITE_END()
