#pragma once

// Which task runs next, where, and what has to happen before and after. A pure state machine: no
// clock, no memory of others, no I/O, no randomness of its own; the same events in the same order
// give the same actions. It holds nothing that cannot be rebuilt from the task records and the
// live agents.
//
// The order, said once. Among the waiting tasks that some open agent can take and no limit holds
// back, the next one is found by comparing, in this order:
//   1. class: critical before high before normal before low. A task that has waited `aging_ms` in
//      one class counts one class higher from then on, at most critical, also when it runs again;
//   2. the virtual time of its flow {client, category} in that class: each dispatch moves it on
//      by 1/weight; a flow that comes back starts where the class is, so idleness saves nothing;
//   3. its deadline; a task without one counts as though it had one `deadline_slack_ms` after it
//      was accepted. So what is urgent goes first, and nothing that comes later than the slack
//      overtakes what was there;
//   4. arrival.
// Bound: a task of class c (critical = 0) counts as critical after c x aging_ms of waiting, and
// whatever its flow submits more than max(c x aging_ms, deadline_slack_ms) after it was accepted
// comes after it.
//
// Limits hold back a flow (running_max of its client or category) or everything (max_concurrent);
// what is held back loses no place. A task that needs more of an agent than is free keeps one agent
// from taking smaller ones until it fits; a task whose reservation does not fit keeps others that
// reserve from overtaking it. So neither starves.

#include <array>
#include <unordered_map>
#include <vector>

#include "common/prefetch.hpp"
#include "supervisor/scheduling/agent_table.hpp"
#include "supervisor/scheduling/flows.hpp"
#include "supervisor/scheduling/node.hpp"
#include "supervisor/scheduling/ready_queues.hpp"
#include "supervisor/scheduling/service_times.hpp"
#include "supervisor/scheduling/shapes.hpp"
#include "supervisor/scheduling/task_graph.hpp"
#include "supervisor/scheduling/timers.hpp"
#include "supervisor/scheduling/types.hpp"

namespace micro_swarm::scheduling {

class Scheduler {
 public:
  /// `task_slots`: how many records there are; a TaskId's slot is below it.
  Scheduler(std::uint32_t task_slots, Settings settings, Random random);

  /// Appends to `actions` what is to be done now. Never calls back. `now_ns` never goes back.
  void step(const Event& event, std::uint64_t now_ns, std::vector<Action>& actions);

  /// May a new task come in? `has_room` = a record is free for it. Changes nothing.
  Admission admit(const TaskSpec& spec, bool has_room, Coming coming = {}) const;

  /// A hint to the processor: a task will soon come in this slot. Changes nothing.
  [[gnu::always_inline]] void will_track(std::uint32_t slot) const {
    if (const Node* node = nodes_.find(slot)) prefetch_for_write(node, sizeof *node);
  }

  /// When `Tick` is needed next; max = never.
  std::uint64_t next_due_ns() const { return timers_.next_due_ns(); }
  Explanation explain(TaskId task, std::uint64_t now_ns) const;
  /// How many of the tasks that are not running are held by what. Linear in the tasks.
  std::array<std::uint32_t, reasons> pending() const;

  const Settings& settings() const { return settings_; }
  const TaskGraph& graph() const { return graph_; }
  std::uint32_t ready_count() const { return queues_.size(); }
  std::uint32_t running_count() const { return running_; }
  std::uint32_t in_flight(PartyId agent) const { return agents_.at(agent).in_flight; }
  /// Some live agent has it (busy or not).
  bool can_run(std::uint16_t capability) const { return agents_.is_offered(capability); }

 private:
  void on(const TaskWaiting& e);
  void on(const TaskDelayed& e);
  void on(const TaskReady& e);
  void on(const TaskAdopted& e);
  void on(const AttemptFailed& e);
  void on(const TaskEnded& e);
  void on(const AgentUp& e);
  void on(const AgentDown& e);
  void on(const StrategyChanged& e);
  void on(const PoolChanged& e);
  void on(const Tick& e);

  Node* find(TaskId task);
  const Node* find(TaskId task) const;
  /// The node of `task`, made when it is new; nullptr when its demands cannot be kept (told).
  Node* track(TaskId task, const TaskSpec& spec);
  void enqueue(Node& node);
  void unqueue(Node& node);
  /// It is not in flight any more. Returns how long the agent worked on it.
  std::uint64_t leave_agent(Node& node);
  void drop(Node& node);
  void tell(const TaskGraph::Outcome& outcome);
  void run_timers();
  void time_out(Node& node);

  // What the pump asks.
  /// `near` holds for `ready` alone.
  void pump(TaskId ready = 0, const AgentSet* near = nullptr);
  bool is_at_limit() const {
    return settings_.max_concurrent != 0 && running_ >= settings_.max_concurrent;
  }
  bool fits_memory(const Node& node) const;
  void settle_memory_claim();
  void settle_slot_claim(std::uint16_t shape);
  AgentSet with_slots(const AgentSet& agents, std::uint32_t slots) const;
  PartyId freest(const AgentSet& agents) const;
  void dispatch(Node& node, PartyId agent);

  Reason reason_of(const Node& node) const;

  Settings settings_;
  Random random_;
  std::uint64_t now_ns_ = 0;
  std::vector<Action>* actions_ = nullptr;  // during a step
  std::uint64_t arrivals_ = 0;
  std::uint32_t running_ = 0;
  std::uint64_t ends_interval_ns_ = 0;  // smoothed; 0 = not known
  std::uint64_t last_end_ns_ = 0;

  Nodes nodes_;
  std::unordered_map<std::uint32_t, Resources> reservations_;  // of the few that reserve, by slot
  std::uint64_t regions_reserved_ = 0;
  std::uint64_t bytes_reserved_ = 0;
  std::uint32_t memory_claim_ = no_slot;  // the task that waits for regions or bytes

  Flows flows_;
  Shapes shapes_;
  AgentTable agents_;
  ReadyQueues queues_;
  ServiceTimes times_;
  Timers timers_;
  TaskGraph graph_;
  std::vector<TaskGraph::Outcome> outcomes_;
};

}  // namespace micro_swarm::scheduling
