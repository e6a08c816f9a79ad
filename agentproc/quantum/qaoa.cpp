#include "agentproc/quantum/qaoa.hpp"

#include <algorithm>
#include <cmath>
#include <numbers>

#include "agentproc/quantum/circuit.hpp"
#include "agentproc/quantum/limits.hpp"
#include "agentproc/quantum/request.hpp"

namespace micro_swarm::quantum {

namespace {

using nlohmann::json;
using std::numbers::pi;

Result<QaoaRequest> read(std::string_view payload, unsigned qubits_allowed, bool is_maxcut) {
  const auto document = parse_object(payload);
  if (!document) return document.error();
  const auto object = JsonObject::of(*document, "");
  if (!object) return object.error();
  auto known =
      is_maxcut
          ? object->check_keys(
                {"nodes", "edges", "layers", "starts", "evaluations", "shots", "seed"})
          : object->check_keys({"matrix", "layers", "starts", "evaluations", "shots", "seed"});
  if (!known) return known.error();
  auto cost = is_maxcut ? read_maxcut(*object, qubits_allowed) : read_qubo(*object, qubits_allowed);
  if (!cost) return cost.error();
  QaoaRequest request;
  request.cost = std::move(*cost);
  const auto layers = object->integer_or("layers", 1, layers_max, request.layers);
  if (!layers) return layers.error();
  const auto starts = object->integer_or("starts", 1, starts_max, request.starts);
  if (!starts) return starts.error();
  const auto evaluations = object->integer_or("evaluations", 1, evaluations_max,
                                              std::min(evaluations_max, 400 * *layers));
  if (!evaluations) return evaluations.error();
  const auto shots = object->integer_or("shots", 1, shots_max, request.shots);
  if (!shots) return shots.error();
  const auto seed = object->integer_or("seed", 0, ~std::uint64_t{0}, 0);
  if (!seed) return seed.error();
  request.layers = static_cast<unsigned>(*layers);
  request.starts = static_cast<unsigned>(*starts);
  request.evaluations = *evaluations;
  request.shots = *shots;
  request.seed = *seed;
  return request;
}

/// The state for given angles, and what it is worth.
class Ansatz {
 public:
  Ansatz(const QaoaRequest& request, std::vector<double> values, Watch& watch)
      : request_(request),
        values_(std::move(values)),
        watch_(watch),
        scale_(request.cost.scale()),
        state_(request.cost.variables) {}

  unsigned angles() const { return 2 * request_.layers; }
  /// The search sees gammas in units of the cost's scale, so that all angles are of one size; with
  /// integer weights everything repeats after these.
  std::vector<double> upper() const {
    std::vector<double> bounds(angles(), pi);
    std::fill_n(bounds.begin(), request_.layers, 2 * pi);
    return bounds;
  }
  double gamma(std::span<const double> angles, unsigned layer) const {
    return angles[layer] / scale_;
  }
  double beta(std::span<const double> angles, unsigned layer) const {
    return angles[request_.layers + layer];
  }

  /// nullopt: cancelled.
  std::optional<double> expectation(std::span<const double> angles) {
    if (!prepare(angles)) return std::nullopt;
    const auto amplitudes = state_.amplitudes();
    double sum = 0;
    for (std::size_t i = 0; i < amplitudes.size(); ++i)
      sum += std::norm(amplitudes[i]) * values_[i];
    return sum;
  }
  bool prepare(std::span<const double> angles) {
    const auto amplitudes = state_.amplitudes();
    std::fill(amplitudes.begin(), amplitudes.end(),
              Amplitude(1 / std::sqrt(static_cast<double>(amplitudes.size()))));
    for (unsigned layer = 0; layer < request_.layers; ++layer) {
      const double turn = gamma(angles, layer);
      for (std::size_t i = 0; i < amplitudes.size(); ++i) {
        const double phase = turn * values_[i], c = std::cos(phase), s = std::sin(phase);
        const double re = amplitudes[i].real(), im = amplitudes[i].imag();
        amplitudes[i] = {re * c + im * s, im * c - re * s};
      }
      const Matrix2 mixer = matrix_of(Gate::rx, {2 * beta(angles, layer)});
      for (unsigned q = 0; q < state_.qubits(); ++q) {
        state_.apply(mixer, q);
        if (!watch_.worked(state_.size())) return false;
      }
    }
    return true;
  }

  const StateVector& state() const { return state_; }
  double value(std::uint64_t assignment) const { return values_[assignment]; }

 private:
  const QaoaRequest& request_;
  std::vector<double> values_;
  Watch& watch_;
  double scale_;
  StateVector state_;
};

/// The first is that of a slow turn from the mixer to the cost, which is good for many layers; the
/// others are anywhere.
std::vector<double> start_point(unsigned number, unsigned layers, std::span<const double> upper,
                                Random& random) {
  std::vector<double> point(upper.size());
  for (unsigned l = 0; number == 0 && l < layers; ++l) {
    const double way = (l + 0.5) / layers;
    point[l] = 0.75 * way;
    point[layers + l] = 0.75 * (1 - way);
  }
  for (std::size_t i = 0; number != 0 && i < upper.size(); ++i)
    point[i] = upper[i] * random.fraction();
  return point;
}

}  // namespace

Result<QaoaRequest> read_maxcut_request(std::string_view payload, unsigned qubits_allowed) {
  return read(payload, qubits_allowed, true);
}
Result<QaoaRequest> read_qubo_request(std::string_view payload, unsigned qubits_allowed) {
  return read(payload, qubits_allowed, false);
}

Result<QaoaResult> optimise(const QaoaRequest& request, AngleSearch& search, Watch& watch) {
  auto values = request.cost.values(watch);
  if (!values) return values.error();
  Ansatz ansatz(request, std::move(*values), watch);
  const double sign = request.cost.is_minimised ? -1 : 1;
  const auto upper = ansatz.upper();
  Random random(request.seed);
  QaoaResult result;
  std::vector<double> best_angles(upper.size());
  std::optional<double> best;
  bool is_cancelled = false;
  const auto function = [&](std::span<const double> angles) -> std::optional<double> {
    if (!watch.go_on()) {
      is_cancelled = true;
      return std::nullopt;
    }
    const auto expectation = ansatz.expectation(angles);
    if (!expectation) {
      is_cancelled = true;
      return std::nullopt;
    }
    ++result.evaluations;
    const double gain = sign * *expectation;
    if (!best || gain > *best) {
      best = gain;
      best_angles.assign(angles.begin(), angles.end());
    }
    return gain;
  };
  for (unsigned start = 0; start < request.starts && !is_cancelled; ++start) {
    // The later ones get what the earlier did not need.
    const std::uint64_t share =
        (request.evaluations - result.evaluations) / (request.starts - start);
    if (share == 0) continue;
    const auto point = start_point(start, request.layers, upper, random);
    if (auto done = search.maximise(function, point, upper, share); !done) return done.error();
  }
  if (is_cancelled || !ansatz.prepare(best_angles)) return stopped();
  for (unsigned layer = 0; layer < request.layers; ++layer) {
    result.gammas.push_back(ansatz.gamma(best_angles, layer));
    result.betas.push_back(ansatz.beta(best_angles, layer));
  }
  result.expectation = sign * best.value_or(0);
  const auto counts = sample(ansatz.state(), request.shots, random, watch);
  if (!counts) return counts.error();
  const auto worst_first = [&](const auto& a, const auto& b) {
    return sign * ansatz.value(a.first) < sign * ansatz.value(b.first);
  };
  result.best = std::max_element(counts->begin(), counts->end(), worst_first)->first;
  result.value = request.cost.value_of(result.best);
  return result;
}

std::string text_of(const QaoaRequest& request, const QaoaResult& result) {
  json assignment = json::array();
  for (unsigned i = 0; i < request.cost.variables; ++i) assignment.push_back(result.best >> i & 1);
  const json answer{{"best",
                     {{"bits", bit_text(result.best, request.cost.variables)},
                      {"assignment", std::move(assignment)},
                      {"value", result.value}}},
                    {"expectation", result.expectation},
                    {"gammas", result.gammas},
                    {"betas", result.betas},
                    {"evaluations", result.evaluations},
                    {"layers", request.layers},
                    {"shots", request.shots},
                    {"seed", request.seed}};
  return answer.dump();
}

}  // namespace micro_swarm::quantum
