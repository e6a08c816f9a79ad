#pragma once

// Kinds of agents that came to a running swarm. The supervisor keeps them in one memfd, which root
// keeps for its successors and which is replaced as a whole: a new supervisor finds all that were
// there before a registration or all that are there after it.

#include <vector>

#include "common/config.hpp"
#include "common/result.hpp"
#include "supervisor/root_link.hpp"

namespace micro_swarm {

/// Has root keep `kinds` (all that were ever added, in their order) instead of what it kept. Done
/// when it returns: root serves what was sent before it starts another supervisor.
Result<void> keep_added_kinds(RootLink& root, const std::vector<AgentSpec>& kinds);

/// `config` with the kinds that predecessors had kept behind its own; `fd` -1 = none were. Aborts
/// on content that keep_added_kinds() has not written: rows of agents would name kinds nobody
/// knows.
Config with_added_kinds(const Config& config, int fd);

}  // namespace micro_swarm
