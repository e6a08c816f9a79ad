// A task's life: every state meets every event; dependencies, retries, deadlines, limits, and what
// the scheduler says about them.

#include <functional>

#include "tests/scheduler_case.hpp"

namespace micro_swarm::scheduling::test {
namespace {

using Kind = Action::Kind;

const TaskSpec plain_spec;

struct State {
  const char* name;
  std::function<void(Case&)> reach;  // brings task 1 into it; task 9 is a task it may wait for
};
const std::vector<State> states{
    {"unknown", [](Case&) {}},
    {"waiting",
     [](Case& c) {
       const Dependency on[] = {{task(9), Dependency::State::live}};
       c.step(TaskWaiting{task(1), plain_spec, on});
     }},
    {"delayed",
     [](Case& c) {
       c.step(TaskDelayed{task(1), plain_spec, 500});
     }},
    {"released",
     [](Case& c) {
       c.step(TaskDelayed{task(1), plain_spec, 2});
       c.tick(2);
     }},
    {"queued", [](Case& c) { c.ready(task(1)); }},
    {"running",
     [](Case& c) {
       c.up(0);
       c.ready(task(1));
       c.step(AgentDown{0});  // nothing else goes there
     }},
};
struct Met {
  const char* name;
  std::function<std::vector<Action>(Case&)> event;
  std::vector<Reason> after;  // by state, as above
};
const Reason none = Reason::unknown;
const Reason no_agent = Reason::no_agent;  // queued: nobody is there to take it
const std::vector<Met> events{
    {"TaskReady",
     [](Case& c) { return c.ready(task(1)); },
     {no_agent, no_agent, no_agent, no_agent, no_agent, no_agent}},
    {"TaskWaiting",
     [](Case& c) {
       const Dependency on[] = {{task(9), Dependency::State::live}};
       return c.step(TaskWaiting{task(1), plain_spec, on});
     },
     {Reason::dependencies, Reason::dependencies, Reason::backoff, Reason::handing_over, no_agent,
      Reason::running}},
    {"TaskDelayed",
     [](Case& c) {
       return c.step(TaskDelayed{task(1), plain_spec, 700});
     },
     {Reason::backoff, Reason::dependencies, Reason::backoff, Reason::backoff, no_agent,
      Reason::running}},
    {"TaskAdopted",
     [](Case& c) {
       return c.step(TaskAdopted{task(1), plain_spec, 3});
     },
     {Reason::running, Reason::dependencies, Reason::backoff, Reason::running, no_agent,
      Reason::running}},
    {"AttemptFailed with a retry left",
     [](Case& c) {
       return c.step(AttemptFailed{task(1), 1, 1, 100});
     },
     {none, Reason::dependencies, Reason::backoff, Reason::handing_over, no_agent,
      Reason::backoff}},
    {"AttemptFailed for the last time",
     [](Case& c) {
       return c.step(AttemptFailed{task(1), 1, 0, 100});
     },
     {none, Reason::dependencies, Reason::backoff, Reason::handing_over, no_agent,
      Reason::handing_over}},
    {"TaskEnded", [](Case& c) { return c.ended(task(1)); }, {none, none, none, none, none, none}},
    {"what it waits for ended",
     [](Case& c) { return c.ended(task(9)); },
     {none, Reason::handing_over, Reason::backoff, Reason::handing_over, no_agent,
      Reason::running}},
    {"AgentDown of its agent",
     [](Case& c) { return c.step(AgentDown{0}); },
     {none, Reason::dependencies, Reason::backoff, Reason::handing_over, no_agent,
      Reason::running}},
    {"StrategyChanged",
     [](Case& c) { return c.step(StrategyChanged{Strategy::round_robin}); },
     {none, Reason::dependencies, Reason::backoff, Reason::handing_over, no_agent,
      Reason::running}},
    {"Tick past its backoff",
     [](Case& c) { return c.tick(600); },
     {none, Reason::dependencies, Reason::handing_over, Reason::handing_over, no_agent,
      Reason::running}},
};

BOOST_AUTO_TEST_CASE(every_state_meets_every_event) {
  for (const Met& met : events)
    for (std::size_t i = 0; i < states.size(); ++i) {
      BOOST_TEST_CONTEXT(states[i].name << " meets " << met.name) {
        Case c(plain(1));
        states[i].reach(c);
        met.event(c);
        BOOST_TEST(name_of(c.reason(task(1))) == name_of(met.after[i]));
        // Whatever it was, its end takes it away and leaves nothing behind.
        c.ended(task(1));
        BOOST_TEST(name_of(c.reason(task(1))) == name_of(Reason::unknown));
        BOOST_TEST(c.scheduler.ready_count() == 0u);
        BOOST_TEST(c.scheduler.running_count() == 0u);
        BOOST_TEST(c.scheduler.graph().size() == 0u);
        BOOST_TEST(c.scheduler.next_due_ns() == never);
      }
    }
}

BOOST_AUTO_TEST_CASE(a_deadline_fires_wherever_the_task_stands_and_once) {
  for (const State& state : states) {
    if (std::string_view(state.name) == "unknown") continue;
    for (const bool orders : {true, false}) {
      BOOST_TEST_CONTEXT(state.name << (orders ? " deadline" : " timeout")) {
        Case c(plain(1));
        TaskSpec spec;
        (orders ? spec.deadline_ns : spec.expires_ns) = 300;
        const Dependency on[] = {{task(9), Dependency::State::live}};
        const std::string_view name = state.name;
        if (name == "waiting") c.step(TaskWaiting{task(1), spec, on});
        if (name == "delayed") c.step(TaskDelayed{task(1), spec, 500});
        if (name == "released") {
          c.step(TaskDelayed{task(1), spec, 2});
          c.tick(2);
        }
        if (name == "running") c.up(0);
        if (name == "queued" || name == "running") c.ready(task(1), spec);
        BOOST_TEST(c.tick(299).empty());
        BOOST_TEST(c.scheduler.next_due_ns() == 300u);
        const auto actions = c.tick(300);
        BOOST_REQUIRE_EQUAL(actions.size(), 1u);
        BOOST_TEST((actions[0].kind == Kind::time_out));
        BOOST_TEST(actions[0].task == task(1));
        BOOST_TEST(c.tick(1'000).empty());
        if (name != "running") BOOST_TEST(c.up(1).empty());  // it is not run any more
      }
    }
  }
}

BOOST_AUTO_TEST_CASE(a_task_that_comes_too_late_is_timed_out_and_not_run) {
  Case c(plain(1));
  c.up(0);
  c.now_ns = 500;
  TaskSpec spec;
  spec.deadline_ns = 400;
  const auto actions = c.ready(task(1), spec);
  BOOST_REQUIRE_EQUAL(actions.size(), 1u);
  BOOST_TEST((actions[0].kind == Kind::time_out));
}

BOOST_AUTO_TEST_SUITE(retries)

BOOST_AUTO_TEST_CASE(back_off_twice_as_long_each_time_with_jitter_up_to_the_maximum) {
  Settings settings = plain(1);
  settings.backoff_max_ns = 500;
  Case c(settings);
  c.up(0);
  c.ready(task(1));
  const std::uint64_t full[] = {100, 200, 400, 500, 500};
  for (std::uint32_t failures = 1; failures <= 5; ++failures) {
    c.random = failures % 2 != 0 ? 0 : full[failures - 1] / 2;  // least, most
    const auto actions = c.step(AttemptFailed{task(1), failures, 5, 100});
    BOOST_REQUIRE_EQUAL(actions.size(), 1u);
    BOOST_TEST((actions[0].kind == Kind::retry));
    const std::uint64_t expected = failures % 2 != 0 ? full[failures - 1] / 2 : full[failures - 1];
    BOOST_TEST(actions[0].at_ns == c.now_ns + expected);
    BOOST_TEST(c.scheduler.explain(task(1), c.now_ns).until_ns == actions[0].at_ns);
    BOOST_TEST(c.tick(actions[0].at_ns - 1).empty());
    const auto released = c.tick(actions[0].at_ns);
    BOOST_REQUIRE_EQUAL(released.size(), 1u);
    BOOST_TEST((released[0].kind == Kind::release));
    BOOST_REQUIRE_EQUAL(c.ready(task(1)).size(), 1u);
  }
  const auto last = c.step(AttemptFailed{task(1), 6, 5, 100});
  BOOST_REQUIRE_EQUAL(last.size(), 1u);
  BOOST_TEST((last[0].kind == Kind::fail));
}

BOOST_AUTO_TEST_SUITE_END()

BOOST_AUTO_TEST_SUITE(dependencies)

BOOST_AUTO_TEST_CASE(decide_by_policy_what_a_failure_does) {
  const OnDependencyFailure policies[] = {OnDependencyFailure::fail, OnDependencyFailure::skip,
                                          OnDependencyFailure::run};
  for (const OnDependencyFailure policy : policies)
    for (const bool was_over : {false, true}) {
      Case c(plain(1));
      const Dependency on[] = {
          {task(2), was_over ? Dependency::State::failed : Dependency::State::live},
          {task(3), Dependency::State::live},
          {task(2), was_over ? Dependency::State::failed : Dependency::State::live}};
      auto actions = c.step(TaskWaiting{task(1), plain_spec, on, policy});
      if (!was_over) {
        BOOST_TEST(actions.empty());
        actions = c.ended(task(2), false);
      }
      if (policy == OnDependencyFailure::run) {
        BOOST_TEST(actions.empty());
        CHECK_TASKS(c.scheduler.explain(task(1), 1).waits_for, task(3));
        actions = c.ended(task(3), true);
        BOOST_REQUIRE_EQUAL(actions.size(), 1u);
        BOOST_TEST((actions[0].kind == Kind::release));
      } else {
        BOOST_REQUIRE_EQUAL(actions.size(), 1u);
        BOOST_TEST((actions[0].kind == Kind::dependency_failed));
        BOOST_TEST((actions[0].policy == policy));
        BOOST_TEST(actions[0].other == task(2));
        BOOST_TEST(c.ended(task(3), true).empty());  // told once
      }
      BOOST_TEST(c.scheduler.graph().is_named(task(3)));  // its result is still wanted
      c.ended(task(1));
      BOOST_TEST(!c.scheduler.graph().is_named(task(3)));
    }
}

BOOST_AUTO_TEST_CASE(that_are_all_over_release_at_once) {
  Case c(plain(1));
  const Dependency on[] = {{task(2), Dependency::State::succeeded}};
  const auto actions = c.step(TaskWaiting{task(1), plain_spec, on});
  BOOST_REQUIRE_EQUAL(actions.size(), 1u);
  BOOST_TEST((actions[0].kind == Kind::release));
}

BOOST_AUTO_TEST_CASE(of_ten_thousand_tasks_end_in_order) {
  constexpr std::uint32_t count = 10'000;
  Case c(plain(4), count);
  for (PartyId agent = 0; agent < 8; ++agent) c.up(agent);
  std::vector<std::vector<TaskId>> needs(count);
  std::vector<bool> is_over(count);
  std::vector<Action> to_do;
  std::uint64_t seed = 1;
  const auto random = [&seed] { return seed = seed * 6364136223846793005u + 1442695040888963407u; };
  for (std::uint32_t i = 0; i < count; ++i) {
    std::vector<Dependency> on;
    for (std::uint32_t k = 0; i != 0 && k < (random() >> 33) % 5; ++k) {
      const auto other = static_cast<std::uint32_t>((random() >> 33) % i);
      on.push_back({task(other), Dependency::State::live});
      needs[i].push_back(task(other));
    }
    const auto actions =
        on.empty() ? c.ready(task(i)) : c.step(TaskWaiting{task(i), plain_spec, on});
    to_do.insert(to_do.end(), actions.begin(), actions.end());
  }
  std::uint32_t ended = 0;
  for (std::size_t i = 0; i < to_do.size(); ++i) {
    const TaskId id = to_do[i].task;
    std::vector<Action> more;
    if (to_do[i].kind == Kind::release) {
      more = c.ready(id);
    } else {
      BOOST_REQUIRE(to_do[i].kind == Kind::dispatch);
      for (const TaskId needed : needs[task_slot(id)]) BOOST_REQUIRE(is_over[task_slot(needed)]);
      is_over[task_slot(id)] = true;
      ++ended;
      more = c.ended(id);
    }
    to_do.insert(to_do.end(), more.begin(), more.end());
  }
  BOOST_TEST(ended == count);
}

BOOST_AUTO_TEST_CASE(in_a_circle_are_named) {
  std::vector<std::vector<std::uint32_t>> graph{{1}, {2, 4}, {3}, {1}, {}, {0}};
  const auto cycle = find_cycle(graph);
  BOOST_REQUIRE(cycle.has_value());
  const std::vector<std::uint32_t> expected{1, 2, 3};
  BOOST_TEST(*cycle == expected, boost::test_tools::per_element());
  graph[3].clear();
  BOOST_TEST(!find_cycle(graph).has_value());
  graph[4] = {4};
  BOOST_TEST(find_cycle(graph)->size() == 1u);
  std::vector<std::vector<std::uint32_t>> chain(100'000);
  for (std::uint32_t i = 1; i < chain.size(); ++i) chain[i] = {i - 1};
  BOOST_TEST(!find_cycle(chain).has_value());
  chain[0] = {99'999};
  BOOST_TEST(find_cycle(chain)->size() == 100'000u);
}

BOOST_AUTO_TEST_SUITE_END()

BOOST_AUTO_TEST_SUITE(limits)

BOOST_AUTO_TEST_CASE(hold_back_and_say_so) {
  TaskSpec first;
  first.client = 300;
  first.category = 1;
  TaskSpec other;
  other.client = 301;
  const std::vector<CategoryLimits> categories{{1, 0, 0}, {1, 0, 0}};
  struct Limit {
    Reason reason;
    std::function<void(Settings&)> set;
    bool holds_others;
  };
  const Limit table[] = {
      {Reason::max_concurrent, [](Settings& s) { s.max_concurrent = 1; }, true},
      {Reason::client_quota, [](Settings& s) { s.client_running_max = 1; }, false},
      {Reason::category_quota, [](Settings& s) { s.categories[1].running_max = 1; }, false},
  };
  for (const Limit& limit : table) {
    BOOST_TEST_CONTEXT(name_of(limit.reason)) {
      Settings settings = plain(4);
      settings.categories = categories;
      limit.set(settings);
      Case c(settings);
      c.up(0);
      c.up(1);
      BOOST_TEST(c.ready(task(1), first).size() == 1u);
      BOOST_TEST(c.ready(task(2), first).empty());
      BOOST_TEST(name_of(c.reason(task(2))) == name_of(limit.reason));
      BOOST_TEST(c.scheduler.pending()[static_cast<unsigned>(limit.reason)] == 1u);
      BOOST_TEST(c.ready(task(3), other).empty() == limit.holds_others);
      // Where all were held back, the other client's turn comes first.
      CHECK_TASKS(tasks_of(c.ended(task(1))), limit.holds_others ? task(3) : task(2));
    }
  }
}

BOOST_AUTO_TEST_CASE(of_slots_let_a_large_task_pass_and_not_starve) {
  Case c(plain(4));
  TaskSpec large;
  large.resources.cpu_slots = 4;
  c.up(0);
  c.up(1);
  for (std::uint32_t slot = 0; slot < 4; ++slot) c.ready(task(slot));  // two on each
  BOOST_TEST(c.ready(task(10), large).empty());
  // One agent keeps itself free for it, the other goes on.
  BOOST_REQUIRE_EQUAL(c.ready(task(11)).size(), 1u);
  BOOST_REQUIRE_EQUAL(c.ready(task(12)).size(), 1u);
  BOOST_TEST(c.ready(task(13)).empty());
  std::vector<TaskId> seen;
  for (std::uint32_t slot = 0; slot < 4; ++slot)
    for (const TaskId id : tasks_of(c.ended(task(slot)))) seen.push_back(id);
  BOOST_TEST((std::find(seen.begin(), seen.end(), task(10)) != seen.end()));
}

BOOST_AUTO_TEST_CASE(of_slots_are_free_again_when_the_large_task_goes_away) {
  Case c(plain(2));
  TaskSpec large;
  large.resources.cpu_slots = 2;
  c.up(0);
  c.ready(task(1));
  c.ready(task(2), large);
  BOOST_TEST(c.ready(task(3)).empty());  // the agent is kept free
  CHECK_TASKS(tasks_of(c.ended(task(2))), task(3));
}

BOOST_AUTO_TEST_CASE(of_memory_keep_the_order_of_those_that_reserve) {
  Settings settings = plain(4);
  settings.regions = 10;
  settings.bytes = 1'000;
  Case c(settings);
  c.up(0);
  TaskSpec some;
  some.resources.regions = 6;
  TaskSpec few;
  few.resources.bytes = 100;
  BOOST_TEST(c.ready(task(1), some).size() == 1u);
  BOOST_TEST(c.ready(task(2), some).empty());
  BOOST_TEST(name_of(c.reason(task(2))) == name_of(Reason::memory));
  BOOST_TEST(c.ready(task(3), few).empty());  // would fit, and would overtake
  BOOST_TEST(c.ready(task(4)).size() == 1u);  // reserves nothing
  CHECK_TASKS(tasks_of(c.ended(task(1))), task(2), task(3));
}

BOOST_AUTO_TEST_CASE(of_the_queue_answer_by_policy) {
  const auto at_limit = [](WhenFull policy, Case*& made) {
    Settings settings = plain(1);
    settings.when_full = policy;
    settings.client_queued_max = 2;
    settings.categories = {{1, 0, 0}, {1, 0, 1}};
    settings.regions = 4;
    made = new Case(settings);
    TaskSpec low;
    low.client = 300;
    low.priority = Priority::low;
    made->ready(task(1), low);
    made->ready(task(2), low);
  };
  using Verdict = Admission::Verdict;
  TaskSpec more;
  more.client = 300;
  for (const WhenFull policy : {WhenFull::reject, WhenFull::block, WhenFull::shed}) {
    Case* made = nullptr;
    at_limit(policy, made);
    const std::unique_ptr<Case> c(made);
    const Admission admission = c->scheduler.admit(more, true);
    BOOST_TEST((admission.reason == Refusal::client_quota));
    BOOST_TEST((admission.verdict == (policy == WhenFull::reject  ? Verdict::refuse
                                      : policy == WhenFull::block ? Verdict::block
                                                                  : Verdict::shed)));
    if (policy == WhenFull::reject) BOOST_TEST(admission.retry_after_ms >= 50u);
    if (policy == WhenFull::shed) {
      BOOST_TEST(admission.victim == task(2));  // the latest of the lowest
      TaskSpec low = more;
      low.priority = Priority::low;  // nothing is lower: refused
      BOOST_TEST((c->scheduler.admit(low, true).verdict == Verdict::refuse));
    }
    TaskSpec other = more;
    other.client = 301;
    BOOST_TEST((c->scheduler.admit(other, true).verdict == Verdict::accept));
    BOOST_TEST((c->scheduler.admit(other, false).reason == Refusal::queue_full));
    other.category = 1;
    c->ready(task(5), other);
    other.client = 302;
    BOOST_TEST((c->scheduler.admit(other, true).reason == Refusal::category_quota));
    other.category = 2;
    BOOST_TEST((c->scheduler.admit(other, true).reason == Refusal::unknown_category));
    other.category = 0;
    other.resources.regions = 5;
    BOOST_TEST((c->scheduler.admit(other, true).reason == Refusal::too_large));
    BOOST_TEST((c->scheduler.admit(other, true).verdict == Verdict::refuse));
  }
}

BOOST_AUTO_TEST_CASE(of_different_demands_are_refused_before_they_are_accepted) {
  Case c(plain(1), 512);
  TaskSpec spec;
  for (std::uint32_t slot = 0; slot < shapes_max; ++slot) {
    spec.min_version = static_cast<std::uint16_t>(slot);
    BOOST_REQUIRE((c.scheduler.admit(spec, true).verdict == Admission::Verdict::accept));
    c.ready(task(slot), spec);
  }
  spec.min_version = shapes_max;
  BOOST_TEST((c.scheduler.admit(spec, true).reason == Refusal::too_many_demands));
  const auto actions = c.ready(task(300), spec);
  BOOST_REQUIRE_EQUAL(actions.size(), 1u);
  BOOST_TEST((actions[0].kind == Kind::refuse));
  c.ended(task(7));
  BOOST_TEST((c.scheduler.admit(spec, true).verdict == Admission::Verdict::accept));
  BOOST_TEST(c.ready(task(300), spec).empty());
  BOOST_TEST(c.scheduler.ready_count() == shapes_max);
}

BOOST_AUTO_TEST_SUITE_END()

BOOST_AUTO_TEST_CASE(a_place_in_the_queue_and_a_start_are_told) {
  Case c(plain(1));
  c.up(0);
  c.ready(task(0));
  c.now_ns += 1'000'000;
  c.ended(task(0));  // so one takes 1 ms
  for (std::uint32_t slot = 1; slot <= 4; ++slot) c.ready(task(slot));
  c.ready(task(5), Priority::low);
  const Explanation third = c.scheduler.explain(task(4), c.now_ns);
  BOOST_TEST((third.reason == Reason::queue));
  BOOST_TEST(third.position == 3u);
  BOOST_TEST((third.priority == Priority::normal));
  BOOST_TEST(third.expected_start_ns == c.now_ns + 4'000'000);
  BOOST_TEST(c.scheduler.explain(task(5), c.now_ns).position == 1u);
  BOOST_TEST(c.scheduler.explain(task(1), c.now_ns).agent == 0);
  TaskSpec unable;
  unable.capability = 9;
  c.ready(task(6), unable);
  BOOST_TEST((c.reason(task(6)) == Reason::no_agent));
}

}  // namespace
}  // namespace micro_swarm::scheduling::test
