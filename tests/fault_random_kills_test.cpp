// Agents and supervisors are killed and stopped at random while tasks run: each task ends exactly
// once and right, and afterwards nothing is left behind. Usage: test -- TASKS SEED

#include <boost/test/unit_test.hpp>
#include <filesystem>
#include <fstream>
#include <random>
#include <set>
#include <unordered_map>

#include "common/clock.hpp"
#include "ipc/client.hpp"
#include "tests/swarm_process.hpp"

namespace micro_swarm {
namespace {

std::size_t entries_in(const char* directory) {
  std::size_t count = 0;
  for ([[maybe_unused]] const auto& entry : std::filesystem::directory_iterator(directory)) ++count;
  return count;
}

/// "PID STATE" of each process, as the kernel names states (proc(5)).
std::string states_of(const std::vector<pid_t>& pids) {
  std::string text;
  for (const pid_t pid : pids) {
    std::ifstream stat("/proc/" + std::to_string(pid) + "/stat");
    std::string number, name, state;
    stat >> number >> name >> state;
    text += number + " " + state + "  ";
  }
  return text;
}

bool exists(pid_t pid) { return ::kill(pid, 0) == 0; }

std::uint64_t argument(int index, std::uint64_t otherwise) {
  const auto& suite = boost::unit_test::framework::master_test_suite();
  return index < suite.argc ? std::strtoull(suite.argv[index], nullptr, 10) : otherwise;
}

/// Payloads of all sizes, each derived from its number, so that a mix-up shows.
std::vector<std::byte> payload_of(std::uint64_t number) {
  std::mt19937_64 random(number);
  std::size_t size = number % 25;                             // inline
  if (number % 16 == 0) size = 25 + random() % 4000;          // a region
  if (number % 512 == 0) size = 60'000 + random() % 100'000;  // about and above one region
  std::vector<std::byte> bytes(size);
  for (auto& byte : bytes) byte = static_cast<std::byte>(random());
  return bytes;
}

BOOST_AUTO_TEST_CASE(every_task_ends_once_and_right_while_processes_die) {
  const std::uint64_t tasks = argument(1, 100'000);
  const std::uint64_t seed = argument(2, static_cast<std::uint64_t>(::getpid()));
  BOOST_TEST_MESSAGE("seed " << seed);
  std::mt19937_64 random(seed);
  const std::size_t shm_before = entries_in("/dev/shm");
  const std::size_t fds_before = entries_in("/proc/self/fd");
  std::set<pid_t> seen;
  {
    SwarmProcess swarm(R"(
[swarm]
agents = 6
[tasks]
attempts_max = 100
[supervision]
intensity = 1000
backoff_max_ms = 50
hang_timeout_ms = 500
supervisor_hang_timeout_ms = 1000
supervisor_restarts_max = 1000
[log]
level = "warn"
)");
    BOOST_REQUIRE(swarm.wait_for_live(6));
    auto connected = Client::connect("test");
    BOOST_REQUIRE_MESSAGE(connected.has_value(),
                          (connected.has_error() ? connected.error().message : ""));
    Client& client = *connected;

    std::unordered_map<std::uint64_t, std::uint64_t> open;  // number -> task
    std::uint64_t submitted = 0, ended = 0, wrong = 0, unknown = 0;
    std::uint64_t agent_kills = 0, agent_stops = 0, supervisor_kills = 0, supervisor_stops = 0;
    const std::uint64_t fault_every = std::max<std::uint64_t>(tasks / 60, 1);
    std::uint64_t next_fault = fault_every;
    std::uint64_t faults = 0;
    while (ended < tasks) {
      while (submitted < tasks && open.size() < 200) {
        const auto payload = payload_of(submitted);
        TaskRequest request;
        request.capability = "echo";
        request.priority = static_cast<Priority>(submitted % 4);
        request.payload = payload;
        const auto number = client.submit(std::move(request), 30'000);
        BOOST_REQUIRE_MESSAGE(number.has_value(), (number.has_error() ? number.error().message : "")
                                                      << swarm.log());
        BOOST_REQUIRE(open.emplace(*number, submitted).second);
        ++submitted;
      }
      auto result = client.next_result(30'000);
      BOOST_REQUIRE_MESSAGE(result.has_value(), (result.has_error() ? result.error().message : ""));
      BOOST_REQUIRE_MESSAGE(result->has_value(), "no result in 30 s; "
                                                     << ended << " of " << tasks << " ended\n"
                                                     << swarm.status().dump() << "\n"
                                                     << swarm.log());
      const auto at = open.find((*result)->number());
      if (at == open.end()) {
        ++unknown;
        continue;
      }
      const auto expected = payload_of(at->second);
      const auto got = (*result)->bytes();
      if (!(*result)->is_done() ||
          !std::equal(got.begin(), got.end(), expected.begin(), expected.end())) {
        ++wrong;
        BOOST_TEST_MESSAGE("task "
                           << at->second << " of " << expected.size() << " bytes ended "
                           << static_cast<int>((*result)->state()) << " with " << got.size()
                           << " bytes after " << (*result)->attempts() << " attempts"
                           << ((*result)->is_done() ? "" : ": " + std::string((*result)->text())));
      }
      open.erase(at);
      ++ended;
      if (ended >= next_fault && submitted < tasks) {
        next_fault += fault_every;
        // Every sixth hits the supervisor; every eighth stops instead of killing.
        const bool stop = ++faults % 8 == 0;
        const bool at_supervisor = faults % 6 == 0 || faults == 16;
        pid_t victim = 0;
        if (at_supervisor) {
          victim = swarm.supervisor();
        } else {
          const auto agents = swarm.agents();
          if (agents.empty()) continue;
          victim = agents[random() % agents.size()];
        }
        seen.insert(victim);
        BOOST_REQUIRE(victim > 1);
        ::kill(victim, stop ? SIGSTOP : SIGKILL);
        ++(at_supervisor ? (stop ? supervisor_stops : supervisor_kills)
                         : (stop ? agent_stops : agent_kills));
      }
    }
    BOOST_TEST(wrong == 0u);
    BOOST_TEST(unknown == 0u);
    BOOST_TEST(client.doubled_results() == 0u);
    const auto status = swarm.status();
    BOOST_TEST_MESSAGE("agents killed " << agent_kills << ", stopped " << agent_stops
                                        << "; supervisors killed " << supervisor_kills
                                        << ", stopped " << supervisor_stops << "; tasks run again "
                                        << status.at("counters").at("tasks_rerun") << "; epoch "
                                        << status.at("epoch"));
    BOOST_TEST(status.at("tasks").at("running") == 0);
    BOOST_TEST(status.at("tasks").at("ready") == 0);
    BOOST_TEST(agent_kills > 0u);
    BOOST_TEST(supervisor_kills > 0u);
    const auto all_is_home = [&](const auto& s) {
      // A client takes what comes home when it is called.
      BOOST_TEST(!client.next_result(0)->has_value());
      return s.at("memory").at("tokens_out") == 0;
    };
    const bool is_home = swarm.wait_until(all_is_home);
    BOOST_TEST(is_home,
               "regions still in use: " << swarm.ask({{"verb", "region.list"}}).dump() << "\n"
                                        << swarm.ask({{"verb", "agent.list"}}).dump() << "\n"
                                        << states_of(swarm.agents()));
    for (const pid_t pid : swarm.agents()) seen.insert(pid);
    seen.insert(swarm.supervisor());
    BOOST_TEST(swarm.stop() == 0);
    for (const auto& name : swarm.leftovers()) BOOST_ERROR("left behind: " << name);
  }
  for (const pid_t pid : seen) BOOST_TEST(!exists(pid), "process " << pid << " is left");
  BOOST_TEST(entries_in("/dev/shm") == shm_before);
  BOOST_TEST(entries_in("/proc/self/fd") == fds_before);
}

}  // namespace
}  // namespace micro_swarm
