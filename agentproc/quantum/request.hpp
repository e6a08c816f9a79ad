#pragma once

// From payload to result: the texts of quantum.run (docs/quantum.md).

#include <string>
#include <string_view>

#include "agentproc/quantum/execution.hpp"

namespace micro_swarm::quantum {

struct RunRequest {
  Circuit circuit;
  std::uint64_t shots = 0;  ///< 0: no counts
  std::uint64_t seed = 0;
  bool wants_probabilities = false;
  std::vector<std::string> expectations;  ///< of I and Z, qubit 0 at the right
};

/// A circuit as OpenQASM text, or as JSON with what is asked of it. Errors: as read_qasm() and
/// read_circuit(); what is asked for and cannot be had.
Result<RunRequest> read_run(std::string_view payload, unsigned qubits_allowed);

/// The same for quantum.amplitudes: what asks for something else is an error, and so is a circuit
/// without one final state.
Result<Circuit> read_amplitudes(std::string_view payload, unsigned qubits_allowed);

/// Runs it; JSON text. Errors: cancelled, too_large. Throws std::bad_alloc.
Result<std::string> run(const RunRequest& request, Watch& watch);

/// The lowest `bits` bits, the highest first.
std::string bit_text(std::uint64_t value, unsigned bits);

}  // namespace micro_swarm::quantum
