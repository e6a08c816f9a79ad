#include "agentproc/agent_main.hpp"

#include <malloc.h>

#include "agentproc/agent_runtime.hpp"
#include "agentproc/fault_operations.hpp"
#include "agentproc/generic_agent.hpp"
#include "agentproc/neural_agent.hpp"
#include "common/log.hpp"

namespace micro_swarm {

int agent_main(const AgentContext& context) {
  // Two threads, of which one hardly allocates: a second arena would cost every agent a page table.
  ::mallopt(M_ARENA_MAX, 1);

  HandlerSet handlers;
  if (context.kind == AgentKind::generic) add_generic_operations(handlers);
  if (context.kind == AgentKind::neural && context.model != nullptr)
    handlers.add_for_all_others(make_neural_handler(*context.model));
  add_fault_operations(handlers);  // reachable only where the configuration lists them

  AgentOptions options;
  options.socket = UniqueFd(context.socket);
  options.capabilities = context.capabilities;
  const auto ended = run_agent(std::move(options), handlers);
  if (ended) return to_int(ExitCode::ok);
  log::error("agent {} (incarnation {}) cannot work: {}", context.party, context.incarnation,
             ended.error().message);
  return to_int(exit_code_of(ended.error().code));
}

}  // namespace micro_swarm
