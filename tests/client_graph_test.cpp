// Tasks that depend on others, against a real swarm: batches, results handed on, failures, and a
// large random graph with agents and supervisors killed all the while. Usage: test -- TASKS SEED

#include <signal.h>

#include <algorithm>
#include <boost/test/unit_test.hpp>
#include <random>
#include <string>

#include "ipc/client.hpp"
#include "tests/fault_text.hpp"
#include "tests/swarm_process.hpp"

using namespace micro_swarm;

namespace {

constexpr std::uint32_t patience_ms = 60'000;

constexpr const char* config = R"(
[swarm]
agents = 4
[memory]
pool_size = "64MiB"
[tasks]
queue_size = 12000
attempts_max = 100
[supervision]
intensity = 1000
backoff_max_ms = 50
hang_timeout_ms = 5000
supervisor_restarts_max = 1000
[log]
level = "warn"
)";

TaskRequest request(std::string_view capability, std::string_view payload,
                    const TaskOptions* options = nullptr) {
  TaskRequest asked;
  asked.capability = capability;
  asked.payload = std::as_bytes(std::span(payload.data(), payload.size()));
  asked.options = options;
  return asked;
}

template <class... Requests>
std::vector<TaskRequest> batch_of(Requests... requests) {
  std::vector<TaskRequest> batch;
  (batch.push_back(std::move(requests)), ...);
  return batch;
}

struct Swarm {
  Swarm() : swarm(config) {
    BOOST_REQUIRE_MESSAGE(swarm.wait_for_live(4), swarm.log());
    auto connected = Client::connect("test", patience_ms);
    BOOST_REQUIRE_MESSAGE(connected.has_value(), fault_text(connected));
    client.emplace(std::move(*connected));
  }
  /// Results by position in the batch.
  std::vector<TaskResult> run(std::vector<TaskRequest> requests) {
    auto batch = client->submit_batch(requests, patience_ms);
    BOOST_REQUIRE_MESSAGE(batch.has_value(), fault_text(batch));
    BOOST_REQUIRE_EQUAL(batch->count, requests.size());
    std::vector<TaskResult> results(requests.size());
    for (std::size_t i = 0; i < requests.size(); ++i) {
      TaskResult result = next();
      results.at(result.number() - batch->first_number) = std::move(result);
    }
    return results;
  }
  TaskResult next() {
    auto found = client->next_result(patience_ms);
    BOOST_REQUIRE_MESSAGE(found.has_value(), fault_text(found));
    BOOST_REQUIRE_MESSAGE(found->has_value(),
                          "no result in time: " << swarm.status().dump() << swarm.log());
    return std::move(**found);
  }
  void all_is_home() {
    BOOST_TEST(swarm.wait_until([&](const auto& s) {
      BOOST_TEST(!client->next_result(0)->has_value());
      return s.at("memory").at("tokens_out") == 0;
    }),
               swarm.ask({{"verb", "region.list"}}).dump());
  }

  SwarmProcess swarm;
  std::optional<Client> client;
};

TaskOptions after(std::initializer_list<std::size_t> entries,
                  OnDependencyFailure policy = OnDependencyFailure::fail) {
  TaskOptions options;
  for (const std::size_t entry : entries)
    options.depends_on.push_back(TaskDependency::batch_entry(entry));
  options.on_dependency_failure = policy;
  return options;
}

std::uint64_t argument(int index, std::uint64_t otherwise) {
  const auto& suite = boost::unit_test::framework::master_test_suite();
  return index < suite.argc ? std::strtoull(suite.argv[index], nullptr, 10) : otherwise;
}

}  // namespace

BOOST_FIXTURE_TEST_SUITE(graph, Swarm)

BOOST_AUTO_TEST_CASE(results_are_handed_on_inline_and_as_regions_forward_too) {
  const std::string large(100'000, 'L');
  const std::string larger = large + "2";
  const TaskOptions both = after({2, 3, 1});
  const auto results = run(batch_of(request("concat", "!", &both), request("echo", large),
                                    request("echo", "small"), request("echo", larger)));
  for (const TaskResult& result : results) BOOST_TEST(result.is_done(), result.text());
  BOOST_TEST((results[0].text() == "small" + large + "2" + large + "!"));
  BOOST_TEST((results[1].text() == large));  // and to whoever asked for it
}

BOOST_AUTO_TEST_CASE(batches_without_dependencies_share_their_region) {
  std::vector<std::string> payloads;
  for (int i = 0; i < 500; ++i) payloads.push_back(std::string(static_cast<std::size_t>(i), 'a'));
  std::vector<TaskRequest> requests;
  for (const std::string& payload : payloads) requests.push_back(request("echo", payload));
  const auto results = run(std::move(requests));
  for (std::size_t i = 0; i < results.size(); ++i) BOOST_TEST((results[i].text() == payloads[i]));
}

BOOST_AUTO_TEST_CASE(a_failure_is_dealt_with_as_the_dependent_says) {
  const TaskOptions fails = after({0});
  const TaskOptions skips = after({0}, OnDependencyFailure::skip);
  const TaskOptions runs = after({0}, OnDependencyFailure::run);
  const TaskOptions second = after({1});
  const auto results = run(batch_of(request("fail", "broken"), request("noop", "", &fails),
                                    request("noop", "", &skips), request("concat", "", &runs),
                                    request("noop", "", &second)));
  BOOST_TEST((results[0].state() == TaskState::failed));
  BOOST_TEST((results[1].state() == TaskState::failed));
  BOOST_TEST(results[1].attempts() == 0u);
  BOOST_TEST(results[1].text() == "a dependency failed");
  BOOST_TEST((results[2].state() == TaskState::cancelled));
  BOOST_TEST(results[3].text() == "broken");
  BOOST_TEST((results[4].state() == TaskState::failed));
}

BOOST_AUTO_TEST_CASE(what_cannot_be_is_refused_whole) {
  // A ring, before anything is sent.
  const TaskOptions first = after({1});
  const TaskOptions second = after({2});
  const TaskOptions third = after({0});
  std::vector<TaskRequest> ring;
  ring.push_back(request("noop", "", &first));
  ring.push_back(request("noop", "", &second));
  ring.push_back(request("noop", "", &third));
  auto refused = client->submit_batch(ring);
  BOOST_REQUIRE(!refused);
  BOOST_TEST((refused.error().code == ErrorCode::usage));
  BOOST_TEST(refused.error().message.find("0 waits for 1 waits for 2 waits for 0") !=
             std::string::npos);
  BOOST_TEST(client->in_flight() == 0u);

  // A task that nobody knows, by the supervisor.
  TaskOptions unknown;
  unknown.depends_on = {TaskDependency::task(make_task_id(3, 77))};
  std::vector<TaskRequest> two;
  two.push_back(request("noop", ""));
  two.push_back(request("noop", "", &unknown));
  auto batch = client->submit_batch(two);
  BOOST_REQUIRE(batch.has_value());
  for (int i = 0; i < 2; ++i) {
    const TaskResult result = next();
    BOOST_TEST((result.refusal() == ErrorCode::not_found));
    BOOST_TEST((result.refusal_reason() == SubmitRefusal::unknown_dependency));
    BOOST_TEST(result.refused_number() == batch->first_number + 1);
  }

  // More tasks than there are records.
  std::vector<TaskRequest> many;
  for (int i = 0; i < 12'001; ++i) many.push_back(request("noop", ""));
  batch = client->submit_batch(many, patience_ms);
  BOOST_REQUIRE(batch.has_value());
  for (std::size_t i = 0; i < many.size(); ++i)
    BOOST_REQUIRE((next().refusal_reason() == SubmitRefusal::queue_full));
  BOOST_TEST(client->in_flight() == 0u);
  all_is_home();
}

BOOST_AUTO_TEST_CASE(a_dependency_that_has_ended_is_read_inline_or_refused_with_a_hint) {
  const auto run_one = [&](TaskRequest asked) -> TaskResult {
    return std::move(run(batch_of(std::move(asked))).front());
  };
  const std::string thousand(1'000, 'L');
  const TaskResult small = run_one(request("echo", "small"));
  const TaskResult large = run_one(request("echo", thousand));
  TaskOptions options;
  options.depends_on = {TaskDependency::task(small.task_id()),
                        TaskDependency::submission(small.number())};
  BOOST_TEST(run_one(request("concat", "", &options)).text() == "smallsmall");
  options.depends_on = {TaskDependency::submission(large.number())};
  const TaskResult refused = run_one(request("concat", "", &options));
  BOOST_TEST((refused.refusal_reason() == SubmitRefusal::result_not_kept));
}

/// Each task's result is the hash of the results that it depends on and of its own number, computed
/// here as well; agents and supervisors die all the while.
BOOST_AUTO_TEST_CASE(a_large_random_graph_ends_right_while_processes_die) {
  const std::uint64_t count = argument(1, 10'000);
  const std::uint64_t seed = argument(2, static_cast<std::uint64_t>(::getpid()));
  BOOST_TEST_MESSAGE("seed " << seed);
  std::mt19937_64 random(seed);
  std::vector<TaskOptions> options(count);
  std::vector<std::string> payloads(count);
  std::vector<std::string> expected(count);
  std::vector<TaskRequest> requests;
  // Sources are small or lie in regions; the others join up to four earlier ones as long as what
  // comes out is no more than a few kilobytes.
  for (std::size_t i = 0; i < count; ++i) {
    payloads[i] = std::to_string(i) + ".";
    if (random() % 8 == 0) payloads[i].append(random() % 200, 'p');
    for (std::uint64_t wanted = random() % 5; i != 0 && wanted != 0; --wanted) {
      const std::size_t other = i - 1 - random() % std::min<std::size_t>(i, 500);
      if (expected[i].size() + expected[other].size() > 2'000) continue;
      options[i].depends_on.push_back(TaskDependency::batch_entry(other));
      expected[i] += expected[other];
    }
    expected[i] += payloads[i];
  }
  for (std::size_t i = 0; i < count; ++i)
    requests.push_back(request("concat", payloads[i], &options[i]));
  auto batch = client->submit_batch(requests, patience_ms);
  BOOST_REQUIRE_MESSAGE(batch.has_value(), fault_text(batch));

  std::vector<int> seen(count);
  std::uint64_t wrong = 0;
  const std::uint64_t fault_every = std::max<std::uint64_t>(count / 40, 1);
  int agents_killed = 0;
  int supervisors_killed = 0;
  for (std::uint64_t ended = 0; ended < count; ++ended) {
    const TaskResult result = next();
    const std::uint64_t at = result.number() - batch->first_number;
    BOOST_REQUIRE(at < count);
    ++seen[at];
    if (!result.is_done() || result.text() != expected[at]) {
      ++wrong;
      BOOST_TEST_MESSAGE("task " << at << " ended " << static_cast<int>(result.state()) << " with "
                                 << result.bytes().size() << " bytes, not " << expected[at].size());
    }
    if (ended % fault_every != fault_every - 1) continue;
    const bool at_supervisor = ended / fault_every % 5 == 4;
    const auto agents = swarm.agents();
    if (!at_supervisor && agents.empty()) continue;
    const pid_t victim = at_supervisor ? swarm.supervisor() : agents[random() % agents.size()];
    BOOST_REQUIRE(victim > 1);
    ::kill(victim, SIGKILL);
    ++(at_supervisor ? supervisors_killed : agents_killed);
  }
  BOOST_TEST(wrong == 0u);
  BOOST_TEST(std::count(seen.begin(), seen.end(), 1) == static_cast<std::ptrdiff_t>(count));
  BOOST_TEST(client->in_flight() == 0u);
  BOOST_TEST_MESSAGE("agents killed " << agents_killed << ", supervisors " << supervisors_killed
                                      << "; run again "
                                      << swarm.status().at("counters").at("tasks_rerun"));
  BOOST_TEST(agents_killed > 0);
  BOOST_TEST(supervisors_killed > 0);
  all_is_home();
}

BOOST_AUTO_TEST_SUITE_END()
