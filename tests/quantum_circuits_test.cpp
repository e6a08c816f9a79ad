// What is read: OpenQASM and JSON mean the same, and what is wrong is said with its place.

#include <boost/test/unit_test.hpp>
#include <numbers>

#include "agentproc/quantum/limits.hpp"
#include "tests/quantum_text.hpp"

using namespace micro_swarm;
using namespace micro_swarm::quantum;
using namespace micro_swarm::testing;
using nlohmann::json;

namespace {

Circuit circuit_of(const std::string& payload) { return must(read_run(payload, 16)).circuit; }

void check_same(const Circuit& a, const Circuit& b) {
  BOOST_TEST(a.qubits == b.qubits);
  BOOST_TEST(a.bits == b.bits);
  BOOST_REQUIRE_EQUAL(a.operations.size(), b.operations.size());
  for (std::size_t i = 0; i < a.operations.size(); ++i) {
    const Operation &x = a.operations[i], &y = b.operations[i];
    BOOST_TEST((x.kind == y.kind && x.gate == y.gate && x.controls == y.controls), i);
    BOOST_TEST((x.qubits == y.qubits && x.bit == y.bit), i);
    BOOST_TEST((x.condition.mask == y.condition.mask && x.condition.value == y.condition.value), i);
    for (std::size_t j = 0; j < x.angles.size(); ++j)
      BOOST_TEST(std::abs(x.angles[j] - y.angles[j]) < 1e-15, i);
  }
}

std::string error_of(const std::string& payload, unsigned qubits = 16) {
  const auto read = read_run(payload, qubits);
  return read ? "" : read.error().message;
}

struct Bad {
  std::string payload;
  std::string error;  ///< which it begins with
};

void check_all(const std::vector<Bad>& cases) {
  for (const Bad& bad : cases) {
    const std::string error = error_of(bad.payload);
    BOOST_TEST(error.starts_with(bad.error), bad.payload.substr(0, 200)
                                                 << "\n  gives    " << error << "\n  expected "
                                                 << bad.error);
  }
}

}  // namespace

BOOST_AUTO_TEST_SUITE(quantum_circuits)

BOOST_AUTO_TEST_CASE(openqasm_and_json_mean_the_same) {
  const std::string text = program(R"(
// every kind of statement
qreg q[3];
qreg extra[1];
creg a[2];
creg b[1];
gate turned(theta, phi) x, y { rz(theta / 2) x; cx x, y; barrier x, y; u3(phi, -pi, 2*pi/4) y; }
gate twice(theta) x, y { turned(theta, theta^2) y, x; h x; }
h q;
cu1(pi/4) q[0], q[2];
U(pi, 0, -(pi + 1)) q[1];
CX q[0], extra[0];
cx q, extra[0];
twice(0.5) q[2], q[0];
barrier q, extra[0];
reset extra;
measure q[0] -> a[1];
if (a == 2) ccx q[0], q[1], q[2];
measure q[1] -> b[0];
if (b == 1) measure q[2] -> a[0];
)");
  const json gates = json::parse(R"json([
    {"gate": "h", "qubits": [0]}, {"gate": "h", "qubits": [1]}, {"gate": "h", "qubits": [2]},
    {"gate": "cp", "qubits": [0, 2], "angles": ["pi/4"]},
    {"gate": "u3", "qubits": [1], "angles": ["pi", 0, "-(pi+1)"]},
    {"gate": "cx", "qubits": [0, 3]},
    {"gate": "cx", "qubits": [0, 3]}, {"gate": "cx", "qubits": [1, 3]},
    {"gate": "cx", "qubits": [2, 3]},
    {"gate": "rz", "qubits": [0], "angles": [0.25]},
    {"gate": "cx", "qubits": [0, 2]},
    {"gate": "u", "qubits": [2], "angles": [0.25, "-pi", "pi/2"]},
    {"gate": "h", "qubits": [2]},
    {"gate": "barrier"},
    {"gate": "reset", "qubits": [3]},
    {"gate": "measure", "qubits": [0], "bits": [1]},
    {"gate": "ccx", "qubits": [0, 1, 2], "if": {"bits": [0, 1], "equals": 2}},
    {"gate": "measure", "qubits": [1], "bits": [2]},
    {"gate": "measure", "qubits": [2], "bits": [0], "if": {"bits": [2], "equals": 1}}])json");
  const json whole{{"qubits", 4}, {"bits", 3}, {"gates", gates}};
  check_same(circuit_of(text), circuit_of(whole.dump()));
  check_same(circuit_of(text), circuit_of(json{{"qasm", text}}.dump()));
  json asked = whole, in_qasm{{"qasm", text}};
  for (json* one : {&asked, &in_qasm}) {
    (*one)["shots"] = 500;
    (*one)["seed"] = 9;
  }
  BOOST_TEST(run_text(asked.dump()) == run_text(in_qasm.dump()));
}

BOOST_AUTO_TEST_CASE(expressions) {
  const auto angle = [](const std::string& text) {
    return circuit_of(program("qreg q[1]; rx(" + text + ") q[0];")).operations.at(0).angles[0];
  };
  const double pi = std::numbers::pi;
  const std::pair<const char*, double> cases[] = {
      {"1+2*3", 7},      {"(1+2)*3", 9}, {"-pi/2", -pi / 2}, {"2*-3", -6},
      {"--1", 1},        {"2^3^2", 512}, {"-2^2", -4},       {"2^-1", 0.5},
      {"8/2/2", 2},      {"1-2-3", -4},  {"sin(pi/2)", 1},   {"sqrt(2)*cos(pi/4)", 1},
      {"ln(exp(2))", 2}, {"1.5e1", 15},  {".5", 0.5},        {"2.", 2},
      {"1e-3", 0.001}};
  for (const auto& [text, value] : cases) BOOST_TEST(std::abs(angle(text) - value) < 1e-12, text);
}

BOOST_AUTO_TEST_CASE(measuring_nothing_counts_all_qubits) {
  const auto answer = run_text(program("qreg q[3]; x q[0];"));
  BOOST_TEST(answer.at("counts") == json({{"001", 1024}}));
  BOOST_TEST(answer.at("bits") == 3);
}

BOOST_AUTO_TEST_CASE(what_is_wrong_with_openqasm) {
  const auto line3 = [](const std::string& statement) { return program(statement); };
  const auto line4 = [](const std::string& statement) {
    return program("qreg q[2]; creg c[2];\n" + statement);
  };
  check_all({
      {"OPENQASM 3.0; qreg q[1];", "line 1: OpenQASM 3.0; only 2.0"},
      {"OPENQASM", "line 1: OpenQASM ; only 2.0"},
      {"OPENQASM 2.0; include \"other.inc\";", "line 1: cannot include \"other.inc\""},
      {"OPENQASM 2.0; include \"qelib1.inc;\n", "line 1: a text has no end"},
      {"OPENQASM 2.0;\nqreg q[1];\nh q[0];", "line 3: there is no gate h without include"},
      {program(""), "line 3: there are no qubits"},
      {line3("qreg q[0];"), "line 3: a register has at least 1"},
      {line3("qreg q[17];"),
       "line 3: 17 qubits are more than this agent takes, which is 16 (qubits"},
      {line3("qreg q[16]; qreg r[1];"), "line 3: 17 qubits"},
      {line3("qreg q[99999999999999999999];"), "line 3: the number 9999"},
      {line3("qreg q[18446744073709551615];"), "line 3: 1844"},
      {line3("creg c[65];"), "line 3: 65 classical bits; 64"},
      {line3("qreg q[1]; creg q[1];"), "line 3: there is a register q"},
      {line3("qreg q[-1];"), "line 3: expected the register's size"},
      {line3("opaque magic q;"), "line 3: opaque gates"},
      {line4("g q[0];"), "line 4: there is no gate g"},
      {line4("h q[2];"), "line 4: index 2 is out of range; q has 2"},
      {line4("h r[0];"), "line 4: there is no register r of qubits"},
      {line4("h c[0];"), "line 4: there is no register c of qubits"},
      {line4("h q[0], q[1];"), "line 4: h works on 1 qubit, not on 2"},
      {line4("cx q[0];"), "line 4: cx works on 2 qubits, not on 1"},
      {line4("cx q[1], q[1];"), "line 4: cx names a qubit twice"},
      {line4("cx q, q[0];"), "line 4: cx names a qubit twice"},
      {line4("qreg r[1]; cx q, r;"), "line 4: registers of different sizes"},
      {line4("rx q[0];"), "line 4: rx takes 1 angle, not 0"},
      {line4("rx() q[0];"), "line 4: rx takes 1 angle, not 0"},
      {line4("h(1) q[0];"), "line 4: h takes 0 angles, not 1"},
      {line4("rx(1/0) q[0];"), "line 4: an angle of rx is not finite"},
      {line4("rx(0/0) q[0];"), "line 4: an angle of rx is not finite"},
      {line4("rx(sqrt(-1)) q[0];"), "line 4: an angle of rx is not finite"},
      {line4("rx(1e999) q[0];"), "line 4: the number 1e999 is out of range"},
      {line4("rx(theta) q[0];"), "line 4: \"theta\" is no value known here"},
      {line4("rx(1+) q[0];"), "line 4: expected a number"},
      {line4("rx((1) q[0];"), "line 4: expected \")\""},
      {line4("rx(" + std::string(100, '(') + "1" + std::string(100, ')') + ") q[0];"),
       "line 4: an expression is nested too deeply"},
      {line4("rx(" + std::string(1000, '-') + "1) q[7];"), "line 4: index 7"},
      {line4("rx(2" +
             [] {
               std::string powers;
               for (int i = 0; i < 1000; ++i) powers += "^2";
               return powers;
             }() +
             ") q[0];"),
       "line 4: an expression is nested too deeply"},
      {line4("h q[0]"), "line 4: expected \";\", found the end"},
      {line4("h q[0];;"), "line 4: expected a statement, found \";\""},
      {line4("h q[0] @"), "line 4: '@' begins nothing"},
      {line4("h q[0] \x01"), "line 4: a character that is not ASCII"},
      {line4("h q[0] \xc3\xa4"), "line 4: a character that is not ASCII"},
      {line4("measure q -> c[0];"), "line 4: measure from 2 qubits into 1 classical bit"},
      {line4("measure q[0] -> q[1];"), "line 4: there is no register q of classical bits"},
      {line4("if (c == 1) measure q -> c;"), "line 4: an if before the measurement of a register"},
      {line4("if (q == 1) x q[0];"), "line 4: there is no register q of classical bits"},
      {line4("if (c == -1) x q[0];"), "line 4: expected a whole number"},
      {line4("if (c = 1) x q[0];"), "line 4: '=' begins nothing"},
      {line4("if (c == 1) if (c == 1) x q[0];"), "line 4: expected a gate, measure or reset"},
      {line4("gate g a { h b; }"), "line 4: the gate has no qubit b"},
      {line4("gate g a, a { h a; }"), "line 4: the name a is there twice"},
      {line4("gate g a { g a; }"), "line 4: there is no gate g"},
      {line4("gate g a { measure a; }"), "line 4: there is no gate measure"},
      {line4("gate g a { cx a, a; }"), "line 4: cx names a qubit twice"},
      {line4("gate g(t) a { rx(u) a; }"), "line 4: \"u\" is no value"},
      {line4("gate g a { h a; "), "line 4: expected a gate or \"}\", found the end"},
      {line4("gate g a { h a; } gate g a { }"), "line 4: there is a gate g already"},
      {line4("gate g(t) a { rx(1/t) a; }\ng(0) q[0];"),
       "line 5, in g: line 4: an angle of rx is not finite"},
      {line4("gate g a, b { cx a, b; }\ng q[0], q[0];"), "line 5: g names a qubit twice"},
      {line4("gate g a, b { cx a, b; }\ng q[0];"), "line 5: g works on 2 qubits, not on 1"},
  });
}

BOOST_AUTO_TEST_CASE(a_short_text_cannot_stand_for_endless_work) {
  const auto doubling = [](const std::string& body, int levels) {
    std::string text = "gate g0 a { " + body + " }\n";
    for (int i = 1; i <= levels; ++i)
      text += "gate g" + std::to_string(i) + " a { g" + std::to_string(i - 1) + " a; g" +
              std::to_string(i - 1) + " a; }\n";
    return program(text + "qreg q[1]; g" + std::to_string(levels) + " q[0];");
  };
  BOOST_TEST(error_of(doubling("h a;", 10)) == "");
  const auto gates = error_of(doubling("h a;", 40));
  BOOST_TEST(gates.find("the circuit has more than 100000 operations") != std::string::npos, gates);
  const auto nothing = error_of(doubling("", 40));
  BOOST_TEST(nothing.find("expand to more than 4000000 words") != std::string::npos, nothing);
  std::string deep = "gate g0 a { h a; }\n";
  for (int i = 1; i <= 5000; ++i)
    deep += "gate g" + std::to_string(i) + " a { g" + std::to_string(i - 1) + " a; }\n";
  const auto depth = error_of(program(deep + "qreg q[1]; g5000 q[0];"));
  BOOST_TEST(depth.find("more than 64 deep") != std::string::npos, depth.substr(0, 200));
  const auto many = error_of(program("qreg q[16];" + [] {
    std::string text;
    for (int i = 0; i < 7000; ++i) text += "h q;";
    return text;
  }()));
  BOOST_TEST(many == "line 3: the circuit has more than 100000 operations");
  BOOST_TEST(
      error_of(program(std::string(payload_bytes_max, ' '))).starts_with("line 1: the text"));
}

BOOST_AUTO_TEST_CASE(what_is_wrong_with_json) {
  const auto gate = [](const std::string& text) {
    return R"({"qubits": 2, "gates": [{"gate": "h", "qubits": [0]}, )" + text + "]}";
  };
  check_all({
      {"", "the payload: neither JSON nor OpenQASM"},
      {"{", "the payload: neither JSON nor OpenQASM"},
      {"[]", "the payload: is no JSON object"},
      {"{} x", "the payload: neither"},
      {"{}", "the payload: has no \"qubits\""},
      {R"({"qubits": 2})", "the payload: has neither \"gates\" nor \"qasm\""},
      {R"({"qubits": 0, "gates": []})", "qubits: there are no qubits"},
      {R"({"qubits": 17, "gates": []})", "qubits: 17 qubits are more than this agent takes"},
      {R"({"qubits": -1, "gates": []})", "qubits: -1 is no whole number"},
      {R"({"qubits": 1.5, "gates": []})", "qubits: 1.5 is no whole number"},
      {R"({"qubits": "2", "gates": []})", "qubits: \"2\" is no whole number"},
      {R"({"qubits": 2, "bits": 65, "gates": []})", "bits: 65 is no whole number from 0 to 64"},
      {R"({"qubits": 2, "gates": {}})", "gates: expected an array"},
      {R"({"qubits": 2, "gatse": []})", "gatse: unknown key; did you mean \"gates\"?"},
      {R"({"qubits": 2, "qubits": 3, "gates": []})",
       "the payload: the key \"qubits\" is there twice"},
      {R"({"qubits": 2, "gates": [], "shots": -1})", "shots: -1"},
      {R"({"qubits": 2, "gates": [], "shots": 1000001})", "shots: 1000001 is no whole number"},
      {R"({"qubits": 2, "gates": [], "seed": 1e3})", "seed: 1000.0 is no whole number"},
      {R"({"qubits": 2, "gates": [], "probabilities": 1})",
       "probabilities: expected true or false"},
      {R"({"qubits": 2, "gates": [], "expectations": "ZZ"})", "expectations: expected an array"},
      {R"({"qubits": 2, "gates": [], "expectations": ["Z"]})",
       "expectations[0]: expected 2 letters"},
      {R"({"qubits": 2, "gates": [], "expectations": ["ZZ", "XZ"]})", "expectations[1]: expected"},
      {gate("1"), "gates[1]: expected an object"},
      {gate(R"({"gate": "hh", "qubits": [0]})"), "gates[1].gate: \"hh\" is no gate"},
      {gate(R"({"gate": "mesure", "qubits": [0]})"),
       "gates[1].gate: \"mesure\" is no gate; did you mean \"measure\"?"},
      {gate(R"({"qubits": [0]})"), "gates[1]: has no \"gate\""},
      {gate(R"({"gate": "h"})"), "gates[1]: h works on 1 qubit, not on 0"},
      {gate(R"({"gate": "h", "qubits": [0, 1]})"), "gates[1]: h works on 1 qubit, not on 2"},
      {gate(R"({"gate": "h", "qubits": [2]})"),
       "gates[1].qubits[0]: 2 is no whole number from 0 to 1"},
      {gate(R"({"gate": "h", "qubits": [-1]})"), "gates[1].qubits[0]: -1"},
      {gate(R"({"gate": "cx", "qubits": [1, 1]})"), "gates[1]: cx names a qubit twice"},
      {gate(R"({"gate": "rx", "qubits": [0]})"), "gates[1]: rx takes 1 angle, not 0"},
      {gate(R"({"gate": "rx", "qubits": [0], "angles": [null]})"),
       "gates[1].angles[0]: expected a number"},
      {gate(R"({"gate": "rx", "qubits": [0], "angles": [NaN]})"), "the payload: neither JSON"},
      {gate(R"({"gate": "rx", "qubits": [0], "angles": [1e999]})"), "the payload: neither JSON"},
      {gate(R"({"gate": "rx", "qubits": [0], "angles": ["1/0"]})"),
       "gates[1]: an angle of rx is not finite"},
      {gate(R"({"gate": "rx", "qubits": [0], "angles": ["x"]})"),
       "gates[1].angles[0]: line 1: \"x\""},
      {gate(R"({"gate": "rx", "qubits": [0], "angles": ["1 2"]})"),
       "gates[1].angles[0]: line 1: expected the end"},
      {gate(R"({"gate": "rx", "qubits": [0], "angles": [1,1,1,1]})"),
       "gates[1].angles: is too long"},
      {gate(R"({"gate": "h", "qubits": [0], "bits": [0]})"), "gates[1].bits: only measure"},
      {gate(R"({"gate": "measure", "qubits": []})"), "gates[1]: names no qubits"},
      {gate(R"({"gate": "measure", "qubits": [0], "bits": [2]})"), "gates[1].bits[0]: 2"},
      {gate(R"({"gate": "measure", "qubits": [0, 1], "bits": [0]})"),
       "gates[1]: measures 2 qubits into 1 bit"},
      {gate(R"({"gate": "measure", "qubits": [0], "angles": [0]})"),
       "gates[1].angles: measure has no angles"},
      {gate(R"({"gate": "x", "qubits": [0], "if": {"bits": [0]}})"),
       "gates[1].if: has no \"equals\""},
      {gate(R"({"gate": "x", "qubits": [0], "if": {"bits": [], "equals": 0}})"),
       "gates[1].if: names no bits"},
      {gate(R"({"gate": "x", "qubits": [0], "if": {"bits": [0, 0], "equals": 0}})"),
       "gates[1].if.bits: a bit twice"},
      {gate(R"({"gate": "x", "qubits": [0], "if": {"bits": [0], "equals": 2}})"),
       "gates[1].if.equals: 2"},
      {gate(R"({"gate": "x", "qubits": [0], "if": 1})"), "gates[1].if: expected an object"},
      {R"({"qasm": 1})", "qasm: expected a text"},
      {R"({"qasm": "OPENQASM 2.0;", "gates": []})", "gates: stands beside \"qasm\""},
      {R"({"qasm": "OPENQASM 2.0;\nqreg q[1];\nh q[0];"})", "qasm: line 3: there is no gate h"},
      {R"({"qubits": 1, "gates": )" + std::string(100'000, '[') + std::string(100'000, ']') + "}",
       "the payload is nested deeper than 8"},
      {R"({"qubits": 1, "bits": 1, "probabilities": true, "gates": [
         {"gate": "measure", "qubits": [0]}, {"gate": "h", "qubits": [0]}]})",
       "probabilities: the circuit measures"},
  });
  BOOST_TEST(error_of(R"({"qubits": 17, "gates": [], "probabilities": true})", 24)
                 .starts_with("probabilities: of more than 16 qubits"));
  BOOST_TEST(error_of(R"({"qubits": 3, "gates": []})", 2)
                 .starts_with("qubits: 3 qubits are more than this agent takes, which is 2"));
  std::string large = "{\"qubits\": 1, \"gates\": [";
  for (int i = 0; i <= 100'000; ++i)
    large += std::string(i == 0 ? "" : ",") + R"({"gate":"h","qubits":[0]})";
  BOOST_TEST(error_of(large + "]}") ==
             "gates[100000]: the circuit has more than 100000 operations");
  BOOST_TEST(error_of(std::string(payload_bytes_max + 1, '{')).starts_with("the payload has more"));
}

BOOST_AUTO_TEST_CASE(amplitudes_take_a_circuit_and_nothing_else) {
  BOOST_TEST(
      must(read_amplitudes(program("qreg q[2]; h q; creg c[2]; measure q -> c;"), 2)).qubits == 2u);
  const auto error = [](const std::string& payload) {
    const auto read = read_amplitudes(payload, 4);
    return read ? "" : read.error().message;
  };
  BOOST_TEST(error(R"({"qubits": 1, "gates": [], "shots": 1})").starts_with("shots: unknown key"));
  BOOST_TEST(error(program("qreg q[1]; creg c[1]; measure q -> c; h q;"))
                 .starts_with("the payload: the circuit measures"));
}

BOOST_AUTO_TEST_SUITE_END()
