// quantum: one gate on 20 qubits (16 MiB of amplitudes) beside a copy of as many bytes: what a gate
// does to memory, and how near it is to the best that this memory can do just now.

#include <cmath>
#include <cstring>
#include <numeric>
#include <stdexcept>
#include <vector>

#include "agentproc/quantum/state_vector.hpp"
#include "common/clock.hpp"
#include "tests/bench/figure.hpp"
#include "tests/bench/windows.hpp"

namespace micro_swarm::bench {

namespace {

using quantum::Gate;

constexpr unsigned qubits = 20;
constexpr std::size_t state_bytes = quantum::StateVector::bytes_of(qubits);

/// As STREAM's copy: bytes read and bytes written, a nanosecond (which is GB/s).
class Copy {
 public:
  Copy() : from_(state_bytes / sizeof(double)), to_(from_.size()) {
    std::iota(from_.begin(), from_.end(), 1.0);
  }
  double bandwidth(unsigned rounds) {
    const std::uint64_t start_ns = now_ns();
    for (unsigned i = 0; i < rounds; ++i) {
      from_[i] += 1;
      std::memcpy(to_.data(), from_.data(), state_bytes);
      if (to_[i] != from_[i] || to_.back() != from_.back())
        throw std::runtime_error("a copy is no copy");
    }
    return 2.0 * rounds * static_cast<double>(state_bytes) /
           static_cast<double>(now_ns() - start_ns);
  }

 private:
  std::vector<double> from_, to_;
};

struct Case {
  const char* name;
  Gate gate;
  unsigned target;
  std::uint64_t controls;
  double share;  ///< of the amplitudes it reads and writes
  const char* note;
};
constexpr Case cases[] = {
    {"quantum.h_first", Gate::h, 0, 0, 1, "h on qubit 0: neighbours"},
    {"quantum.h_last", Gate::h, 19, 0, 1, "h on qubit 19: 8 MiB apart"},
    {"quantum.rx", Gate::rx, 10, 0, 1, "rx on qubit 10: a complex matrix"},
    {"quantum.rz", Gate::rz, 10, 0, 1, "rz on qubit 10: phases"},
    {"quantum.cx", Gate::x, 10, 1 << 15, 0.5, "cx: half of the amplitudes change places"}};

void measure(const Options& options, const Tell& tell) {
  const unsigned rounds = options.quick ? 2 : 10;
  Copy copy;
  for (const Case& one : cases) {
    quantum::StateVector state(qubits);
    for (unsigned q = 0; q < qubits; ++q) state.apply(matrix_of(Gate::h, {}), q);
    const quantum::Matrix2 matrix = matrix_of(one.gate, {0.1, 0, 0});
    const auto bandwidth = [&] {
      const std::uint64_t start_ns = now_ns();
      for (unsigned i = 0; i < rounds; ++i) state.apply(matrix, one.target, one.controls);
      return 2.0 * rounds * one.share * static_cast<double>(state_bytes) /
             static_cast<double>(now_ns() - start_ns);
    };
    tell(alternate(
             options.quick ? 1 : 25, [&] { return copy.bandwidth(rounds); }, bandwidth)
             .figure(one.name, "GB/s", 1, ratio_at_least(0.8),
                     std::string(one.note) + "; beside memcpy, 20 qubits"));
    if (std::abs(state.norm() - 1) > 1e-9) throw std::runtime_error("a gate is not unitary");
  }
}

}  // namespace

Group quantum_group() {
  Group group{"quantum", {}, measure};
  for (const Case& one : cases) group.figures.emplace_back(one.name);
  return group;
}

}  // namespace micro_swarm::bench
