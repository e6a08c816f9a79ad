#pragma once

// What a template calls in a freshly cloned agent, after the descriptors are in place and the
// process is confined: from here on the process is an agent until it exits.

#include <cstdint>
#include <string>
#include <vector>

#include "agentproc/batch_limits.hpp"
#include "common/config.hpp"
#include "common/ids.hpp"

struct msw_operation;

namespace micro_swarm {

class NeuralModel;
/// Which of a kind's models does which work. Capability empty: all that no other is named for.
struct NamedModel {
  std::string capability;
  NeuralModel* model = nullptr;
};
struct PreparedParty;
struct ScriptCommand;

/// One kind of work, as its name is known to clients and its number stands in messages.
struct AgentCapability {
  std::string name;
  std::uint16_t id = 0;  ///< index in the supervisor's capability table
};

/// Everything an agent is told by the template it was cloned from.
struct AgentContext {
  PartyId party = no_party;
  Incarnation incarnation = 0;
  /// The party socket; its first message, `welcome`, is already in it. Closed by agent_main.
  int socket = 3;
  AgentKind kind = AgentKind::generic;
  std::vector<AgentCapability> capabilities;
  /// What was made for it beforehand; null: nothing. Moved from by agent_main.
  PreparedParty* prepared = nullptr;
  /// Kind neural: the template's models, weights shared copy-on-write. Must outlive the call.
  std::vector<NamedModel> models;
  /// Kind generic: what the template's plugins offer.
  std::vector<const msw_operation*> plugin_operations;
  BatchLimits batch;  ///< of each model's handler
  /// Kind external with a script behind it; null: none. Must outlive the call.
  const ScriptCommand* script = nullptr;
  /// Kind quantum: of the largest circuit.
  unsigned qubits = qubits_default;
};

/// What agents of a kind have in common, made once by their template before it clones any.
void prepare_agents(const AgentContext& context);

/// What an agent does before it is ready: a first run of what it was cloned with, which takes the
/// pages that every run needs. Once in a process; what crashes here crashes it.
void warm_up_agent(const AgentContext& context);

/// Registers with the supervisor and works until told to drain; starts one thread (the control
/// thread), so the caller must be single-threaded. Errors are logged once, here.
/// Returns the process's exit code; does not return when the swarm ends without a word (`_exit`).
int agent_main(const AgentContext& context);

}  // namespace micro_swarm
