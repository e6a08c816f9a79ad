#include "agentproc/quantum/circuit_qasm.hpp"

#include <algorithm>
#include <charconv>
#include <map>
#include <optional>

#include "agentproc/quantum/limits.hpp"
#include "agentproc/quantum/qasm_tokens.hpp"

namespace micro_swarm::quantum {

namespace {

constexpr GateName built_in[] = {{"U", Gate::u3, 0, 3, 1}, {"CX", Gate::x, 1, 0, 2}};

struct Register {
  bool is_quantum = false;
  unsigned first = 0;
  unsigned size = 0;
};

/// A gate of the text's own: its body stays text and is read at each call.
struct Definition {
  std::vector<std::string_view> angles;
  std::vector<std::string_view> qubits;
  std::size_t body = 0;  ///< index of the token behind "{"
};

/// What a name means inside a body.
struct Scope {
  Values angles;
  std::map<std::string_view, unsigned> qubits;
};

class Reader {
 public:
  Reader(std::vector<Token> tokens, unsigned qubits_allowed)
      : tokens_(std::move(tokens)), qubits_allowed_(qubits_allowed) {}

  Result<Circuit> read() {
    if (auto done = read_version(); !done) return done.error();
    while (here().kind != Token::Kind::end)
      if (auto done = read_statement(); !done) return done.error();
    if (auto done = check_qubits(line_text(here()), circuit_.qubits, qubits_allowed_); !done)
      return done.error();
    return std::move(circuit_);
  }

 private:
  const Token& here() const { return tokens_[at_]; }
  Error refuse(const std::string& text) const { return wrong(line_text(here()), text); }
  Error too_large(const std::string& text) const {
    Error error = refuse(text);
    error.code = ErrorCode::too_large;
    return error;
  }
  Error unexpected(const std::string& wanted) const {
    return refuse("expected " + wanted + ", found " + shown(here()));
  }

  Result<void> expect(std::string_view symbol) {
    if (!here().is(symbol)) return unexpected("\"" + std::string(symbol) + "\"");
    ++at_;
    return {};
  }
  Result<std::string_view> expect_name(const std::string& what) {
    if (here().kind != Token::Kind::name) return unexpected(what);
    return tokens_[at_++].word;
  }
  Result<std::uint64_t> expect_integer(const std::string& what) {
    if (here().kind != Token::Kind::integer) return unexpected(what);
    const std::string_view word = here().word;
    std::uint64_t value = 0;
    if (std::from_chars(word.data(), word.data() + word.size(), value).ec != std::errc())
      return refuse("the number " + std::string(word.substr(0, 40)) + " is out of range");
    ++at_;
    return value;
  }

  Result<void> read_version() {
    if (!here().is_name("OPENQASM")) return unexpected("\"OPENQASM 2.0;\"");
    ++at_;
    if (here().word != "2.0" && here().word != "2")
      return refuse("OpenQASM " + std::string(here().word) + "; only 2.0 is read here");
    ++at_;
    return expect(";");
  }

  Result<void> read_statement() {
    const Token& first = here();
    if (first.kind != Token::Kind::name) return unexpected("a statement");
    if (first.word == "include") return read_include();
    if (first.word == "qreg" || first.word == "creg") return read_register();
    if (first.word == "gate") return read_definition();
    if (first.word == "barrier") return read_barrier();
    if (first.word == "if") return read_if();
    if (first.word == "opaque") return refuse("opaque gates cannot be simulated");
    return read_operation({});
  }

  Result<void> read_include() {
    ++at_;
    if (here().kind != Token::Kind::text) return unexpected("a file name");
    if (here().word != "qelib1.inc")
      return refuse("cannot include " + shown(here()) + "; only \"qelib1.inc\" is known");
    ++at_;
    has_library_ = true;
    return expect(";");
  }

  Result<void> read_register() {
    const bool is_quantum = here().word == "qreg";
    ++at_;
    const auto name = expect_name("the register's name");
    if (!name) return name.error();
    if (registers_.contains(*name))
      return refuse("there is a register " + std::string(*name) + " already");
    if (auto done = expect("["); !done) return done;
    const auto size = expect_integer("the register's size");
    if (!size) return size.error();
    if (*size == 0) return refuse("a register has at least 1 element");
    unsigned& total = is_quantum ? circuit_.qubits : circuit_.bits;
    const std::uint64_t new_total = *size > 1'000'000 ? *size : total + *size;
    if (is_quantum) {
      if (auto done = check_qubits(line_text(here()), new_total, qubits_allowed_); !done)
        return done;
    } else if (new_total > bits_max) {
      return too_large(std::to_string(new_total) + " classical bits; " + std::to_string(bits_max) +
                       " is the limit");
    }
    registers_.emplace(*name, Register{is_quantum, total, static_cast<unsigned>(*size)});
    total = static_cast<unsigned>(new_total);
    if (auto done = expect("]"); !done) return done;
    return expect(";");
  }

  // ---- definitions ----

  Result<void> read_definition() {
    ++at_;
    const auto name = expect_name("the gate's name");
    if (!name) return name.error();
    if (definitions_.contains(*name))
      return refuse("there is a gate " + std::string(*name) + " already");
    Definition definition;
    if (here().is("(")) {
      ++at_;
      if (!here().is(")"))
        if (auto done = read_names(definition.angles); !done) return done;
      if (auto done = expect(")"); !done) return done;
    }
    if (auto done = read_names(definition.qubits); !done) return done;
    if (auto done = expect("{"); !done) return done;
    definition.body = at_;
    // Read once with made-up values, so that what is wrong is told even if nobody calls it.
    Scope scope;
    for (const auto angle : definition.angles) scope.angles[angle] = 1;
    for (unsigned i = 0; i < definition.qubits.size(); ++i) scope.qubits[definition.qubits[i]] = i;
    if (auto done = read_body(scope, {}, false, 0); !done) return done;
    definitions_.emplace(*name, std::move(definition));
    return expect("}");
  }

  Result<void> read_names(std::vector<std::string_view>& names) {
    for (;;) {
      const auto name = expect_name("a name");
      if (!name) return name.error();
      if (std::find(names.begin(), names.end(), *name) != names.end())
        return refuse("the name " + std::string(*name) + " is there twice");
      if (names.size() == definition_names_max)
        return too_large("a gate has more than " + std::to_string(definition_names_max) + " names");
      names.push_back(*name);
      if (!here().is(",")) return {};
      ++at_;
    }
  }

  /// From at_ to the "}", which stays. `is_call`: what it does is added to the circuit.
  Result<void> read_body(const Scope& scope, Condition condition, bool is_call, unsigned depth) {
    if (depth > definition_depth_max)
      return too_large("gates are defined by gates more than " +
                       std::to_string(definition_depth_max) + " deep");
    while (!here().is("}")) {
      const std::size_t begin = at_;
      if (here().is_name("barrier")) {
        if (auto done = read_body_barrier(scope); !done) return done;
        if (auto done = count_words(at_ - begin); !done) return done;
        continue;
      }
      const Token& start = here();
      const auto name = expect_name("a gate or \"}\"");
      if (!name) return name.error();
      const auto angles = read_angles(scope.angles);
      if (!angles) return angles.error();
      std::vector<unsigned> qubits;
      for (;;) {
        const auto qubit = read_body_qubit(scope);
        if (!qubit) return qubit.error();
        qubits.push_back(*qubit);
        if (!here().is(",")) break;
        ++at_;
      }
      if (auto done = expect(";"); !done) return done;
      if (auto done = count_words(at_ - begin); !done) return done;
      if (auto done = call(start, *name, *angles, qubits, condition, is_call, depth); !done)
        return done;
    }
    return {};
  }

  /// A short text can stand for a long one, and for one without end of gates that do nothing.
  Result<void> count_words(std::size_t count) {
    words_ += count;
    if (words_ <= expansion_words_max) return {};
    return too_large("definitions of gates expand to more than " +
                     std::to_string(expansion_words_max) + " words");
  }

  Result<unsigned> read_body_qubit(const Scope& scope) {
    const auto name = expect_name("a qubit");
    if (!name) return name.error();
    const auto found = scope.qubits.find(*name);
    if (found == scope.qubits.end()) return refuse("the gate has no qubit " + std::string(*name));
    return found->second;
  }

  Result<void> read_body_barrier(const Scope& scope) {
    do {
      ++at_;
      if (auto qubit = read_body_qubit(scope); !qubit) return qubit.error();
    } while (here().is(","));
    return expect(";");
  }

  // ---- calls ----

  Result<std::vector<double>> read_angles(const Values& names) {
    std::vector<double> angles;
    if (!here().is("(")) return angles;
    ++at_;
    if (here().is(")")) {
      ++at_;
      return angles;
    }
    for (;;) {
      const auto angle = read_expression(tokens_, at_, names);
      if (!angle) return angle.error();
      angles.push_back(*angle);
      if (!here().is(",")) break;
      ++at_;
    }
    if (auto done = expect(")"); !done) return done.error();
    return angles;
  }

  const GateName* find_known(std::string_view name) const {
    for (const GateName& gate : built_in)
      if (gate.name == name) return &gate;
    return has_library_ ? find_gate(name) : nullptr;
  }

  /// `start` is where it was written.
  Result<void> call(const Token& start, std::string_view name, const std::vector<double>& angles,
                    const std::vector<unsigned>& qubits, Condition condition, bool is_call,
                    unsigned depth) {
    const std::string where = line_text(start);
    if (const auto own = definitions_.find(name); own != definitions_.end())
      return call_own(where, name, own->second, angles, qubits, condition, is_call, depth);
    const GateName* gate = find_known(name);
    if (gate == nullptr) {
      const bool is_in_library = find_gate(name) != nullptr;
      return wrong(where, "there is no gate " + std::string(name.substr(0, 40)) +
                              (is_in_library ? " without include \"qelib1.inc\";" : ""));
    }
    // Made-up values may divide by zero: only a call's are looked at.
    auto operation =
        make_operation(where, *gate, qubits, is_call ? angles : std::vector<double>(angles.size()));
    if (!operation) return operation.error();
    if (!is_call) return {};
    operation->condition = condition;
    return append(where, *operation, circuit_);
  }

  Result<void> call_own(const std::string& where, std::string_view name,
                        const Definition& definition, const std::vector<double>& angles,
                        const std::vector<unsigned>& qubits, Condition condition, bool is_call,
                        unsigned depth) {
    if (qubits.size() != definition.qubits.size())
      return wrong(where, std::string(name) + " works on " +
                              counted(definition.qubits.size(), "qubit") + ", not on " +
                              std::to_string(qubits.size()));
    if (angles.size() != definition.angles.size())
      return wrong(where, std::string(name) + " takes " +
                              counted(definition.angles.size(), "angle") + ", not " +
                              std::to_string(angles.size()));
    for (std::size_t i = 0; i < qubits.size(); ++i)
      if (std::count(qubits.begin(), qubits.end(), qubits[i]) > 1)
        return wrong(where, std::string(name) + " names a qubit twice");
    if (!is_call) return {};
    Scope scope;
    for (std::size_t i = 0; i < angles.size(); ++i) scope.angles[definition.angles[i]] = angles[i];
    for (std::size_t i = 0; i < qubits.size(); ++i) scope.qubits[definition.qubits[i]] = qubits[i];
    const std::size_t back = at_;
    at_ = definition.body;
    auto done = read_body(scope, condition, true, depth + 1);
    at_ = back;
    if (!done && !done.error().message.starts_with(where))
      return with_context(done.error(), where + ", in " + std::string(name));
    return done;
  }

  // ---- statements on registers ----

  /// A register, or one element of it.
  struct Argument {
    unsigned first = 0;
    unsigned size = 1;
    bool is_whole = false;
    unsigned element(unsigned i) const { return is_whole ? first + i : first; }
  };

  Result<Argument> read_argument(bool is_quantum) {
    const std::string what = is_quantum ? "qubit" : "classical bit";
    const auto name = expect_name("a " + what);
    if (!name) return name.error();
    const auto found = registers_.find(*name);
    if (found == registers_.end() || found->second.is_quantum != is_quantum)
      return refuse("there is no register " + std::string(name->substr(0, 40)) + " of " + what +
                    "s");
    const Register& named = found->second;
    if (!here().is("[")) return Argument{named.first, named.size, true};
    ++at_;
    const auto index = expect_integer("an index");
    if (!index) return index.error();
    if (*index >= named.size)
      return refuse("index " + std::to_string(*index) + " is out of range; " + std::string(*name) +
                    " has " + std::to_string(named.size) + " elements, from 0");
    if (auto done = expect("]"); !done) return done.error();
    return Argument{named.first + static_cast<unsigned>(*index), 1, false};
  }

  Result<void> read_barrier() {
    do {
      ++at_;
      if (auto argument = read_argument(true); !argument) return argument.error();
    } while (here().is(","));
    return expect(";");
  }

  Result<void> read_if() {
    ++at_;
    if (auto done = expect("("); !done) return done;
    const auto name = expect_name("a register");
    if (!name) return name.error();
    const auto found = registers_.find(*name);
    if (found == registers_.end() || found->second.is_quantum)
      return refuse("there is no register " + std::string(name->substr(0, 40)) +
                    " of classical bits");
    if (auto done = expect("=="); !done) return done;
    const auto value = expect_integer("a whole number");
    if (!value) return value.error();
    if (auto done = expect(")"); !done) return done;
    const auto [is_quantum, first, size] = found->second;
    const std::uint64_t ones = size == 64 ? ~std::uint64_t{0} : (std::uint64_t{1} << size) - 1;
    Condition condition{ones << first, *value << first};
    if (*value > ones) condition = {0, 1};  // a value the register cannot have: never
    if (here().is_name("if") || here().is_name("barrier"))
      return unexpected("a gate, measure or reset after if (...)");
    return read_operation(condition);
  }

  Result<void> read_operation(Condition condition) {
    if (here().is_name("measure")) return read_measure(condition);
    if (here().is_name("reset")) return read_reset(condition);
    const Token& start = here();
    const auto name = expect_name("a gate");
    if (!name) return name.error();
    const auto angles = read_angles({});
    if (!angles) return angles.error();
    std::vector<Argument> arguments;
    for (;;) {
      auto argument = read_argument(true);
      if (!argument) return argument.error();
      arguments.push_back(*argument);
      if (!here().is(",")) break;
      ++at_;
    }
    if (auto done = expect(";"); !done) return done;
    unsigned repetitions = 1;
    std::optional<unsigned> whole;
    for (const Argument& argument : arguments) {
      if (!argument.is_whole) continue;
      if (whole && *whole != argument.size)
        return wrong(line_text(start), "registers of different sizes in one call");
      whole = repetitions = argument.size;
    }
    std::vector<unsigned> qubits(arguments.size());
    for (unsigned i = 0; i < repetitions; ++i) {
      for (std::size_t a = 0; a < arguments.size(); ++a) qubits[a] = arguments[a].element(i);
      if (auto done = call(start, *name, *angles, qubits, condition, true, 0); !done) return done;
    }
    return {};
  }

  Result<void> read_measure(Condition condition) {
    const std::string where = line_text(here());
    ++at_;
    const auto from = read_argument(true);
    if (!from) return from.error();
    if (auto done = expect("->"); !done) return done;
    const auto to = read_argument(false);
    if (!to) return to.error();
    if (from->size != to->size || from->is_whole != to->is_whole)
      return refuse("measure from " + counted(from->size, "qubit") + " into " +
                    counted(to->size, "classical bit") +
                    "; both are elements, or registers of one "
                    "size");
    // It would change the bits that the rest of it still looks at.
    if (!condition.is_always() && from->size > 1)
      return refuse("an if before the measurement of a register; measure its qubits one by one");
    for (unsigned i = 0; i < from->size; ++i) {
      Operation operation;
      operation.kind = Operation::Kind::measure;
      operation.qubits[0] = static_cast<std::uint8_t>(from->element(i));
      operation.bit = static_cast<std::uint8_t>(to->element(i));
      operation.condition = condition;
      if (auto done = append(where, operation, circuit_); !done) return done;
    }
    return expect(";");
  }

  Result<void> read_reset(Condition condition) {
    const std::string where = line_text(here());
    ++at_;
    const auto argument = read_argument(true);
    if (!argument) return argument.error();
    for (unsigned i = 0; i < argument->size; ++i) {
      Operation operation;
      operation.kind = Operation::Kind::reset;
      operation.qubits[0] = static_cast<std::uint8_t>(argument->element(i));
      operation.condition = condition;
      if (auto done = append(where, operation, circuit_); !done) return done;
    }
    return expect(";");
  }

  std::vector<Token> tokens_;
  std::size_t at_ = 0;
  unsigned qubits_allowed_;
  bool has_library_ = false;
  std::map<std::string_view, Register> registers_;
  std::map<std::string_view, Definition> definitions_;
  std::size_t words_ = 0;  ///< read in bodies
  Circuit circuit_;
};

}  // namespace

bool is_qasm(std::string_view text) {
  for (;;) {
    const std::size_t first = text.find_first_not_of(" \t\r\n");
    if (first == std::string_view::npos) return false;
    text.remove_prefix(first);
    if (!text.starts_with("//")) return text.starts_with("OPENQASM");
    text.remove_prefix(std::min(text.find('\n'), text.size()));
  }
}

Result<Circuit> read_qasm(std::string_view text, unsigned qubits_allowed) {
  if (text.size() > payload_bytes_max)
    return Error{ErrorCode::too_large,
                 "line 1: the text has more than " + std::to_string(payload_bytes_max) + " bytes",
                 0};
  auto tokens = tokens_of(text);
  if (!tokens) return tokens.error();
  return Reader(std::move(*tokens), qubits_allowed).read();
}

}  // namespace micro_swarm::quantum
