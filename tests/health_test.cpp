// Who is taken for hung: judge() on made-up times. When waiters spin: SpinPolicy on made-up
// samples.

#include "supervisor/health.hpp"

#include <unistd.h>

#include <boost/test/unit_test.hpp>
#include <string>
#include <string_view>

#include "common/clock.hpp"

namespace micro_swarm {
namespace {

constexpr std::uint64_t timeout_ns = 3'000 * ns_per_ms;
constexpr std::uint64_t now = 1'000 * ns_per_s;

HealthView busy_since(std::uint64_t still_ms) {
  HealthView view;
  view.busy = true;
  view.progress = 7;
  view.progress_seen = 7;
  view.progress_at_ns = now - still_ms * ns_per_ms;
  return view;
}

BOOST_AUTO_TEST_CASE(a_grace_is_time_in_which_the_agent_could_run) {
  constexpr std::uint64_t grace = 2'000 * ns_per_ms;
  const auto at = [](std::uint64_t ms) { return now + ms * ns_per_ms; };
  CancelGrace idle;  // or it sleeps, or was stopped: it never stands in line
  idle.begin(now, grace, 7);
  BOOST_TEST(!idle.is_over(at(1'999), 0, 7));
  BOOST_TEST(idle.is_over(at(2'000), 0, 7));

  CancelGrace starved;
  starved.begin(now, grace, 7);
  BOOST_TEST(!starved.is_over(at(2'000), 0, 7 + 1'500 * ns_per_ms));
  BOOST_TEST(!starved.is_over(at(3'499), 0, 7 + 1'500 * ns_per_ms));
  BOOST_TEST(starved.is_over(at(3'500), 0, 7 + 1'500 * ns_per_ms));

  CancelGrace late;  // we are
  late.begin(now, grace, 7);
  BOOST_TEST(!late.is_over(at(5'000), 4'000 * ns_per_ms, 7));
  BOOST_TEST(late.is_over(at(6'000), 0, 7));

  CancelGrace hog;  // its own threads starve its first one
  hog.begin(now, grace, 7);
  BOOST_TEST(!hog.is_over(at(19'999), 0, 7 + 19'999 * ns_per_ms));
  BOOST_TEST(hog.is_over(at(20'000), 0, 7 + 20'000 * ns_per_ms));

  CancelGrace unknown;
  unknown.begin(now, grace, std::nullopt);
  BOOST_TEST(unknown.is_over(at(2'000), 0, std::nullopt));
}

BOOST_AUTO_TEST_CASE(the_kernel_says_how_long_a_process_waited_for_a_cpu) {
  BOOST_TEST(run_delay_ns(::getpid()).has_value());
  BOOST_TEST(!run_delay_ns(0).has_value());
}

BOOST_AUTO_TEST_CASE(who_gets_on_is_left_alone) {
  HealthView view = busy_since(60'000);
  view.progress = 8;
  BOOST_TEST((judge(view, now, timeout_ns) == HealthAction::progressed));
  BOOST_TEST((judge(busy_since(0), now, timeout_ns) == HealthAction::none));
  BOOST_TEST((judge(busy_since(999), now, timeout_ns) == HealthAction::none));
}

BOOST_AUTO_TEST_CASE(who_is_busy_and_stands_still_is_asked_after_a_third_of_the_time) {
  BOOST_TEST((judge(busy_since(1'000), now, timeout_ns) == HealthAction::probe));
  BOOST_TEST((judge(busy_since(60'000), now, timeout_ns) == HealthAction::probe));
}

BOOST_AUTO_TEST_CASE(who_is_idle_is_asked_now_and_then) {
  HealthView view = busy_since(60'000);
  view.busy = false;
  BOOST_TEST((judge(view, now, timeout_ns) == HealthAction::none));
  view.idle_probe_due = true;
  BOOST_TEST((judge(view, now, timeout_ns) == HealthAction::probe));
}

BOOST_AUTO_TEST_CASE(who_does_not_answer_is_killed_and_only_then) {
  HealthView view = busy_since(60'000);
  view.probe_sent_ns = now - timeout_ns + 1;
  BOOST_TEST((judge(view, now, timeout_ns) == HealthAction::none));
  view.probe_sent_ns = now - timeout_ns;
  BOOST_TEST((judge(view, now, timeout_ns) == HealthAction::kill));
  // An idle one too: it is stopped, or its control thread is.
  view.busy = false;
  BOOST_TEST((judge(view, now, timeout_ns) == HealthAction::kill));
}

BOOST_AUTO_TEST_CASE(progress_of_the_work_does_not_answer_for_the_control_thread) {
  HealthView view = busy_since(0);
  view.progress = 100;
  view.probe_sent_ns = now - timeout_ns;
  BOOST_TEST((judge(view, now, timeout_ns) == HealthAction::kill));
  view.probe_sent_ns = now - 1;
  BOOST_TEST((judge(view, now, timeout_ns) == HealthAction::none));
}

/// One character a sample: x = more runnable than cores. What was said after each: S = spin.
std::string said(std::string_view samples) {
  SpinPolicy policy;
  std::string answers;
  for (const char sample : samples) answers += policy.sample(sample == 'x') ? 'S' : '-';
  return answers;
}

BOOST_AUTO_TEST_CASE(spinning_survives_blips) {
  BOOST_TEST(said("......") == "SSSSSS");
  BOOST_TEST(said("x.....") == "SSSSSS");
  BOOST_TEST(said("xx...xx...") == "SSSSSSSSSS");
  BOOST_TEST(said("x..x..x..x..") == "SSSSSSSSSSSS");
}

BOOST_AUTO_TEST_CASE(a_steady_overload_ends_spinning_within_three_samples) {
  BOOST_TEST(said("xxx") == "SS-");
  BOOST_TEST(said("...xxxxxx") == "SSSSS----");
  // Steady, though every third sample misses it.
  BOOST_TEST(said("xx.xx.xx.xx.") == "SSS---------");
}

BOOST_AUTO_TEST_CASE(spinning_comes_back_after_the_overload_and_not_between) {
  BOOST_TEST(said("xxxxx....") == "SS------S");
  // With a blip on the way.
  BOOST_TEST(said("xxxxx..x..") == "SS-------S");
  // Half of the samples: neither turns on what is off nor off what is on.
  BOOST_TEST(said("xxx.x.x.x.x.x.") == "SS------------");
  BOOST_TEST(said(".x.x...x.x...") == "SSSSSSSSSSSSS");
}

}  // namespace
}  // namespace micro_swarm
