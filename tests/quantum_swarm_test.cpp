// Quantum agents in a real swarm: by the command line and by the client library, and cancelled.

#include <boost/test/unit_test.hpp>
#include <cmath>
#include <complex>
#include <cstring>
#include <fstream>

#include "tests/cli_command.hpp"
#include "tests/fault_swarm.hpp"

using namespace micro_swarm;
using namespace micro_swarm::testing;
using nlohmann::json;

namespace {

constexpr const char* one_agent =
    "[log]\nlevel = \"warn\"\n[supervision]\nhang_timeout_ms = 2000\n"
    "[[agent]]\nname = \"qubits\"\nkind = \"quantum\"\nqubits = 20\n";

constexpr const char* ghz =
    "OPENQASM 2.0;\ninclude \"qelib1.inc\";\nqreg q[3]; creg c[3];\n"
    "h q[0]; cx q[0], q[1]; cx q[1], q[2];\nmeasure q -> c;\n";

std::vector<std::complex<double>> amplitudes_in(std::string_view bytes) {
  std::vector<std::complex<double>> amplitudes(bytes.size() / sizeof(std::complex<double>));
  BOOST_REQUIRE_EQUAL(amplitudes.size() * sizeof(std::complex<double>), bytes.size());
  std::memcpy(reinterpret_cast<double*>(amplitudes.data()), bytes.data(), bytes.size());
  return amplitudes;
}

}  // namespace

BOOST_AUTO_TEST_SUITE(quantum_swarm)

BOOST_AUTO_TEST_CASE(by_the_command_line) {
  FaultSwarm swarm(one_agent);
  BOOST_REQUIRE_MESSAGE(swarm.wait_for_live(1), swarm.log());
  ::setenv("MICROSWARM_NAME", "test", 1);
  const auto end = microswarm({"task", "submit", "quantum.run", "--wait", "--file", "-"}, ghz);
  BOOST_REQUIRE_MESSAGE(end.code == 0, end.err);
  const json counts = end.json().at("counts");
  BOOST_TEST(counts.size() == 2u);
  BOOST_TEST(counts.at("000").get<int>() + counts.at("111").get<int>() == 1024);
  const auto wrong = microswarm({"task", "submit", "quantum.run", "--wait", "--file", "-"},
                                "{\"qubits\": 21, \"gates\": []}");
  BOOST_TEST(wrong.code != 0);
  BOOST_TEST(wrong.err.find("qubits: 21 qubits are more than this agent takes, which is 20 "
                            "(qubits in its [[agent]] table, 24 at most)") != std::string::npos,
             wrong.err);
  const auto cut = microswarm({"task", "submit", "quantum.maxcut", "--wait", "--file", "-"},
                              "{\"edges\": [[0,1],[1,2],[2,3],[3,0]]}");
  BOOST_REQUIRE_MESSAGE(cut.code == 0, cut.err);
  BOOST_TEST(cut.json().at("best").at("value") == 4);
  BOOST_TEST(std::abs(cut.json().at("expectation").get<double>() - 3) < 1e-6);
  ::unsetenv("MICROSWARM_NAME");
  swarm.finish();
}

BOOST_AUTO_TEST_CASE(by_the_client_library) {
  FaultSwarm swarm(one_agent);
  BOOST_REQUIRE_MESSAGE(swarm.wait_for_live(1), swarm.log());
  {
    TaskClient client(swarm);
    const auto small = client.run("quantum.amplitudes", "{\"qubits\": 1, \"gates\": []}");
    BOOST_REQUIRE_MESSAGE(small.is_done(), small.text());
    BOOST_TEST((amplitudes_in(small.text()) == std::vector<std::complex<double>>{1, 0}));
    const auto large = client.run("quantum.amplitudes", ghz);
    BOOST_REQUIRE_MESSAGE(large.is_done(), large.text());
    const auto amplitudes = amplitudes_in(large.text());
    BOOST_REQUIRE_EQUAL(amplitudes.size(), 8u);
    for (std::size_t i = 0; i < 8; ++i)
      BOOST_TEST(std::abs(amplitudes[i] - (i == 0 || i == 7 ? std::sqrt(0.5) : 0.0)) < 1e-15);
    const auto megabytes = client.run("quantum.amplitudes", R"({"qubits": 17, "gates": []})");
    BOOST_REQUIRE_MESSAGE(megabytes.is_done(), megabytes.text());
    BOOST_TEST(megabytes.text().size() == std::size_t{16} << 17);
    const auto qubo = client.run("quantum.qubo", R"({"matrix": [[-1, 2], [0, -1.5]]})");
    BOOST_REQUIRE_MESSAGE(qubo.is_done(), qubo.text());
    BOOST_TEST(json::parse(qubo.text()).at("best").at("value") == -1.5);
    const auto failed = client.run("quantum.run", "no circuit");
    BOOST_TEST((failed.state() == TaskState::failed));
    BOOST_TEST(failed.text().starts_with("the payload: neither JSON nor OpenQASM"), failed.text());
  }
  swarm.finish();
}

BOOST_AUTO_TEST_CASE(a_circuit_that_runs_is_no_hang_and_can_be_cancelled) {
  FaultSwarm swarm(one_agent);
  BOOST_REQUIRE_MESSAGE(swarm.wait_for_live(1), swarm.log());
  {
    TaskClient client(swarm);
    std::string text = "OPENQASM 2.0; include \"qelib1.inc\"; qreg q[20];";
    for (int i = 0; i < 4'999; ++i) text += "h q;";  // minutes
    const pid_t before = swarm.agent_pid(0);
    for (const auto& [capability, payload] :
         {std::pair<std::string, std::string>{"quantum.run", text},
          {"quantum.qubo", "{\"evaluations\": 100000, \"layers\": 32, \"matrix\": " + [] {
             json matrix = json::array();
             for (int i = 0; i < 18; ++i) {
               matrix.push_back(json::array());
               for (int j = 0; j < 18; ++j) matrix.back().push_back(i * j % 7 - 3);
             }
             return matrix.dump();
           }() + "}"}}) {
      const auto number = client.submit(capability, payload);
      const TaskId task = client.id_of(number);
      swarm.require_in_hand(0, task);
      ::poll(nullptr, 0, 2'500);  // longer than a hang may be
      BOOST_TEST(swarm.has_in_hand(0, task), swarm.log());
      swarm.cancel(task);
      const auto ended = client.result_of(number);
      BOOST_TEST((ended.state() == TaskState::cancelled), ended.text());
    }
    BOOST_TEST(swarm.agent_pid(0) == before);  // it stopped by itself
    const auto next = client.run("quantum.run", ghz);
    BOOST_TEST(next.is_done(), next.text());
  }
  swarm.finish();
}

BOOST_AUTO_TEST_SUITE_END()
