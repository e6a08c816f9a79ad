#include "supervisor/scheduling/scheduler.hpp"

#include <algorithm>

#include "supervisor/scheduling/agent_choice.hpp"

namespace micro_swarm::scheduling {

namespace {
std::uint64_t earlier_of(std::uint64_t a, std::uint64_t b) {  // 0 = none
  return a == 0 ? b : b == 0 ? a : std::min(a, b);
}
}  // namespace

Scheduler::Scheduler(std::uint32_t task_slots, Settings settings, Random random)
    : settings_(std::move(settings)),
      random_(std::move(random)),
      nodes_(task_slots),
      flows_(settings_),
      agents_(settings_.credit_per_agent, settings_.cpu_slots_per_agent),
      queues_(flows_, shapes_),
      timers_(task_slots) {}

void Scheduler::step(const Event& event, std::uint64_t now_ns, std::vector<Action>& actions) {
  now_ns_ = std::max(now_ns_, now_ns);
  actions_ = &actions;
  queues_.promote(now_ns_, settings_.aging_ns);
  run_timers();
  std::visit([this](const auto& e) { on(e); }, event);
  actions_ = nullptr;
}

// ---- nodes ----

Node* Scheduler::find(TaskId task) {
  Node& node = nodes_.at(task_slot(task));
  return task != 0 && node.task == task ? &node : nullptr;
}

const Node* Scheduler::find(TaskId task) const {
  const Node* node = nodes_.find(task_slot(task));
  return task != 0 && node != nullptr && node->task == task ? node : nullptr;
}

Node* Scheduler::track(TaskId task, const TaskSpec& spec) {
  Node& node = nodes_.at(task_slot(task));
  if (node.task == task) return &node;
  if (node.task != 0) drop(node);  // its record is another's by now
  const std::uint16_t shape = shapes_.of(spec, agents_);
  if (shape == no_shape) {
    actions_->push_back({Action::Kind::refuse, {}, no_party, task, 0, 0});
    return nullptr;
  }
  node.task = task;
  node.arrival = ++arrivals_;
  node.order_ns =
      spec.deadline_ns != 0 ? spec.deadline_ns : spec.accepted_ns + settings_.deadline_slack_ns;
  const std::uint64_t expires = earlier_of(spec.deadline_ns, spec.expires_ns);
  node.expires_ns = expires == 0 ? never : expires;
  node.level = static_cast<std::uint8_t>(spec.priority);
  node.shape = shape;
  node.flow = flows_.of(spec);
  node.agent = no_party;
  shapes_.came(shape);
  flows_.came(node.flow);
  if (shapes_.at(shape).reserves) reservations_[task_slot(task)] = spec.resources;
  return &node;
}

void Scheduler::drop(Node& node) {
  if (node.state == Node::State::queued) unqueue(node);
  if (node.state == Node::State::running) leave_agent(node);
  timers_.remove(node);
  graph_.forget(node.task);
  if (shapes_.at(node.shape).reserves) reservations_.erase(task_slot(node.task));
  shapes_.left(node.shape);
  flows_.left(node.flow);
  node.state = Node::State::none;
  node.task = 0;
}

void Scheduler::enqueue(Node& node) {
  if (node.expires_ns <= now_ns_) return time_out(node);
  node.state = Node::State::queued;
  timers_.set(node);
  queues_.insert(node, now_ns_);
}

void Scheduler::unqueue(Node& node) {
  queues_.erase(node);
  node.state = Node::State::released;
  if (memory_claim_ == task_slot(node.task)) memory_claim_ = no_slot;
  settle_slot_claim(node.shape);
}

std::uint64_t Scheduler::leave_agent(Node& node) {
  const Shape& shape = shapes_.at(node.shape);
  const std::uint64_t began = std::max(node.dispatched_ns, agents_.at(node.agent).last_end_ns);
  agents_.give_back(node.agent, shape.cpu_slots, node.estimate_ns, now_ns_);
  flows_.stopped(node.flow);
  --running_;
  if (shape.reserves) {
    const Resources& reserved = reservations_.at(task_slot(node.task));
    regions_reserved_ -= reserved.regions;
    bytes_reserved_ -= reserved.bytes;
  }
  // An agent that keeps itself free for something larger is free enough by now, or is not.
  const std::uint16_t held_for = agents_.at(node.agent).held_for;
  node.state = Node::State::released;
  if (held_for != no_shape) settle_slot_claim(held_for);
  return now_ns_ - std::min(began, now_ns_);
}

// ---- events ----

void Scheduler::on(const TaskWaiting& e) {
  Node* node = track(e.task, e.spec);
  if (node == nullptr || node->state != Node::State::none) return;
  node->state = Node::State::waiting;
  timers_.set(*node);
  tell(graph_.add(e.task, e.dependencies, e.on_failure));
}

void Scheduler::on(const TaskDelayed& e) {
  Node* node = track(e.task, e.spec);
  // `released`: as in TaskAdopted.
  if (node == nullptr || (node->state != Node::State::none && node->state != Node::State::released))
    return;
  node->state = Node::State::delayed;
  node->not_before_ns = e.not_before_ns;
  timers_.set(*node);
}

void Scheduler::on(const TaskReady& e) {
  Node* node = track(e.task, e.spec);
  if (node == nullptr || node->state == Node::State::queued) return;
  if (node->state == Node::State::running) leave_agent(*node);
  enqueue(*node);
  pump(e.task, e.near);
}

void Scheduler::on(const TaskAdopted& e) {
  Node* node = track(e.task, e.spec);
  // `released`: its dependencies were told first (TaskWaiting), and had all ended.
  if (node == nullptr || (node->state != Node::State::none && node->state != Node::State::released))
    return;
  dispatch(*node, e.agent);
}

void Scheduler::on(const AttemptFailed& e) {
  Node* node = find(e.task);
  if (node == nullptr || node->state != Node::State::running) return;
  const PartyId agent = node->agent;
  times_.record(agent, shapes_.at(node->shape).capability, leave_agent(*node));
  if (e.failures > e.retries) {
    actions_->push_back({Action::Kind::fail, {}, no_party, e.task, 0, 0});
  } else {
    std::uint64_t backoff = e.backoff_ns;
    for (std::uint32_t i = 1; i < e.failures && backoff < settings_.backoff_max_ns; ++i)
      backoff *= 2;
    backoff = std::min(backoff, settings_.backoff_max_ns);
    // Half of it for certain, half by chance: tasks that failed together do not come back together.
    const std::uint64_t half = backoff / 2;
    node->not_before_ns = now_ns_ + (backoff - half) + (half == 0 ? 0 : random_() % (half + 1));
    node->state = Node::State::delayed;
    timers_.set(*node);
    actions_->push_back({Action::Kind::retry, {}, no_party, e.task, 0, node->not_before_ns});
  }
  pump();
}

void Scheduler::on(const TaskEnded& e) {
  if (Node* node = find(e.task)) {
    if (node->state == Node::State::running) {
      const PartyId agent = node->agent;
      const std::uint64_t took_ns = leave_agent(*node);
      if (e.answered) times_.record(agent, shapes_.at(node->shape).capability, took_ns);
    }
    drop(*node);
    const std::uint64_t interval = std::min(now_ns_ - last_end_ns_, std::uint64_t{1'000'000'000});
    ends_interval_ns_ = ends_interval_ns_ == 0
                            ? interval
                            : ends_interval_ns_ - ends_interval_ns_ / 8 + interval / 8;
    last_end_ns_ = now_ns_;
  }
  // The next task first, so that no agent waits for the bookkeeping.
  pump();
  outcomes_.clear();
  graph_.ended(e.task, e.succeeded, outcomes_);
  for (const TaskGraph::Outcome& outcome : outcomes_) tell(outcome);
}

void Scheduler::tell(const TaskGraph::Outcome& outcome) {
  using Kind = TaskGraph::Outcome::Kind;
  Node* node = find(outcome.task);
  if (outcome.kind == Kind::waits || node == nullptr || node->state != Node::State::waiting) return;
  node->state = Node::State::released;
  if (outcome.kind == Kind::free)
    actions_->push_back({Action::Kind::release, {}, no_party, outcome.task, 0, 0});
  else
    actions_->push_back({Action::Kind::dependency_failed, outcome.policy, no_party, outcome.task,
                         outcome.because, 0});
}

void Scheduler::on(const AgentUp& e) {
  if (agents_.at(e.agent).is_up) on(AgentDown{e.agent});
  agents_.up(e.agent, e.offers);
  shapes_.agent_up(e.agent, agents_);
  pump();
}

void Scheduler::on(const AgentDown& e) {
  agents_.down(e.agent);
  shapes_.agent_down(e.agent);
}

void Scheduler::on(const StrategyChanged& e) { settings_.strategy = e.strategy; }

void Scheduler::on(const PoolChanged& e) {
  settings_.regions = e.regions;
  settings_.bytes = e.bytes;
}

void Scheduler::on(const Tick&) { pump(); }

void Scheduler::run_timers() {
  while (Node* node = timers_.due(now_ns_)) {
    if (node->expires_ns <= now_ns_) {
      time_out(*node);
      continue;
    }
    node->state = Node::State::released;
    timers_.set(*node);
    actions_->push_back({Action::Kind::release, {}, no_party, node->task, 0, 0});
  }
}

/// Told once; its end follows, so it waits for nothing else any more.
void Scheduler::time_out(Node& node) {
  node.expires_ns = never;
  if (node.state == Node::State::queued) unqueue(node);
  if (node.state != Node::State::running) node.state = Node::State::released;
  timers_.set(node);
  actions_->push_back({Action::Kind::time_out, {}, no_party, node.task, 0, 0});
}

// ---- what runs next ----

bool Scheduler::fits_memory(const Node& node) const {
  const Resources& asked = reservations_.at(task_slot(node.task));
  return regions_reserved_ + asked.regions <= settings_.regions &&
         bytes_reserved_ + asked.bytes <= settings_.bytes;
}

/// The agent that keeps itself free for this shape stops it when it is free enough or nobody asks.
void Scheduler::settle_slot_claim(std::uint16_t number) {
  Shape& shape = shapes_.at(number);
  if (shape.claim == no_party) return;
  if (shape.queued != 0 && agents_.free_slots(shape.claim) < shape.cpu_slots) return;
  agents_.unhold(shape.claim);
  shape.claim = no_party;
}

void Scheduler::settle_memory_claim() {
  if (memory_claim_ != no_slot && fits_memory(nodes_.at(memory_claim_))) memory_claim_ = no_slot;
}

void Scheduler::pump(TaskId ready, const AgentSet* near) {
  settle_memory_claim();
  while (queues_.size() != 0 && agents_.open().any() && !is_at_limit()) {
    // What can be served now; and what could be if an agent kept itself free for it.
    ShapeSet served;
    ShapeSet claimable;
    const ShapeSet& waiting = shapes_.waiting();
    for (std::size_t i = waiting._Find_first(); i < shapes_max; i = waiting._Find_next(i)) {
      const Shape& shape = shapes_.at(static_cast<std::uint16_t>(i));
      if (shape.reserves && memory_claim_ != no_slot) continue;
      const AgentSet open = shape.able & agents_.open();
      if (open.none()) continue;
      if (shape.cpu_slots == 1)
        served.set(i);
      else if (const auto roomy = with_slots(open, shape.cpu_slots); roomy.any())
        served.set(i);
      else if (shape.claim == no_party)
        claimable.set(i);
    }
    if (served.none() && claimable.none()) return;
    Node* node = queues_.best(served | claimable);
    if (node == nullptr) return;  // limits hold back all of them
    Shape& shape = shapes_.at(node->shape);
    if (shape.reserves && !fits_memory(*node)) {
      memory_claim_ = task_slot(node->task);
      continue;
    }
    AgentSet candidates = shape.able & agents_.open();
    if (claimable.test(node->shape)) {
      shape.claim = freest(candidates);
      agents_.hold(shape.claim, node->shape);
      continue;
    }
    if (shape.cpu_slots != 1) candidates = with_slots(candidates, shape.cpu_slots);
    const PartyId agent =
        choose_agent(settings_.strategy, candidates, node->task == ready ? near : nullptr, shape,
                     agents_, times_);
    queues_.erase(*node);
    flows_.charge(node->flow, node->level);
    actions_->push_back({Action::Kind::dispatch, {}, agent, node->task, 0, 0});
    dispatch(*node, agent);
    // It may have been the last one that somebody else keeps itself free for.
    settle_slot_claim(node->shape);
  }
}

AgentSet Scheduler::with_slots(const AgentSet& agents, std::uint32_t slots) const {
  AgentSet roomy = agents;
  for (std::size_t i = agents._Find_first(); i < agents_max; i = agents._Find_next(i))
    if (agents_.free_slots(static_cast<PartyId>(i)) < slots) roomy.reset(i);
  return roomy;
}

PartyId Scheduler::freest(const AgentSet& agents) const {
  PartyId best = no_party;
  for (std::size_t i = agents._Find_first(); i < agents_max; i = agents._Find_next(i))
    if (const auto id = static_cast<PartyId>(i);
        best == no_party || agents_.free_slots(id) > agents_.free_slots(best))
      best = id;
  return best;
}

void Scheduler::dispatch(Node& node, PartyId agent) {
  const Shape& shape = shapes_.at(node.shape);
  node.state = Node::State::running;
  node.agent = agent;
  node.dispatched_ns = now_ns_;
  node.estimate_ns = times_.estimate_ns(agent, shape.capability);
  timers_.set(node);
  agents_.take(agent, shape.cpu_slots, node.estimate_ns);
  flows_.started(node.flow);
  ++running_;
  if (!shape.reserves) return;
  const Resources& reserved = reservations_.at(task_slot(node.task));
  regions_reserved_ += reserved.regions;
  bytes_reserved_ += reserved.bytes;
}

}  // namespace micro_swarm::scheduling
