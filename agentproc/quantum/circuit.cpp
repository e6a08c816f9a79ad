#include "agentproc/quantum/circuit.hpp"

#include <cmath>

#include "agentproc/quantum/limits.hpp"

namespace micro_swarm::quantum {

std::string counted(std::uint64_t count, std::string_view what) {
  return std::to_string(count) + " " + std::string(what) + (count == 1 ? "" : "s");
}

Result<void> check_qubits(std::string_view where, std::uint64_t qubits, unsigned qubits_allowed) {
  if (qubits == 0) return wrong(where, "there are no qubits; 1 is the least");
  if (qubits <= qubits_allowed) return {};
  Error error =
      wrong(where, counted(qubits, "qubit") + " are more than this agent takes, which is " +
                       std::to_string(qubits_allowed) + " (qubits in its [[agent]] table, " +
                       std::to_string(qubits_max) + " at most)");
  error.code = ErrorCode::too_large;
  return error;
}

Result<Operation> make_operation(std::string_view where, const GateName& gate,
                                 const std::vector<unsigned>& qubits,
                                 const std::vector<double>& angles) {
  const std::string name(gate.name);
  if (qubits.size() != gate.qubits)
    return wrong(where, name + " works on " + counted(gate.qubits, "qubit") + ", not on " +
                            std::to_string(qubits.size()));
  if (angles.size() != gate.angles)
    return wrong(where, name + " takes " + counted(gate.angles, "angle") + ", not " +
                            std::to_string(angles.size()));
  Operation operation;
  operation.gate = gate.gate;
  operation.controls = gate.controls;
  operation.qubit_count = gate.qubits;
  for (std::size_t i = 0; i < qubits.size(); ++i) {
    for (std::size_t j = 0; j < i; ++j)
      if (qubits[i] == qubits[j]) return wrong(where, name + " names a qubit twice");
    operation.qubits[i] = static_cast<std::uint8_t>(qubits[i]);
  }
  for (std::size_t i = 0; i < angles.size(); ++i) {
    if (!std::isfinite(angles[i])) return wrong(where, "an angle of " + name + " is not finite");
    operation.angles[i] = angles[i];
  }
  return operation;
}

Result<void> append(std::string_view where, const Operation& operation, Circuit& circuit) {
  if (circuit.operations.size() == operations_max)
    return Error{ErrorCode::too_large,
                 std::string(where) + ": the circuit has more than " +
                     std::to_string(operations_max) + " operations",
                 0};
  circuit.operations.push_back(operation);
  return {};
}

}  // namespace micro_swarm::quantum
