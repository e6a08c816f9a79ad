#pragma once

// Operations that misbehave on purpose, for tests and demonstrations of what supervision does about
// it. An agent has them only where its configuration lists them as capabilities.
//
//   fault.crash      raises SIGSEGV                     fault.exit       payload: decimal exit code
//   fault.hang       never returns, no progress         fault.stop       SIGSTOPs its own process
//   fault.fork_away  leaves a grandchild in a session of its own behind, then succeeds
//   fault.scribble   tries to write memory that is not its own; payload: "TARGET METHOD", TARGET =
//                    supervisor | bank (the lines behind the first are ignored; `bank` wants a
//                    payload that lies in a region), METHOD = store | mprotect | remap | write.
//                    store: dies of SIGSEGV; the others succeed with the text "errno N"

#include <string_view>
#include <vector>

#include "agentproc/agent_runtime.hpp"

namespace micro_swarm {

std::vector<std::string_view> fault_operation_names();
void add_fault_operations(HandlerSet& handlers);

}  // namespace micro_swarm
