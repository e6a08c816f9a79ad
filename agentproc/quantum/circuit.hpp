#pragma once

// What is done to a register, step by step, after it was read and checked.

#include <array>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "agentproc/quantum/gates.hpp"
#include "common/result.hpp"

namespace micro_swarm::quantum {

/// Holds where `bits & mask == value`; the default always.
struct Condition {
  std::uint64_t mask = 0;
  std::uint64_t value = 0;

  bool holds(std::uint64_t bits) const noexcept { return (bits & mask) == value; }
  bool is_always() const noexcept { return mask == 0 && value == 0; }
};

struct Operation {
  enum class Kind : std::uint8_t { gate, measure, reset };
  Kind kind = Kind::gate;
  Gate gate = Gate::id;
  std::uint8_t controls = 0;                           ///< of `qubits`, the first ones
  std::uint8_t qubit_count = 1;                        ///< with the controls
  std::uint8_t bit = 0;                                ///< measure: where the outcome goes
  std::array<std::uint8_t, gate_qubits_max> qubits{};  ///< differ
  std::array<double, gate_angles_max> angles{};        ///< radians
  Condition condition;

  std::uint64_t qubit_mask() const noexcept {
    std::uint64_t mask = 0;
    for (unsigned i = 0; i < qubit_count; ++i) mask |= std::uint64_t{1} << qubits[i];
    return mask;
  }
};

struct Circuit {
  unsigned qubits = 0;
  unsigned bits = 0;
  std::vector<Operation> operations;
};

/// Errors of readers: `where` is a line, or a place in a JSON document.
inline Error wrong(std::string_view where, const std::string& text) {
  return {ErrorCode::usage, std::string(where) + ": " + text, 0};
}

/// Whether an agent for `qubits_allowed` qubits takes `qubits` of them.
Result<void> check_qubits(std::string_view where, std::uint64_t qubits, unsigned qubits_allowed);

/// A gate as it was written, as an operation without a condition; `qubits` are below the circuit's
/// number. Errors: a number of qubits or angles that is not the gate's, a qubit named twice, an
/// angle that is not finite.
Result<Operation> make_operation(std::string_view where, const GateName& gate,
                                 const std::vector<unsigned>& qubits,
                                 const std::vector<double>& angles);

/// Adds it. Error (too_large): the circuit has operations_max already.
Result<void> append(std::string_view where, const Operation& operation, Circuit& circuit);

/// "3 qubits", "1 qubit".
std::string counted(std::uint64_t count, std::string_view what);

}  // namespace micro_swarm::quantum
