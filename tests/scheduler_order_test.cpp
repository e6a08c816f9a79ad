// Which task is next and which agent gets it.

#include <map>
#include <set>

#include "tests/scheduler_case.hpp"

namespace micro_swarm::scheduling::test {
namespace {

BOOST_AUTO_TEST_SUITE(order)

BOOST_AUTO_TEST_CASE(a_ready_task_goes_to_a_free_agent_at_once_and_waits_without_one) {
  Case c(plain(1));
  BOOST_TEST(c.ready(task(1)).empty());
  BOOST_TEST(c.scheduler.ready_count() == 1u);
  BOOST_TEST(!c.scheduler.can_run(0));
  const auto actions = c.up(3);
  CHECK_TASKS(tasks_of(actions), task(1));
  BOOST_TEST(actions[0].agent == 3);
  BOOST_TEST(c.scheduler.can_run(0));
  BOOST_TEST(c.scheduler.in_flight(3) == 1u);
  BOOST_TEST(c.ready(task(2)).empty());  // no credit left
  CHECK_TASKS(tasks_of(c.ended(task(1))), task(2));
}

BOOST_AUTO_TEST_CASE(classes_are_strict_and_first_come_first_served_inside) {
  Case c(plain(1));
  TaskSpec other;
  other.capability = 1;
  c.ready(task(1), Priority::low);
  c.ready(task(2), Priority::normal);
  c.ready(task(3), other);
  c.ready(task(4), Priority::normal);
  c.ready(task(5), Priority::critical);
  c.ready(task(6), Priority::high);
  // Arrival counts across the capabilities of an agent.
  CHECK_TASKS(c.run_all(c.up(0, {{0, 1, 1}, {1, 1, 1}})), task(5), task(6), task(2), task(3),
              task(4), task(1));
}

BOOST_AUTO_TEST_CASE(inside_a_class_the_earliest_deadline_is_first_and_none_counts_as_the_slack) {
  Case c(plain(1));  // a slack of 1,000
  const auto with_deadline = [](std::uint64_t at_ns) {
    TaskSpec spec;
    spec.deadline_ns = at_ns;
    return spec;
  };
  c.ready(task(1), with_deadline(5'000));  // far away: behind the one without
  c.ready(task(2));                        // as though 1,001
  c.ready(task(3), with_deadline(900));
  c.ready(task(4), with_deadline(300));
  c.ready(task(5));
  CHECK_TASKS(c.run_all(c.up(0)), task(4), task(3), task(2), task(5), task(1));
}

BOOST_AUTO_TEST_CASE(what_comes_later_than_the_slack_overtakes_nothing_of_its_class) {
  Case c(plain(1));
  c.ready(task(1));
  c.now_ns = 1'002;
  TaskSpec urgent;
  urgent.deadline_ns = 1'003;
  c.ready(task(2), urgent);
  CHECK_TASKS(tasks_of(c.up(0)), task(1));
}

BOOST_AUTO_TEST_CASE(a_task_of_class_c_counts_as_critical_after_c_times_aging) {
  Settings settings = plain(1);
  settings.aging_ns = 10'000;
  Case c(settings);
  c.ready(task(1), Priority::low);
  for (std::uint64_t waited = 1; waited <= 3; ++waited) {
    c.tick(waited * 10'000);
    BOOST_TEST(static_cast<unsigned>(c.scheduler.explain(task(1), c.now_ns).priority) ==
               3 - (waited - 1));
    c.tick(waited * 10'000 + 1);
    BOOST_TEST(static_cast<unsigned>(c.scheduler.explain(task(1), c.now_ns).priority) ==
               3 - waited);
  }
  // What its flow submits later, however important, comes after it.
  c.ready(task(2), Priority::critical);
  CHECK_TASKS(c.run_all(c.up(0)), task(1), task(2));
}

BOOST_AUTO_TEST_CASE(aging_that_nobody_looked_at_is_made_up_at_the_next_step) {
  Settings settings = plain(1);
  settings.aging_ns = 10;
  Case c(settings);
  c.ready(task(1), Priority::low);
  c.tick(1'000);
  BOOST_TEST((c.scheduler.explain(task(1), c.now_ns).priority == Priority::critical));
}

BOOST_AUTO_TEST_CASE(without_end_of_higher_work_low_work_still_gets_its_turn) {
  Settings settings = plain(1);
  settings.aging_ns = 100;
  settings.deadline_slack_ns = 100;
  Case c(settings, 4'096);
  c.up(0);
  std::uint32_t slot = 1;
  TaskId running = task(0);
  c.ready(running, Priority::critical);
  const TaskId low = task(4'000);
  c.ready(low, Priority::low);
  std::uint64_t started_ns = 0;
  for (; slot < 2'000 && started_ns == 0; ++slot) {
    c.now_ns += 10;  // one critical task every 10 ns, and one runs 10 ns
    c.ready(task(slot), Priority::critical);
    running = c.ended(running).at(0).task;
    if (running == low) started_ns = c.now_ns;
  }
  BOOST_TEST(started_ns != 0u);
  BOOST_TEST(started_ns <= 3 * 100 + 100u);
}

BOOST_AUTO_TEST_CASE(flows_share_by_weight_and_idleness_saves_nothing) {
  Settings settings = plain(1);
  settings.categories = {{1, 0, 0}, {3, 0, 0}};
  Case c(settings, 1'024);
  TaskSpec one;
  one.client = 300;
  TaskSpec three = one;
  three.category = 1;
  std::uint32_t slot = 0;
  for (int i = 0; i < 200; ++i) c.ready(task(slot++), one);
  for (int i = 0; i < 400; ++i) c.ready(task(slot++), three);
  std::map<bool, int> served;
  TaskId running = c.up(0).at(0).task;
  for (int i = 0; i < 100; ++i) {
    ++served[task_slot(running) >= 200];
    running = c.ended(running).at(0).task;
  }
  BOOST_TEST(served[false] == 25);
  BOOST_TEST(served[true] == 75);
  // A third flow was away: it gets its share from now on, not what it did not use before.
  TaskSpec late = one;
  late.client = 301;
  for (int i = 0; i < 100; ++i) c.ready(task(slot++), late);
  int of_late = 0;
  for (int i = 0; i < 50; ++i) {
    if (task_slot(running) >= 600) ++of_late;
    running = c.ended(running).at(0).task;
  }
  BOOST_TEST(of_late >= 9);
  BOOST_TEST(of_late <= 11);
}

BOOST_AUTO_TEST_CASE(a_task_of_a_dead_agent_keeps_its_place_and_its_deadline) {
  Case c(plain(1));
  c.up(0);
  TaskSpec spec;
  spec.expires_ns = 1'000;
  c.ready(task(1), spec);
  c.ready(task(2));
  c.ready(task(3));
  BOOST_TEST(c.step(AgentDown{0}).empty());
  BOOST_TEST(c.ready(task(1), spec).empty());
  CHECK_TASKS(tasks_of(c.up(1)), task(1));  // not behind those that came after it
  CHECK_TASKS(tasks_of(c.tick(1'000)), task(1));
  BOOST_TEST(c.tick(1'000).empty());  // told once
}

BOOST_AUTO_TEST_SUITE_END()

BOOST_AUTO_TEST_SUITE(agents)

BOOST_AUTO_TEST_CASE(what_an_adopted_agent_runs_counts_against_its_credit) {
  Case c(plain(2));
  const TaskSpec spec;
  c.step(TaskAdopted{task(1), spec, 5});
  c.step(TaskAdopted{task(1), spec, 5});  // told again: nothing
  c.ready(task(2));
  c.ready(task(3));
  CHECK_TASKS(tasks_of(c.up(5)), task(2));
  CHECK_TASKS(tasks_of(c.ended(task(1))), task(3));
  BOOST_TEST(c.scheduler.in_flight(5) == 2u);
}

BOOST_AUTO_TEST_CASE(what_ends_on_an_agent_that_rests_frees_its_credit_once) {
  Case c(plain(2));
  c.up(0);
  c.ready(task(1));
  c.ready(task(2));
  c.step(AgentDown{0});
  c.ended(task(1));
  c.up(0);
  BOOST_TEST(c.scheduler.in_flight(0) == 1u);
  BOOST_TEST(c.ready(task(3)).size() == 1u);
  BOOST_TEST(c.ready(task(4)).empty());
}

BOOST_AUTO_TEST_CASE(round_robin_goes_round_whatever_the_load) {
  Settings settings = plain(4);
  settings.strategy = Strategy::round_robin;
  Case c(settings);
  for (PartyId agent = 0; agent < 3; ++agent) c.up(agent);
  std::vector<PartyId> chosen;
  for (std::uint32_t slot = 0; slot < 6; ++slot) {
    chosen.push_back(c.ready(task(slot)).at(0).agent);
    if (chosen.back() == 0) c.ended(task(slot));
  }
  const std::vector<PartyId> expected{0, 1, 2, 0, 1, 2};
  BOOST_TEST(chosen == expected, boost::test_tools::per_element());
}

BOOST_AUTO_TEST_CASE(the_least_loaded_is_chosen_and_ties_go_round) {
  Case c(plain(4));
  for (PartyId agent = 0; agent < 3; ++agent) c.up(agent);
  std::multiset<PartyId> chosen;
  for (std::uint32_t slot = 0; slot < 6; ++slot) chosen.insert(c.ready(task(slot)).at(0).agent);
  for (PartyId agent = 0; agent < 3; ++agent) BOOST_TEST(chosen.count(agent) == 2u);
  c.ended(task(1));
  BOOST_TEST(c.ready(task(7)).at(0).agent == 1);
}

BOOST_AUTO_TEST_CASE(load_balanced_gives_the_fast_agent_more) {
  Settings settings = plain(16);
  settings.strategy = Strategy::load_balanced;
  Case c(settings, 256);
  // Each is measured alone: 1 ms and 4 ms.
  std::uint32_t slot = 0;
  for (PartyId agent = 0; agent < 2; ++agent) {
    c.up(agent);
    for (int i = 0; i < 16; ++i) {
      c.ready(task(slot));
      c.now_ns += agent == 0 ? 1'000'000 : 4'000'000;
      c.ended(task(slot++));
    }
    c.step(AgentDown{agent});
  }
  c.up(0);
  c.up(1);
  int of_fast = 0;
  for (int i = 0; i < 10; ++i)
    if (c.ready(task(slot++)).at(0).agent == 0) ++of_fast;
  BOOST_TEST(of_fast == 8);
}

BOOST_AUTO_TEST_CASE(capability_based_takes_the_highest_weight_that_is_new_enough) {
  Settings settings = plain(1);
  settings.strategy = Strategy::capability_based;
  Case c(settings);
  c.up(0, {{0, 1, 9}});
  c.up(1, {{0, 2, 3}});
  c.up(2, {{0, 3, 5}});
  TaskSpec spec;
  spec.min_version = 2;
  BOOST_TEST(c.ready(task(1), spec).at(0).agent == 2);
  BOOST_TEST(c.ready(task(2), spec).at(0).agent == 1);
  BOOST_TEST(c.ready(task(3), spec).empty());  // the old one does not do
  BOOST_TEST(c.ready(task(4)).at(0).agent == 0);
}

BOOST_AUTO_TEST_CASE(among_equals_the_one_that_has_the_data_is_chosen) {
  Case c(plain(4));
  for (PartyId agent = 0; agent < 8; ++agent) c.up(agent);
  AgentSet near;
  near.set(6);
  const TaskSpec spec;
  BOOST_TEST(c.step(TaskReady{task(1), spec, &near}).at(0).agent == 6);
  BOOST_TEST(c.step(TaskReady{task(2), spec, &near}).at(0).agent != 6);  // loaded: no equal
}

BOOST_AUTO_TEST_CASE(strategies_are_switched_between_two_choices) {
  Settings settings = plain(4);
  settings.strategy = Strategy::capability_based;
  Case c(settings);
  c.up(0, {{0, 1, 1}});
  c.up(1, {{0, 1, 7}});
  BOOST_TEST(c.ready(task(1)).at(0).agent == 1);
  BOOST_TEST(c.ready(task(2)).at(0).agent == 1);
  c.step(StrategyChanged{Strategy::least_loaded});
  BOOST_TEST(c.ready(task(3)).at(0).agent == 0);
}

BOOST_AUTO_TEST_SUITE_END()

}  // namespace
}  // namespace micro_swarm::scheduling::test
