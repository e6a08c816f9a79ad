#pragma once

// What an optimisation is about: a value for each assignment of 0 and 1 to its variables.

#include <cstdint>
#include <string_view>
#include <vector>

#include "agentproc/quantum/json_reader.hpp"
#include "agentproc/quantum/watch.hpp"

namespace micro_swarm::quantum {

/// sum of linear[i] x_i + sum of weight x_a x_b over the pairs; x are 0 or 1.
struct Cost {
  struct Pair {
    unsigned a = 0, b = 0;  ///< differ
    double weight = 0;
  };
  unsigned variables = 0;
  bool is_minimised = false;
  std::vector<double> linear;
  std::vector<Pair> pairs;

  double value_of(std::uint64_t assignment) const noexcept;
  /// Of all 2^variables assignments, in their order. Error: cancelled. Throws std::bad_alloc.
  Result<std::vector<double>> values(Watch& watch) const;
  /// Root of the mean square of the coefficients that are not 0; 1 where there are none: what
  /// angles are measured in.
  double scale() const noexcept;
};

/// "nodes" and "edges" ([a, b] or [a, b, weight]): the weight of the edges whose ends differ, to be
/// maximised. Errors name the place.
Result<Cost> read_maxcut(const JsonObject& object, unsigned qubits_allowed);
/// "matrix", square: x^T Q x, to be minimised; both triangles count. Errors name the place.
Result<Cost> read_qubo(const JsonObject& object, unsigned qubits_allowed);

}  // namespace micro_swarm::quantum
