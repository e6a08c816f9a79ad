// Who is taken for hung: judge() on made-up times. When waiters spin: SpinPolicy on made-up
// samples.

#include "supervisor/health.hpp"

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
