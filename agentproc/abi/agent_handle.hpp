#pragma once

// What is behind the handles of the C ABI, for faces that are built with it.

#include <memory>

#include "agentproc/abi/micro_swarm/agent.h"

namespace micro_swarm {

/// The payload lies in somebody's bank, lent for as long as the task is in hand. Else it is the
/// task's own memory.
bool is_payload_in_pool(const msw_task& task);

/// As BankMap::pin.
std::shared_ptr<void> pin_mappings(const msw_agent& agent);

/// What msw_task_result() gave out is not this task's result any more and stays allocated while a
/// copy of this lives: somebody may write to it still. Null: there is no such memory. The last copy
/// is dropped by the thread that works with the agent.
std::shared_ptr<void> keep_result(msw_task& task);

}  // namespace micro_swarm
