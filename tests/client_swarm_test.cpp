// The client library against a real swarm: processes, shared memory, deaths.

#include <signal.h>
#include <sys/wait.h>

#include <boost/test/unit_test.hpp>
#include <future>
#include <set>
#include <string>
#include <thread>

#include "common/clock.hpp"
#include "ipc/client.hpp"
#include "tests/fault_text.hpp"
#include "tests/swarm_process.hpp"

using namespace micro_swarm;

namespace {

constexpr std::uint32_t patience_ms = 30'000;

constexpr const char* config = R"(
[swarm]
agents = 2
[memory]
pool_size = "4MiB"
[tasks]
queue_size = 2000
attempts_max = 3
[supervision]
intensity = 100
hang_timeout_ms = 1000
[log]
level = "warn"
)";

Client join() {
  auto client = Client::connect("test", patience_ms);
  BOOST_REQUIRE_MESSAGE(client.has_value(), fault_text(client));
  return std::move(*client);
}

TaskRequest request(std::string_view capability, std::string_view payload = {}) {
  TaskRequest asked;
  asked.capability = capability;
  asked.payload = std::as_bytes(std::span(payload.data(), payload.size()));
  return asked;
}

std::uint64_t submit(Client& client, std::string_view capability, std::string_view payload = {}) {
  const auto number = client.submit(request(capability, payload), patience_ms);
  BOOST_REQUIRE_MESSAGE(number.has_value(), fault_text(number));
  return *number;
}

TaskResult next(Client& client) {
  auto found = client.next_result(patience_ms);
  BOOST_REQUIRE_MESSAGE(found.has_value(), fault_text(found));
  BOOST_REQUIRE_MESSAGE(found->has_value(), "no result in time");
  return std::move(**found);
}

TaskResult run(Client& client, std::string_view capability, std::string_view payload = {}) {
  const std::uint64_t number = submit(client, capability, payload);
  TaskResult result = next(client);
  BOOST_REQUIRE_EQUAL(result.number(), number);
  return result;
}

struct Swarm {
  Swarm() : swarm(config) { BOOST_REQUIRE_MESSAGE(swarm.wait_for_live(2), swarm.log()); }
  bool all_tokens_home() {
    return swarm.wait_until([](const auto& s) { return s.at("memory").at("tokens_out") == 0; });
  }
  SwarmProcess swarm;
};

}  // namespace

BOOST_FIXTURE_TEST_SUITE(client_swarm, Swarm)

BOOST_AUTO_TEST_CASE(every_operation_does_what_it_says) {
  Client client = join();
  BOOST_CHECK_EQUAL(run(client, "noop", "x").text(), "");
  BOOST_CHECK_EQUAL(run(client, "echo", "hello").text(), "hello");
  BOOST_CHECK_EQUAL(run(client, "hash").text(), "2d06800538d394c2");
  const float values[] = {1.5f, 2.25f};
  BOOST_CHECK_EQUAL(
      run(client, "sum", {reinterpret_cast<const char*>(values), sizeof values}).text(), "3.75");
  BOOST_CHECK(run(client, "sleep", "1").is_done());
  BOOST_CHECK(run(client, "spin", "1").is_done());
  const TaskResult failed = run(client, "fail", "why it failed, in more than a message holds");
  BOOST_CHECK(failed.state() == TaskState::failed);
  BOOST_CHECK_EQUAL(failed.text(), "why it failed, in more than a message holds");
  BOOST_CHECK_EQUAL(client.in_flight(), 0u);
}

BOOST_AUTO_TEST_CASE(payloads_and_results_of_every_size_lie_in_regions_and_come_home) {
  {
    Client client = join();
    for (const std::size_t size_bytes : {24u, 25u, 4096u, 65536u, 65537u, 1'000'000u}) {
      std::string payload(size_bytes, '\0');
      for (std::size_t i = 0; i < size_bytes; ++i) payload[i] = static_cast<char>(i % 249);
      const TaskResult result = run(client, "echo", payload);
      BOOST_CHECK_MESSAGE(result.is_done(), result.text());
      BOOST_CHECK_MESSAGE(result.text() == payload, size_bytes << " bytes came back wrong");
    }
    // Written in place, handed over, not copied.
    auto region = client.allocate(50'000, patience_ms);
    BOOST_REQUIRE_MESSAGE(region.has_value(), fault_text(region));
    std::fill(region->bytes().begin(), region->bytes().end(), std::byte{0x5a});
    TaskRequest asked = request("hash");
    asked.region = std::move(*region);
    BOOST_REQUIRE(client.submit(std::move(asked)).has_value());
    BOOST_CHECK_EQUAL(next(client).text().size(), 16u);
  }
  BOOST_CHECK_MESSAGE(all_tokens_home(), swarm.ask({{"verb", "region.list"}}).dump());
  BOOST_CHECK(swarm.wait_until([](const auto& s) { return s.at("clients") == 0; }));
}

BOOST_AUTO_TEST_CASE(a_pool_smaller_than_the_work_is_waited_for) {
  Client client = join();
  // 4 MiB: a third of these payloads and results at a time.
  constexpr int tasks = 60;
  const std::string payload(60'000, 'p');
  int submitted = 0;
  int ended = 0;
  while (ended < tasks) {
    while (submitted < tasks && submitted - ended < 20) {
      submit(client, "echo", payload);
      ++submitted;
    }
    const TaskResult result = next(client);
    BOOST_CHECK_MESSAGE(result.is_done() && result.text() == payload, result.text());
    ++ended;
  }
  // More than the pool at once: a typed error, and nothing is stuck.
  const auto number = client.submit(request("echo", std::string(5 << 20, 'x')));
  BOOST_REQUIRE(!number);
  BOOST_CHECK(number.error().code == ErrorCode::too_large);
  std::vector<Region> regions;
  for (;;) {
    auto region = client.allocate(65'536, 1'000);
    if (!region) {
      BOOST_CHECK(region.error().code == ErrorCode::refused);
      break;
    }
    regions.push_back(std::move(*region));
  }
  BOOST_CHECK(regions.size() > 32);
  regions.clear();
  BOOST_CHECK(run(client, "echo", payload).is_done());
}

BOOST_AUTO_TEST_CASE(thousands_in_flight_end_once_each) {
  Client client = join();
  constexpr std::size_t tasks = 20'000;
  std::vector<TaskRequest> requests(500);
  for (TaskRequest& one : requests) one = request("echo", "payload");
  std::set<std::uint64_t> open;
  std::size_t ended = 0;
  std::size_t submitted = 0;
  while (ended < tasks) {
    if (submitted < tasks && client.in_flight() < 1500) {
      const std::size_t count = std::min(requests.size(), tasks - submitted);
      const auto batch = client.try_submit_batch(std::span(requests).first(count));
      BOOST_REQUIRE_MESSAGE(batch.has_value(), fault_text(batch));
      for (std::size_t i = 0; i < batch->count; ++i) open.insert(batch->first_number + i);
      submitted += batch->count;
    }
    auto result = client.next_result(submitted < tasks ? 0 : patience_ms);
    BOOST_REQUIRE_MESSAGE(result.has_value(), fault_text(result));
    if (!*result) continue;
    BOOST_REQUIRE_EQUAL(open.erase((*result)->number()), 1u);
    BOOST_REQUIRE((*result)->is_done() && (*result)->text() == "payload");
    ++ended;
  }
  BOOST_CHECK_EQUAL(client.doubled_results(), 0u);
}

BOOST_AUTO_TEST_CASE(a_queue_that_is_full_refuses_with_a_hint_and_loses_nothing) {
  Client client = join();
  // Two agents, both asleep: nothing leaves the queue of 2000.
  std::set<std::uint64_t> open;
  for (int i = 0; i < 16; ++i) open.insert(submit(client, "sleep", "300"));
  for (int i = 0; i < 3000; ++i) open.insert(submit(client, "noop"));
  std::size_t refused = 0;
  std::size_t done = 0;
  while (!open.empty()) {
    const TaskResult result = next(client);
    BOOST_REQUIRE_EQUAL(open.erase(result.number()), 1u);
    if (result.refusal()) {
      BOOST_CHECK(*result.refusal() == ErrorCode::refused);
      BOOST_CHECK(result.retry_after_ms() > 0);
      ++refused;
    } else {
      BOOST_CHECK(result.is_done());
      ++done;
    }
  }
  BOOST_CHECK_EQUAL(refused + done, 3016u);
  BOOST_CHECK(refused > 0);
  BOOST_CHECK(done >= 2000);
}

BOOST_AUTO_TEST_CASE(a_timeout_ends_a_task_that_does_not_look) {
  Client client = join();
  TaskRequest asked = request("sleep", "60000");
  asked.timeout_ms = 50;
  BOOST_REQUIRE(client.submit(std::move(asked)).has_value());
  BOOST_CHECK(next(client).state() == TaskState::timed_out);
  BOOST_CHECK(run(client, "echo", "on it goes").is_done());
}

BOOST_AUTO_TEST_CASE(supervisors_die_and_clients_do_not_notice) {
  Client client = join();
  std::set<std::uint64_t> open;
  const std::string payload(3000, 'q');
  for (int round = 0; round < 5; ++round) {
    for (int i = 0; i < 100; ++i)
      open.insert(submit(client, "echo", i % 2 == 0 ? std::string_view("small") : payload));
    const std::uint64_t epoch = client.supervisor_epoch();
    ::kill(swarm.supervisor(), SIGKILL);
    for (int i = 0; i < 100; ++i) open.insert(submit(client, "echo", "small"));
    while (!open.empty()) {
      const TaskResult result = next(client);
      BOOST_REQUIRE_EQUAL(open.erase(result.number()), 1u);
      BOOST_REQUIRE_MESSAGE(result.is_done(), result.text());
      BOOST_REQUIRE(result.text() == "small" || result.text() == payload);
    }
    BOOST_CHECK(client.supervisor_epoch() > epoch);
  }
  BOOST_CHECK_EQUAL(client.doubled_results(), 0u);
  BOOST_CHECK_MESSAGE(all_tokens_home(), swarm.ask({{"verb", "region.list"}}).dump());
}

BOOST_AUTO_TEST_CASE(agents_die_and_their_tasks_are_run_again) {
  Client client = join();
  std::set<std::uint64_t> open;
  for (int i = 0; i < 40; ++i) open.insert(submit(client, "sleep", "20"));
  BOOST_REQUIRE(swarm.wait_until([](const auto& s) { return s.at("tasks").at("running") > 0; }));
  for (const pid_t pid : swarm.agents()) ::kill(pid, SIGKILL);
  unsigned again = 0;
  while (!open.empty()) {
    const TaskResult result = next(client);
    BOOST_REQUIRE_EQUAL(open.erase(result.number()), 1u);
    BOOST_CHECK(result.is_done());
    if (result.attempts() > 1) ++again;
  }
  BOOST_CHECK(again > 0);
}

BOOST_AUTO_TEST_CASE(the_end_of_the_swarm_is_an_error_not_a_hang) {
  Client client = join();
  submit(client, "sleep", "60000");
  auto waiting = std::async(std::launch::async, [&] { return client.next_result(patience_ms); });
  ::kill(swarm.root(), SIGKILL);
  const auto found = waiting.get();
  BOOST_REQUIRE(!found);
  BOOST_CHECK(found.error().code == ErrorCode::not_running);
  const auto number = client.submit(request("noop"));
  BOOST_REQUIRE(!number);
  BOOST_CHECK(number.error().code == ErrorCode::not_running);
  const auto other = Client::connect("test");
  BOOST_REQUIRE(!other);
  BOOST_CHECK(other.error().code == ErrorCode::not_running);
}

BOOST_AUTO_TEST_CASE(clients_that_are_killed_leave_nothing_behind) {
  for (int round = 0; round < 3; ++round) {
    const pid_t child = ::fork();
    BOOST_REQUIRE(child >= 0);
    if (child == 0) {
      // Regions allocated and submitted, results taken and not: dies in the middle of it.
      auto client = Client::connect("test", patience_ms);
      if (!client) ::_exit(1);
      const std::string payload(2000, 'c');
      std::vector<Region> regions;
      std::vector<TaskResult> results;
      for (int i = 0; i < 20; ++i) {
        if (!client->submit(request("echo", payload), patience_ms)) ::_exit(2);
        if (i % 5 == 0) {
          auto region = client->allocate(100, patience_ms);
          if (!region) ::_exit(3);
          regions.push_back(std::move(*region));
          auto result = client->next_result(patience_ms);
          if (!result || !*result) ::_exit(4);
          results.push_back(std::move(**result));
        }
      }
      ::kill(::getpid(), SIGKILL);
    }
    int status = 0;
    BOOST_REQUIRE_EQUAL(::waitpid(child, &status, 0), child);
    BOOST_REQUIRE(WIFSIGNALED(status));
  }
  BOOST_CHECK(swarm.wait_until([](const auto& s) { return s.at("clients") == 0; }));
  // Results that nobody can take any more stay on record until somebody needs their memory: here
  // somebody needs most of the pool, several times over.
  Client client = join();
  const std::string payload(60'000, 'n');
  std::set<std::uint64_t> open;
  for (int i = 0; i < 100; ++i) {
    open.insert(submit(client, "echo", payload));
    if (open.size() < 16) continue;
    const TaskResult result = next(client);
    BOOST_REQUIRE_EQUAL(open.erase(result.number()), 1u);
    BOOST_REQUIRE_MESSAGE(result.is_done() && result.text() == payload, result.text());
  }
}

BOOST_AUTO_TEST_CASE(the_64th_client_is_refused_and_a_place_is_free_again) {
  std::vector<Client> clients;
  for (unsigned i = 0; i < clients_max; ++i) clients.push_back(join());
  auto one_more = Client::connect("test");
  BOOST_REQUIRE(!one_more);
  BOOST_CHECK(one_more.error().code == ErrorCode::refused);
  BOOST_CHECK_EQUAL(run(clients.front(), "echo", "first").text(), "first");
  BOOST_CHECK_EQUAL(run(clients.back(), "echo", "last").text(), "last");
  clients.pop_back();
  BOOST_CHECK(swarm.wait_until([](const auto& s) { return s.at("clients") < clients_max; }));
  Client again = join();
  BOOST_CHECK_EQUAL(run(again, "echo", "again").text(), "again");
}

BOOST_AUTO_TEST_SUITE_END()
