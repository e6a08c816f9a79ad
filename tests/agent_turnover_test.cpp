// Whose turn it is to be replaced: pure, on time that is told.

#include <boost/test/unit_test.hpp>
#include <set>

#include "common/clock.hpp"
#include "supervisor/agent_turnover.hpp"

namespace micro_swarm {
namespace {

LifeView live(PartyId id, std::uint16_t kind = 0, AgentIntent intent = AgentIntent::stay) {
  return {.id = id, .kind = kind, .incarnation = 1, .is_live = true, .intent = intent};
}

BOOST_AUTO_TEST_CASE(each_life_has_a_limit_of_its_own_between_four_fifths_and_all) {
  AgentSpec spec;
  spec.max_tasks = 1000;
  std::set<std::uint64_t> limits;
  for (PartyId id = 0; id < 16; ++id)
    for (Incarnation incarnation = 1; incarnation <= 16; ++incarnation) {
      LifeView life = live(id);
      life.incarnation = incarnation;
      while (!is_worn_out(spec, life)) ++life.tasks;
      BOOST_TEST(life.tasks > 800u);
      BOOST_TEST(life.tasks <= 1000u);
      limits.insert(life.tasks);
    }
  BOOST_TEST(limits.size() > 100u);
  BOOST_TEST(*limits.begin() < 820u);
  BOOST_TEST(*limits.rbegin() > 980u);
}

BOOST_AUTO_TEST_CASE(age_wears_out_and_without_limits_nothing_does) {
  AgentSpec spec;
  LifeView life = live(3);
  life.tasks = life.age_ns = ~std::uint64_t{0};
  BOOST_TEST(!is_worn_out(spec, life));
  spec.max_age_ms = 60'000;
  life.age_ns = 47'999 * ns_per_ms;
  BOOST_TEST(!is_worn_out(spec, life));
  life.age_ns = 60'000 * ns_per_ms;
  BOOST_TEST(is_worn_out(spec, life));
  for (const auto intent : {AgentIntent::renew_due, AgentIntent::renewing, AgentIntent::stopping}) {
    life.intent = intent;
    BOOST_TEST(!is_worn_out(spec, life));
  }
  life.intent = AgentIntent::stay;
  life.is_live = false;
  BOOST_TEST(!is_worn_out(spec, life));
}

BOOST_AUTO_TEST_CASE(the_smallest_limit_is_one_task) {
  AgentSpec spec;
  spec.max_tasks = 1;
  LifeView life = live(7);
  BOOST_TEST(!is_worn_out(spec, life));
  life.tasks = 1;
  BOOST_TEST(is_worn_out(spec, life));
}

BOOST_AUTO_TEST_CASE(one_of_a_kind_at_a_time_and_only_while_none_is_missing) {
  const auto due = AgentIntent::renew_due;
  std::vector<LifeView> lives{live(0, 0, due), live(1, 0, due), live(2, 1, due), live(3, 1)};
  BOOST_TEST((whose_turn(lives) == std::vector<PartyId>{0, 2}));
  lives[0].intent = AgentIntent::renewing;
  lives[3].is_live = false;  // restarting, or not ready yet
  BOOST_TEST(whose_turn(lives).empty());
  lives[0] = live(0);
  BOOST_TEST((whose_turn(lives) == std::vector<PartyId>{1}));
  // Whoever stops is not waited for.
  lives[3] = live(3, 1, AgentIntent::stopping);
  BOOST_TEST((whose_turn(lives) == std::vector<PartyId>{1, 2}));
}

BOOST_AUTO_TEST_CASE(the_surplus_is_first_who_does_not_work_then_the_highest_ids) {
  std::vector<LifeView> lives{live(0), live(1), live(2), live(3, 1), live(4), live(5)};
  lives[1].is_live = false;
  lives[5].intent = AgentIntent::stopping;
  BOOST_TEST(surplus(lives, 0, 4).empty());
  BOOST_TEST(surplus(lives, 0, 9).empty());
  BOOST_TEST((surplus(lives, 0, 3) == std::vector<PartyId>{1}));
  BOOST_TEST((surplus(lives, 0, 1) == std::vector<PartyId>{2, 4, 1}));
  BOOST_TEST(surplus(lives, 0, 0).size() == 4u);
  BOOST_TEST((surplus(lives, 1, 0) == std::vector<PartyId>{3}));
}

}  // namespace
}  // namespace micro_swarm
