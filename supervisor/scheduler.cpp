#include "supervisor/scheduler.hpp"

#include <algorithm>
#include <cassert>
#include <new>

namespace micro_swarm {

Scheduler::Nodes::Nodes(std::uint32_t count)
    : nodes_(static_cast<Node*>(std::calloc(count, sizeof(Node)))) {
  if (!nodes_) throw std::bad_alloc();
}

Scheduler::Scheduler(std::uint32_t task_slots, std::uint32_t credit_per_agent)
    : credit_(credit_per_agent), nodes_(task_slots) {}

void Scheduler::step(const SchedulerEvent& event, std::uint64_t now_ns,
                     std::vector<SchedulerAction>& actions) {
  using Kind = SchedulerEvent::Kind;
  switch (event.kind) {
    case Kind::task_ready: {
      Node& node = nodes_[task_slot(event.task)];
      assert(!node.queued);
      const bool known = node.task == event.task;  // a re-run keeps its deadline and its place
      if (!known) node.arrival = ++arrivals_;
      node.task = event.task;
      node.capability = event.capability;
      node.priority = event.priority;
      node.deadline_ns = event.deadline_ns;
      if (!known && event.deadline_ns != 0) deadlines_.push({event.deadline_ns, event.task});
      // An empty queue and an agent with credit: no detour through the queue.
      enqueue(task_slot(event.task));
      if (queue_of(node).head == task_slot(event.task))
        if (const auto agent = least_loaded(event.capability))
          dispatch(task_slot(event.task), *agent, actions);
      break;
    }
    case Kind::task_withdrawn: {
      Node& node = nodes_[task_slot(event.task)];
      if (node.queued && node.task == event.task) unlink(task_slot(event.task));
      node.task = 0;
      break;
    }
    case Kind::task_adopted: {
      Node& node = nodes_[task_slot(event.task)];
      node.task = event.task;
      node.deadline_ns = event.deadline_ns;
      if (event.deadline_ns != 0) deadlines_.push({event.deadline_ns, event.task});
      Agent& agent = agents_[event.agent];
      if (++agent.in_flight == credit_ && agent.up)
        for (const auto capability : agent.capability_list) --open_[capability];
      break;
    }
    case Kind::attempt_ended:
      if (event.task != 0 && nodes_[task_slot(event.task)].task == event.task)
        nodes_[task_slot(event.task)].task = 0;
      end_attempt(event.agent);
      feed_agent(event.agent, actions);
      break;
    case Kind::agent_up: {
      Agent& agent = agents_[event.agent];
      assert(!agent.up && event.capabilities != nullptr);
      agent.up = true;
      agent.capabilities = *event.capabilities;
      agent.capability_list.clear();
      for (std::uint16_t c = 0; c < capabilities_max; ++c) {
        if (!agent.capabilities.test(c)) continue;
        agent.capability_list.push_back(c);
        ++able_[c];
        if (agent.in_flight < credit_) ++open_[c];
        able_agents_[c].push_back(event.agent);
      }
      feed_agent(event.agent, actions);
      break;
    }
    case Kind::agent_down: {
      Agent& agent = agents_[event.agent];
      if (!agent.up) {
        agent.in_flight = 0;
        break;
      }
      for (const auto capability : agent.capability_list) {
        --able_[capability];
        if (agent.in_flight < credit_) --open_[capability];
        std::erase(able_agents_[capability], event.agent);
      }
      agent.up = false;
      agent.in_flight = 0;
      break;
    }
    case Kind::tick: expire(now_ns, actions); break;
  }
}

std::uint64_t Scheduler::next_deadline_ns() const {
  return deadlines_.empty() ? std::numeric_limits<std::uint64_t>::max() : deadlines_.top().at_ns;
}

void Scheduler::enqueue(std::uint32_t slot) {
  Node& node = nodes_[slot];
  Queue& queue = queue_of(node);
  // Arrivals grow, so a new task goes to the end; a re-run walks forward to its old place.
  std::uint32_t after = queue.tail;
  while (after != none && nodes_[after].arrival > node.arrival) after = nodes_[after].previous;
  node.previous = after;
  node.next = after == none ? queue.head : nodes_[after].next;
  (node.next == none ? queue.tail : nodes_[node.next].previous) = slot;
  (after == none ? queue.head : nodes_[after].next) = slot;
  node.queued = true;
  ++ready_;
}

void Scheduler::unlink(std::uint32_t slot) {
  Node& node = nodes_[slot];
  Queue& queue = queue_of(node);
  (node.previous == none ? queue.head : nodes_[node.previous].next) = node.next;
  (node.next == none ? queue.tail : nodes_[node.next].previous) = node.previous;
  node.queued = false;
  --ready_;
}

std::optional<PartyId> Scheduler::least_loaded(std::uint16_t capability) {
  if (open_[capability] == 0) return std::nullopt;
  const auto& able = able_agents_[capability];
  const auto count = static_cast<std::uint32_t>(able.size());
  std::uint32_t& turn = turn_[capability];
  if (turn >= count) turn = 0;
  PartyId best = no_party;
  std::uint32_t best_at = 0;
  for (std::uint32_t i = 0; i < count; ++i) {
    const std::uint32_t at = turn + i < count ? turn + i : turn + i - count;
    if (best != no_party && agents_[able[at]].in_flight >= agents_[best].in_flight) continue;
    best = able[at];
    best_at = at;
    if (agents_[best].in_flight == 0) break;
  }
  assert(best != no_party && agents_[best].in_flight < credit_);
  turn = best_at + 1;
  return best;
}

void Scheduler::dispatch(std::uint32_t slot, PartyId agent_id,
                         std::vector<SchedulerAction>& actions) {
  unlink(slot);
  Agent& agent = agents_[agent_id];
  if (++agent.in_flight == credit_)
    for (const auto capability : agent.capability_list) --open_[capability];
  actions.push_back({SchedulerAction::Kind::dispatch, nodes_[slot].task, agent_id});
}

void Scheduler::end_attempt(PartyId agent_id) {
  Agent& agent = agents_[agent_id];
  if (agent.in_flight == 0) return;
  if (agent.in_flight-- == credit_ && agent.up)
    for (const auto capability : agent.capability_list) ++open_[capability];
}

void Scheduler::feed_agent(PartyId agent_id, std::vector<SchedulerAction>& actions) {
  const Agent& agent = agents_[agent_id];
  while (agent.up && agent.in_flight < credit_ && ready_ != 0) {
    std::uint32_t best = none;
    for (unsigned priority = 0; priority < priorities && best == none; ++priority)
      for (const auto capability : agent.capability_list) {
        const std::uint32_t head = queues_[capability][priority].head;
        if (head != none && (best == none || nodes_[head].arrival < nodes_[best].arrival))
          best = head;
      }
    if (best == none) return;
    dispatch(best, agent_id, actions);
  }
}

void Scheduler::expire(std::uint64_t now_ns, std::vector<SchedulerAction>& actions) {
  while (!deadlines_.empty() && deadlines_.top().at_ns <= now_ns) {
    const TaskId task = deadlines_.top().task;
    deadlines_.pop();
    // Ended since (its record may even be another task's by now): nothing to time out.
    if (nodes_[task_slot(task)].task == task)
      actions.push_back({SchedulerAction::Kind::deadline_passed, task, no_party});
  }
}

}  // namespace micro_swarm
