#pragma once

// Which ready task goes to which agent, and which deadline has passed. A pure state machine: no
// clock, no memory of others, no I/O; the same events in the same order give the same actions.
//
// It holds nothing that cannot be rebuilt from the task records and the live agents: a new
// supervisor feeds it `task_ready` for every ready record and `agent_up` for every live agent.
//
// Classes are strict (critical before high before normal before low), first come first served
// inside a class and capability. An agent gets at most `credit_per_agent` tasks in flight, which
// hides the latency of handing over; among the able agents the least loaded is chosen, ties in
// turn.

#include <array>
#include <bitset>
#include <cstdint>
#include <cstdlib>
#include <limits>
#include <memory>
#include <optional>
#include <queue>
#include <type_traits>
#include <vector>

#include "common/ids.hpp"
#include "shm/supervisor_data.hpp"
#include "shm/task_record_data.hpp"

namespace micro_swarm {

using CapabilitySet = std::bitset<capabilities_max>;

struct SchedulerEvent {
  enum class Kind : std::uint8_t {
    task_ready,      ///< task, capability, priority, deadline_ns (0 = none); also a re-run
    task_withdrawn,  ///< task: cancelled while it was ready
    task_adopted,    ///< task, agent, deadline_ns: running already, as a new supervisor found it
    attempt_ended,   ///< task, agent: the agent is free for another
    agent_up,        ///< agent, capabilities
    agent_down,      ///< agent: its attempts are over (task_ready follows for those to run again)
    tick,            ///< time has passed
  };
  Kind kind{};
  TaskId task = 0;
  PartyId agent = no_party;
  std::uint16_t capability = 0;
  Priority priority = Priority::normal;
  std::uint64_t deadline_ns = 0;
  const CapabilitySet* capabilities = nullptr;  ///< agent_up only; copied
};

struct SchedulerAction {
  enum class Kind : std::uint8_t {
    dispatch,        ///< task to agent; counted as in flight from now on
    deadline_passed  ///< task, ready or running: time it out
  };
  Kind kind{};
  TaskId task = 0;
  PartyId agent = no_party;
};

class Scheduler {
 public:
  /// `task_slots`: how many records there are; a TaskId's slot is below it.
  Scheduler(std::uint32_t task_slots, std::uint32_t credit_per_agent);

  /// Appends to `actions` what is to be done now. Never calls back.
  void step(const SchedulerEvent& event, std::uint64_t now_ns,
            std::vector<SchedulerAction>& actions);

  /// When `tick` is needed next; max = never.
  std::uint64_t next_deadline_ns() const;
  std::uint32_t ready_count() const { return ready_; }
  std::uint32_t in_flight(PartyId agent) const { return agents_[agent].in_flight; }
  /// Some live agent has it (busy or not).
  bool can_run(std::uint16_t capability) const { return able_[capability] != 0; }

 private:
  static constexpr std::uint32_t none = std::numeric_limits<std::uint32_t>::max();

  struct Node {  // one per record slot; in at most one queue
    TaskId task;
    std::uint32_t next;      ///< of the queue it is in, if any
    std::uint32_t previous;  ///< likewise
    std::uint64_t arrival;
    std::uint64_t deadline_ns;
    std::uint16_t capability;
    Priority priority;
    bool queued;
  };
  static_assert(std::is_trivial_v<Node>);
  /// All zero, and no page of it exists before it is used: a supervisor that takes over thousands
  /// of ended tasks has work for a few of them.
  class Nodes {
   public:
    explicit Nodes(std::uint32_t count);
    Node& operator[](std::uint32_t slot) const { return nodes_[slot]; }

   private:
    struct Free {
      void operator()(Node* nodes) const noexcept { std::free(nodes); }
    };
    std::unique_ptr<Node[], Free> nodes_;
  };
  struct Queue {
    std::uint32_t head = none;
    std::uint32_t tail = none;
  };
  struct Agent {
    bool up = false;
    std::uint32_t in_flight = 0;
    CapabilitySet capabilities;
    std::vector<std::uint16_t> capability_list;
  };
  struct Deadline {
    std::uint64_t at_ns;
    TaskId task;
    friend bool operator>(const Deadline& a, const Deadline& b) { return a.at_ns > b.at_ns; }
  };

  Queue& queue_of(const Node& node) {
    return queues_[node.capability][static_cast<unsigned>(node.priority)];
  }
  void enqueue(std::uint32_t slot);
  void unlink(std::uint32_t slot);
  std::optional<PartyId> least_loaded(std::uint16_t capability);
  void dispatch(std::uint32_t slot, PartyId agent, std::vector<SchedulerAction>& actions);
  void feed_agent(PartyId agent, std::vector<SchedulerAction>& actions);
  void end_attempt(PartyId agent);
  void expire(std::uint64_t now_ns, std::vector<SchedulerAction>& actions);

  std::uint32_t credit_;
  std::uint32_t ready_ = 0;
  std::uint64_t arrivals_ = 0;
  Nodes nodes_;
  std::array<std::array<Queue, priorities>, capabilities_max> queues_;
  std::array<Agent, agents_max> agents_;
  std::array<std::uint32_t, capabilities_max> able_{};  // live agents
  std::array<std::uint32_t, capabilities_max> open_{};  // live agents with credit left
  std::array<std::vector<PartyId>, capabilities_max> able_agents_;
  std::array<std::uint32_t, capabilities_max> turn_{};
  std::priority_queue<Deadline, std::vector<Deadline>, std::greater<>> deadlines_;
};

}  // namespace micro_swarm
