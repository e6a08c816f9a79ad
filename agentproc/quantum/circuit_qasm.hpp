#pragma once

#include <string_view>

#include "agentproc/quantum/circuit.hpp"

namespace micro_swarm::quantum {

/// Whether a payload is OpenQASM text: its first word is OPENQASM.
bool is_qasm(std::string_view text);

/// Reads OpenQASM 2 (Cross et al. 2017, arXiv:1707.03429): qreg, creg, gate, the gates of
/// gate_names() after `include "qelib1.inc";` (U and CX without), calls on whole registers,
/// measure, reset, barrier, if. Of the classical bits the first creg has the lowest.
/// Not there, and errors: opaque, other includes, an if over more than one measurement.
/// Errors begin with "line N: "; usage, or too_large for more qubits than `qubits_allowed` or a
/// bound of limits.hpp.
Result<Circuit> read_qasm(std::string_view text, unsigned qubits_allowed);

}  // namespace micro_swarm::quantum
