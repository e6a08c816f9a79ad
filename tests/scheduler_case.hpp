#pragma once

// A scheduler with less to type, on a clock of its own.

#include <boost/test/unit_test.hpp>
#include <initializer_list>
#include <vector>

#include "supervisor/scheduling/scheduler.hpp"

namespace micro_swarm::scheduling::test {

inline TaskId task(std::uint32_t slot, std::uint32_t generation = 1) {
  return make_task_id(slot, generation);
}

inline Settings plain(std::uint32_t credit) {
  Settings settings;
  settings.credit_per_agent = credit;
  settings.cpu_slots_per_agent = credit;
  settings.aging_ns = 0;
  settings.deadline_slack_ns = 1'000;
  return settings;
}

class Case {
 public:
  explicit Case(Settings settings, std::uint32_t slots = 64)
      : scheduler(slots, std::move(settings), [this] { return random; }) {}

  std::vector<Action> step(const Event& event) {
    std::vector<Action> actions;
    scheduler.step(event, now_ns, actions);
    return actions;
  }
  std::vector<Action> ready(TaskId id, TaskSpec spec = {}) {
    if (spec.accepted_ns == 0) spec.accepted_ns = now_ns;
    return step(TaskReady{id, spec});
  }
  std::vector<Action> ready(TaskId id, Priority priority) {
    TaskSpec spec;
    spec.priority = priority;
    return ready(id, spec);
  }
  std::vector<Action> up(PartyId agent,
                         std::initializer_list<CapabilityOffer> offers = {{0, 1, 1}}) {
    const std::vector<CapabilityOffer> copy(offers);
    return step(AgentUp{agent, copy});
  }
  std::vector<Action> ended(TaskId id, bool succeeded = true) {
    return step(TaskEnded{id, succeeded, true});
  }
  std::vector<Action> tick(std::uint64_t at_ns) {
    now_ns = at_ns;
    return step(Tick{});
  }
  Reason reason(TaskId id) const { return scheduler.explain(id, now_ns).reason; }
  /// Runs everything on agents of credit 1, one after the other; the order in which it ran.
  std::vector<TaskId> run_all(std::vector<Action> actions) {
    std::vector<TaskId> order;
    while (!actions.empty()) {
      BOOST_REQUIRE_EQUAL(actions.size(), 1u);
      BOOST_REQUIRE(actions[0].kind == Action::Kind::dispatch);
      order.push_back(actions[0].task);
      actions = ended(actions[0].task);
    }
    return order;
  }

  std::uint64_t now_ns = 1;
  std::uint64_t random = 0;
  Scheduler scheduler;
};

inline std::vector<TaskId> tasks_of(const std::vector<Action>& actions) {
  std::vector<TaskId> tasks;
  for (const Action& action : actions) tasks.push_back(action.task);
  return tasks;
}

#define CHECK_TASKS(actual, ...)                                                  \
  do {                                                                            \
    const std::vector<TaskId> expected_tasks{__VA_ARGS__};                        \
    const std::vector<TaskId> actual_tasks = (actual);                            \
    BOOST_TEST(actual_tasks == expected_tasks, boost::test_tools::per_element()); \
  } while (false)

}  // namespace micro_swarm::scheduling::test
