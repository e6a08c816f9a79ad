#pragma once

// Short ways to have circuits read and run in tests.

#include <boost/test/unit_test.hpp>
#include <nlohmann/json.hpp>
#include <string>

#include "agentproc/quantum/request.hpp"
#include "common/config.hpp"

namespace micro_swarm::testing {

/// Goes on for as long as it is told to.
struct TestWatch final : quantum::Watch {
  bool go_on() noexcept override { return asked++ < stop_after; }
  std::uint64_t asked = 0;
  std::uint64_t stop_after = ~std::uint64_t{0};
};

template <class T>
T must(Result<T> result) {
  if (!result) BOOST_FAIL(result.error().message);
  return std::move(*result);
}

inline quantum::StateVector final_state(const quantum::Circuit& circuit) {
  TestWatch watch;
  const quantum::Plan plan(circuit);
  BOOST_REQUIRE(plan.has_final_state());
  quantum::StateVector state(circuit.qubits);
  BOOST_REQUIRE(plan.run(state, watch).has_value());
  return state;
}

/// The answer of quantum.run.
inline nlohmann::json run_text(const std::string& payload, unsigned qubits = qubits_default) {
  TestWatch watch;
  return nlohmann::json::parse(must(quantum::run(must(quantum::read_run(payload, qubits)), watch)));
}
inline nlohmann::json run_json(const nlohmann::json& payload) { return run_text(payload.dump()); }

/// A program after the usual head.
inline std::string program(const std::string& text) {
  return "OPENQASM 2.0;\ninclude \"qelib1.inc\";\n" + text;
}

inline void check_near(quantum::Amplitude found, quantum::Amplitude expected,
                       double tolerance = 1e-12) {
  BOOST_TEST(std::abs(found - expected) <= tolerance,
             "found " << found << ", expected " << expected);
}

}  // namespace micro_swarm::testing
