// The scheduler on events made up here, beside a naive model of what it promises: no clock, no
// process, no memory of others.

#include <rapidcheck.h>

#include <algorithm>
#include <boost/test/unit_test.hpp>
#include <map>
#include <optional>
#include <set>
#include <tuple>
#include <vector>

#include "supervisor/scheduler.hpp"

namespace micro_swarm {
namespace {

using Kind = SchedulerEvent::Kind;
using Action = SchedulerAction::Kind;

/// A scheduler with less to type.
class Bench {
 public:
  Bench(std::uint32_t slots, std::uint32_t credit) : scheduler(slots, credit) {}

  std::vector<SchedulerAction> step(const SchedulerEvent& event, std::uint64_t now_ns = 0) {
    std::vector<SchedulerAction> actions;
    scheduler.step(event, now_ns, actions);
    return actions;
  }
  std::vector<SchedulerAction> ready(TaskId task, std::uint16_t capability = 0,
                                     Priority priority = Priority::normal,
                                     std::uint64_t deadline_ns = 0) {
    SchedulerEvent event{Kind::task_ready, task};
    event.capability = capability;
    event.priority = priority;
    event.deadline_ns = deadline_ns;
    return step(event);
  }
  std::vector<SchedulerAction> up(PartyId agent,
                                  std::initializer_list<std::uint16_t> capabilities) {
    CapabilitySet set;
    for (const auto capability : capabilities) set.set(capability);
    SchedulerEvent event{Kind::agent_up, 0, agent};
    event.capabilities = &set;
    return step(event);
  }
  std::vector<SchedulerAction> ended(TaskId task, PartyId agent) {
    return step({Kind::attempt_ended, task, agent});
  }
  std::vector<SchedulerAction> tick(std::uint64_t now_ns) { return step({Kind::tick}, now_ns); }

  Scheduler scheduler;
};

TaskId task(std::uint32_t slot, std::uint32_t generation = 1) {
  return make_task_id(slot, generation);
}

std::vector<TaskId> tasks_of(const std::vector<SchedulerAction>& actions) {
  std::vector<TaskId> tasks;
  for (const auto& action : actions) tasks.push_back(action.task);
  return tasks;
}

#define CHECK_TASKS(actions, ...)                                                \
  do {                                                                           \
    const std::vector<TaskId> expected{__VA_ARGS__};                             \
    BOOST_TEST(tasks_of(actions) == expected, boost::test_tools::per_element()); \
  } while (false)

BOOST_AUTO_TEST_CASE(a_ready_task_goes_to_a_free_agent_at_once_and_waits_without_one) {
  Bench bench(8, 1);
  BOOST_TEST(bench.ready(task(1)).empty());
  BOOST_TEST(bench.scheduler.ready_count() == 1u);
  BOOST_TEST(!bench.scheduler.can_run(0));
  const auto actions = bench.up(3, {0});
  CHECK_TASKS(actions, task(1));
  BOOST_TEST(actions[0].agent == 3);
  BOOST_TEST(bench.scheduler.can_run(0));
  BOOST_TEST(bench.scheduler.in_flight(3) == 1u);
  BOOST_TEST(bench.ready(task(2)).empty());  // no credit left
  CHECK_TASKS(bench.ended(task(1), 3), task(2));
}

BOOST_AUTO_TEST_CASE(classes_are_strict_and_first_come_first_served_inside) {
  Bench bench(16, 1);
  bench.ready(task(1), 0, Priority::low);
  bench.ready(task(2), 0, Priority::normal);
  bench.ready(task(3), 1, Priority::normal);
  bench.ready(task(4), 0, Priority::normal);
  bench.ready(task(5), 1, Priority::critical);
  bench.ready(task(6), 0, Priority::high);
  std::vector<TaskId> order = tasks_of(bench.up(0, {0, 1}));
  while (order.size() < 6) {
    const auto next = bench.ended(order.back(), 0);
    BOOST_REQUIRE_EQUAL(next.size(), 1u);
    order.push_back(next[0].task);
  }
  // Arrival counts across the capabilities of an agent.
  const std::vector<TaskId> expected{task(5), task(6), task(2), task(3), task(4), task(1)};
  BOOST_TEST(order == expected, boost::test_tools::per_element());
}

BOOST_AUTO_TEST_CASE(the_least_loaded_is_chosen_and_ties_go_round) {
  Bench bench(32, 4);
  for (PartyId agent = 0; agent < 3; ++agent) bench.up(agent, {0});
  std::multiset<PartyId> chosen;
  for (std::uint32_t slot = 0; slot < 6; ++slot) chosen.insert(bench.ready(task(slot)).at(0).agent);
  for (PartyId agent = 0; agent < 3; ++agent) BOOST_TEST(chosen.count(agent) == 2u);
  BOOST_TEST(bench.scheduler.in_flight(1) == 2u);
  const auto first_of = [&](PartyId agent) {
    for (std::uint32_t slot = 0; slot < 6; ++slot)
      if (slot % 3 == agent) return task(slot);
    return TaskId{0};
  };
  bench.ended(first_of(1), 1);
  BOOST_TEST(bench.ready(task(7)).at(0).agent == 1);
}

BOOST_AUTO_TEST_CASE(a_task_of_a_dead_agent_keeps_its_place_and_its_deadline) {
  Bench bench(16, 1);
  bench.up(0, {0});
  bench.ready(task(1), 0, Priority::normal, 1000);
  bench.ready(task(2));
  bench.ready(task(3));
  BOOST_TEST(bench.step({Kind::agent_down, 0, 0}).empty());
  BOOST_TEST(bench.ready(task(1), 0, Priority::normal, 1000).empty());
  const auto actions = bench.up(1, {0});
  CHECK_TASKS(actions, task(1));  // not behind those that came after it
  CHECK_TASKS(bench.tick(1000), task(1));
  BOOST_TEST(bench.tick(1000).empty());  // told once
}

BOOST_AUTO_TEST_CASE(deadlines_fire_for_what_is_ready_or_running_and_for_nothing_else) {
  Bench bench(16, 1);
  bench.up(0, {0});
  bench.ready(task(1), 0, Priority::normal, 100);  // runs
  bench.ready(task(2), 0, Priority::normal, 200);  // waits
  bench.ready(task(3), 0, Priority::normal, 150);  // is withdrawn
  bench.ready(task(4), 0, Priority::normal, 120);
  BOOST_TEST(bench.scheduler.next_deadline_ns() == 100u);
  bench.step({Kind::task_withdrawn, task(3)});
  CHECK_TASKS(bench.ended(task(1), 0), task(2));  // done in time
  CHECK_TASKS(bench.ended(task(2), 0), task(4));
  // Its record is another task's by now.
  bench.ready(task(2, 2), 0, Priority::normal, 500);
  const auto actions = bench.tick(250);
  CHECK_TASKS(actions, task(4));
  BOOST_TEST((actions[0].kind == Action::deadline_passed));
  CHECK_TASKS(bench.tick(500), task(2, 2));
  BOOST_TEST(bench.scheduler.next_deadline_ns() == std::numeric_limits<std::uint64_t>::max());
}

BOOST_AUTO_TEST_CASE(what_an_adopted_agent_runs_counts_against_its_credit) {
  Bench bench(16, 2);
  bench.step({Kind::task_adopted, task(1), 5});
  bench.ready(task(2));
  bench.ready(task(3));
  CHECK_TASKS(bench.up(5, {0}), task(2));
  CHECK_TASKS(bench.ended(task(1), 5), task(3));
  BOOST_TEST(bench.scheduler.in_flight(5) == 2u);
}

BOOST_AUTO_TEST_CASE(what_ends_on_an_agent_that_rests_frees_nothing_twice) {
  Bench bench(16, 2);
  bench.up(0, {0});
  bench.ready(task(1));
  bench.ready(task(2));
  bench.step({Kind::agent_down, 0, 0});
  bench.ended(task(1), 0);
  bench.step({Kind::task_adopted, task(2), 0});
  bench.up(0, {0});
  BOOST_TEST(bench.scheduler.in_flight(0) == 1u);
  BOOST_TEST(bench.ready(task(3)).size() == 1u);
  BOOST_TEST(bench.ready(task(4)).empty());
}

// ---- beside the model ----

constexpr std::uint32_t slots = 12;
constexpr PartyId agents = 4;
constexpr std::uint16_t capabilities = 3;

struct ModelTask {
  enum State { none, queued, in_flight } state = none;
  TaskId id = 0;
  std::uint32_t generation = 0;
  std::uint16_t capability = 0;
  Priority priority = Priority::normal;
  std::uint64_t arrival = 0;
  std::uint64_t deadline_ns = 0;  ///< 0 = none, or told already
  PartyId agent = no_party;
};
struct ModelAgent {
  bool up = false;
  unsigned capability_bits = 0;
  std::uint32_t in_flight = 0;
  bool can(std::uint16_t capability) const { return ((capability_bits >> capability) & 1u) != 0; }
};

/// What the scheduler promises, said as plainly as possible.
class Model {
 public:
  explicit Model(std::uint32_t credit) : credit_(credit), scheduler_(slots, credit) {}

  void apply(unsigned op, unsigned a, unsigned b, unsigned c) {
    switch (op % 12) {
      case 0:
      case 1:
      case 2:
      case 3: return submit(a % slots, b, c);
      case 4:
      case 5:
      case 6: return end_attempt(a);
      case 7:
      case 8: return agent_up(static_cast<PartyId>(a % agents), 1 + b % 7);
      case 9: return agent_down(static_cast<PartyId>(a % agents), b);
      case 10: return withdraw(a % slots);
      default: return tick(a % 50);
    }
  }

 private:
  std::vector<SchedulerAction> step(const SchedulerEvent& event) {
    std::vector<SchedulerAction> actions;
    scheduler_.step(event, now_ns_, actions);
    return actions;
  }

  void submit(std::uint32_t slot, unsigned b, unsigned c) {
    ModelTask& t = tasks_[slot];
    if (t.state != ModelTask::none) return;
    t.id = make_task_id(slot, ++t.generation);
    t.capability = static_cast<std::uint16_t>(b % capabilities);
    t.priority = static_cast<Priority>(c % priorities);
    t.deadline_ns = c % 3 == 0 ? now_ns_ + 1 + b % 40 : 0;
    t.arrival = ++arrivals_;
    make_ready(t);
  }

  void make_ready(ModelTask& t) {
    t.state = ModelTask::queued;
    t.agent = no_party;
    SchedulerEvent event{Kind::task_ready, t.id};
    event.capability = t.capability;
    event.priority = t.priority;
    event.deadline_ns = t.deadline_ns;
    const auto actions = step(event);
    std::uint32_t least = credit_;
    for (const ModelAgent& agent : agents_)
      if (agent.up && agent.can(t.capability)) least = std::min(least, agent.in_flight);
    if (least == credit_) {
      RC_ASSERT(actions.empty());
    } else {
      // Nobody with credit left anything of this capability waiting, so it is this task's turn.
      RC_ASSERT(actions.size() == 1u);
      RC_ASSERT(actions[0].task == t.id);
      const ModelAgent& chosen = agents_.at(actions[0].agent);
      RC_ASSERT(chosen.up && chosen.can(t.capability) && chosen.in_flight == least);
      take(actions[0]);
    }
    check();
  }

  void end_attempt(unsigned a) {
    std::vector<ModelTask*> running;
    for (ModelTask& t : tasks_)
      if (t.state == ModelTask::in_flight) running.push_back(&t);
    if (running.empty()) return;
    ModelTask& t = *running[a % running.size()];
    const PartyId agent = t.agent;
    t.state = ModelTask::none;
    --agents_[agent].in_flight;
    feed(agent, step({Kind::attempt_ended, t.id, agent}));
  }

  void agent_up(PartyId id, unsigned bits) {
    ModelAgent& agent = agents_[id];
    if (agent.up) return;
    agent.up = true;
    agent.capability_bits = bits;
    const CapabilitySet set(bits);
    SchedulerEvent event{Kind::agent_up, 0, id};
    event.capabilities = &set;
    feed(id, step(event));
  }

  /// Its tasks run again, in whatever order they are found, or are over with it.
  void agent_down(PartyId id, unsigned b) {
    if (!agents_[id].up) return;
    agents_[id].up = false;
    agents_[id].in_flight = 0;
    RC_ASSERT(step({Kind::agent_down, 0, id}).empty());
    std::vector<ModelTask*> had;
    for (ModelTask& t : tasks_)
      if (t.state == ModelTask::in_flight && t.agent == id) had.push_back(&t);
    if (b % 2 != 0) std::reverse(had.begin(), had.end());
    for (ModelTask* t : had) t->state = ModelTask::none;
    for (ModelTask* t : had) make_ready(*t);
    check();
  }

  void withdraw(std::uint32_t slot) {
    ModelTask& t = tasks_[slot];
    if (t.state != ModelTask::queued) return;
    t.state = ModelTask::none;
    RC_ASSERT(step({Kind::task_withdrawn, t.id}).empty());
    check();
  }

  void tick(std::uint64_t later_ns) {
    now_ns_ += later_ns;
    std::set<TaskId> expected;
    for (ModelTask& t : tasks_) {
      if (t.state == ModelTask::none || t.deadline_ns == 0 || t.deadline_ns > now_ns_) continue;
      expected.insert(t.id);
      t.deadline_ns = 0;
    }
    std::set<TaskId> told;
    for (const SchedulerAction& action : step({Kind::tick})) {
      RC_ASSERT((action.kind == Action::deadline_passed));
      RC_ASSERT(told.insert(action.task).second);
    }
    RC_ASSERT(told == expected);
    RC_ASSERT(scheduler_.next_deadline_ns() > now_ns_);
    check();
  }

  /// The agent gets what is first among all it can do, until its credit is used up.
  void feed(PartyId id, const std::vector<SchedulerAction>& actions) {
    const ModelAgent& agent = agents_[id];
    for (const SchedulerAction& action : actions) {
      const ModelTask* first = nullptr;
      for (const ModelTask& t : tasks_)
        if (t.state == ModelTask::queued && agent.can(t.capability) &&
            (first == nullptr ||
             std::tie(t.priority, t.arrival) < std::tie(first->priority, first->arrival)))
          first = &t;
      RC_ASSERT(first != nullptr);
      RC_ASSERT(action.task == first->id);
      RC_ASSERT(action.agent == id);
      take(action);
    }
    check();
  }

  void take(const SchedulerAction& action) {
    RC_ASSERT((action.kind == Action::dispatch));
    ModelTask& t = tasks_.at(task_slot(action.task));
    RC_ASSERT(t.id == action.task);
    RC_ASSERT(t.state == ModelTask::queued);  // never twice at once
    t.state = ModelTask::in_flight;
    t.agent = action.agent;
    RC_ASSERT(++agents_[action.agent].in_flight <= credit_);
  }

  void check() const {
    std::uint32_t queued = 0;
    for (const ModelTask& t : tasks_) {
      if (t.state != ModelTask::queued) continue;
      ++queued;
      for (const ModelAgent& agent : agents_)  // nobody idles while there is work for it
        RC_ASSERT(!agent.up || !agent.can(t.capability) || agent.in_flight == credit_);
    }
    RC_ASSERT(scheduler_.ready_count() == queued);
    for (PartyId id = 0; id < agents; ++id)
      RC_ASSERT(scheduler_.in_flight(id) == agents_[id].in_flight);
    for (std::uint16_t capability = 0; capability < capabilities; ++capability)
      RC_ASSERT(scheduler_.can_run(capability) ==
                std::any_of(agents_.begin(), agents_.end(), [&](const ModelAgent& agent) {
                  return agent.up && agent.can(capability);
                }));
  }

  std::uint32_t credit_;
  Scheduler scheduler_;
  std::array<ModelTask, slots> tasks_;
  std::array<ModelAgent, agents> agents_;
  std::uint64_t now_ns_ = 1;
  std::uint64_t arrivals_ = 0;
};

BOOST_AUTO_TEST_CASE(any_history_agrees_with_the_model) {
  using Step = std::tuple<std::uint8_t, std::uint8_t, std::uint8_t, std::uint8_t>;
  const bool holds = rc::check("the scheduler is the model", [] {
    const auto credit = *rc::gen::inRange<std::uint32_t>(1, 4);
    const auto history = *rc::gen::scale(4.0, rc::gen::arbitrary<std::vector<Step>>());
    Model model(credit);
    for (const auto& [op, a, b, c] : history) model.apply(op, a, b, c);
  });
  BOOST_TEST(holds);
}

}  // namespace
}  // namespace micro_swarm
