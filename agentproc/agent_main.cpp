#include "agentproc/agent_main.hpp"

#include <malloc.h>

#include "agentproc/agent_runtime.hpp"
#include "agentproc/control_thread.hpp"
#include "agentproc/fault_operations.hpp"
#include "agentproc/generic_agent.hpp"
#include "agentproc/neural_agent.hpp"
#include "common/log.hpp"

namespace micro_swarm {

namespace {

HandlerSet make_handlers(const AgentContext& context) {
  HandlerSet handlers;
  if (context.kind == AgentKind::generic) add_generic_operations(handlers);
  if (context.kind == AgentKind::neural && context.model != nullptr)
    handlers.add_for_all_others(make_neural_handler(*context.model));
  add_fault_operations(handlers);  // reachable only where the configuration lists them
  return handlers;
}

/// Made by the first call; of a template and its agents, that is the template's.
const HandlerSet& handlers_of(const AgentContext& context) {
  static const HandlerSet handlers = make_handlers(context);
  return handlers;
}

}  // namespace

void prepare_agents(const AgentContext& context) {
  // Two threads, of which one hardly allocates: a second arena would cost every agent a page table.
  ::mallopt(M_ARENA_MAX, 1);
  static_cast<void>(handlers_of(context));
  ControlThread::rehearse();
}

int agent_main(const AgentContext& context) {
  AgentOptions options;
  options.socket = UniqueFd(context.socket);
  options.capabilities = context.capabilities;
  if (context.prepared != nullptr) options.prepared = std::move(*context.prepared);
  const auto ended = run_agent(std::move(options), handlers_of(context));
  if (ended) return to_int(ExitCode::ok);
  log::error("agent {} (incarnation {}) cannot work: {}", context.party, context.incarnation,
             ended.error().message);
  return to_int(exit_code_of(ended.error().code));
}

}  // namespace micro_swarm
