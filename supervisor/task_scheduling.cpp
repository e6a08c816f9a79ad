// The tasks as the scheduler sees them: what it is told, and what is done when it says so.

#include <algorithm>
#include <cassert>
#include <limits>

#include "common/log.hpp"
#include "supervisor/tasks.hpp"

namespace micro_swarm {

namespace {
/// Attempts are numbered in eight bits; nothing honest gets near it.
constexpr std::uint8_t attempts_limit = 250;
}  // namespace

template <class F>
void Tasks::for_each_token_read(std::uint32_t slot, F&& f) {
  const TaskRequestData& request = records_[slot].request;
  if (const Token payload{request.payload_token}; payload) f(payload);
  if (request.has_options == 0) return;
  for (std::uint32_t i = 0; i < options_[slot].dependency_count; ++i)
    if (const TaskRecord* input = find(dependencies_[slot].ids[i]);
        input != nullptr && input->result_token != 0)
      f(Token{input->result_token});
}

// ---- what it is told ----

scheduling::TaskSpec Tasks::spec_of(std::uint32_t slot) const {
  const TaskRequestData& request = records_[slot].request;
  const auto after = [&](std::uint32_t ms) {
    return ms == 0 ? 0 : counts_from_ns(records_[slot]) + ms * ns_per_ms;
  };
  scheduling::TaskSpec spec;
  spec.client = request.client;
  spec.accepted_ns = counts_from_ns(records_[slot]);
  spec.expires_ns = after(request.timeout_ms);
  spec.capability = request.capability;
  spec.priority = request.priority;
  if (request.has_options == 0) return spec;
  const TaskOptionsRow& options = options_[slot];
  spec.deadline_ns = after(options.deadline_ms);
  spec.min_version = options.min_version;
  spec.category = category_of({options.category, options.category_bytes}).value_or(0);
  spec.resources.cpu_slots = std::max<std::uint32_t>(options.cpu_slots, 1);
  spec.resources.regions = options.resource_regions;
  spec.resources.bytes = options.resource_bytes;
  return spec;
}

std::vector<scheduling::Dependency> Tasks::dependencies_of(std::uint32_t slot) {
  std::vector<scheduling::Dependency> dependencies;
  if (records_[slot].request.has_options == 0) return dependencies;
  for (std::uint32_t i = 0; i < options_[slot].dependency_count; ++i) {
    using State = scheduling::Dependency::State;
    const TaskId id = dependencies_[slot].ids[i];
    const TaskRecord* record = find(id);
    const TaskState state = record == nullptr ? TaskState::failed : word_of(*record).state();
    dependencies.push_back({id, state == TaskState::done ? State::succeeded
                                : is_terminal(state)     ? State::failed
                                                         : State::live});
  }
  return dependencies;
}

void Tasks::tell_scheduler(std::uint32_t slot) {
  const TaskWord word = word_of(records_[slot]);
  const TaskId id = id_of(slot);
  const scheduling::TaskSpec spec = spec_of(slot);
  if (is_repeat(slot)) {
    // It waits for the journal, not for an agent; its timeout counts all the same.
    schedule(scheduling::TaskDelayed{id, spec, std::numeric_limits<std::uint64_t>::max()});
    if (durability_ != nullptr) durability_->repeats(slot);
    return;
  }
  charge_category(slot, spec);
  // Also for a task that waits no longer: what it reads must stay until it is over.
  if (const auto dependencies = dependencies_of(slot); !dependencies.empty()) {
    schedule(scheduling::TaskWaiting{id, spec, dependencies, options_[slot].on_dependency_failure});
    if (word.state() == TaskState::ready) return;  // `release` follows: all of them are over
  } else if (word.state() == TaskState::pending) {
    release_task(id);
  }
  if (word.state() == TaskState::running)
    schedule(scheduling::TaskAdopted{id, spec, word.agent()});
  else if (word.state() == TaskState::ready)
    schedule(scheduling::TaskReady{id, spec});
}

void Tasks::make_ready(std::uint32_t slot, std::uint64_t now) {
  const TaskRequestData& request = records_[slot].request;
  if (request.payload_token == 0 && request.has_options == 0)
    return schedule(scheduling::TaskReady{id_of(slot), spec_of(slot)}, now);
  AgentSet near;
  for_each_token_read(slot, [&](Token token) { banks_.add_near(token, near); });
  schedule(scheduling::TaskReady{id_of(slot), spec_of(slot), &near}, now);
}

void Tasks::set_strategy(Strategy strategy) { schedule(scheduling::StrategyChanged{strategy}); }

void Tasks::pool_changed() {
  schedule(scheduling::PoolChanged{static_cast<std::uint32_t>(load(c_.tables().pool_regions)),
                                   c_.pool_bytes()});
}

void Tasks::agent_up(Peer& agent, const CapabilitySet& capabilities) {
  banks_.show_sent(agent);
  // What it already runs (adopted, or it rested) counts against its credit.
  for (const std::uint32_t slot : running_[agent.id]) {
    schedule(scheduling::TaskAdopted{id_of(slot), spec_of(slot), agent.id});
    // The supervisor that dispatched it may have died with the bank's message still in its outbox:
    // the agent would wait for that memory for ever.
    show_what_it_reads(agent, slot);
  }
  const std::uint32_t kind = c_.row(agent.id).kind;
  scheduling::CapabilityOffer offer;
  if (kind < c_.config.agents.size()) {
    offer.version = static_cast<std::uint16_t>(c_.config.agents[kind].version);
    offer.weight = static_cast<std::uint16_t>(c_.config.agents[kind].weight);
  }
  std::vector<scheduling::CapabilityOffer> offers;
  for (std::size_t id = capabilities._Find_first(); id < capabilities_max;
       id = capabilities._Find_next(id)) {
    offer.capability = static_cast<std::uint16_t>(id);
    offers.push_back(offer);
  }
  agent.in_scheduler = true;
  schedule(scheduling::AgentUp{agent.id, offers});
  run_actions();
}

void Tasks::agent_resting(Peer& agent) {
  if (!agent.in_scheduler) return;
  agent.in_scheduler = false;
  schedule(scheduling::AgentDown{agent.id});
}

void Tasks::agent_died(Peer& agent, Incarnation incarnation, TaskId in_hand) {
  agent_resting(agent);
  std::vector<std::uint32_t> had;
  had.swap(running_[agent.id]);
  statistics_.idle(agent.id, now_ns());
  for (const std::uint32_t slot : had) {
    TaskRecord& record = records_[slot];
    const TaskWord word = word_of(record);
    if (word.state() != TaskState::running || word.agent() != agent.id ||
        record.dispatch_incarnation != incarnation)
      continue;
    const TaskId id = make_task_id(slot, word.generation());
    TaskState end = TaskState::free;
    if (record.cancel_requested != 0)
      end = end_by(static_cast<CancelReason>(record.cancel_requested));
    else if ((id == in_hand &&
              count_crash(record, agent.id, incarnation) >= c_.config.tasks.attempts_max) ||
             word.attempt() >= attempts_limit)
      end = TaskState::dead_letter;
    if (end != TaskState::free) {
      end_task(record, end, now_ns());
      schedule(scheduling::TaskEnded{id});
      ended(slot, TaskState::running);
      continue;
    }
    requeue_task(record);
    set_state_counts(TaskState::running, TaskState::ready);
    c_.count(Counter::tasks_rerun);
    make_ready(slot);
  }
  run_actions();
}

// ---- what it says ----

void Tasks::run_actions() {
  if (running_actions_) return;  // an action's consequence: the loop below takes it
  running_actions_ = true;
  using Kind = scheduling::Action::Kind;
  for (std::size_t i = 0; i < actions_.size(); ++i) {
    const scheduling::Action action = actions_[i];
    switch (action.kind) {
      case Kind::dispatch: dispatch(action.task, action.agent); break;
      case Kind::time_out: timed_out(action.task); break;
      case Kind::release: release_task(action.task); break;
      case Kind::dependency_failed: dependency_failed(action); break;
      case Kind::refuse:
        end_unfinished(action.task, TaskState::failed, "cannot be scheduled");
        break;
      case Kind::fail:
      case Kind::retry: assert(false);  // taken by next_attempt_ns()
    }
  }
  actions_.clear();
  running_actions_ = false;
}

void Tasks::dispatch(TaskId id, PartyId agent_id) {
  const std::uint32_t slot = task_slot(id);
  TaskRecord& record = records_[slot];
  Peer& agent = c_.peers[agent_id];
  // It ended between the decision and now: the scheduler was told.
  if (word_of(record).state() != TaskState::ready ||
      word_of(record).generation() != task_generation(id))
    return;
  show_what_it_reads(agent, slot);
  if (!dispatch_task(record, slot, options_[slot], agent.data_out, agent_id,
                     c_.row(agent_id).incarnation, now_ns())) {
    // More unread messages than its credit allows: it is lying about its cursor or is not reading
    // at all. It gets nothing until it has caught up; the task goes to another.
    agent_resting(agent);
    return make_ready(slot);
  }
  set_state_counts(TaskState::ready, TaskState::running);
  c_.count(Counter::tasks_dispatched);
  running_[agent_id].push_back(slot);
  agent.hot = agent.hot || agent.linked;
  c_.ring(agent);
  statistics_.dispatched(agent_id, record.dispatched_ns);
  if (word_of(record).attempt() == 1)
    statistics_.queued(record.request.priority, record.request.capability,
                       elapsed_ns(record.dispatched_ns, record.request.accepted_ns));
}

void Tasks::show_what_it_reads(Peer& agent, std::uint32_t slot) {
  for_each_token_read(slot, [&](Token token) { banks_.show_to(agent, bank_of(token.region())); });
}

void Tasks::release_task(TaskId id) {
  TaskRecord* record = find(id);
  if (record == nullptr) return;
  const std::uint32_t slot = task_slot(id);
  if (word_of(*record).state() == TaskState::pending) {
    if (record->not_before_ns > now_ns())
      return schedule(scheduling::TaskDelayed{id, spec_of(slot), record->not_before_ns});
    micro_swarm::release_task(*record);
    set_state_counts(TaskState::pending, TaskState::ready);
  }
  // An adopted one may have been ready already, or running.
  if (word_of(*record).state() == TaskState::ready) make_ready(slot);
}

void Tasks::dependency_failed(const scheduling::Action& action) {
  TaskRecord* record = find(action.task);
  if (record == nullptr || word_of(*record).state() != TaskState::pending) return;
  if (action.policy == OnDependencyFailure::skip)
    end_unfinished(action.task, TaskState::cancelled, "skipped: a dependency");
  else
    end_unfinished(action.task, TaskState::failed, "a dependency failed");
}

void Tasks::end_unfinished(TaskId id, TaskState end, std::string_view why) {
  TaskRecord* record = find(id);
  if (record == nullptr || is_terminal(word_of(*record).state())) return;
  const TaskState before = word_of(*record).state();
  end_task(*record, end, now_ns(), why);
  schedule(scheduling::TaskEnded{id});
  ended(task_slot(id), before);
}

// ---- retries ----

std::optional<std::uint64_t> Tasks::next_attempt_ns(std::uint32_t slot) {
  TaskRecord& record = records_[slot];
  if (record.request.has_options == 0 || options_[slot].retries == 0 ||
      record.cancel_requested != 0 || word_of(record).attempt() >= attempts_limit)
    return std::nullopt;
  const std::size_t before = actions_.size();
  const TaskId id = id_of(slot);
  schedule(scheduling::AttemptFailed{id, count_failure(record), options_[slot].retries,
                                     options_[slot].retry_backoff_ms * ns_per_ms});
  // Its answer is done with before anything else is, so it does not wait among the actions.
  using Kind = scheduling::Action::Kind;
  const auto said = std::find_if(actions_.begin() + static_cast<std::ptrdiff_t>(before),
                                 actions_.end(), [id](const scheduling::Action& action) {
                                   return action.task == id &&
                                          (action.kind == Kind::retry || action.kind == Kind::fail);
                                 });
  assert(said != actions_.end());
  const scheduling::Action action = *said;
  actions_.erase(said);
  if (action.kind == Kind::fail) return std::nullopt;
  return action.at_ns;
}

// ---- what dependents read ----

bool Tasks::is_withheld(std::uint32_t slot) const {
  return records_[slot].notified == 0 && records_[slot].result_token != 0 &&
         scheduler_.graph().is_named(id_of(slot));
}

void Tasks::dependencies_unnamed(std::uint32_t slot) {
  if (records_[slot].request.has_options == 0) return;
  for (std::uint32_t i = 0; i < options_[slot].dependency_count; ++i) {
    const TaskId id = dependencies_[slot].ids[i];
    const TaskRecord* record = find(id);
    if (record == nullptr || scheduler_.graph().is_named(id) ||
        !is_terminal(word_of(*record).state()))
      continue;
    if (record->notified == 0) {
      if (is_over(task_slot(id))) notify(task_slot(id));  // else settled() comes to it
    } else {
      over(task_slot(id));
    }
  }
}

}  // namespace micro_swarm
