#pragma once

// The strategies: which of the agents that can take a task now gets it. Pure functions.

#include "supervisor/scheduling/agent_table.hpp"
#include "supervisor/scheduling/service_times.hpp"
#include "supervisor/scheduling/shapes.hpp"

namespace micro_swarm::scheduling {

/// One of `candidates` (not empty: open, able, with enough free slots). Equals go in turn, those
/// `near` the data first; `shape.turn` moves on.
PartyId choose_agent(Strategy strategy, const AgentSet& candidates, const AgentSet* near,
                     Shape& shape, const AgentTable& agents, const ServiceTimes& times);

}  // namespace micro_swarm::scheduling
