#pragma once

// A circuit on a state: once where chance has no part in it, and otherwise down every path that
// one of the shots takes.

#include "agentproc/quantum/circuit.hpp"
#include "agentproc/quantum/sampling.hpp"

namespace micro_swarm::quantum {

/// A circuit taken apart: what is done to the state, and the measurements behind it. Measurements
/// whose qubit and bit nothing touches afterwards are among the latter, wherever they stand.
class Plan {
 public:
  explicit Plan(const Circuit& circuit);

  unsigned qubits() const noexcept { return qubits_; }
  /// Of what counts() counts: the circuit's bits, or its qubits where it measures none.
  unsigned result_bits() const noexcept { return result_bits_; }
  /// Nothing is measured, reset or decided before the last gate: there is one final state.
  bool has_final_state() const noexcept { return first_chance_ == steps_.size(); }

  /// Brings `state`, fresh, to the final state. Error: cancelled. Precondition: has_final_state().
  Result<void> run(StateVector& state, Watch& watch) const;

  /// Outcomes of `shots` runs, by the bits they leave. `state` is fresh, or where has_final_state()
  /// brought to the end by run(). Takes copies of the state where the circuit measures on its way,
  /// up to log2(shots) at a time. Errors: cancelled; too_large (more than branch_bytes_max).
  /// Throws std::bad_alloc.
  Result<Counts> counts(StateVector& state, std::uint64_t shots, Random& random,
                        Watch& watch) const;

 private:
  class Runner;
  struct Reading {
    std::uint8_t qubit, bit;
  };
  Result<void> run_from(std::size_t begin, std::size_t end, StateVector& state, Watch& watch) const;

  unsigned qubits_, result_bits_;
  std::vector<Operation> steps_;
  std::size_t first_chance_ = 0;  ///< the first step that depends on it; the number of them: none
  std::vector<Reading> readings_;
};

/// What the operation, a gate, does to the state.
void apply(const Operation& operation, StateVector& state) noexcept;

}  // namespace micro_swarm::quantum
