// The essentials of a swarm's life where the kernel answers as Linux 6.1 does: what came later is
// not there, and every fallback is taken.

#include <fcntl.h>
#include <linux/landlock.h>
#include <seccomp.h>
#include <sys/mman.h>
#include <sys/syscall.h>

#include <cerrno>
#include <thread>

#include "tests/fault_swarm.hpp"

namespace micro_swarm::testing {
namespace {

constexpr int first_unknown_syscall = 451;  // cachestat, Linux 6.5
constexpr int last_syscall = 511;
constexpr unsigned known_memfd_flags = 0x1 | 0x2 | 0x4;  // CLOEXEC, ALLOW_SEALING, HUGETLB
constexpr int landlock_abi_of_6_1 = 2;

/// Answers for the kernel where a filter alone can only give an error. Ends with the process: the
/// filter is for life.
void answer_landlock(int notifications) {
  seccomp_notif* question = nullptr;
  seccomp_notif_resp* answer = nullptr;
  if (::seccomp_notify_alloc(&question, &answer) != 0) return;
  for (;;) {
    std::memset(question, 0, sizeof *question);
    if (::seccomp_notify_receive(notifications, question) != 0) {
      if (errno == EINTR || errno == ENOENT) continue;  // who asked is dead
      return;
    }
    answer->id = question->id;
    answer->val = landlock_abi_of_6_1;
    answer->error = 0;
    answer->flags = 0;
    ::seccomp_notify_respond(notifications, answer);
  }
}

/// For this process and all it starts, for life.
void install_filter() {
  const scmp_filter_ctx filter = ::seccomp_init(SCMP_ACT_ALLOW);
  BOOST_REQUIRE(filter != nullptr);
  for (unsigned flag = 1; flag <= 0x80; flag <<= 1) {
    if ((flag & known_memfd_flags) != 0) continue;
    // The library's macros for this are C99.
    const scmp_arg_cmp has_flag{1, SCMP_CMP_MASKED_EQ, flag, flag};
    BOOST_REQUIRE_EQUAL(::seccomp_rule_add_array(filter, SCMP_ACT_ERRNO(EINVAL),
                                                 SCMP_SYS(memfd_create), 1, &has_flag),
                        0);
  }
  for (int number = first_unknown_syscall; number <= last_syscall; ++number)
    BOOST_REQUIRE_EQUAL(::seccomp_rule_add(filter, SCMP_ACT_ERRNO(ENOSYS), number, 0), 0);
  const scmp_arg_cmp asks_version{2, SCMP_CMP_EQ, LANDLOCK_CREATE_RULESET_VERSION, 0};
  BOOST_REQUIRE_EQUAL(::seccomp_rule_add_array(filter, SCMP_ACT_NOTIFY,
                                               SCMP_SYS(landlock_create_ruleset), 1, &asks_version),
                      0);
  BOOST_REQUIRE_EQUAL(::seccomp_load(filter), 0);
  const int notifications = ::seccomp_notify_fd(filter);
  BOOST_REQUIRE(notifications >= 0);
  BOOST_REQUIRE_EQUAL(::fcntl(notifications, F_SETFD, FD_CLOEXEC), 0);
  std::thread(answer_landlock, notifications).detach();
}

void run_as_on_6_1() {
  static const bool installed = (install_filter(), true);
  static_cast<void>(installed);
}

BOOST_AUTO_TEST_CASE(the_filter_answers_as_6_1) {
  run_as_on_6_1();
  constexpr unsigned noexec_seal = 8;
  BOOST_TEST(::memfd_create("x", MFD_CLOEXEC | MFD_ALLOW_SEALING | noexec_seal) == -1);
  BOOST_TEST(errno == EINVAL);
  const UniqueFd plain(::memfd_create("x", MFD_CLOEXEC | MFD_ALLOW_SEALING));
  BOOST_TEST(static_cast<bool>(plain));
  BOOST_TEST(::syscall(first_unknown_syscall, 0, 0, 0, 0) == -1);
  BOOST_TEST(errno == ENOSYS);
  BOOST_TEST(::syscall(SYS_landlock_create_ruleset, nullptr, 0, LANDLOCK_CREATE_RULESET_VERSION) ==
             landlock_abi_of_6_1);
}

BOOST_AUTO_TEST_CASE(a_swarm_lives_works_is_harmed_and_ends) {
  run_as_on_6_1();
  FaultSwarm swarm(R"(
[swarm]
agents = 3
[tasks]
attempts_max = 50
[supervision]
intensity = 100
)");
  BOOST_REQUIRE(swarm.wait_for_live(3));
  {
    TaskClient client(swarm);
    const std::string large(100'000, 'k');
    std::map<std::uint64_t, std::string> expected;
    const auto submit_some = [&](int count) {
      for (int i = 0; i < count; ++i) {
        const std::string text = i % 2 == 0 ? large : "small";
        expected.emplace(client.submit("echo", text), text);
      }
    };
    submit_some(50);
    const pid_t agent = swarm.agents().front();
    swarm.remember(agent);
    BOOST_REQUIRE_EQUAL(::kill(agent, SIGKILL), 0);
    submit_some(50);
    const pid_t supervisor = swarm.supervisor();
    swarm.remember(supervisor);
    BOOST_REQUIRE_EQUAL(::kill(supervisor, SIGKILL), 0);
    submit_some(50);
    for (const auto& [number, text] : expected) {
      const TaskResult result = client.result_of(number);
      BOOST_TEST(result.is_done());
      BOOST_TEST((result.text() == text));
    }
    swarm.wait_for_epoch(2);
    const auto stubborn = client.submit("spin", "60000", {.timeout_ms = 100});
    BOOST_TEST((client.result_of(stubborn).state() == TaskState::timed_out));
    BOOST_TEST(client.client().doubled_results() == 0u);
  }
  BOOST_TEST(swarm.wait_for_live(3));
  BOOST_TEST(swarm.wait_until([](const auto& s) { return s.at("memory").at("tokens_out") == 0; }));
  swarm.finish();
}

}  // namespace
}  // namespace micro_swarm::testing
