// The supervisor dies in every way there is while tasks run: root replaces it, agents and clients
// do not notice more than a pause.

#include <sys/ptrace.h>
#include <sys/user.h>

#include <cerrno>
#include <cstring>
#include <set>

#include "common/clock.hpp"
#include "tests/fault_swarm.hpp"

namespace micro_swarm::testing {
namespace {

constexpr const char* toml = R"(
[swarm]
agents = 3
[supervision]
supervisor_hang_timeout_ms = 500
[log]
level = "info"
)";

/// Lets another process execute nothing but a jump to itself, as a bug in it could. False: tracing
/// is not allowed here (the process is not dumpable, so it takes CAP_SYS_PTRACE).
bool make_it_loop(pid_t pid) {
#if defined(__x86_64__)
  if (::ptrace(PTRACE_ATTACH, pid, nullptr, nullptr) != 0) return false;
  int status = 0;
  BOOST_REQUIRE_EQUAL(::waitpid(pid, &status, __WALL), pid);
  BOOST_REQUIRE(WIFSTOPPED(status));
  user_regs_struct registers{};
  BOOST_REQUIRE_EQUAL(::ptrace(PTRACE_GETREGS, pid, nullptr, &registers), 0);
  auto* at = reinterpret_cast<void*>(registers.rip);
  errno = 0;
  const long word = ::ptrace(PTRACE_PEEKTEXT, pid, at, nullptr);
  BOOST_REQUIRE_EQUAL(errno, 0);
  constexpr long jump_to_itself = 0xfeeb;
  BOOST_REQUIRE_EQUAL(::ptrace(PTRACE_POKETEXT, pid, at, (word & ~0xffffL) | jump_to_itself), 0);
  registers.orig_rax = ~0ull;  // a system call under way is not begun again
  BOOST_REQUIRE_EQUAL(::ptrace(PTRACE_SETREGS, pid, nullptr, &registers), 0);
  BOOST_REQUIRE_EQUAL(::ptrace(PTRACE_DETACH, pid, nullptr, nullptr), 0);
  return true;
#else
  static_cast<void>(pid);
  return false;
#endif
}

/// Tasks are under way before, while and after `end_it(supervisor)`.
template <class EndIt>
void check_replaced(EndIt&& end_it, std::string_view root_says) {
  FaultSwarm swarm(toml);
  BOOST_REQUIRE(swarm.wait_for_live(3));
  const auto agents = swarm.agents();
  const pid_t first = swarm.supervisor();
  swarm.remember(first);
  {
    TaskClient client(swarm);
    const std::string large(100'000, 'x');
    std::map<std::uint64_t, std::string> expected;
    const auto submit_some = [&](int count) {
      for (int i = 0; i < count; ++i) {
        if (i % 3 == 0)
          expected.emplace(client.submit("sleep", "5"), "");
        else
          expected.emplace(client.submit("echo", i % 3 == 1 ? "small" : large),
                           i % 3 == 1 ? "small" : large);
      }
    };
    submit_some(60);
    static_cast<void>(client.run("noop"));
    BOOST_REQUIRE(end_it(first));
    submit_some(60);
    for (const auto& [number, text] : expected) {
      const TaskResult result = client.result_of(number);
      BOOST_TEST(result.is_done());
      BOOST_TEST(result.attempts() == 1u);  // no agent died, so nothing ran again
      BOOST_TEST((result.text() == text));
    }
    swarm.wait_for_epoch(2);
    client.check_echo("afterwards");
    BOOST_TEST(client.client().doubled_results() == 0u);
    BOOST_TEST(client.client().supervisor_epoch() == 2u);
  }
  BOOST_TEST(swarm.supervisor() != first);
  BOOST_TEST(swarm.agents() == agents, boost::test_tools::per_element());
  const auto status = swarm.status();
  BOOST_TEST(status.at("epoch") == 2);
  BOOST_TEST(status.at("counters").at("agents_died") == 0);
  BOOST_TEST(status.at("tasks").at("ready") == 0);
  BOOST_TEST(status.at("tasks").at("running") == 0);
  BOOST_TEST(swarm.wait_until([](const auto& s) { return s.at("memory").at("tokens_out") == 0; }));
  BOOST_TEST(swarm.events("supervisor_adopted").size() == 1u);
  BOOST_TEST(swarm.log().find(root_says) != std::string::npos, swarm.log());
  swarm.finish();
}

auto with_signal(int signal) {
  return [signal](pid_t pid) { return ::kill(pid, signal) == 0; };
}

BOOST_AUTO_TEST_CASE(a_killed_supervisor_is_replaced) {
  check_replaced(with_signal(SIGKILL), "was killed by SIGKILL");
}

BOOST_AUTO_TEST_CASE(an_aborted_supervisor_is_replaced) {
  check_replaced(with_signal(SIGABRT), "was killed by SIGABRT");
}

BOOST_AUTO_TEST_CASE(a_stopped_supervisor_is_replaced) {
  check_replaced(with_signal(SIGSTOP), "made no progress for 500 ms");
}

BOOST_AUTO_TEST_CASE(a_supervisor_in_an_endless_loop_is_replaced) {
  bool allowed = true;
  check_replaced(
      [&](pid_t pid) {
        allowed = make_it_loop(pid);
        if (!allowed) BOOST_TEST_MESSAGE("tracing is not allowed here: stopped instead");
        return allowed || ::kill(pid, SIGSTOP) == 0;
      },
      "made no progress for 500 ms");
}

/// The supervisor of now, as the kernel sees it: it answers requests only when it has settled in.
/// 0 = there is none just now.
pid_t supervisor_seen(const FaultSwarm& swarm) {
  for (const pid_t child : children_of(swarm.root()))
    if (command_name(child) == "ms-supervisor") return child;
  return 0;
}

/// Each of them dies `delay_ns(i)` after it was seen, most before they have watched every agent
/// again. Agents and tasks must not notice, and the last one must hear of a death as ever.
template <class Delay>
void check_in_a_row(unsigned agents_count, unsigned deaths, Delay&& delay_ns) {
  FaultSwarm swarm("[swarm]\nagents = " + std::to_string(agents_count) +
                   "\n[supervision]\nsupervisor_restarts_max = 1000\n");
  BOOST_REQUIRE(swarm.wait_for_live(agents_count));
  const auto agents = swarm.agents();
  swarm.remember_all();
  TaskClient client(swarm);
  const std::string large(100'000, 'x');
  std::map<std::uint64_t, std::string> expected;
  pid_t before = 0;
  for (unsigned i = 0; i < deaths; ++i) {
    expected.emplace(client.submit("sleep", "10"), "");
    expected.emplace(client.submit("echo", large), large);
    pid_t victim = 0;
    while (victim == 0 || victim == before) victim = supervisor_seen(swarm);
    const std::uint64_t until_ns = now_ns() + delay_ns(i);
    while (now_ns() < until_ns) {
    }
    swarm.remember(victim);
    BOOST_REQUIRE_EQUAL(::kill(victim, SIGKILL), 0);
    before = victim;
  }
  for (const auto& [number, text] : expected) {
    const TaskResult result = client.result_of(number);
    BOOST_TEST(result.is_done());
    BOOST_TEST(result.attempts() == 1u);
    BOOST_TEST((result.text() == text));
  }
  swarm.wait_for_epoch(deaths + 1);
  BOOST_TEST(client.client().doubled_results() == 0u);
  BOOST_TEST(swarm.agents() == agents, boost::test_tools::per_element());
  BOOST_TEST(swarm.status().at("counters").at("agents_died") == 0);
  BOOST_REQUIRE_EQUAL(::kill(agents.back(), SIGKILL), 0);
  static_cast<void>(swarm.certificate(static_cast<PartyId>(agents_count - 1)));
  BOOST_TEST(swarm.wait_for_live(agents_count));
  swarm.finish();
}

BOOST_AUTO_TEST_CASE(supervisors_in_a_row_are_replaced) {
  check_in_a_row(3, 8, [](unsigned i) { return i * ns_per_ms; });
}

BOOST_AUTO_TEST_CASE(supervisors_that_die_while_they_settle_in_are_replaced) {
  check_in_a_row(48, 40, [](unsigned i) { return i * 100'000; });
}

BOOST_AUTO_TEST_CASE(too_many_deaths_of_supervisors_end_the_swarm_with_code_4) {
  FaultSwarm swarm(R"(
[swarm]
agents = 2
[supervision]
supervisor_restarts_max = 2
)");
  BOOST_REQUIRE(swarm.wait_for_live(2));
  swarm.remember_all();
  for (unsigned epoch = 1; epoch <= 3; ++epoch) {
    swarm.wait_for_epoch(epoch);
    const pid_t supervisor = swarm.supervisor();
    swarm.remember(supervisor);
    BOOST_REQUIRE_EQUAL(::kill(supervisor, SIGKILL), 0);
  }
  BOOST_TEST(swarm.wait() == 4);
  BOOST_TEST(
      swarm.log().find("giving up: the supervisor died more than 2 times") != std::string::npos,
      swarm.log());
  swarm.check_nothing_left();
}

}  // namespace
}  // namespace micro_swarm::testing
