#pragma once

// The gates by name: those of OpenQASM 2's qelib1.inc (Cross et al. 2017, arXiv:1707.03429) that
// are one unitary on one qubit, or on two that change places, under up to two controls.

#include <array>
#include <complex>
#include <cstdint>
#include <span>
#include <string_view>

namespace micro_swarm::quantum {

using Amplitude = std::complex<double>;

/// Row by row.
struct Matrix2 {
  Amplitude m00 = 1, m01 = 0, m10 = 0, m11 = 1;
};

enum class Gate : std::uint8_t {
  id,
  x,
  y,
  z,
  h,
  s,
  sdg,
  t,
  tdg,
  sx,
  sxdg,
  rx,
  ry,
  rz,
  p,
  u2,
  u3,
  swap
};

/// A name of a circuit: so many controls before the qubits the gate works on.
struct GateName {
  std::string_view name;
  Gate gate;
  std::uint8_t controls;
  std::uint8_t angles;
  std::uint8_t qubits;  ///< with the controls
};

inline constexpr unsigned gate_qubits_max = 3;
inline constexpr unsigned gate_angles_max = 3;

/// All of them: h, cx, ccx, cu1, ...
std::span<const GateName> gate_names();
/// Null: there is none.
const GateName* find_gate(std::string_view name);

/// On its one target, without the controls; angles in radians. Not for swap. rz is the symmetrical
/// diag(e^-ia/2, e^ia/2), p and u1 diag(1, e^ia); u3 has a real upper left element.
Matrix2 matrix_of(Gate gate, const std::array<double, gate_angles_max>& angles);

}  // namespace micro_swarm::quantum
