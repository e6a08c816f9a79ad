#pragma once

// An agent's life from an open party socket to its end; the same for built-in agents cloned from a
// template and for executables of somebody else's that link this library.

#include <functional>
#include <map>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "agentproc/agent_main.hpp"
#include "agentproc/handler.hpp"
#include "common/posix.hpp"
#include "ipc/party_link.hpp"

namespace micro_swarm {

/// Handlers by the name of their capability; owns them.
class HandlerSet {
 public:
  using Function = std::function<Outcome(TaskContext&)>;

  void add(std::string capability, std::unique_ptr<Handler> handler);
  void add(std::string capability, Function function);
  /// Does whatever no other handler of the set is named for.
  void add_for_all_others(std::unique_ptr<Handler> handler) { others_ = std::move(handler); }

  /// Null: nobody.
  Handler* find(std::string_view capability) const;

 private:
  std::map<std::string, std::unique_ptr<Handler>, std::less<>> handlers_;
  std::unique_ptr<Handler> others_;
};

struct AgentOptions {
  /// The party socket; `welcome` is in it or on its way.
  UniqueFd socket;
  /// What was made before it was known who this agent is.
  PreparedParty prepared;
  /// What dispatches may name. Empty: every capability of the swarm that `handlers` has by name.
  std::vector<AgentCapability> capabilities;
  /// Called on the control thread when the swarm is gone; unset: ends the process at once. If it
  /// returns, the agent drains.
  std::function<void()> on_orphaned;
  int welcome_timeout_ms = 10'000;
};

/// Registers, works, and returns after `drain` when everything in hand is done. Starts one thread
/// and joins it. Errors: refused, not_running, protocol, timed_out (all before the first task).
Result<void> run_agent(AgentOptions options, const HandlerSet& handlers);

/// The main function of an agent that is an executable of its own, started by a swarm (kind
/// external): finds its socket in $MICROSWARM_AGENT_FD, checks $MICROSWARM_PROTOCOL, and works.
/// Returns the exit code; errors go to stderr.
int run_external_agent(const HandlerSet& handlers);

}  // namespace micro_swarm
