#pragma once

// Configurations that a program has put together, checked by the rules of configuration files; and
// one kind of agent on its own, for kinds that come to a swarm otherwise.

#include <nlohmann/json_fwd.hpp>

#include "common/config.hpp"
#include "common/result.hpp"

namespace micro_swarm {

/// `config` as load_config() would return it. Error (config): which setting is wrong, and what is
/// allowed.
Result<Config> check_config(const Config& config);

/// Checks `spec` as one more kind beside those of `config`, by the rules of configuration files
/// (unique name, existing model, at most 256 agents, ...), and returns it complete: with its
/// capabilities and an absolute model, which is looked for from the working directory. Error
/// (config): which setting of the kind is wrong, and what is allowed.
Result<AgentSpec> check_agent(const Config& config, AgentSpec spec);

nlohmann::json agent_to_json(const AgentSpec& spec);
/// As strict as a configuration file about names and types; check_agent() does the rest.
/// Error (usage).
Result<AgentSpec> agent_from_json(const nlohmann::json& object);

}  // namespace micro_swarm
