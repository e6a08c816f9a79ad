#include "supervisor/scheduling/agent_table.hpp"

#include <algorithm>
#include <cassert>

namespace micro_swarm::scheduling {

void AgentTable::up(PartyId id, std::span<const CapabilityOffer> offers) {
  AgentState& agent = agents_[id];
  assert(!agent.is_up);
  agent.is_up = true;
  agent.offers.assign(offers.begin(), offers.end());
  for (const CapabilityOffer& offer : agent.offers) ++offered_[offer.capability];
  look(id);
}

void AgentTable::down(PartyId id) {
  AgentState& agent = agents_[id];
  if (!agent.is_up) return;
  agent.is_up = false;
  agent.held_for = no_shape;
  for (const CapabilityOffer& offer : agent.offers) --offered_[offer.capability];
  look(id);
}

void AgentTable::take(PartyId id, std::uint32_t slots, std::uint64_t estimate_ns) {
  AgentState& agent = agents_[id];
  ++agent.in_flight;
  agent.slots_used += slots;
  agent.backlog_ns += estimate_ns;
  look(id);
}

void AgentTable::give_back(PartyId id, std::uint32_t slots, std::uint64_t estimate_ns,
                           std::uint64_t now_ns) {
  AgentState& agent = agents_[id];
  assert(agent.in_flight != 0 && agent.slots_used >= slots && agent.backlog_ns >= estimate_ns);
  --agent.in_flight;
  agent.slots_used -= slots;
  agent.backlog_ns -= estimate_ns;
  agent.last_end_ns = now_ns;
  look(id);
}

void AgentTable::hold(PartyId id, std::uint16_t shape) {
  agents_[id].held_for = shape;
  look(id);
}

void AgentTable::unhold(PartyId id) {
  agents_[id].held_for = no_shape;
  look(id);
}

const CapabilityOffer* AgentTable::offer(PartyId id, std::uint16_t capability) const {
  const auto& offers = agents_[id].offers;
  const auto at = std::find_if(
      offers.begin(), offers.end(),
      [capability](const CapabilityOffer& offer) { return offer.capability == capability; });
  return at == offers.end() ? nullptr : &*at;
}

void AgentTable::look(PartyId id) {
  const AgentState& agent = agents_[id];
  open_.set(id, agent.is_up && agent.held_for == no_shape && agent.in_flight < credit_ &&
                    agent.slots_used < slots_);
}

}  // namespace micro_swarm::scheduling
