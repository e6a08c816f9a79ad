#pragma once

// Circuits a second time, as the textbook has them: whole matrices, put together by tensor products
// and projectors, without a line of the simulator.

#include <cmath>
#include <complex>
#include <cstdint>
#include <map>
#include <numbers>
#include <stdexcept>
#include <string>
#include <vector>

namespace micro_swarm::testing {

using Complex = std::complex<double>;

class Dense {
 public:
  explicit Dense(std::size_t size) : size_(size), cells_(size * size) {}
  Dense(std::size_t size, std::vector<Complex> cells) : size_(size), cells_(std::move(cells)) {}
  static Dense identity(std::size_t size) {
    Dense result(size);
    for (std::size_t i = 0; i < size; ++i) result.at(i, i) = 1;
    return result;
  }

  std::size_t size() const { return size_; }
  Complex& at(std::size_t row, std::size_t column) { return cells_[row * size_ + column]; }
  const Complex& at(std::size_t row, std::size_t column) const {
    return cells_[row * size_ + column];
  }
  Dense operator*(const Dense& other) const {
    Dense result(size_);
    for (std::size_t i = 0; i < size_; ++i)
      for (std::size_t k = 0; k < size_; ++k)
        for (std::size_t j = 0; j < size_; ++j) result.at(i, j) += at(i, k) * other.at(k, j);
    return result;
  }
  Dense operator+(const Dense& other) const {
    Dense result = *this;
    for (std::size_t i = 0; i < cells_.size(); ++i) result.cells_[i] += other.cells_[i];
    return result;
  }
  Dense operator*(Complex factor) const {
    Dense result = *this;
    for (Complex& cell : result.cells_) cell *= factor;
    return result;
  }
  Dense adjoint() const {
    Dense result(size_);
    for (std::size_t i = 0; i < size_; ++i)
      for (std::size_t j = 0; j < size_; ++j) result.at(i, j) = std::conj(at(j, i));
    return result;
  }
  std::vector<Complex> operator*(const std::vector<Complex>& vector) const {
    std::vector<Complex> result(size_);
    for (std::size_t i = 0; i < size_; ++i)
      for (std::size_t j = 0; j < size_; ++j) result[i] += at(i, j) * vector[j];
    return result;
  }
  /// `left` works on the higher bits.
  static Dense tensor(const Dense& left, const Dense& right) {
    Dense result(left.size_ * right.size_);
    for (std::size_t i = 0; i < result.size_; ++i)
      for (std::size_t j = 0; j < result.size_; ++j)
        result.at(i, j) =
            left.at(i / right.size_, j / right.size_) * right.at(i % right.size_, j % right.size_);
    return result;
  }

 private:
  std::size_t size_;
  std::vector<Complex> cells_;
};

/// Each of the matrices on its qubit, nothing on the others.
inline Dense on_qubits(unsigned qubits, const std::map<unsigned, Dense>& matrices) {
  Dense result = Dense::identity(1);
  for (unsigned q = 0; q < qubits; ++q) {
    const auto found = matrices.find(q);
    result = Dense::tensor(found == matrices.end() ? Dense::identity(2) : found->second, result);
  }
  return result;
}

inline const Dense pauli_x(2, {0, 1, 1, 0});
inline const Dense pauli_y(2, {0, Complex(0, -1), Complex(0, 1), 0});
inline const Dense pauli_z(2, {1, 0, 0, -1});

/// exp(-i angle/2 P) for a P with P^2 = 1.
inline Dense rotation(const Dense& pauli, double angle) {
  return Dense::identity(pauli.size()) * std::cos(angle / 2) +
         pauli * Complex(0, -std::sin(angle / 2));
}
inline Dense phase(double angle) { return Dense(2, {1, 0, 0, std::polar(1.0, angle)}); }
/// U of OpenQASM 2 (arXiv:1707.03429), with the phase that makes its upper left element real.
inline Dense general(double theta, double phi, double lambda) {
  return rotation(pauli_z, phi) * rotation(pauli_y, theta) * rotation(pauli_z, lambda) *
         std::polar(1.0, (phi + lambda) / 2);
}

/// Of one target, by the gate's name without its controls.
inline Dense matrix_named(const std::string& name, const std::vector<double>& a) {
  using std::numbers::pi;
  const auto root_of_not = rotation(pauli_x, pi / 2) * std::polar(1.0, pi / 4);
  if (name == "id") return Dense::identity(2);
  if (name == "x") return pauli_x;
  if (name == "y") return pauli_y;
  if (name == "z") return pauli_z;
  if (name == "h") return (pauli_x + pauli_z) * (1 / std::sqrt(2.0));
  if (name == "s") return phase(pi / 2);
  if (name == "sdg") return phase(-pi / 2);
  if (name == "t") return phase(pi / 4);
  if (name == "tdg") return phase(-pi / 4);
  if (name == "sx") return root_of_not;
  if (name == "sxdg") return root_of_not.adjoint();
  if (name == "rx") return rotation(pauli_x, a[0]);
  if (name == "ry") return rotation(pauli_y, a[0]);
  if (name == "rz") return rotation(pauli_z, a[0]);
  if (name == "p" || name == "u1") return phase(a[0]);
  if (name == "u2") return general(pi / 2, a[0], a[1]);
  if (name == "u3" || name == "u") return general(a[0], a[1], a[2]);
  throw std::invalid_argument("no such gate: " + name);
}

/// The whole matrix of a gate with its controls.
inline Dense gate_matrix(unsigned qubits, const std::string& name, const std::vector<unsigned>& on,
                         const std::vector<double>& angles) {
  const std::size_t size = std::size_t{1} << qubits;
  if (name == "swap")  // half of 1 + XX + YY + ZZ
    return (Dense::identity(size) + on_qubits(qubits, {{on[0], pauli_x}, {on[1], pauli_x}}) +
            on_qubits(qubits, {{on[0], pauli_y}, {on[1], pauli_y}}) +
            on_qubits(qubits, {{on[0], pauli_z}, {on[1], pauli_z}})) *
           0.5;
  const bool is_controlled = name.starts_with("c");
  if (!is_controlled) return on_qubits(qubits, {{on[0], matrix_named(name, angles)}});
  // Where the control is 0 nothing, where it is 1 the rest.
  const Dense zero(2, {1, 0, 0, 0}), one(2, {0, 0, 0, 1});
  return on_qubits(qubits, {{on[0], zero}}) +
         on_qubits(qubits, {{on[0], one}}) *
             gate_matrix(qubits, name.substr(1), {on.begin() + 1, on.end()}, angles);
}

}  // namespace micro_swarm::testing
