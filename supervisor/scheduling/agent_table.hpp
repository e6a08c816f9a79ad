#pragma once

// The agents: what each can do, and how much of it is in use.

#include <array>
#include <vector>

#include "supervisor/scheduling/types.hpp"

namespace micro_swarm::scheduling {

inline constexpr std::uint16_t no_shape = 0xffff;

struct AgentState {
  bool is_up = false;
  std::uint16_t held_for = no_shape;  ///< takes nothing until a task of this shape fits
  std::uint32_t in_flight = 0;
  std::uint32_t slots_used = 0;
  std::uint64_t backlog_ns = 0;   ///< estimates of what is in flight
  std::uint64_t last_end_ns = 0;  ///< it works on one at a time: the next began no earlier
  std::vector<CapabilityOffer> offers;
};

class AgentTable {
 public:
  AgentTable(std::uint32_t credit, std::uint32_t cpu_slots) : credit_(credit), slots_(cpu_slots) {}

  const AgentState& at(PartyId agent) const { return agents_[agent]; }
  void up(PartyId agent, std::span<const CapabilityOffer> offers);
  void down(PartyId agent);
  void take(PartyId agent, std::uint32_t slots, std::uint64_t estimate_ns);
  void give_back(PartyId agent, std::uint32_t slots, std::uint64_t estimate_ns,
                 std::uint64_t now_ns);
  void hold(PartyId agent, std::uint16_t shape);
  void unhold(PartyId agent);

  /// Live, with credit and a slot left, and not held for anything.
  const AgentSet& open() const { return open_; }
  std::uint32_t slots() const { return slots_; }
  std::uint32_t free_slots(PartyId agent) const {
    const std::uint32_t used = agents_[agent].slots_used;
    return used < slots_ ? slots_ - used : 0;
  }
  /// What it offers of a capability, or nullptr.
  const CapabilityOffer* offer(PartyId agent, std::uint16_t capability) const;
  bool is_offered(std::uint16_t capability) const { return offered_[capability] != 0; }

 private:
  void look(PartyId agent);

  std::uint32_t credit_;
  std::uint32_t slots_;
  AgentSet open_;
  std::array<AgentState, agents_max> agents_;
  std::array<std::uint32_t, capabilities_max> offered_{};  // by how many live agents
};

}  // namespace micro_swarm::scheduling
