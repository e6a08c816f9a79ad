// A hostile agent, one attack after the other: each is stopped by a layer that docs/security.md
// names, nobody else is harmed, and with containment off what can be tried safely succeeds.

#include <sys/resource.h>
#include <sys/sysinfo.h>

#include <algorithm>
#include <filesystem>

#include "common/landlock.hpp"
#include "tests/fault_swarm.hpp"

namespace micro_swarm::testing {
namespace {

constexpr PartyId worker = 0, victim = 1, hostile = 2;
constexpr int landlock_abi_with_signals = 6;

/// Where every uid can reach it, wherever this was built.
std::string hostile_program() {
  static const TemporaryDirectory directory;
  const auto copy = directory.path() / "hostile_agent";
  std::filesystem::copy_file(
      std::filesystem::read_symlink("/proc/self/exe").parent_path() / "hostile_agent", copy,
      std::filesystem::copy_options::skip_existing);
  return copy.string();
}

std::string toml(const std::string& containment, const std::string& more = {}) {
  const auto external = [&](const std::string& name, const std::string& capability) {
    return "[[agent]]\nname = \"" + name + "\"\nkind = \"external\"\ncommand = [\"" +
           hostile_program() + "\"]\ncapabilities = [\"" + capability + "\"]\n" + containment;
  };
  return "[[agent]]\nname = \"worker\"\ncapabilities = [\"echo\", \"sleep\", "
         "\"fault.fork_away\"]\n" +
         external("victim", "victim") + external("hostile", "attack") + more;
}

/// A swarm with somebody at work beside the attacker, and the proof that all goes on.
class Attacked {
 public:
  explicit Attacked(const std::string& text) : swarm(text) {
    BOOST_REQUIRE_MESSAGE(swarm.wait_for_live(3), swarm.log());
    supervisor = swarm.supervisor();
    victim_pid = swarm.agent_pid(victim);
    worker_pid = swarm.agent_pid(worker);
    client.emplace(swarm);
  }

  /// What the attacker reports; "" when it died of it.
  std::string attack(const std::string& payload, TaskOptions options = {}) {
    const TaskResult result = client->run("attack", payload, options);
    return result.is_done() ? std::string(result.text()) : std::string();
  }

  /// Nobody but the attacker has noticed anything.
  void check_unharmed(const std::string& after) {
    BOOST_TEST_CONTEXT("after " << after) {
      client->check_echo(std::string(30'000, 'e'));
      BOOST_TEST(client->run("victim").is_done());
      BOOST_TEST(swarm.agent(worker).at("deaths") == 0);
      BOOST_TEST(swarm.agent(victim).at("deaths") == 0);
      const auto status = swarm.status();
      BOOST_TEST(status.at("supervisor_pid") == supervisor);
      BOOST_TEST(status.at("epoch") == 1);
    }
  }

  void finish() {
    client.reset();
    swarm.finish();
  }

  FaultSwarm swarm;
  std::optional<TaskClient> client;
  pid_t supervisor = 0, victim_pid = 0, worker_pid = 0;
};

bool is_uid_0() { return ::geteuid() == 0; }
bool has_scoped_signals() { return landlock::abi() >= landlock_abi_with_signals; }

enum class Off {
  succeeds,  ///< without containment, of a swarm that runs as uid 0
  same,      ///< something else stops it, too
  untried,   ///< would do harm
};

struct Row {
  std::string attack;
  std::vector<int> errnos;  ///< that it may end with
  Off off = Off::succeeds;
};

std::vector<Row> rows_for(Attacked& swarm) {
  const auto of = [](const char* name, pid_t pid) { return name + std::to_string(pid); };
  const std::string memory = "/mem";
  std::vector<Row> rows;
  for (const pid_t pid :
       {swarm.victim_pid, swarm.worker_pid, swarm.supervisor, swarm.swarm.root()}) {
    rows.push_back({of("open /proc/", pid) + memory, {EACCES, EPERM}});
    rows.push_back({of("write_memory ", pid), {EPERM, EACCES}});
    rows.push_back({of("trace ", pid), {EPERM}});
    rows.push_back({of("take_descriptor ", pid), {EPERM}});
    rows.push_back({of("reopen ", pid), {EACCES, EPERM}});
    if (is_uid_0() || has_scoped_signals())
      rows.push_back({of("kill ", pid), {EPERM}, Off::untried});
  }
  rows.push_back({"remove_payload", {EPERM, EACCES, EINVAL}, Off::same});
  rows.push_back({"make_file " + swarm.swarm.runtime() + "/test.new", {EACCES}});
  rows.push_back({"open " + hostile_program(), {EACCES, ETXTBSY}, Off::untried});
  rows.push_back({"descriptor_bomb", {EMFILE}, Off::untried});
  rows.push_back({"memory_bomb", {ENOMEM}});
  if (is_uid_0()) {
    rows.push_back({"connect " + swarm.swarm.runtime() + "/test.sock", {EACCES}});
    rows.push_back({"fork_bomb", {EAGAIN}});
    rows.push_back({"raise_limit", {EPERM}, Off::untried});
    rows.push_back({"become_root", {EPERM}});
  }
  return rows;
}

BOOST_AUTO_TEST_CASE(each_attack_is_refused_and_harms_nobody) {
  Attacked swarm(toml("memory_limit = \"64MiB\"\nprocesses_max = 32\n"));
  for (const Row& row : rows_for(swarm)) {
    const std::string answer = swarm.attack(row.attack);
    BOOST_TEST(std::any_of(row.errnos.begin(), row.errnos.end(),
                           [&](int e) { return answer == "errno " + std::to_string(e); }),
               row.attack << ": " << answer);
    swarm.check_unharmed(row.attack);
  }
  BOOST_TEST(swarm.swarm.agent(hostile).at("deaths") == 0);
  swarm.finish();
}

// Otherwise the table above would show nothing.
BOOST_AUTO_TEST_CASE(without_containment_they_succeed,
                     *boost::unit_test::precondition([](auto) { return is_uid_0(); })) {
  Attacked swarm(toml("contain = false\n"));
  for (const Row& row : rows_for(swarm)) {
    if (row.off == Off::untried) continue;
    const std::string answer = swarm.attack(row.attack);
    BOOST_TEST((answer == "done") == (row.off == Off::succeeds), row.attack << ": " << answer);
  }
  std::filesystem::remove(swarm.swarm.runtime() + "/test.new");
  BOOST_TEST(swarm.attack("kill " + std::to_string(swarm.victim_pid)) == "done");
  BOOST_TEST(swarm.swarm.certificate(victim).at("signal") == SIGKILL);
  swarm.finish();
}

BOOST_AUTO_TEST_CASE(a_built_in_agent_makes_no_processes) {
  Attacked swarm(toml(""));
  const TaskResult result = swarm.client->run("fault.fork_away");
  BOOST_TEST((result.state() == TaskState::failed));
  BOOST_TEST(result.text().find("Operation not permitted") != std::string::npos, result.text());
  swarm.check_unharmed("fork");
  swarm.finish();
}

// What it says of itself from then on is noise: at most its own tasks end badly, and they end.
BOOST_AUTO_TEST_CASE(who_scribbles_over_its_own_segment_harms_nobody) {
  Attacked swarm(toml("", "[tasks]\nattempts_max = 1\ncancel_grace_ms = 100\n"));
  for (int i = 0; i < 5; ++i) {
    static_cast<void>(swarm.attack("scribble_over_itself", {.timeout_ms = 300}));
    swarm.check_unharmed("scribble_over_itself");
  }
  BOOST_TEST(swarm.swarm.wait_for_live(3));
  swarm.finish();
}

BOOST_AUTO_TEST_CASE(who_rings_without_end_is_borne) {
  Attacked swarm(toml(""));
  const auto ringing = swarm.client->submit("attack", "ring_bells");
  for (int i = 0; i < 20; ++i) swarm.check_unharmed("ring_bells");
  BOOST_TEST(swarm.client->result_of(ringing).text() == "done");
  swarm.check_unharmed("ring_bells");
  swarm.finish();
}

BOOST_AUTO_TEST_CASE(who_loops_is_killed) {
  Attacked swarm(toml("", "[tasks]\ncancel_grace_ms = 100\n"));
  const auto looping = swarm.client->submit("attack", "loop_forever", {.timeout_ms = 300});
  swarm.check_unharmed("loop_forever, during");
  BOOST_TEST((swarm.client->result_of(looping).state() == TaskState::timed_out));
  BOOST_TEST(swarm.swarm.certificate(hostile).at("signal") == SIGKILL);
  swarm.check_unharmed("loop_forever");
  swarm.finish();
}

BOOST_AUTO_TEST_CASE(a_gigabyte_of_log_lines_is_counted_and_dropped) {
  Attacked swarm(toml("", "[supervision]\nhang_timeout_ms = 60000\n"));
  const auto flooding = swarm.client->submit("attack", "flood_log 1024");
  swarm.check_unharmed("flood_log, during");
  BOOST_TEST(swarm.client->result_of(flooding).text() == "done");
  BOOST_TEST(wait_for([&] {
               return swarm.swarm.agent(hostile).at("log_lines_dropped").get<std::uint64_t>() >
                      10'000'000;
             }),
             swarm.swarm.agent(hostile).dump());
  constexpr std::uintmax_t log_bytes_max = 256 << 20;
  BOOST_TEST(std::filesystem::file_size(swarm.swarm.runtime() + "/log") < log_bytes_max);
  swarm.check_unharmed("flood_log");
  swarm.finish();
}

}  // namespace
}  // namespace micro_swarm::testing
