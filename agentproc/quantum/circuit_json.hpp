#pragma once

#include "agentproc/quantum/circuit.hpp"
#include "agentproc/quantum/json_reader.hpp"

namespace micro_swarm::quantum {

/// Reads "qubits", "bits" and "gates" of an object (docs/quantum.md says how they look). Errors
/// name the place, as in "gates[3].qubits[1]: "; usage, or too_large for more qubits than
/// `qubits_allowed` or a bound of limits.hpp.
Result<Circuit> read_circuit(const JsonObject& object, unsigned qubits_allowed);

}  // namespace micro_swarm::quantum
