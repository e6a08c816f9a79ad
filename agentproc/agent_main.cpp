#include "agentproc/agent_main.hpp"

#include <malloc.h>

#include <cerrno>
#include <cstdio>
#include <utility>

#include "agentproc/agent_runtime.hpp"
#include "agentproc/control_thread.hpp"
#include "agentproc/data_operations.hpp"
#include "agentproc/fault_operations.hpp"
#include "agentproc/generic_agent.hpp"
#include "agentproc/neural_agent.hpp"
#include "agentproc/plugin_loader.hpp"
#include "agentproc/quantum_agent.hpp"
#include "agentproc/script_agent.hpp"
#include "common/log.hpp"

namespace micro_swarm {

namespace {

HandlerSet make_handlers(const AgentContext& context) {
  HandlerSet handlers;
  if (context.kind == AgentKind::generic) {
    add_generic_operations(handlers);
    add_data_operations(handlers);
    add_plugin_operations(handlers, context.plugin_operations);
  }
  for (const NamedModel& named : context.models) {
    auto handler = make_neural_handler(*named.model, context.batch);
    if (named.capability.empty())
      handlers.add_for_all_others(std::move(handler));
    else
      handlers.add(named.capability, std::move(handler));
  }
  if (context.kind == AgentKind::quantum) add_quantum_operations(handlers, context.qubits);
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

void warm_up_agent(const AgentContext& context) {
  static bool is_warm = false;
  if (std::exchange(is_warm, true)) return;
  for (const NamedModel& named : context.models)
    if (auto warm = named.model->warm_up(); !warm)
      log::warn("warming up: {}", warm.error().message);
}

namespace {

int exit_code_of_agent(const AgentContext& context, const Result<void>& ended) {
  if (ended) return to_int(ExitCode::ok);
  log::error("agent {} (incarnation {}) cannot work: {}", context.party, context.incarnation,
             ended.error().message);
  return to_int(exit_code_of(ended.error().code));
}

/// The script is there before the agent registers, and goes after the agent has left.
int script_agent_main(const AgentContext& context, AgentOptions options) {
  auto handler = make_script_handler(*context.script, context.party, context.incarnation);
  if (!handler) {
    std::fprintf(stderr, "microswarm: agent %u: %s\n", unsigned{context.party},
                 handler.error().message.c_str());
    const int error = handler.error().sys_errno;
    return error == 0 ? to_int(ExitCode::failed) : error == ENOENT ? 127 : 126;
  }
  HandlerSet handlers;
  handlers.add_for_all_others(std::move(*handler));
  return exit_code_of_agent(context, run_agent(std::move(options), handlers));
}

}  // namespace

int agent_main(const AgentContext& context) {
  warm_up_agent(context);
  AgentOptions options;
  options.socket = UniqueFd(context.socket);
  options.capabilities = context.capabilities;
  if (context.prepared != nullptr) options.prepared = std::move(*context.prepared);
  if (context.script != nullptr) return script_agent_main(context, std::move(options));
  return exit_code_of_agent(context, run_agent(std::move(options), handlers_of(context)));
}

}  // namespace micro_swarm
