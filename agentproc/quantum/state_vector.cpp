#include "agentproc/quantum/state_vector.hpp"

#include <algorithm>
#include <array>
#include <bit>
#include <cmath>
#include <cstring>

namespace micro_swarm::quantum {

namespace {

/// One amplitude in one register: every machine this is built for has two doubles to a vector, and
/// a gate waits for memory, not for arithmetic.
using Pair = double __attribute__((vector_size(16)));

Pair load(const Amplitude* from) noexcept {
  Pair pair;
  std::memcpy(&pair, from, sizeof pair);
  return pair;
}
void store(Amplitude* to, Pair pair) noexcept {
  std::memcpy(reinterpret_cast<double*>(to), &pair, sizeof pair);
}

/// A complex factor, laid out for `pair * real + flipped pair * imaginary`.
struct Factor {
  explicit Factor(Amplitude f) : real{f.real(), f.real()}, imaginary{-f.imag(), f.imag()} {}
  Pair of(Pair pair) const noexcept {
    return pair * real + __builtin_shufflevector(pair, pair, 1, 0) * imaginary;
  }
  Pair real, imaginary;
};

/// Calls run(first index, length) for every stretch of neighbouring indices whose bits at the
/// `count` fixed places are 0. The innermost loop, over a stretch, is the caller's.
template <class Run>
void for_each_run(std::size_t size, std::uint64_t fixed, Run&& run) noexcept {
  const auto lowest = static_cast<unsigned>(std::countr_zero(fixed));
  const std::size_t length = std::size_t{1} << lowest;
  const std::size_t runs = (size >> std::popcount(fixed)) >> lowest;
  std::array<std::uint64_t, gate_qubits_max>
      below{};  // of the others, ascending: the bits under it
  unsigned others = 0;
  for (std::uint64_t rest = fixed & (fixed - 1); rest != 0; rest &= rest - 1)
    below[others++] = (rest & (~rest + 1)) - 1;
  for (std::size_t r = 0; r < runs; ++r) {
    std::size_t index = r << (lowest + 1);
    for (unsigned i = 0; i < others; ++i) index = ((index & ~below[i]) << 1) | (index & below[i]);
    run(index, length);
  }
}

void scale(Amplitude* at, std::size_t length, const Factor& factor) noexcept {
  for (std::size_t i = 0; i < length; ++i) store(at + i, factor.of(load(at + i)));
}

bool is_real(const Matrix2& m) noexcept {
  return m.m00.imag() == 0 && m.m01.imag() == 0 && m.m10.imag() == 0 && m.m11.imag() == 0;
}

}  // namespace

StateVector::StateVector(unsigned qubits)
    : qubits_(qubits),
      own_(std::make_unique<Amplitude[]>(std::size_t{1} << qubits)),
      amplitudes_(own_.get(), std::size_t{1} << qubits) {
  amplitudes_[0] = 1;
}

StateVector::StateVector(unsigned qubits, std::span<Amplitude> memory) noexcept
    : qubits_(qubits), amplitudes_(memory) {
  std::fill(amplitudes_.begin(), amplitudes_.end(), Amplitude{});
  amplitudes_[0] = 1;
}

StateVector::StateVector(const StateVector& other)
    : qubits_(other.qubits_),
      own_(std::make_unique_for_overwrite<Amplitude[]>(other.size())),
      amplitudes_(own_.get(), other.size()) {
  std::copy(other.amplitudes_.begin(), other.amplitudes_.end(), amplitudes_.begin());
}

void StateVector::apply(const Matrix2& m, unsigned target, std::uint64_t controls) noexcept {
  const std::size_t half = std::size_t{1} << target;
  const std::uint64_t fixed = controls | half;
  Amplitude* const zeros = amplitudes_.data() + controls;  // where the target is 0
  Amplitude* const ones = zeros + half;
  const Factor f00(m.m00), f01(m.m01), f10(m.m10), f11(m.m11);
  if (m.m01 == 0.0 && m.m10 == 0.0) {  // z, s, t, rz, p: nothing moves, and half often stays
    const bool keeps_zeros = m.m00 == 1.0;
    for_each_run(size(), fixed, [&](std::size_t at, std::size_t length) {
      if (!keeps_zeros) scale(zeros + at, length, f00);
      scale(ones + at, length, f11);
    });
  } else if (m.m00 == 0.0 && m.m11 == 0.0 && m.m01 == 1.0 && m.m10 == 1.0) {
    for_each_run(size(), fixed, [&](std::size_t at, std::size_t length) {
      for (std::size_t i = at; i < at + length; ++i) {
        const Pair zero = load(zeros + i), one = load(ones + i);
        store(zeros + i, one);
        store(ones + i, zero);
      }
    });
  } else if (is_real(m)) {
    for_each_run(size(), fixed, [&](std::size_t at, std::size_t length) {
      for (std::size_t i = at; i < at + length; ++i) {
        const Pair zero = load(zeros + i), one = load(ones + i);
        store(zeros + i, zero * f00.real + one * f01.real);
        store(ones + i, zero * f10.real + one * f11.real);
      }
    });
  } else {
    for_each_run(size(), fixed, [&](std::size_t at, std::size_t length) {
      for (std::size_t i = at; i < at + length; ++i) {
        const Pair zero = load(zeros + i), one = load(ones + i);
        store(zeros + i, f00.of(zero) + f01.of(one));
        store(ones + i, f10.of(zero) + f11.of(one));
      }
    });
  }
}

void StateVector::swap(unsigned a, unsigned b, std::uint64_t controls) noexcept {
  const std::size_t bit_a = std::size_t{1} << a, bit_b = std::size_t{1} << b;
  Amplitude* const only_a = amplitudes_.data() + controls + bit_a;
  Amplitude* const only_b = amplitudes_.data() + controls + bit_b;
  for_each_run(size(), controls | bit_a | bit_b, [&](std::size_t at, std::size_t length) {
    std::swap_ranges(only_a + at, only_a + at + length, only_b + at);
  });
}

double StateVector::norm() const noexcept {
  double sum = 0;
  for (const Amplitude& a : amplitudes_) sum += std::norm(a);
  return sum;
}

double StateVector::probability_of_one(unsigned qubit) const noexcept {
  const std::size_t bit = std::size_t{1} << qubit;
  double sum = 0;
  for_each_run(size(), bit, [&](std::size_t at, std::size_t length) {
    for (std::size_t i = at + bit; i < at + bit + length; ++i) sum += std::norm(amplitudes_[i]);
  });
  return std::clamp(sum, 0.0, 1.0);
}

void StateVector::collapse(unsigned qubit, bool outcome, double probability) noexcept {
  const std::size_t bit = std::size_t{1} << qubit;
  const Factor kept(1 / std::sqrt(probability));
  Amplitude* const keep = amplitudes_.data() + (outcome ? bit : 0);
  Amplitude* const drop = amplitudes_.data() + (outcome ? 0 : bit);
  for_each_run(size(), bit, [&](std::size_t at, std::size_t length) {
    scale(keep + at, length, kept);
    std::fill_n(drop + at, length, Amplitude{});
  });
}

double StateVector::expectation_of_z(std::uint64_t mask) const noexcept {
  double sum = 0;
  for (std::size_t i = 0; i < size(); ++i) {
    const double probability = std::norm(amplitudes_[i]);
    sum += std::popcount(i & mask) % 2 == 0 ? probability : -probability;
  }
  return std::clamp(sum, -1.0, 1.0);
}

}  // namespace micro_swarm::quantum
