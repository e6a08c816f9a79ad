#include "agentproc/quantum/request.hpp"

#include "agentproc/quantum/circuit_json.hpp"
#include "agentproc/quantum/circuit_qasm.hpp"
#include "agentproc/quantum/limits.hpp"

namespace micro_swarm::quantum {

namespace {

using nlohmann::json;

Result<Circuit> circuit_of(const JsonObject& object, unsigned qubits_allowed) {
  const json* text = object.find("qasm");
  if (text == nullptr) return read_circuit(object, qubits_allowed);
  for (const char* key : {"qubits", "bits", "gates"})
    if (object.find(key) != nullptr) return wrong(key, "stands beside \"qasm\"; one circuit only");
  if (!text->is_string()) return wrong("qasm", "expected a text");
  auto circuit = read_qasm(text->get_ref<const std::string&>(), qubits_allowed);
  if (!circuit) return with_context(circuit.error(), "qasm");
  return circuit;
}

Result<void> read_expectations(const JsonObject& object, RunRequest& request) {
  const auto list = object.array("expectations");
  if (!list) return list.error();
  if (*list == nullptr) return {};
  if ((*list)->size() > expectations_max)
    return wrong("expectations", std::to_string((*list)->size()) + " are too many; " +
                                     std::to_string(expectations_max) + " is the limit");
  for (std::size_t i = 0; i < (*list)->size(); ++i) {
    const json& value = (**list)[i];
    const std::string place = element_place("expectations", i);
    if (!value.is_string()) return wrong(place, "expected a text of I and Z");
    const auto& text = value.get_ref<const std::string&>();
    if (text.size() != request.circuit.qubits || text.find_first_not_of("IZ") != std::string::npos)
      return wrong(place, "expected " + counted(request.circuit.qubits, "letter") +
                              ", each I or Z, that of qubit 0 at the right");
    request.expectations.push_back(text);
  }
  return {};
}

Error no_final_state(const std::string& wanted) {
  return wrong(wanted,
               "the circuit measures, resets or decides before its last gate, so there is no one "
               "final state; ask for counts");
}

}  // namespace

std::string bit_text(std::uint64_t value, unsigned bits) {
  std::string text(bits, '0');
  for (unsigned i = 0; i < bits; ++i)
    if ((value >> i & 1) != 0) text[bits - 1 - i] = '1';
  return text;
}

Result<RunRequest> read_run(std::string_view payload, unsigned qubits_allowed) {
  RunRequest request;
  request.shots = shots_default;
  if (is_qasm(payload)) {
    auto circuit = read_qasm(payload, qubits_allowed);
    if (!circuit) return circuit.error();
    request.circuit = std::move(*circuit);
    return request;
  }
  const auto document = parse_object(payload);
  if (!document) return document.error();
  const auto object = JsonObject::of(*document, "");
  if (!object) return object.error();
  if (auto done = object->check_keys(
          {"qubits", "bits", "gates", "qasm", "shots", "seed", "probabilities", "expectations"});
      !done)
    return done.error();
  auto circuit = circuit_of(*object, qubits_allowed);
  if (!circuit) return circuit.error();
  request.circuit = std::move(*circuit);
  const auto shots = object->integer_or("shots", 0, shots_max, shots_default);
  if (!shots) return shots.error();
  const auto seed = object->integer_or("seed", 0, ~std::uint64_t{0}, 0);
  if (!seed) return seed.error();
  const auto probabilities = object->flag("probabilities");
  if (!probabilities) return probabilities.error();
  request.shots = *shots;
  request.seed = *seed;
  request.wants_probabilities = *probabilities;
  if (auto done = read_expectations(*object, request); !done) return done.error();
  if (request.wants_probabilities && request.circuit.qubits > probabilities_qubits_max)
    return wrong("probabilities", "of more than " + std::to_string(probabilities_qubits_max) +
                                      " qubits are too many; quantum.amplitudes gives bytes");
  if ((request.wants_probabilities || !request.expectations.empty()) &&
      !Plan(request.circuit).has_final_state())
    return no_final_state(request.wants_probabilities ? "probabilities" : "expectations");
  return request;
}

Result<Circuit> read_amplitudes(std::string_view payload, unsigned qubits_allowed) {
  if (is_qasm(payload)) {
    auto circuit = read_qasm(payload, qubits_allowed);
    if (circuit && !Plan(*circuit).has_final_state()) return no_final_state("the payload");
    return circuit;
  }
  const auto document = parse_object(payload);
  if (!document) return document.error();
  const auto object = JsonObject::of(*document, "");
  if (!object) return object.error();
  if (auto done = object->check_keys({"qubits", "bits", "gates", "qasm"}); !done)
    return done.error();
  auto circuit = circuit_of(*object, qubits_allowed);
  if (circuit && !Plan(*circuit).has_final_state()) return no_final_state("the payload");
  return circuit;
}

Result<std::string> run(const RunRequest& request, Watch& watch) {
  const Plan plan(request.circuit);
  StateVector state(plan.qubits());
  if (plan.has_final_state())
    if (auto done = plan.run(state, watch); !done) return done.error();
  json answer{{"qubits", plan.qubits()},
              {"bits", plan.result_bits()},
              {"shots", request.shots},
              {"seed", request.seed}};
  if (request.wants_probabilities) {
    json list = json::array();
    for (const Amplitude& amplitude : state.amplitudes()) list.push_back(std::norm(amplitude));
    answer["probabilities"] = std::move(list);
  }
  if (!request.expectations.empty()) {
    json values = json::object();
    for (const std::string& letters : request.expectations) {
      std::uint64_t mask = 0;
      for (std::size_t i = 0; i < letters.size(); ++i)
        if (letters[letters.size() - 1 - i] == 'Z') mask |= std::uint64_t{1} << i;
      values[letters] = state.expectation_of_z(mask);
      if (!watch.worked(state.size())) return stopped();
    }
    answer["expectations"] = std::move(values);
  }
  if (request.shots != 0) {
    Random random(request.seed);
    const auto counts = plan.counts(state, request.shots, random, watch);
    if (!counts) return counts.error();
    json object = json::object();
    for (const auto& [outcome, times] : *counts)
      object[bit_text(outcome, plan.result_bits())] = times;
    answer["counts"] = std::move(object);
  }
  return answer.dump();
}

}  // namespace micro_swarm::quantum
