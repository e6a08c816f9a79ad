#pragma once

#include <nlohmann/json_fwd.hpp>

#include "common/config.hpp"
#include "common/result.hpp"

namespace micro_swarm {

/// The settings of [[agent]] that are about containment, those that `spec.kind` has.
nlohmann::json containment_to_json(const AgentSpec& spec);

/// Takes from `object` what is there, strict about types; ranges are the configuration's to check.
/// Error (usage): ".key: what is expected". May throw nlohmann::json::exception.
Result<void> containment_from_json(const nlohmann::json& object, AgentSpec& spec);

}  // namespace micro_swarm
