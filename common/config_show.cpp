#include <nlohmann/json.hpp>
#include <type_traits>

#include "common/config.hpp"
#include "common/config_schema.hpp"
#include "common/containment_json.hpp"
#include "common/size_text.hpp"

namespace micro_swarm {

namespace schema = config_schema;

namespace {

constexpr int json_schema = 1;

ConfigOrigin origin_of(const Config& config, std::string_view key) {
  const auto origin = config.origins.find(key);
  return origin == config.origins.end() ? ConfigOrigin::built_in : origin->second;
}

/// A TOML basic string.
std::string toml_string(std::string_view text) {
  std::string out = "\"";
  for (const char c : text) {
    const auto code = static_cast<unsigned char>(c);
    if (c == '"' || c == '\\') {
      out += '\\';
      out += c;
    } else if (code < 0x20 || code == 0x7f) {
      constexpr std::string_view digits = "0123456789ABCDEF";
      out += "\\u00";
      out += digits[code >> 4];
      out += digits[code & 15];
    } else {
      out += c;
    }
  }
  return out + "\"";
}

template <class Strings>
std::string toml_strings(const Strings& texts) {
  std::string out = "[";
  for (const auto& text : texts) out += (out.size() > 1 ? ", " : "") + toml_string(text);
  return out + "]";
}

struct TomlValue {
  template <class Integer>
  std::string operator()(const Integer& value, schema::Range) const {
    return std::to_string(value);
  }
  std::string operator()(std::uint64_t value, schema::SizeRange) const {
    return toml_string(exact_size_text(value));
  }
  std::string operator()(bool value, schema::Switch) const { return value ? "true" : "false"; }
  template <class Enum>
  std::string operator()(const Enum& value, schema::Choice) const {
    return toml_string(name_of(value));
  }
  template <class Rule>
  std::string operator()(const std::string& value, Rule) const {
    return toml_string(value);
  }
};

template <class Value>
nlohmann::json json_value(const Value& value) {
  if constexpr (std::is_enum_v<Value>)
    return std::string(name_of(value));
  else
    return value;
}

/// Beside contain = false the others would be mistakes.
void append_containment(const AgentSpec& spec, std::string& out) {
  const ContainmentOptions& options = spec.containment;
  out += std::string("contain = ") + (options.enabled ? "true" : "false") + "\n";
  if (!options.enabled) return;
  out += "memory_limit = " + toml_string(exact_size_text(options.memory_limit)) + "\n";
  if (options.uid) out += "uid = " + std::to_string(*options.uid) + "\n";
  out += "processes_max = " + std::to_string(options.processes_max) + "\n";
  if (spec.kind != AgentKind::external) return;
  out += "readable = " + toml_strings(options.readable) + "\n";
  out += "writable = " + toml_strings(options.writable) + "\n";
}

std::vector<std::string> texts_of(const std::vector<std::filesystem::path>& paths) {
  return {paths.begin(), paths.end()};
}

void append_agent(const AgentSpec& spec, std::string& out) {
  out += "\n[[agent]]\nname = " + toml_string(spec.name) + "\n";
  out += "kind = " + toml_string(name_of(spec.kind)) + "\n";
  out += "count = " + std::to_string(spec.count) + "\n";
  if (spec.models.empty()) out += "capabilities = " + toml_strings(spec.capabilities) + "\n";
  out += "version = " + std::to_string(spec.version) + "\n";
  out += "weight = " + std::to_string(spec.weight) + "\n";
  if (spec.max_tasks != 0) out += "max_tasks = " + std::to_string(spec.max_tasks) + "\n";
  if (spec.max_age_ms != 0) out += "max_age_ms = " + std::to_string(spec.max_age_ms) + "\n";
  if (!spec.model.empty()) out += "model = " + toml_string(spec.model.string()) + "\n";
  if (!spec.plugins.empty()) out += "plugins = " + toml_strings(texts_of(spec.plugins)) + "\n";
  if (!spec.models.empty()) {
    std::string files;
    for (const auto& [capability, file] : spec.models)
      files += (files.empty() ? "" : ", ") + toml_string(capability) + " = " +
               toml_string(file.string());
    out += "models = { " + files + " }\n";
  }
  if (!spec.command.empty()) out += "command = " + toml_strings(spec.command) + "\n";
  // Of another kind it is a mistake, which the reader of this is to find.
  if (spec.kind == AgentKind::external || spec.interface != AgentInterface::protocol)
    out += "interface = " + toml_string(name_of(spec.interface)) + "\n";
  if (spec.memory_quota)
    out += "memory_quota = " + toml_string(exact_size_text(*spec.memory_quota)) + "\n";
  if (spec.batch_max != 1) out += "batch_max = " + std::to_string(spec.batch_max) + "\n";
  if (spec.batch_delay_us != 0)
    out += "batch_delay_us = " + std::to_string(spec.batch_delay_us) + "\n";
  if (spec.kind == AgentKind::quantum) out += "qubits = " + std::to_string(spec.qubits) + "\n";
  append_containment(spec, out);
  if (spec.environment.empty()) return;
  out += "[agent.environment]\n";
  for (const auto& [name, value] : spec.environment)
    out += toml_string(name) + " = " + toml_string(value) + "\n";
}

}  // namespace

std::string to_toml(const Config& config) {
  const bool has_tables = config.origins.contains("agent");
  std::string out = config.file.empty() ? "# no configuration file\n"
                                        : "# " + toml_string(config.file.string()) + "\n";
  std::string current;
  schema::visit_settings(
      config, [&](std::string_view table, std::string_view key, const auto& value, auto rule) {
        const std::string full = std::string(table) + "." + std::string(key);
        // Beside [[agent]] tables the number of default agents would be refused.
        if (has_tables && full == "swarm.agents") return;
        if (table != current) out += "\n[" + std::string(table) + "]\n";
        current = table;
        out += std::string(key) + " = " + TomlValue{}(value, rule) + "  # " +
               std::string(name_of(origin_of(config, full))) + "\n";
      });
  for (const auto& spec : config.categories) {
    out += "\n[[category]]\n";
    schema::visit_category(spec, [&](std::string_view key, const auto& value, auto rule) {
      out += std::string(key) + " = " + TomlValue{}(value, rule) + "\n";
    });
  }
  if (has_tables)
    for (const auto& spec : config.agents) append_agent(spec, out);
  return out;
}

nlohmann::json to_json(const Config& config) {
  nlohmann::json settings = nlohmann::json::object();
  nlohmann::json origins = nlohmann::json::object();
  schema::visit_settings(
      config, [&](std::string_view table, std::string_view key, const auto& value, auto) {
        settings[std::string(table)][std::string(key)] = json_value(value);
        const std::string full = std::string(table) + "." + std::string(key);
        origins[full] = std::string(name_of(origin_of(config, full)));
      });
  nlohmann::json agents = nlohmann::json::array();
  for (const auto& spec : config.agents) {
    agents.push_back({{"name", spec.name},
                      {"kind", std::string(name_of(spec.kind))},
                      {"count", spec.count},
                      {"capabilities", spec.capabilities},
                      {"version", spec.version},
                      {"weight", spec.weight},
                      {"max_tasks", spec.max_tasks},
                      {"max_age_ms", spec.max_age_ms},
                      {"model", spec.model.string()},
                      {"command", spec.command},
                      {"environment", spec.environment}});
    if (spec.kind == AgentKind::external)
      agents.back()["interface"] = std::string(name_of(spec.interface));
    if (!spec.plugins.empty()) agents.back()["plugins"] = texts_of(spec.plugins);
    for (const auto& [capability, file] : spec.models)
      agents.back()["models"][capability] = file.string();
    if (spec.memory_quota) agents.back()["memory_quota"] = *spec.memory_quota;
    if (spec.kind == AgentKind::neural) {
      agents.back()["batch_max"] = spec.batch_max;
      agents.back()["batch_delay_us"] = spec.batch_delay_us;
    }
    if (spec.kind == AgentKind::quantum) agents.back()["qubits"] = spec.qubits;
    agents.back().update(containment_to_json(spec));
  }
  nlohmann::json categories = nlohmann::json::array();
  for (const auto& spec : config.categories) {
    nlohmann::json category = nlohmann::json::object();
    schema::visit_category(spec, [&](std::string_view key, const auto& value, auto) {
      category[std::string(key)] = json_value(value);
    });
    categories.push_back(std::move(category));
  }
  return {{"schema", json_schema},
          {"file", config.file.string()},
          {"config", std::move(settings)},
          {"origins", std::move(origins)},
          {"categories", std::move(categories)},
          {"agents", std::move(agents)}};
}

}  // namespace micro_swarm
