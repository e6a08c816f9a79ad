#include "agentproc/quantum/cost.hpp"

#include <algorithm>
#include <cmath>

#include "agentproc/quantum/circuit.hpp"
#include "agentproc/quantum/limits.hpp"

namespace micro_swarm::quantum {

namespace {

using nlohmann::json;

// Sums and squares stay finite, and differ from 0.
constexpr double coefficient_max = 1e100, coefficient_min = 1e-100;

Result<double> coefficient_in(const json& value, const std::string& place) {
  auto number = number_in(value, place);
  if (number && *number != 0 &&
      (std::abs(*number) > coefficient_max || std::abs(*number) < coefficient_min))
    return wrong(place, "is neither 0 nor of a size from 1e-100 to 1e100");
  return number;
}

/// One weight for each pair, whatever the order and number of mentions.
class Pairs {
 public:
  explicit Pairs(unsigned variables) : variables_(variables), weights_(variables * variables) {}
  void add(std::size_t a, std::size_t b, double weight) {
    weights_[std::min(a, b) * variables_ + std::max(a, b)] += weight;
  }
  std::vector<Cost::Pair> take() const {
    std::vector<Cost::Pair> pairs;
    for (unsigned a = 0; a < variables_; ++a)
      for (unsigned b = a + 1; b < variables_; ++b)
        if (const double weight = weights_[a * variables_ + b]; weight != 0)
          pairs.push_back({a, b, weight});
    return pairs;
  }

 private:
  std::size_t variables_;
  std::vector<double> weights_;
};

struct Edge {
  std::uint64_t a = 0, b = 0;
  double weight = 1;
};

Result<Edge> read_edge(const json& value, const std::string& place, std::uint64_t node_max) {
  if (!value.is_array() || value.size() < 2 || value.size() > 3)
    return wrong(place, "expected [node, node] or [node, node, weight]");
  const auto a = integer_in(value[0], element_place(place, 0), 0, node_max);
  if (!a) return a.error();
  const auto b = integer_in(value[1], element_place(place, 1), 0, node_max);
  if (!b) return b.error();
  if (*a == *b) return wrong(place, "joins a node to itself");
  Edge edge{*a, *b};
  if (value.size() == 3) {
    const auto weight = coefficient_in(value[2], element_place(place, 2));
    if (!weight) return weight.error();
    edge.weight = *weight;
  }
  return edge;
}

}  // namespace

double Cost::value_of(std::uint64_t assignment) const noexcept {
  double value = 0;
  for (unsigned i = 0; i < variables; ++i)
    if ((assignment >> i & 1) != 0) value += linear[i];
  for (const Pair& pair : pairs)
    if ((assignment >> pair.a & assignment >> pair.b & 1) != 0) value += pair.weight;
  return value;
}

Result<std::vector<double>> Cost::values(Watch& watch) const {
  std::vector<double> weights(std::size_t{variables} * variables);
  for (const Pair& pair : pairs) {
    weights[pair.a * variables + pair.b] = pair.weight;
    weights[pair.b * variables + pair.a] = pair.weight;
  }
  std::vector<double> all(std::size_t{1} << variables);
  // The upper half of each power of two is what its highest variable adds, built up in place, and
  // then the lower half on top.
  for (unsigned top = 0; top < variables; ++top) {
    const std::size_t half = std::size_t{1} << top;
    all[half] = linear[top];
    for (unsigned j = 0; j < top; ++j) {
      const std::size_t part = std::size_t{1} << j;
      const double weight = weights[top * variables + j];
      for (std::size_t i = 0; i < part; ++i) all[half + part + i] = all[half + i] + weight;
    }
    for (std::size_t i = 0; i < half; ++i) all[half + i] += all[i];
    if (!watch.worked(half)) return stopped();
  }
  return all;
}

double Cost::scale() const noexcept {
  double sum = 0;
  std::size_t count = 0;
  const auto add = [&](double coefficient) {
    if (coefficient == 0) return;
    sum += coefficient * coefficient;
    ++count;
  };
  for (const Pair& pair : pairs) add(pair.weight);
  if (count == 0)
    for (const double coefficient : linear) add(coefficient);
  return count == 0 ? 1 : std::sqrt(sum / static_cast<double>(count));
}

Result<Cost> read_maxcut(const JsonObject& object, unsigned qubits_allowed) {
  const auto edges = object.array("edges");
  if (!edges) return edges.error();
  if (*edges == nullptr) return wrong(object.place(), "has no \"edges\"");
  std::uint64_t nodes = 0;
  const bool has_nodes = object.find("nodes") != nullptr;
  if (has_nodes) {
    const auto given = object.integer("nodes", 0, ~std::uint64_t{0});
    if (!given) return given.error();
    nodes = *given;
    if (auto done = check_qubits("nodes", nodes, qubits_allowed); !done) return done.error();
  }
  std::vector<Edge> all;
  for (std::size_t i = 0; i < (*edges)->size(); ++i) {
    const std::uint64_t node_max = has_nodes ? nodes - 1 : ~std::uint64_t{0} - 1;
    const auto edge = read_edge((**edges)[i], element_place("edges", i), node_max);
    if (!edge) return edge.error();
    if (!has_nodes) nodes = std::max({nodes, edge->a + 1, edge->b + 1});
    all.push_back(*edge);
  }
  if (auto done = check_qubits("edges", nodes, qubits_allowed); !done) return done.error();
  Cost cost;
  cost.variables = static_cast<unsigned>(nodes);
  cost.linear.assign(nodes, 0);
  Pairs pairs(cost.variables);
  for (const Edge& edge : all) {  // w [x_a != x_b] = w x_a + w x_b - 2 w x_a x_b
    cost.linear[edge.a] += edge.weight;
    cost.linear[edge.b] += edge.weight;
    pairs.add(edge.a, edge.b, -2 * edge.weight);
  }
  cost.pairs = pairs.take();
  return cost;
}

Result<Cost> read_qubo(const JsonObject& object, unsigned qubits_allowed) {
  const auto rows = object.array("matrix");
  if (!rows) return rows.error();
  if (*rows == nullptr) return wrong(object.place(), "has no \"matrix\"");
  const std::size_t size = (*rows)->size();
  if (auto done = check_qubits("matrix", size, qubits_allowed); !done) return done.error();
  Cost cost;
  cost.variables = static_cast<unsigned>(size);
  cost.is_minimised = true;
  cost.linear.assign(size, 0);
  Pairs pairs(cost.variables);
  for (std::size_t i = 0; i < size; ++i) {
    const json& row = (**rows)[i];
    const std::string place = element_place("matrix", i);
    if (!row.is_array() || row.size() != size)
      return wrong(place, "expected " + counted(size, "number") + ", as there are rows");
    for (std::size_t j = 0; j < size; ++j) {
      const auto number = coefficient_in(row[j], element_place(place, j));
      if (!number) return number.error();
      if (i == j)
        cost.linear[i] += *number;
      else
        pairs.add(i, j, *number);
    }
  }
  cost.pairs = pairs.take();
  return cost;
}

}  // namespace micro_swarm::quantum
