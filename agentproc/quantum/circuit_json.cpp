#include "agentproc/quantum/circuit_json.hpp"

#include "agentproc/quantum/limits.hpp"
#include "agentproc/quantum/qasm_tokens.hpp"
#include "common/edit_distance.hpp"

namespace micro_swarm::quantum {

namespace {

using nlohmann::json;

class Reader {
 public:
  Reader(const JsonObject& object, unsigned qubits_allowed)
      : object_(object), qubits_allowed_(qubits_allowed) {}

  Result<Circuit> read() {
    const auto qubits = object_.integer("qubits", 0, ~std::uint64_t{0});
    if (!qubits) return qubits.error();
    if (auto done = check_qubits(object_.place_of("qubits"), *qubits, qubits_allowed_); !done)
      return done.error();
    circuit_.qubits = static_cast<unsigned>(*qubits);
    const auto bits = object_.integer_or("bits", 0, bits_max, circuit_.qubits);
    if (!bits) return bits.error();
    circuit_.bits = static_cast<unsigned>(*bits);
    const auto gates = object_.array("gates");
    if (!gates) return gates.error();
    if (*gates == nullptr) return wrong(object_.place(), "has neither \"gates\" nor \"qasm\"");
    const std::string place = object_.place_of("gates");
    for (std::size_t i = 0; i < (*gates)->size(); ++i)
      if (auto done = read_gate((**gates)[i], element_place(place, i)); !done) return done.error();
    return std::move(circuit_);
  }

 private:
  Result<void> read_gate(const json& value, const std::string& place) {
    const auto gate = JsonObject::of(value, place);
    if (!gate) return gate.error();
    if (auto done = gate->check_keys({"gate", "qubits", "angles", "bits", "if"}); !done)
      return done;
    const json* named = gate->find("gate");
    if (named == nullptr || !named->is_string())
      return wrong(place, "has no \"gate\" that is a text");
    const auto& name = named->get_ref<const std::string&>();
    const auto qubits = read_indices(*gate, "qubits", circuit_.qubits);
    if (!qubits) return qubits.error();
    const auto condition = read_condition(*gate);
    if (!condition) return condition.error();
    if (name != "measure" && gate->find("bits") != nullptr)
      return wrong(gate->place_of("bits"), "only measure has bits");
    if (name == "measure" || name == "reset" || name == "barrier") {
      if (gate->find("angles") != nullptr)
        return wrong(gate->place_of("angles"), name + " has no angles");
      if (name == "barrier") return {};  // nothing is ever moved across another operation
      return read_other(*gate, name == "measure", *qubits, *condition);
    }
    const GateName* known = find_gate(name);
    if (known == nullptr) return unknown_gate(*gate, name);
    const auto angles = read_angles(*gate);
    if (!angles) return angles.error();
    auto operation = make_operation(place, *known, *qubits, *angles);
    if (!operation) return operation.error();
    operation->condition = *condition;
    return append(place, *operation, circuit_);
  }

  Result<void> read_other(const JsonObject& gate, bool is_measurement,
                          const std::vector<unsigned>& qubits, Condition condition) {
    if (qubits.empty()) return wrong(gate.place(), "names no qubits");
    std::vector<unsigned> bits = qubits;
    if (is_measurement && gate.find("bits") != nullptr) {
      auto read = read_indices(gate, "bits", circuit_.bits);
      if (!read) return read.error();
      bits = std::move(*read);
    }
    if (bits.size() != qubits.size())
      return wrong(gate.place(), "measures " + counted(qubits.size(), "qubit") + " into " +
                                     counted(bits.size(), "bit"));
    if (!condition.is_always() && qubits.size() > 1)
      return wrong(gate.place(), "an if before several qubits; name them one by one");
    for (std::size_t i = 0; i < qubits.size(); ++i) {
      if (is_measurement && bits[i] >= circuit_.bits)
        return wrong(gate.place(), "bit " + std::to_string(bits[i]) +
                                       " is out of range; the circuit has " +
                                       counted(circuit_.bits, "bit"));
      Operation operation;
      operation.kind = is_measurement ? Operation::Kind::measure : Operation::Kind::reset;
      operation.qubits[0] = static_cast<std::uint8_t>(qubits[i]);
      operation.bit = is_measurement ? static_cast<std::uint8_t>(bits[i]) : std::uint8_t{0};
      operation.condition = condition;
      if (auto done = append(gate.place(), operation, circuit_); !done) return done;
    }
    return {};
  }

  static Error unknown_gate(const JsonObject& gate, const std::string& name) {
    std::vector<std::string> known{"measure", "reset", "barrier"};
    for (const GateName& one : gate_names()) known.emplace_back(one.name);
    std::string text = "\"" + name.substr(0, 40) + "\" is no gate";
    if (const auto near = nearest(name.substr(0, 40), known); !near.empty())
      text += "; did you mean \"" + near + "\"?";
    return wrong(gate.place_of("gate"), text);
  }

  Result<std::vector<unsigned>> read_indices(const JsonObject& gate, std::string_view key,
                                             unsigned end) const {
    const auto list = gate.array(key);
    if (!list) return list.error();
    std::vector<unsigned> indices;
    if (*list == nullptr) return indices;
    const std::string place = gate.place_of(key);
    if ((*list)->size() > bits_max) return wrong(place, "is too long");
    for (std::size_t i = 0; i < (*list)->size(); ++i) {
      if (end == 0) return wrong(place, "the circuit has no bits");
      const auto index = integer_in((**list)[i], element_place(place, i), 0, end - 1);
      if (!index) return index.error();
      indices.push_back(static_cast<unsigned>(*index));
    }
    return indices;
  }

  Result<std::vector<double>> read_angles(const JsonObject& gate) const {
    const auto list = gate.array("angles");
    if (!list) return list.error();
    std::vector<double> angles;
    if (*list == nullptr) return angles;
    if ((*list)->size() > gate_angles_max) return wrong(gate.place_of("angles"), "is too long");
    for (std::size_t i = 0; i < (*list)->size(); ++i) {
      const json& value = (**list)[i];
      const std::string place = element_place(gate.place_of("angles"), i);
      auto angle = value.is_string() ? value_of_expression(value.get_ref<const std::string&>())
                                     : number_in(value, place);
      if (!angle) return value.is_string() ? with_context(angle.error(), place) : angle.error();
      angles.push_back(*angle);
    }
    return angles;
  }

  Result<Condition> read_condition(const JsonObject& gate) const {
    const json* value = gate.find("if");
    if (value == nullptr) return Condition{};
    const auto object = JsonObject::of(*value, gate.place_of("if"));
    if (!object) return object.error();
    if (auto done = object->check_keys({"bits", "equals"}); !done) return done.error();
    const auto bits = read_indices(*object, "bits", circuit_.bits);
    if (!bits) return bits.error();
    if (bits->empty()) return wrong(object->place(), "names no bits");
    const std::uint64_t all =
        bits->size() == 64 ? ~std::uint64_t{0} : (std::uint64_t{1} << bits->size()) - 1;
    const auto equals = object->integer("equals", 0, all);
    if (!equals) return equals.error();
    Condition condition;
    for (std::size_t i = 0; i < bits->size(); ++i) {
      const std::uint64_t bit = std::uint64_t{1} << (*bits)[i];
      if ((condition.mask & bit) != 0) return wrong(object->place_of("bits"), "a bit twice");
      condition.mask |= bit;
      if ((*equals >> i & 1) != 0) condition.value |= bit;
    }
    return condition;
  }

  const JsonObject& object_;
  unsigned qubits_allowed_;
  Circuit circuit_;
};

}  // namespace

Result<Circuit> read_circuit(const JsonObject& object, unsigned qubits_allowed) {
  return Reader(object, qubits_allowed).read();
}

}  // namespace micro_swarm::quantum
