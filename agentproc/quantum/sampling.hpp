#pragma once

// Chance that is the same everywhere: std::mt19937_64, whose numbers the standard fixes, and from
// each the 53 upper bits as a fraction. The standard's distributions are nobody's to rely on.

#include <cstdint>
#include <map>
#include <random>

#include "agentproc/quantum/state_vector.hpp"
#include "agentproc/quantum/watch.hpp"

namespace micro_swarm::quantum {

class Random {
 public:
  explicit Random(std::uint64_t seed) : generator_(seed) {}
  /// In [0, 1): a multiple of 2^-53.
  double fraction() { return static_cast<double>(generator_() >> 11) * 0x1p-53; }

 private:
  std::mt19937_64 generator_;
};

/// How often each came.
using Counts = std::map<std::uint64_t, std::uint64_t>;

/// Measures all qubits `shots` times: one fraction a shot, and the first index at which the sum of
/// probabilities, taken in the order of indices, exceeds it. Error: cancelled.
Result<Counts> sample(const StateVector& state, std::uint64_t shots, Random& random, Watch& watch);

/// Of `shots` measurements that give 1 with `probability`, how many do: one fraction a shot.
std::uint64_t ones_of(std::uint64_t shots, double probability, Random& random);

}  // namespace micro_swarm::quantum
