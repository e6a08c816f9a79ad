// The simulator beside matrices: each gate, random circuits, and the circuits every textbook has.

#include <rapidcheck.h>

#include <boost/test/unit_test.hpp>
#include <random>

#include "tests/quantum_reference.hpp"
#include "tests/quantum_text.hpp"

using namespace micro_swarm;
using namespace micro_swarm::quantum;
using namespace micro_swarm::testing;
using std::numbers::pi;

namespace {

std::vector<Complex> random_state(unsigned qubits, std::mt19937_64& random) {
  std::vector<Complex> amplitudes(std::size_t{1} << qubits);
  double sum = 0;
  for (Complex& amplitude : amplitudes) {
    amplitude = {static_cast<double>(random() >> 11) * 0x1p-52 - 1,
                 static_cast<double>(random() >> 11) * 0x1p-52 - 1};
    sum += std::norm(amplitude);
  }
  for (Complex& amplitude : amplitudes) amplitude /= std::sqrt(sum);
  return amplitudes;
}

StateVector state_of(const std::vector<Complex>& amplitudes) {
  StateVector state(static_cast<unsigned>(std::countr_zero(amplitudes.size())));
  std::copy(amplitudes.begin(), amplitudes.end(), state.amplitudes().begin());
  return state;
}

double distance(const StateVector& state, const std::vector<Complex>& expected) {
  double largest = 0;
  for (std::size_t i = 0; i < expected.size(); ++i)
    largest = std::max(largest, std::abs(state.amplitudes()[i] - expected[i]));
  return largest;
}

std::vector<double> some_angles(unsigned count, std::mt19937_64& random) {
  std::vector<double> angles(count);
  for (double& angle : angles) angle = static_cast<double>(random() >> 11) * 0x1p-50 - 4;
  return angles;
}

std::vector<unsigned> some_qubits(unsigned count, unsigned of, std::mt19937_64& random) {
  std::vector<unsigned> all(of);
  for (unsigned q = 0; q < of; ++q) all[q] = q;
  for (unsigned q = of - 1; q > 0; --q) std::swap(all[q], all[random() % (q + 1)]);
  all.resize(count);
  return all;
}

double count_of(const nlohmann::json& answer, const std::string& outcome) {
  return answer.at("counts").value(outcome, 0.0);
}

}  // namespace

BOOST_AUTO_TEST_SUITE(quantum_simulator)

BOOST_AUTO_TEST_CASE(each_gate_is_its_matrix_on_any_qubits_of_a_random_state) {
  constexpr unsigned qubits = 5;
  std::mt19937_64 random(1);
  for (const GateName& gate : gate_names()) {
    const std::string name(gate.name);
    for (int round = 0; round < 8; ++round) {
      const auto on = some_qubits(gate.qubits, qubits, random);
      const auto angles = some_angles(gate.angles, random);
      const auto before = random_state(qubits, random);
      StateVector state = state_of(before);
      apply(must(make_operation("here", gate, on, angles)), state);
      const Dense matrix = gate_matrix(qubits, name, on, angles);
      BOOST_TEST(distance(state, matrix * before) < 1e-14, name);
      BOOST_TEST(std::abs(state.norm() - 1) < 1e-14, name);
      const Dense product = matrix * matrix.adjoint();
      for (std::size_t i = 0; i < product.size(); ++i)
        for (std::size_t j = 0; j < product.size(); ++j)
          BOOST_TEST(std::abs(product.at(i, j) - (i == j ? 1.0 : 0.0)) < 1e-13, name);
    }
  }
}

BOOST_AUTO_TEST_CASE(random_circuits_are_their_matrices) {
  const bool holds = rc::check("a circuit of up to 5 qubits", [] {
    const auto qubits = *rc::gen::inRange(1u, 6u);
    std::mt19937_64 random(*rc::gen::arbitrary<std::uint64_t>());
    Circuit circuit{qubits, 0, {}};
    std::vector<Complex> expected(std::size_t{1} << qubits);
    expected[0] = 1;
    const auto length = *rc::gen::inRange(0u, 40u);
    while (circuit.operations.size() < length) {
      const GateName& gate = gate_names()[random() % gate_names().size()];
      if (gate.qubits > qubits) continue;
      const auto on = some_qubits(gate.qubits, qubits, random);
      const auto angles = some_angles(gate.angles, random);
      circuit.operations.push_back(*make_operation("here", gate, on, angles));
      expected = gate_matrix(qubits, std::string(gate.name), on, angles) * expected;
    }
    const StateVector state = final_state(circuit);
    RC_ASSERT(distance(state, expected) < 1e-12);
    const auto mask = random() & (expected.size() - 1);
    double z = 0;
    for (std::size_t i = 0; i < expected.size(); ++i)
      z += (std::popcount(i & mask) % 2 == 0 ? 1 : -1) * std::norm(expected[i]);
    RC_ASSERT(std::abs(state.expectation_of_z(mask) - z) < 1e-12);
  });
  BOOST_TEST(holds);
}

BOOST_AUTO_TEST_CASE(many_qubits_are_no_different) {
  // What the other tests do on 5 qubits, where every stride of the loops is long.
  constexpr unsigned qubits = 20;
  StateVector state(qubits);
  for (unsigned q = 0; q < qubits; ++q) state.apply(matrix_of(Gate::h, {}), q);
  for (unsigned q = 0; q + 1 < qubits; ++q)
    state.apply(matrix_of(Gate::p, {0.1 * (q + 1)}), q + 1, 1u << q);
  const double size = std::exp2(-10.0);
  for (const std::size_t index : {0u, 1u, 2u, 3u, 0xabcdeu, 0xfffffu, 0x80001u}) {
    double angle = 0;
    for (unsigned q = 0; q + 1 < qubits; ++q)
      if ((index >> q & 3) == 3) angle += 0.1 * (q + 1);
    check_near(state.amplitudes()[index], std::polar(size, angle), 1e-13);
  }
  state.swap(0, 19);
  check_near(state.amplitudes()[0x80002], std::polar(size, 0.1), 1e-13);  // 3 before
  BOOST_TEST(std::abs(state.norm() - 1) < 1e-11);
}

BOOST_AUTO_TEST_CASE(ghz) {
  const auto answer = run_text(
      "{\"qasm\": \"OPENQASM 2.0; include \\\"qelib1.inc\\\"; qreg q[4]; creg c[4]; h q[0]; "
      "cx q[0], q[1]; cx q[1], q[2]; cx q[2], q[3]; measure q -> c;\", \"shots\": 10000, "
      "\"probabilities\": true, \"expectations\": [\"ZZII\", \"ZZZZ\", \"IIIZ\"]}");
  BOOST_TEST(answer.at("counts").size() == 2u);
  BOOST_TEST(count_of(answer, "0000") + count_of(answer, "1111") == 10000);
  BOOST_TEST(std::abs(count_of(answer, "0000") - 5000) < 250);  // 5 sigma
  for (std::size_t i = 0; i < 16; ++i)
    BOOST_TEST(std::abs(answer.at("probabilities")[i].get<double>() -
                        (i == 0 || i == 15 ? 0.5 : 0)) < 1e-14);
  BOOST_TEST(std::abs(answer.at("expectations").at("ZZII").get<double>() - 1) < 1e-14);
  BOOST_TEST(std::abs(answer.at("expectations").at("ZZZZ").get<double>() - 1) < 1e-14);
  BOOST_TEST(std::abs(answer.at("expectations").at("IIIZ").get<double>()) < 1e-14);
}

BOOST_AUTO_TEST_CASE(the_fourier_transform_is_the_matrix_of_the_fourier_transform) {
  constexpr unsigned qubits = 5;
  constexpr std::size_t size = 1u << qubits;
  for (std::size_t input = 0; input < size; ++input) {
    StateVector state(qubits);
    for (unsigned q = 0; q < qubits; ++q)
      if ((input >> q & 1) != 0) state.apply(matrix_of(Gate::x, {}), q);
    for (unsigned q = qubits; q-- > 0;) {
      state.apply(matrix_of(Gate::h, {}), q);
      for (unsigned c = 0; c < q; ++c)
        state.apply(matrix_of(Gate::p, {pi / static_cast<double>(1u << (q - c))}), q, 1u << c);
    }
    for (unsigned q = 0; q < qubits / 2; ++q) state.swap(q, qubits - 1 - q);
    for (std::size_t k = 0; k < size; ++k)
      check_near(state.amplitudes()[k],
                 std::polar(1 / std::sqrt(double{size}),
                            2 * pi * static_cast<double>(input * k % size) / double{size}));
  }
}

BOOST_AUTO_TEST_CASE(grover_finds_with_the_known_probability) {
  // 3 qubits, 101 marked: after k rounds sin((2k+1) asin(1/sqrt 8))^2.
  const std::string round =
      "h q[2]; x q[1]; ccx q[0], q[1], q[2]; x q[1]; h q[2];\n"  // a sign on 101
      "h q; x q; h q[2]; ccx q[0], q[1], q[2]; h q[2]; x q; h q;\n";
  std::string text = "qreg q[3]; h q;\n";
  for (int rounds = 1; rounds <= 4; ++rounds) {
    text += round;
    const auto answer = run_json(
        {{"qasm", program(text)}, {"probabilities", true}, {"shots", rounds == 2 ? 20000 : 0}});
    const double expected = std::pow(std::sin((2 * rounds + 1) * std::asin(1 / std::sqrt(8.0))), 2);
    BOOST_TEST(std::abs(answer.at("probabilities")[5].get<double>() - expected) < 1e-12);
    if (rounds != 2) continue;
    BOOST_TEST(std::abs(expected - 0.9453125) < 1e-12);
    BOOST_TEST(std::abs(count_of(answer, "101") - 20000 * expected) < 170);  // 5 sigma
  }
}

BOOST_AUTO_TEST_CASE(teleportation_brings_any_state_to_the_third_qubit) {
  for (const double theta : {0.0, 0.3, 1.2, 2.0, pi}) {
    const auto answer = run_json({{"qasm", program("qreg q[3]; creg a[1]; creg b[1]; creg out[1];\n"
                                                   "ry(" +
                                                   std::to_string(theta) +
                                                   ") q[0]; rz(0.7) q[0];\n"
                                                   "h q[1]; cx q[1], q[2]; barrier q;\n"
                                                   "cx q[0], q[1]; h q[0];\n"
                                                   "measure q[0] -> a[0]; measure q[1] -> b[0];\n"
                                                   "if (b == 1) x q[2];\nif (a == 1) z q[2];\n"
                                                   "rz(-0.7) q[2]; ry(" +
                                                   std::to_string(-theta) +
                                                   ") q[2];\n"
                                                   "measure q[2] -> out[0];\n")},
                                  {"shots", 8000},
                                  {"seed", 3}});
    // Undone again: the third qubit is 0, whatever the two others gave.
    BOOST_TEST(answer.at("counts").size() == 4u, answer.dump());
    for (const char* outcome : {"000", "001", "010", "011"})
      BOOST_TEST(std::abs(count_of(answer, outcome) - 2000) < 200, answer.dump());
  }
  // Not undone: 1 with the probability that was sent.
  const auto sent = run_json({{"qasm", program("qreg q[3]; creg a[1]; creg b[1]; creg out[1];\n"
                                               "ry(1.2) q[0]; h q[1]; cx q[1], q[2];\n"
                                               "cx q[0], q[1]; h q[0];\n"
                                               "measure q[0] -> a[0]; measure q[1] -> b[0];\n"
                                               "if (b == 1) x q[2]; if (a == 1) z q[2];\n"
                                               "measure q[2] -> out[0];\n")},
                              {"shots", 20000}});
  double ones = 0;
  for (const char* outcome : {"100", "101", "110", "111"}) ones += count_of(sent, outcome);
  BOOST_TEST(std::abs(ones - 20000 * std::pow(std::sin(0.6), 2)) < 330);
}

BOOST_AUTO_TEST_CASE(bell_pairs_correlate_more_than_any_shared_chance) {
  // E(a,b) = cos(a - b) for measurements turned by a and b; S = 2 sqrt 2 (CHSH).
  const auto correlation = [](double a, double b) {
    const auto answer = run_json({{"qubits", 2},
                                  {"gates",
                                   {{{"gate", "h"}, {"qubits", {0}}},
                                    {{"gate", "cx"}, {"qubits", {0, 1}}},
                                    {{"gate", "ry"}, {"qubits", {0}}, {"angles", {-a}}},
                                    {{"gate", "ry"}, {"qubits", {1}}, {"angles", {-b}}}}},
                                  {"expectations", {"ZZ"}},
                                  {"shots", 0}});
    BOOST_TEST(!answer.contains("counts"));
    return answer.at("expectations").at("ZZ").get<double>();
  };
  const double s = correlation(0, pi / 4) + correlation(0, -pi / 4) + correlation(pi / 2, pi / 4) -
                   correlation(pi / 2, -pi / 4);
  BOOST_TEST(std::abs(s - 2 * std::sqrt(2.0)) < 1e-12);
}

BOOST_AUTO_TEST_CASE(measurements_on_the_way) {
  // The same qubit twice gives the same; after h again both; a reset qubit gives 0.
  auto answer = run_text(
      program("qreg q[1]; creg c[2]; h q[0]; measure q[0] -> c[0]; measure q[0] -> c[1];"));
  BOOST_TEST(answer.at("counts").size() == 2u);
  BOOST_TEST(count_of(answer, "00") + count_of(answer, "11") == 1024);
  answer = run_json({{"qasm", program("qreg q[1]; creg c[2]; h q[0]; measure q[0] -> c[0]; h q[0]; "
                                      "measure q[0] -> c[1];")},
                     {"shots", 40000}});
  for (const char* outcome : {"00", "01", "10", "11"})
    BOOST_TEST(std::abs(count_of(answer, outcome) - 10000) < 440);
  answer = run_text(program("qreg q[1]; creg c[1]; h q[0]; reset q[0]; measure q[0] -> c[0];"));
  BOOST_TEST(count_of(answer, "0") == 1024);
  answer =
      run_text(program("qreg q[2]; creg c[2]; h q[0]; cx q[0], q[1]; reset q[0]; measure q -> c;"));
  BOOST_TEST(answer.at("counts").size() == 2u);
  BOOST_TEST(count_of(answer, "00") + count_of(answer, "10") == 1024);
  // A condition that never holds, one that holds from the start, one on a register's number.
  answer =
      run_text(program("qreg q[2]; creg c[2]; if (c == 9) x q[0]; if (c == 0) x q[1]; "
                       "measure q -> c;"));
  BOOST_TEST(count_of(answer, "10") == 1024);
  answer =
      run_text(program("qreg q[2]; creg c[2]; x q[1]; measure q -> c; if (c == 2) x q[0]; "
                       "if (c == 1) x q[0]; measure q[0] -> c[0];"));
  BOOST_TEST(count_of(answer, "11") == 1024);
  // The last measurement into a bit counts, whatever could be moved.
  answer =
      run_text(program("qreg q[2]; creg c[1]; x q[0]; measure q[0] -> c[0]; "
                       "measure q[1] -> c[0];"));
  BOOST_TEST(count_of(answer, "0") == 1024);
  answer =
      run_text(program("qreg q[2]; creg c[1]; x q[0]; measure q[1] -> c[0]; h q[1]; "
                       "measure q[0] -> c[0];"));
  BOOST_TEST(count_of(answer, "1") == 1024);
}

BOOST_AUTO_TEST_CASE(paths_have_the_probabilities_of_their_branches) {
  // Each step measures and turns by what came; compared with the tree worked out by hand.
  const auto answer =
      run_json({{"qasm", program("qreg q[1]; creg a[1]; creg b[1];\n"
                                 "ry(1.0) q[0]; measure q[0] -> a[0]; if (a == 1) ry(0.8) q[0];\n"
                                 "if (a == 0) ry(0.4) q[0]; measure q[0] -> b[0]; h q[0];\n")},
                {"shots", 100000}});
  const double a1 = std::pow(std::sin(0.5), 2);
  const double b1_if_0 = std::pow(std::sin(0.2), 2), b1_if_1 = std::pow(std::cos(0.4), 2);
  const auto check = [&](const char* outcome, double probability) {
    const double sigma = std::sqrt(100000 * probability * (1 - probability));
    BOOST_TEST(std::abs(count_of(answer, outcome) - 100000 * probability) < 5 * sigma, outcome);
  };
  check("00", (1 - a1) * (1 - b1_if_0));
  check("10", (1 - a1) * b1_if_0);
  check("01", a1 * (1 - b1_if_1));
  check("11", a1 * b1_if_1);
}

BOOST_AUTO_TEST_CASE(the_same_seed_gives_the_same_counts_and_another_seed_others) {
  const auto with = [](std::uint64_t seed) {
    return run_json({{"qasm", program("qreg q[3]; creg c[3]; h q; measure q[0] -> c[0]; h q[0]; "
                                      "measure q -> c;")},
                     {"seed", seed}})
        .dump();
  };
  BOOST_TEST(with(7) == with(7));
  BOOST_TEST(with(7) != with(8));
  BOOST_TEST(with(~std::uint64_t{0}) == with(~std::uint64_t{0}));
}

BOOST_AUTO_TEST_CASE(chance_is_what_the_standard_fixes) {
  // The 10000th number of a std::mt19937_64 that was made without a seed is in the standard.
  Random random(5489);
  double fraction = 0;
  for (int i = 0; i < 10000; ++i) fraction = random.fraction();
  BOOST_TEST(fraction == static_cast<double>(9981545732273789042u >> 11) * 0x1p-53);
  // One fraction a shot, each in the interval of its outcome.
  StateVector state(2);
  state.apply(matrix_of(Gate::h, {}), 0);
  state.apply(matrix_of(Gate::h, {}), 1);
  std::map<std::uint64_t, std::uint64_t> expected;
  std::mt19937_64 generator(11);
  for (int i = 0; i < 1000; ++i) ++expected[generator() >> 62];
  TestWatch watch;
  Random again(11);
  BOOST_TEST((must(sample(state, 1000, again, watch)) == expected));
}

BOOST_AUTO_TEST_CASE(a_circuit_that_nobody_wants_any_more_ends) {
  TestWatch watch;
  watch.stop_after = 3;
  std::string text = "qreg q[16]; h q;";
  for (int i = 0; i < 10; ++i) text += "h q;";
  const auto request = must(read_run(program(text), 16));
  const auto answer = run(request, watch);
  BOOST_REQUIRE(!answer.has_value());
  BOOST_TEST((answer.error().code == ErrorCode::cancelled));
}

BOOST_AUTO_TEST_SUITE_END()
