#pragma once

// The operations on bytes and tensors (agentproc/operations) as work of an agent: a task's payload
// begins with a line of parameters; the data are the results it depends on, in order, and then the
// rest of the payload.

#include <string_view>
#include <vector>

#include "agentproc/agent_runtime.hpp"

namespace micro_swarm {

std::vector<std::string_view> data_operation_names();
void add_data_operations(HandlerSet& handlers);

}  // namespace micro_swarm
