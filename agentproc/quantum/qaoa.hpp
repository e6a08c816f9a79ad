#pragma once

// The quantum approximate optimisation algorithm (Farhi, Goldstone and Gutmann 2014,
// arXiv:1411.4028): p layers of e^(-i gamma C) and e^(-i beta X) on the state of all assignments,
// the angles found by a classical optimiser.

#include <functional>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "agentproc/quantum/cost.hpp"
#include "agentproc/quantum/sampling.hpp"

namespace micro_swarm::quantum {

/// Looks for the largest value of a function of several angles; implemented outside of the
/// simulator, by a library.
class AngleSearch {
 public:
  /// nullopt: stop.
  using Function = std::function<std::optional<double>(std::span<const double>)>;

  virtual ~AngleSearch() = default;
  /// Begins at `start` and calls `function` at most `evaluations` times, with angles between 0 and
  /// `upper`. What is best is for the function to remember. Error: the library is not there or
  /// fails.
  virtual Result<void> maximise(const Function& function, std::span<const double> start,
                                std::span<const double> upper, std::uint64_t evaluations) = 0;
};

struct QaoaRequest {
  Cost cost;
  unsigned layers = 1;
  unsigned starts = 4;  ///< points from which the angles are looked for
  std::uint64_t evaluations = 400;
  std::uint64_t shots = 1'024;
  std::uint64_t seed = 0;
};

/// Errors name the place.
Result<QaoaRequest> read_maxcut_request(std::string_view payload, unsigned qubits_allowed);
Result<QaoaRequest> read_qubo_request(std::string_view payload, unsigned qubits_allowed);

struct QaoaResult {
  std::uint64_t best = 0;  ///< the best assignment among the samples; variable i is bit i
  double value = 0;        ///< of it
  double expectation = 0;  ///< of the value, in the best state found
  std::vector<double> gammas, betas;
  std::uint64_t evaluations = 0;
};

/// Errors: cancelled; the search's own. Throws std::bad_alloc.
Result<QaoaResult> optimise(const QaoaRequest& request, AngleSearch& search, Watch& watch);

/// JSON.
std::string text_of(const QaoaRequest& request, const QaoaResult& result);

}  // namespace micro_swarm::quantum
