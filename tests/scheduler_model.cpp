#include "tests/scheduler_model.hpp"

namespace micro_swarm::scheduling::test {

namespace {
using Kind = Action::Kind;
using Told = std::multiset<std::tuple<int, TaskId>>;
int number(Kind kind) { return static_cast<int>(kind); }
}  // namespace

// ---- the promises ----

void Model::promote() {
  if (settings_.aging_ns == 0) return;
  for (ModelTask& t : tasks_) {
    if (t.state != ModelTask::queued || t.level == 0) continue;
    const std::uint64_t classes = (now_ns_ - t.age_ns) / settings_.aging_ns;
    if (classes == 0) continue;
    t.level -= static_cast<unsigned>(std::min<std::uint64_t>(classes, t.level));
    t.age_ns += classes * settings_.aging_ns;
    t.state = ModelTask::released;  // not among those that are there already
    std::uint64_t& own = time_of(t);
    const bool is_first = std::none_of(tasks_.begin(), tasks_.end(), [&](const ModelTask& o) {
      return o.state == ModelTask::queued && o.level == t.level && o.flow() == t.flow();
    });
    if (is_first) own = std::max(own, class_times_[t.level]);
    t.state = ModelTask::queued;
  }
}

void Model::due(Told& expected) {
  for (ModelTask& t : tasks_) {
    if (!t.is_live()) continue;
    if (t.expires_ns <= now_ns_) {
      t.expires_ns = never;
      if (t.state != ModelTask::running) t.state = ModelTask::released;
      expected.insert({number(Kind::time_out), t.id});
    } else if (t.state == ModelTask::delayed && t.not_before_ns <= now_ns_) {
      t.state = ModelTask::released;
      expected.insert({number(Kind::release), t.id});
    }
  }
}

void Model::enqueue(ModelTask& t, Told& expected) {
  if (t.expires_ns <= now_ns_) {
    t.expires_ns = never;
    t.state = ModelTask::released;
    expected.insert({number(Kind::time_out), t.id});
    return;
  }
  const bool is_first = std::none_of(tasks_.begin(), tasks_.end(), [&](const ModelTask& o) {
    return o.state == ModelTask::queued && o.level == t.level && o.flow() == t.flow();
  });
  if (is_first) time_of(t) = std::max(time_of(t), class_times_[t.level]);
  t.state = ModelTask::queued;
  t.age_ns = now_ns_;
}

std::uint64_t& Model::time_of(const ModelTask& t) {
  switch (settings_.fair_share) {
    case FairShare::client_category: return times_[{t.spec.client, t.spec.category, t.level}];
    case FairShare::category: return times_[{0, t.spec.category, t.level}];
    case FairShare::off: break;
  }
  return times_[{0, 0, t.level}];
}

bool Model::is_held_back(const ModelTask& t) const {
  std::uint32_t of_client = 0;
  std::uint32_t of_category = 0;
  std::uint32_t all = 0;
  for (const ModelTask& o : tasks_) {
    if (o.state != ModelTask::running) continue;
    ++all;
    if (o.spec.client == t.spec.client) ++of_client;
    if (o.spec.category == t.spec.category) ++of_category;
  }
  const std::uint32_t category_max = settings_.categories[t.spec.category].running_max;
  return (settings_.max_concurrent != 0 && all >= settings_.max_concurrent) ||
         (settings_.client_running_max != 0 && of_client >= settings_.client_running_max) ||
         (category_max != 0 && of_category >= category_max);
}

bool Model::can_take(PartyId id, const ModelTask& t) const {
  const ModelAgent& agent = agents_[id];
  return agent.up && agent.in_flight < settings_.credit_per_agent && agent.offer(t.spec) != nullptr;
}

ModelTask* Model::next() {
  ModelTask* best = nullptr;
  for (ModelTask& t : tasks_) {
    if (t.state != ModelTask::queued || is_held_back(t)) continue;
    bool is_served = false;
    for (PartyId id = 0; id < agents; ++id) is_served |= can_take(id, t);
    if (!is_served) continue;
    if (best == nullptr ||
        std::make_tuple(t.level, time_of(t), t.order_ns, t.arrival) <
            std::make_tuple(best->level, time_of(*best), best->order_ns, best->arrival))
      best = &t;
  }
  return best;
}

void Model::check_choice(const ModelTask& t, PartyId chosen) const {
  RC_ASSERT(chosen < agents);
  RC_ASSERT(can_take(chosen, t));
  for (PartyId id = 0; id < agents; ++id) {
    if (!can_take(id, t)) continue;
    const std::uint32_t weight = agents_[id].offer(t.spec)->weight;
    const std::uint32_t chosen_weight = agents_[chosen].offer(t.spec)->weight;
    switch (scheduler_.settings().strategy) {
      case Strategy::least_loaded:
        RC_ASSERT(agents_[chosen].in_flight <= agents_[id].in_flight);
        break;
      case Strategy::capability_based:
        RC_ASSERT(chosen_weight >= weight);
        if (chosen_weight == weight) RC_ASSERT(agents_[chosen].in_flight <= agents_[id].in_flight);
        break;
      case Strategy::round_robin:
      case Strategy::load_balanced: break;  // tables of their own
    }
  }
}

void Model::take(ModelTask& t, PartyId agent) {
  if (settings_.fair_share != FairShare::off) {
    std::uint64_t& own = time_of(t);
    class_times_[t.level] = std::max(class_times_[t.level], own);
    own += (1u << 20) / settings_.categories[t.spec.category].weight;
  }
  t.state = ModelTask::running;
  t.agent = agent;
  ++agents_[agent].in_flight;
}

/// What an event means, before anything is dispatched because of it.
void Model::before(const Event& event, Told& expected) {
  if (const auto* e = std::get_if<TaskReady>(&event)) {
    ModelTask& t = *find(e->task);
    if (t.state == ModelTask::running) --agents_[t.agent].in_flight;
    enqueue(t, expected);
  } else if (const auto* waiting = std::get_if<TaskWaiting>(&event)) {
    ModelTask& t = *find(waiting->task);
    t.state = ModelTask::waiting;
    for (const Dependency& dependency : waiting->dependencies) {
      if (dependency.state == Dependency::State::live) t.dependencies.insert(dependency.task);
      if (dependency.state == Dependency::State::failed &&
          t.on_failure != OnDependencyFailure::run && t.state == ModelTask::waiting) {
        t.state = ModelTask::released;
        expected.insert({number(Kind::dependency_failed), t.id});
      }
    }
    if (t.state == ModelTask::waiting && t.dependencies.empty()) {
      t.state = ModelTask::released;
      expected.insert({number(Kind::release), t.id});
    }
  } else if (const auto* failed = std::get_if<AttemptFailed>(&event)) {
    ModelTask& t = *find(failed->task);
    --agents_[t.agent].in_flight;
    t.state = ModelTask::released;
    if (failed->failures > failed->retries) {
      expected.insert({number(Kind::fail), t.id});
    } else {
      t.state = ModelTask::delayed;
      const std::uint64_t full =
          std::min(settings_.backoff_max_ns, failed->backoff_ns << (failed->failures - 1));
      t.not_before_ns = full;  // checked when it is told
      expected.insert({number(Kind::retry), t.id});
    }
  } else if (const auto* ended = std::get_if<TaskEnded>(&event)) {
    ModelTask& t = *find(ended->task);
    if (t.state == ModelTask::running) --agents_[t.agent].in_flight;
    t.state = ModelTask::over;
    t.succeeded = ended->succeeded;
    for (ModelTask& o : tasks_) {
      if (o.state != ModelTask::waiting || o.dependencies.erase(t.id) == 0) continue;
      if (!t.succeeded && o.on_failure != OnDependencyFailure::run) {
        o.state = ModelTask::released;
        expected.insert({number(Kind::dependency_failed), o.id});
      } else if (o.dependencies.empty()) {
        o.state = ModelTask::released;
        expected.insert({number(Kind::release), o.id});
      }
    }
  }
}

void Model::feed(const Event& event) {
  std::vector<Action> actions;
  Told expected;
  promote();
  due(expected);
  before(event, expected);
  scheduler_.step(event, now_ns_, actions);
  Told told;
  for (const Action& action : actions) {
    if (action.kind != Kind::dispatch) {
      told.insert({number(action.kind), action.task});
      if (action.kind == Kind::retry) {
        ModelTask& t = *find(action.task);
        RC_ASSERT(action.at_ns >= now_ns_ + t.not_before_ns / 2);
        RC_ASSERT(action.at_ns <= now_ns_ + t.not_before_ns);
        t.not_before_ns = action.at_ns;
      }
      continue;
    }
    ModelTask* best = next();
    RC_ASSERT(best != nullptr);
    RC_ASSERT(action.task == best->id);  // in order, never one that is not ready, never twice
    check_choice(*best, action.agent);
    take(*best, action.agent);
  }
  RC_ASSERT(told == expected);
  RC_ASSERT(next() == nullptr);  // nobody idles while there is work for it
  check();
  for (const Action& action : actions) to_obey_.push_back(action);
  if (obeying_) return;
  obeying_ = true;
  while (!to_obey_.empty()) {
    const Action action = to_obey_.front();
    to_obey_.pop_front();
    obey(action);
  }
  obeying_ = false;
}

void Model::obey(const Action& action) {
  ModelTask* t = find(action.task);
  if (t == nullptr || !t->is_live()) return;
  switch (action.kind) {
    case Kind::release:
      if (t->state == ModelTask::released) feed(TaskReady{t->id, t->spec});
      break;
    case Kind::time_out:
      if (t->state == ModelTask::running)
        t->cancel_asked = true;
      else
        end(*t, false, false);
      break;
    case Kind::fail:
    case Kind::dependency_failed: end(*t, false, false); break;
    case Kind::dispatch:
    case Kind::retry: break;
    case Kind::refuse: RC_FAIL("nothing asked too much"); break;
  }
}

void Model::check() const {
  std::uint32_t queued = 0;
  std::uint32_t running = 0;
  for (const ModelTask& t : tasks_) {
    queued += t.state == ModelTask::queued ? 1 : 0;
    running += t.state == ModelTask::running ? 1 : 0;
    const Explanation explanation = scheduler_.explain(t.id, now_ns_);
    switch (t.state) {
      case ModelTask::none:
      case ModelTask::over: RC_ASSERT(explanation.reason == Reason::unknown); break;
      case ModelTask::waiting: {
        RC_ASSERT(explanation.reason == Reason::dependencies);
        RC_ASSERT(std::set<TaskId>(explanation.waits_for.begin(), explanation.waits_for.end()) ==
                  t.dependencies);
        break;
      }
      case ModelTask::delayed: RC_ASSERT(explanation.reason == Reason::backoff); break;
      case ModelTask::released: RC_ASSERT(explanation.reason == Reason::handing_over); break;
      case ModelTask::running: RC_ASSERT(explanation.agent == t.agent); break;
      case ModelTask::queued: {
        const bool is_able = std::any_of(
            agents_.begin(), agents_.end(),
            [&](const ModelAgent& agent) { return agent.up && agent.offer(t.spec) != nullptr; });
        RC_ASSERT((explanation.reason == Reason::no_agent) == !is_able);
        RC_ASSERT(static_cast<unsigned>(explanation.priority) == t.level);
        break;
      }
    }
  }
  RC_ASSERT(scheduler_.ready_count() == queued);
  RC_ASSERT(scheduler_.running_count() == running);
  for (PartyId id = 0; id < agents; ++id) {
    RC_ASSERT(scheduler_.in_flight(id) == agents_[id].in_flight);
    RC_ASSERT(agents_[id].in_flight <= settings_.credit_per_agent);
  }
}

// ---- what happens ----

void Model::apply(unsigned op, unsigned a, unsigned b, unsigned c) {
  switch (op % 16) {
    case 0:
    case 1:
    case 2:
    case 3:
    case 4: return submit(a, b, c);
    case 5:
    case 6:
    case 7:
      if (ModelTask* t = pick(ModelTask::running, a)) answer(*t, b % 4 != 0, false);
      return;
    case 8:
      if (ModelTask* t = pick(ModelTask::running, a)) answer(*t, false, true);
      return;
    case 9:
    case 10: return agent_up(static_cast<PartyId>(a % agents), b, c);
    case 11: return agent_died(static_cast<PartyId>(a % agents), b);
    case 12: {
      ModelTask& t = tasks_[a % slots];
      if (t.is_live() && t.state != ModelTask::running) end(t, false, false);
      return;
    }
    case 13: return feed(StrategyChanged{static_cast<Strategy>(a % 4)});
    default: now_ns_ += a % 64; return feed(Tick{});
  }
}

ModelTask* Model::pick(ModelTask::State state, unsigned a) {
  std::vector<ModelTask*> found;
  for (ModelTask& t : tasks_)
    if (t.state == state) found.push_back(&t);
  return found.empty() ? nullptr : found[a % found.size()];
}

void Model::submit(unsigned a, unsigned b, unsigned c) {
  ModelTask& t = tasks_[a % slots];
  if (t.is_live()) return;
  // Its record must stay while a live task names it.
  if (scheduler_.graph().is_named(t.id)) return;
  std::vector<Dependency> dependencies;
  if (b % 3 == 0)
    for (std::uint32_t i = 0; i < 1 + c % 3; ++i) {
      const ModelTask& other = tasks_[(a + 7 * i + b) % slots];
      if (&other == &t || other.state == ModelTask::none) continue;
      dependencies.push_back({other.id, other.is_live()   ? Dependency::State::live
                                        : other.succeeded ? Dependency::State::succeeded
                                                          : Dependency::State::failed});
    }
  t = ModelTask{};
  t.id = make_task_id(a % slots, ++generation_);
  t.spec.client = 257 + b % 3;
  t.spec.category = static_cast<CategoryId>(c % settings_.categories.size());
  t.spec.capability = static_cast<std::uint16_t>((b / 3) % capabilities);
  t.spec.min_version = static_cast<std::uint16_t>(c % 3);
  t.spec.priority = static_cast<Priority>((b + c) % priorities);
  t.spec.accepted_ns = now_ns_;
  if (c % 5 == 0) t.spec.deadline_ns = now_ns_ + 1 + b % 200;
  if (b % 7 == 0) t.spec.expires_ns = now_ns_ + 1 + c % 300;
  t.level = static_cast<unsigned>(t.spec.priority);
  t.arrival = ++arrivals_;
  t.order_ns = t.spec.deadline_ns != 0 ? t.spec.deadline_ns : now_ns_ + settings_.deadline_slack_ns;
  t.expires_ns = std::min(t.spec.deadline_ns != 0 ? t.spec.deadline_ns : never,
                          t.spec.expires_ns != 0 ? t.spec.expires_ns : never);
  t.on_failure = static_cast<OnDependencyFailure>(a % 3);
  t.retries = c % 3;
  if (!dependencies.empty()) {
    feed(TaskWaiting{t.id, t.spec, dependencies, t.on_failure});
  } else if (c % 11 == 0) {
    t.state = ModelTask::delayed;
    t.not_before_ns = now_ns_ + 1 + a % 50;
    feed(TaskDelayed{t.id, t.spec, t.not_before_ns});
  } else {
    t.state = ModelTask::released;
    feed(TaskReady{t.id, t.spec});
  }
}

void Model::answer(ModelTask& t, bool succeeded, bool failed_attempt) {
  if (failed_attempt && !t.cancel_asked) {
    ++t.failures;
    feed(AttemptFailed{t.id, t.failures, t.retries, 20});
  } else {
    end(t, succeeded && !t.cancel_asked, true);
  }
}

void Model::end(ModelTask& t, bool succeeded, bool answered) {
  feed(TaskEnded{t.id, succeeded, answered});
}

void Model::agent_up(PartyId id, unsigned b, unsigned c) {
  ModelAgent& agent = agents_[id];
  if (agent.up) return;
  agent.up = true;
  agent.offers.clear();
  for (std::uint16_t capability = 0; capability < capabilities; ++capability)
    if ((((1 + b % 7) >> capability) & 1u) != 0)
      agent.offers.push_back({capability, static_cast<std::uint16_t>(1 + (c >> capability) % 3),
                              static_cast<std::uint16_t>(1 + b % 3)});
  feed(AgentUp{id, agent.offers});
}

/// Its tasks run again, in whatever order they are found, or are over with it.
void Model::agent_died(PartyId id, unsigned b) {
  if (!agents_[id].up) return;
  agents_[id].up = false;
  std::vector<TaskId> had;
  for (const ModelTask& t : tasks_)
    if (t.state == ModelTask::running && t.agent == id) had.push_back(t.id);
  if (b % 2 != 0) std::reverse(had.begin(), had.end());
  feed(AgentDown{id});
  for (const TaskId task : had) {
    ModelTask* t = find(task);
    if (t == nullptr || t->state != ModelTask::running || t->agent != id) continue;
    if (t->cancel_asked || b % 5 == 0)
      end(*t, false, false);
    else
      feed(TaskReady{t->id, t->spec});
  }
}

void Model::drain() {
  std::vector<CapabilityOffer> all;
  for (std::uint16_t capability = 0; capability < capabilities; ++capability)
    all.push_back({capability, 9, 1});
  for (PartyId id = 0; id < agents; ++id) {
    agent_died(id, 1);
    agents_[id].up = true;
    agents_[id].offers = all;
    feed(AgentUp{id, agents_[id].offers});
  }
  for (std::uint32_t round = 0; round < 20 * slots; ++round) {
    now_ns_ += 1'000;
    feed(Tick{});
    while (ModelTask* t = pick(ModelTask::running, round)) answer(*t, true, false);
  }
  for (const ModelTask& t : tasks_) RC_ASSERT(!t.is_live());  // none lost, none stuck
  RC_ASSERT(scheduler_.next_due_ns() == never);
  RC_ASSERT(scheduler_.graph().size() == 0u);
}

}  // namespace micro_swarm::scheduling::test
