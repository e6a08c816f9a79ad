#pragma once

// The work of a quantum agent; docs/quantum.md says how payloads and results look.
//
//   quantum.run         a circuit -> counts and what else was asked for, as JSON
//   quantum.amplitudes  a circuit -> its final state, raw
//   quantum.maxcut      a graph -> a cut found by QAOA, as JSON
//   quantum.qubo        a matrix -> an assignment found by QAOA, as JSON

#include <string_view>
#include <vector>

#include "agentproc/agent_runtime.hpp"

namespace micro_swarm {

std::vector<std::string_view> quantum_operation_names();

/// Adds all of them under their names, for circuits of up to `qubits` qubits. Opens the optimiser's
/// library: called in the template.
void add_quantum_operations(HandlerSet& handlers, unsigned qubits);

}  // namespace micro_swarm
