#pragma once

#include <bitset>

#include "common/ids.hpp"

namespace micro_swarm {

/// Some of the agents, by party id.
using AgentSet = std::bitset<agents_max>;

}  // namespace micro_swarm
