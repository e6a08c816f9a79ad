#include "supervisor/scheduling/agent_choice.hpp"

#include <algorithm>

namespace micro_swarm::scheduling {

namespace {

/// Of a capability that nobody has been measured with.
constexpr std::uint64_t unmeasured_ns = 1'000'000;

/// What makes an agent less wanted; equal = they go in turn.
std::uint64_t cost(Strategy strategy, PartyId id, const Shape& shape, const AgentTable& agents,
                   const ServiceTimes& times) {
  const AgentState& agent = agents.at(id);
  switch (strategy) {
    case Strategy::round_robin: return 0;
    case Strategy::least_loaded: return agent.in_flight;
    case Strategy::load_balanced: {
      const std::uint64_t mean = times.estimate_ns(shape.capability);
      const std::uint64_t own = times.estimate_ns(id, shape.capability);
      const std::uint64_t done_in = agent.backlog_ns + (own == 0 ? unmeasured_ns : own);
      // Differences below an eighth of such a task are noise of the measurement: equal.
      return done_in / std::max<std::uint64_t>((mean == 0 ? unmeasured_ns : mean) / 8, 1);
    }
    case Strategy::capability_based: {
      const CapabilityOffer* offer = agents.offer(id, shape.capability);
      const std::uint64_t weight = offer == nullptr ? 0 : offer->weight;
      return ((0xffff - weight) << 32) | agent.in_flight;
    }
  }
  return 0;
}

}  // namespace

PartyId choose_agent(Strategy strategy, const AgentSet& candidates, const AgentSet* near,
                     Shape& shape, const AgentTable& agents, const ServiceTimes& times) {
  const bool looks_at_data = near != nullptr && strategy != Strategy::round_robin;
  PartyId best = no_party;
  std::uint64_t best_cost = 0;
  bool best_is_near = false;
  const auto look = [&](std::size_t at) {
    const auto id = static_cast<PartyId>(at);
    const std::uint64_t its = cost(strategy, id, shape, agents, times);
    const bool is_near = looks_at_data && near->test(at);
    if (best != no_party && (its != best_cost ? its > best_cost : !is_near || best_is_near)) return;
    best = id;
    best_cost = its;
    best_is_near = is_near;
  };
  // From where the last search ended, once round.
  const std::size_t turn = shape.turn;
  std::size_t at = turn == 0 ? candidates._Find_first() : candidates._Find_next(turn - 1);
  const auto is_settled = [&] { return best != no_party && best_cost == 0 && !looks_at_data; };
  for (; at < agents_max && !is_settled(); at = candidates._Find_next(at)) look(at);
  for (at = candidates._Find_first(); at < turn && !is_settled(); at = candidates._Find_next(at))
    look(at);
  shape.turn = static_cast<PartyId>((best + 1) % agents_max);
  return best;
}

}  // namespace micro_swarm::scheduling
