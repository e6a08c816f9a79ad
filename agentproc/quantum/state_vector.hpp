#pragma once

// The state of a register of qubits: 2^n complex amplitudes. Bit q of an index is qubit q.

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>

#include "agentproc/quantum/gates.hpp"

namespace micro_swarm::quantum {

/// Begins in |0...0>. Preconditions everywhere: qubits are below qubits(), those of one call
/// differ.
class StateVector {
 public:
  static constexpr std::size_t bytes_of(unsigned qubits) { return sizeof(Amplitude) << qubits; }

  /// In memory of its own. Throws std::bad_alloc.
  explicit StateVector(unsigned qubits);
  /// In somebody else's, which outlives it. Precondition: `memory` has 2^qubits amplitudes.
  StateVector(unsigned qubits, std::span<Amplitude> memory) noexcept;
  /// The copy has memory of its own.
  StateVector(const StateVector& other);
  StateVector(StateVector&&) noexcept = default;
  StateVector& operator=(StateVector&&) noexcept = default;
  StateVector& operator=(const StateVector&) = delete;

  unsigned qubits() const noexcept { return qubits_; }
  std::size_t size() const noexcept { return amplitudes_.size(); }
  std::span<Amplitude> amplitudes() noexcept { return amplitudes_; }
  std::span<const Amplitude> amplitudes() const noexcept { return amplitudes_; }

  /// Where all bits of `controls` are 1: the matrix on `target`.
  void apply(const Matrix2& matrix, unsigned target, std::uint64_t controls = 0) noexcept;
  /// Where all bits of `controls` are 1: the two change places.
  void swap(unsigned a, unsigned b, std::uint64_t controls = 0) noexcept;

  /// Sum of the squared magnitudes; 1 but for rounding.
  double norm() const noexcept;
  /// That a measurement of the qubit gives 1; between 0 and 1.
  double probability_of_one(unsigned qubit) const noexcept;
  /// What is left after the qubit was measured as `outcome`, which had `probability` (> 0).
  void collapse(unsigned qubit, bool outcome, double probability) noexcept;
  /// Expectation of the product of Z on the qubits of `mask`; between -1 and 1.
  double expectation_of_z(std::uint64_t mask) const noexcept;

 private:
  unsigned qubits_;
  std::unique_ptr<Amplitude[]> own_;
  std::span<Amplitude> amplitudes_;
};

}  // namespace micro_swarm::quantum
