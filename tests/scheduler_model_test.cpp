// Any history of events, agents' deaths included, beside the naive model. RapidCheck prints the
// seed of a failure and RC_PARAMS="seed=..." replays it.

#include <boost/test/unit_test.hpp>

#include "tests/scheduler_model.hpp"

namespace micro_swarm::scheduling::test {
namespace {

Settings any_settings() {
  Settings settings;
  settings.strategy = static_cast<Strategy>(*rc::gen::inRange(0, 4));
  settings.fair_share = static_cast<FairShare>(*rc::gen::inRange(0, 3));
  settings.credit_per_agent = *rc::gen::inRange<std::uint32_t>(1, 4);
  settings.cpu_slots_per_agent = settings.credit_per_agent;
  settings.max_concurrent = *rc::gen::element(0u, 0u, 3u);
  settings.aging_ns = *rc::gen::element<std::uint64_t>(0, 10, 100);
  settings.deadline_slack_ns = *rc::gen::element<std::uint64_t>(0, 50, 1'000);
  settings.backoff_max_ns = 60;
  settings.client_running_max = *rc::gen::element(0u, 0u, 2u);
  settings.categories = {{1, 0, 0}, {4, 0, 0}, {2, *rc::gen::inRange<std::uint32_t>(0, 3), 0}};
  return settings;
}

BOOST_AUTO_TEST_CASE(any_history_agrees_with_the_model) {
  using Step = std::tuple<std::uint8_t, std::uint8_t, std::uint8_t, std::uint8_t>;
  const bool holds = rc::check("the scheduler is the model", [] {
    Model model(any_settings());
    const auto history = *rc::gen::scale(4.0, rc::gen::arbitrary<std::vector<Step>>());
    for (const auto& [op, a, b, c] : history) model.apply(op, a, b, c);
    model.drain();
  });
  BOOST_TEST(holds);
}

}  // namespace
}  // namespace micro_swarm::scheduling::test
