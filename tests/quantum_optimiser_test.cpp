// QAOA beside brute force, and the angles' values that are known in closed form.

#include <boost/test/unit_test.hpp>
#include <cmath>
#include <random>

#include "agentproc/angle_search.hpp"
#include "agentproc/quantum_agent.hpp"
#include "common/config.hpp"
#include "tests/quantum_text.hpp"

using namespace micro_swarm;
using namespace micro_swarm::quantum;
using namespace micro_swarm::testing;
using nlohmann::json;

namespace {

QaoaResult solve(const QaoaRequest& request) {
  TestWatch watch;
  const auto search = open_angle_search();
  return must(optimise(request, *search, watch));
}

/// The best value there is, by looking at all of them.
double best_of(const Cost& cost) {
  double best = cost.value_of(0);
  for (std::uint64_t x = 1; x < std::uint64_t{1} << cost.variables; ++x)
    best = cost.is_minimised ? std::min(best, cost.value_of(x)) : std::max(best, cost.value_of(x));
  return best;
}

json ring(unsigned nodes) {
  json edges = json::array();
  for (unsigned i = 0; i < nodes; ++i) edges.push_back({i, (i + 1) % nodes});
  return edges;
}

QaoaRequest maxcut(const json& edges, json more = json::object()) {
  more["edges"] = edges;
  return must(read_maxcut_request(more.dump(), 16));
}

std::string error_of(const std::string& payload, bool is_maxcut) {
  const auto read = is_maxcut ? read_maxcut_request(payload, 16) : read_qubo_request(payload, 16);
  return read ? "" : read.error().message;
}

}  // namespace

BOOST_AUTO_TEST_SUITE(quantum_optimiser)

BOOST_AUTO_TEST_CASE(values_of_all_assignments_at_once) {
  std::mt19937_64 random(5);
  Cost cost;
  cost.variables = 7;
  for (unsigned i = 0; i < 7; ++i) cost.linear.push_back(static_cast<double>(random() % 100) - 50);
  for (unsigned a = 0; a < 7; ++a)
    for (unsigned b = a + 1; b < 7; ++b)
      cost.pairs.push_back({a, b, static_cast<double>(random() % 100) - 50});
  TestWatch watch;
  const auto values = must(cost.values(watch));
  for (std::uint64_t x = 0; x < 128; ++x) BOOST_TEST(values[x] == cost.value_of(x));
}

BOOST_AUTO_TEST_CASE(an_even_ring_gives_the_known_ratios) {
  // (2p+1)/(2p+2) of the edges for p layers, as long as 2p+2 <= nodes (Farhi et al. 2014).
  for (const unsigned nodes : {4u, 6u, 8u, 10u}) {
    const auto request = maxcut(ring(nodes));
    const auto found = solve(request);
    BOOST_TEST(std::abs(found.expectation / nodes - 0.75) < 1e-6);
    BOOST_TEST(found.value == nodes);
    BOOST_TEST(found.evaluations <= request.evaluations);
  }
  const auto two = solve(maxcut(ring(8), {{"layers", 2}}));
  BOOST_TEST(std::abs(two.expectation / 8 - 5.0 / 6) < 1e-4);
  const auto three = solve(maxcut(ring(8), {{"layers", 3}, {"evaluations", 2000}}));
  BOOST_TEST(std::abs(three.expectation / 8 - 7.0 / 8) < 1e-3);
}

BOOST_AUTO_TEST_CASE(an_odd_ring_and_a_triangle) {
  // One edge cannot be cut. A triangle: for p = 1 the best is 2 exactly.
  BOOST_TEST(solve(maxcut(ring(7))).value == 6);
  const auto triangle = solve(maxcut(ring(3)));
  BOOST_TEST(triangle.value == 2);
  BOOST_TEST(triangle.expectation <= 2 + 1e-9);
  BOOST_TEST(triangle.expectation > 1.9);
}

BOOST_AUTO_TEST_CASE(the_best_sample_is_the_optimum_of_small_graphs) {
  const json petersen = {{0, 1}, {1, 2}, {2, 3}, {3, 4}, {4, 0}, {0, 5}, {1, 6}, {2, 7},
                         {3, 8}, {4, 9}, {5, 7}, {7, 9}, {9, 6}, {6, 8}, {8, 5}};
  const auto found = solve(maxcut(petersen, {{"layers", 2}}));
  BOOST_TEST(found.value == 12);  // of 15
  std::mt19937_64 random(8);
  for (int graph = 0; graph < 5; ++graph) {
    json edges = json::array();
    for (unsigned a = 0; a < 8; ++a)
      for (unsigned b = a + 1; b < 8; ++b)
        if (random() % 2 == 0)
          edges.push_back({a, b, (static_cast<double>(random() % 1000) - 200) / 100});
    const auto request = maxcut(edges, {{"nodes", 8}, {"layers", 2}, {"seed", graph}});
    BOOST_TEST(std::abs(solve(request).value - best_of(request.cost)) < 1e-9);
  }
}

BOOST_AUTO_TEST_CASE(a_qubo_is_minimised) {
  // Both triangles count; 3 of 5 shall be chosen, at the least cost.
  const json matrix = {{-48, 20, 20, 20, 20},
                       {0, -47, 20, 20, 20},
                       {0, 0, -46, 10, 20},
                       {0, 0, 10, -49, 20},
                       {0, 0, 0, 0, -45}};
  const auto request = must(read_qubo_request(json{{"matrix", matrix}, {"layers", 2}}.dump(), 5));
  const auto found = solve(request);
  BOOST_TEST(found.value == best_of(request.cost));
  BOOST_TEST(found.value == -84);  // 0, 1 and 3: -48 - 47 - 49 + 60
  BOOST_TEST(found.best == 0b01011u);
  BOOST_TEST(found.expectation >= found.value);
  const json answer = json::parse(text_of(request, found));
  BOOST_TEST(answer.at("best").at("bits") == "01011");
  BOOST_TEST(answer.at("best").at("assignment") == json({1, 1, 0, 1, 0}));
  BOOST_TEST(answer.at("gammas").size() == 2u);
}

BOOST_AUTO_TEST_CASE(the_size_of_the_weights_does_not_matter) {
  for (const double weight : {1e-9, 3.7, 1e9}) {
    json edges = ring(6);
    for (json& edge : edges) edge.push_back(weight);
    const auto found = solve(maxcut(edges));
    BOOST_TEST(std::abs(found.expectation / weight / 6 - 0.75) < 1e-6);
    BOOST_TEST(std::abs(found.value / weight - 6) < 1e-9);
  }
}

BOOST_AUTO_TEST_CASE(the_same_seed_gives_the_same_answer) {
  const auto answer = [](unsigned seed) {
    const auto request = maxcut(ring(5), {{"layers", 2}, {"seed", seed}, {"shots", 3}});
    return text_of(request, solve(request));
  };
  BOOST_TEST(answer(1) == answer(1));
}

BOOST_AUTO_TEST_CASE(bounds_are_kept_and_a_cancel_stops_it) {
  for (const unsigned evaluations : {1u, 2u, 7u}) {
    const auto found = solve(maxcut(ring(4), {{"evaluations", evaluations}}));
    BOOST_TEST(found.evaluations >= 1u);
    BOOST_TEST(found.evaluations <= evaluations);
  }
  TestWatch watch;
  watch.stop_after = 20;
  const auto search = open_angle_search();
  const auto ended = optimise(maxcut(ring(10)), *search, watch);
  BOOST_REQUIRE(!ended.has_value());
  BOOST_TEST((ended.error().code == ErrorCode::cancelled));
  BOOST_TEST(watch.asked == 21u);  // and not once more
}

BOOST_AUTO_TEST_CASE(what_is_wrong_with_a_problem) {
  const std::pair<const char*, const char*> graphs[] = {
      {"{}", "the payload: has no \"edges\""},
      {R"({"edges": []})", "edges: there are no qubits"},
      {R"({"edges": [[0, 16]]})", "edges: 17 qubits are more than this agent takes"},
      {R"({"edges": [[0, 18446744073709551615]]})",
       "edges[0][1]: 18446744073709551615 is no whole"},
      {R"({"nodes": 17, "edges": []})", "nodes: 17 qubits"},
      {R"({"nodes": 2, "edges": [[0, 2]]})", "edges[0][1]: 2 is no whole number from 0 to 1"},
      {R"({"edges": [[0, 0]]})", "edges[0]: joins a node to itself"},
      {R"({"edges": [[0]]})", "edges[0]: expected [node, node]"},
      {R"({"edges": [[0, 1, "x"]]})", "edges[0][2]: expected a number"},
      {R"({"edges": [[0, 1, 1e200]]})", "edges[0][2]: is neither 0 nor"},
      {R"({"edges": [[0, 1]], "layers": 0})", "layers: 0 is no whole number from 1 to 32"},
      {R"({"edges": [[0, 1]], "layer": 1})", "layer: unknown key; did you mean \"layers\"?"},
      {R"({"edges": [[0, 1]], "evaluations": 100001})", "evaluations: 100001"},
      {R"({"edges": [[0, 1]], "shots": 0})", "shots: 0 is no whole number from 1"}};
  for (const auto& [payload, expected] : graphs)
    BOOST_TEST(error_of(payload, true).starts_with(expected), error_of(payload, true));
  const std::pair<const char*, const char*> matrices[] = {
      {"{}", "the payload: has no \"matrix\""},
      {R"({"matrix": []})", "matrix: there are no qubits"},
      {R"({"matrix": [[1, 2]]})", "matrix[0]: expected 1 number"},
      {R"({"matrix": [[1, 2], [3, null]]})", "matrix[1][1]: expected a number"},
      {R"({"matrix": [[1]], "edges": []})", "edges: unknown key"}};
  for (const auto& [payload, expected] : matrices)
    BOOST_TEST(error_of(payload, false).starts_with(expected), error_of(payload, false));
}

BOOST_AUTO_TEST_CASE(what_a_quantum_agent_offers_it_can_do) {
  HandlerSet handlers;
  add_quantum_operations(handlers, 4);
  const auto names = default_capabilities(AgentKind::quantum, "q");
  BOOST_TEST(names.size() == quantum_operation_names().size());
  for (const auto& name : names) BOOST_CHECK_MESSAGE(handlers.find(name) != nullptr, name);
}

BOOST_AUTO_TEST_SUITE_END()
