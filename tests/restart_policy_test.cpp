// When a dead agent is started again: OTP's table, the backoff and the cap, on made-up time.

#include "supervisor/restart_policy.hpp"

#include <array>
#include <boost/test/unit_test.hpp>

#include "common/clock.hpp"

namespace micro_swarm {
namespace {

using Decision = RestartDecision::Kind;

constexpr std::uint64_t start_ns = 1'000 * ns_per_s;
constexpr std::uint64_t long_life_ns = 3'600 * ns_per_s;

BOOST_AUTO_TEST_CASE(the_table_of_otp) {
  struct Row {
    RestartPolicy policy;
    ExitKind how;
    Decision expected;
  };
  const Row rows[] = {
      {RestartPolicy::permanent, ExitKind::clean, Decision::restart},
      {RestartPolicy::permanent, ExitKind::crash, Decision::restart},
      {RestartPolicy::permanent, ExitKind::asked, Decision::leave},
      {RestartPolicy::transient, ExitKind::clean, Decision::leave},
      {RestartPolicy::transient, ExitKind::crash, Decision::restart},
      {RestartPolicy::transient, ExitKind::asked, Decision::leave},
      {RestartPolicy::temporary, ExitKind::clean, Decision::leave},
      {RestartPolicy::temporary, ExitKind::crash, Decision::leave},
      {RestartPolicy::temporary, ExitKind::asked, Decision::leave},
  };
  for (const Row& row : rows) {
    SupervisionConfig config;
    config.restart = row.policy;
    RestartPolicyState state;
    const auto decision = state.died(config, row.how, long_life_ns, start_ns, 0.5);
    BOOST_TEST_CONTEXT(name_of(row.policy) << ", exit kind " << static_cast<int>(row.how))
    BOOST_TEST((decision.kind == row.expected));
  }
}

std::uint64_t delay_ms(RestartPolicyState& state, const SupervisionConfig& config,
                       std::uint64_t uptime_ns, std::uint64_t now, double random) {
  const auto decision = state.died(config, ExitKind::crash, uptime_ns, now, random);
  BOOST_REQUIRE((decision.kind == Decision::restart));
  return (decision.not_before_ns - now) / ns_per_ms;
}

BOOST_AUTO_TEST_CASE(early_deaths_double_the_delay_up_to_the_maximum) {
  SupervisionConfig config;
  config.intensity = 1000;
  config.backoff_initial_ms = 100;
  config.backoff_max_ms = 500;
  RestartPolicyState most;
  RestartPolicyState least;
  const std::array<std::uint64_t, 6> full_ms{0, 100, 200, 400, 500, 500};
  for (std::size_t death = 0; death < full_ms.size(); ++death) {
    const std::uint64_t now = start_ns + death * ns_per_s;
    BOOST_TEST(delay_ms(least, config, 0, now, 0.0) == full_ms[death] / 2);
    const std::uint64_t longest = delay_ms(most, config, 0, now, 0.999999);
    BOOST_TEST(longest <= full_ms[death]);
    BOOST_TEST(longest + 1 >= full_ms[death]);
  }
  BOOST_TEST(most.early_deaths() == 6u);
  // Hundreds of them overflow nothing.
  for (std::uint64_t death = 0; death < 200; ++death)
    BOOST_TEST(delay_ms(most, config, 0, start_ns + (100 + death) * ns_per_s, 0.0) == 250u);
}

BOOST_AUTO_TEST_CASE(a_stable_life_starts_the_backoff_over) {
  SupervisionConfig config;
  config.intensity = 1000;
  config.backoff_initial_ms = 100;
  RestartPolicyState state;
  for (int death = 0; death < 5; ++death) delay_ms(state, config, 0, start_ns, 0.0);
  BOOST_TEST(delay_ms(state, config, config.stable_after_ms * ns_per_ms, start_ns, 0.0) == 0u);
  BOOST_TEST(state.early_deaths() == 0u);
  BOOST_TEST(delay_ms(state, config, 0, start_ns, 0.0) == 0u);
  BOOST_TEST(delay_ms(state, config, 0, start_ns, 0.0) == 50u);
}

BOOST_AUTO_TEST_CASE(more_restarts_than_intensity_in_a_period_are_given_up) {
  SupervisionConfig config;
  config.intensity = 3;
  config.period_ms = 1'000;
  RestartPolicyState state;
  const auto die = [&](std::uint64_t at_ms) {
    return state.died(config, ExitKind::crash, long_life_ns, start_ns + at_ms * ns_per_ms, 0.5)
        .kind;
  };
  BOOST_TEST((die(0) == Decision::restart));
  BOOST_TEST((die(400) == Decision::restart));
  BOOST_TEST((die(800) == Decision::restart));
  BOOST_TEST((die(999) == Decision::give_up));
  // The first is a whole period ago: one more is allowed, and no second one.
  BOOST_TEST((die(1'000) == Decision::restart));
  BOOST_TEST((die(1'001) == Decision::give_up));
  // Slow enough for ever.
  for (std::uint64_t n = 1; n < 50; ++n) BOOST_TEST((die(10'000 + n * 334) == Decision::restart));
}

BOOST_AUTO_TEST_CASE(intensity_0_restarts_nobody) {
  SupervisionConfig config;
  config.intensity = 0;
  RestartPolicyState state;
  BOOST_TEST(
      (state.died(config, ExitKind::crash, long_life_ns, start_ns, 0.5).kind == Decision::give_up));
}

BOOST_AUTO_TEST_CASE(deaths_that_are_left_alone_do_not_count) {
  SupervisionConfig config;
  config.restart = RestartPolicy::transient;
  config.intensity = 1;
  RestartPolicyState state;
  for (int i = 0; i < 5; ++i) state.died(config, ExitKind::clean, 0, start_ns, 0.5);
  BOOST_TEST((state.died(config, ExitKind::crash, 0, start_ns, 0.5).kind == Decision::restart));
}

}  // namespace
}  // namespace micro_swarm
