#pragma once

// Shared libraries with operations of users (agentproc/plugin/micro_swarm/plugin.h).

#include <string>
#include <vector>

#include "agentproc/agent_runtime.hpp"
#include "common/result.hpp"

struct msw_operation;

namespace micro_swarm {

/// Opens the libraries, for good, and asks each what it offers. Runs their code: what crashes in
/// there crashes this process. Errors (model: the kind cannot be made): which library, and whether
/// it could not be opened, lacks the entry point, is of another version, offers a name that is no
/// capability or that another one offers.
Result<std::vector<const msw_operation*>> load_plugins(const std::vector<std::string>& files);

/// Error (model): one of `capabilities` is neither built in nor any plugin's.
Result<void> check_offered(const std::vector<std::string>& capabilities,
                           const std::vector<const msw_operation*>& operations);

void add_plugin_operations(HandlerSet& handlers,
                           const std::vector<const msw_operation*>& operations);

}  // namespace micro_swarm
