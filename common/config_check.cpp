#include "common/config_check.hpp"

#include <algorithm>
#include <nlohmann/json.hpp>

#include "common/config_schema.hpp"
#include "common/containment_json.hpp"
#include "common/edit_distance.hpp"

namespace micro_swarm {

namespace schema = config_schema;

namespace {

constexpr std::string_view no_file = "configuration";

/// Lines of a text that was made up for the purpose help nobody.
Error without_line(Error error) {
  const std::size_t end = error.message.find(": ");
  if (error.message.starts_with(no_file) && end != std::string::npos)
    error.message.erase(0, end + 2);
  return error;
}

Result<void> make_absolute(std::filesystem::path& model) {
  std::error_code failure;
  model = std::filesystem::absolute(model, failure).lexically_normal();
  if (failure)
    return Error{ErrorCode::config, "agent.model: " + model.string() + ": " + failure.message()};
  return {};
}

}  // namespace

Result<Config> check_config(const Config& config) {
  auto checked = parse_config(to_toml(config), std::filesystem::path(no_file));
  if (!checked) return without_line(checked.error());
  return checked;
}

Result<AgentSpec> check_agent(const Config& config, AgentSpec spec) {
  if (spec.capabilities.empty()) spec.capabilities = default_capabilities(spec.kind, spec.name);
  if (!spec.model.empty())
    if (auto done = make_absolute(spec.model); !done) return done.error();
  for (auto& file : spec.plugins)
    if (auto done = make_absolute(file); !done) return done.error();
  for (auto& [capability, file] : spec.models)
    if (auto done = make_absolute(file); !done) return done.error();
  Config all;
  all.agents = config.agents;
  all.memory = config.memory;
  all.agents.push_back(std::move(spec));
  all.origins["agent"] = ConfigOrigin::file;
  auto checked = check_config(all);
  if (!checked) return checked.error();
  return std::move(checked->agents.back());
}

nlohmann::json agent_to_json(const AgentSpec& spec) {
  nlohmann::json object{{"name", spec.name},
                        {"kind", std::string(name_of(spec.kind))},
                        {"count", spec.count},
                        {"version", spec.version},
                        {"weight", spec.weight}};
  if (spec.models.empty()) object["capabilities"] = spec.capabilities;
  if (!spec.model.empty()) object["model"] = spec.model.string();
  for (const auto& file : spec.plugins) object["plugins"].push_back(file.string());
  for (const auto& [capability, file] : spec.models) object["models"][capability] = file.string();
  if (!spec.command.empty()) object["command"] = spec.command;
  if (spec.interface != AgentInterface::protocol)
    object["interface"] = std::string(name_of(spec.interface));
  if (!spec.environment.empty()) object["environment"] = spec.environment;
  if (spec.memory_quota) object["memory_quota"] = *spec.memory_quota;
  if (spec.max_tasks != 0) object["max_tasks"] = spec.max_tasks;
  if (spec.max_age_ms != 0) object["max_age_ms"] = spec.max_age_ms;
  if (spec.batch_max != 1) object["batch_max"] = spec.batch_max;
  if (spec.batch_delay_us != 0) object["batch_delay_us"] = spec.batch_delay_us;
  if (spec.kind == AgentKind::quantum) object["qubits"] = spec.qubits;
  object.update(containment_to_json(spec));
  return object;
}

Result<AgentSpec> agent_from_json(const nlohmann::json& object) {
  const auto usage = [](const std::string& text) {
    return Error{ErrorCode::usage, "agent" + text, 0};
  };
  if (!object.is_object()) return usage(": expected an object");
  const std::vector<std::string> keys(schema::agent_keys.begin(), schema::agent_keys.end());
  for (const auto& item : object.items()) {
    if (std::find(keys.begin(), keys.end(), item.key()) != keys.end()) continue;
    std::string text = "." + item.key() + ": unknown key";
    if (const auto near = nearest(item.key(), keys); !near.empty())
      text += "; did you mean \"" + near + "\"?";
    return usage(text);
  }
  AgentSpec spec;
  try {
    spec.name = object.value("name", std::string());
    if (const std::string kind = object.value("kind", std::string(name_of(spec.kind)));
        !schema::enum_from_word(kind, spec.kind))
      return usage(".kind: \"" + kind +
                   "\" is unknown; allowed: " + schema::one_of(schema::words_of<AgentKind>()));
    if (const auto count = object.find("count"); count != object.end()) {
      if (!count->is_number_unsigned() || count->get<std::uint64_t>() > agents_max)
        return usage(".count: expected a whole number from 0 to " + std::to_string(agents_max));
      spec.count = count->get<std::uint32_t>();
    }
    spec.capabilities = object.value("capabilities", spec.capabilities);
    spec.version = object.value("version", spec.version);
    spec.weight = object.value("weight", spec.weight);
    spec.model = object.value("model", std::string());
    for (const std::string& file : object.value("plugins", std::vector<std::string>()))
      spec.plugins.emplace_back(file);
    for (const auto& [capability, file] :
         object.value("models", std::map<std::string, std::string>()))
      spec.models[capability] = file;
    if (!spec.models.empty() && !spec.capabilities.empty())
      return usage(".capabilities: are named by models here; leave it out");
    for (const auto& [capability, file] : spec.models) spec.capabilities.push_back(capability);
    spec.command = object.value("command", spec.command);
    if (const std::string word = object.value("interface", std::string(name_of(spec.interface)));
        !schema::enum_from_word(word, spec.interface))
      return usage(".interface: \"" + word +
                   "\" is unknown; allowed: " + schema::one_of(schema::words_of<AgentInterface>()));
    spec.environment = object.value("environment", spec.environment);
    if (const auto quota = object.find("memory_quota"); quota != object.end()) {
      if (!quota->is_number_unsigned())
        return usage(".memory_quota: expected a number of bytes, 0 for no limit");
      spec.memory_quota = quota->get<std::uint64_t>();
    }
    for (const auto& [key, value] :
         {std::pair{"batch_max", &spec.batch_max},
          std::pair{"batch_delay_us", &spec.batch_delay_us},
          std::pair{"max_tasks", &spec.max_tasks}, std::pair{"max_age_ms", &spec.max_age_ms}}) {
      const auto found = object.find(key);
      if (found == object.end()) continue;
      if (!found->is_number_unsigned() || found->get<std::uint64_t>() > schema::lifetime_range.max)
        return usage(std::string(".") + key + ": expected a whole number");
      *value = found->get<std::uint32_t>();
    }
    if (const auto qubits = object.find("qubits"); qubits != object.end()) {
      if (spec.kind != AgentKind::quantum)
        return usage(".qubits: only agents of kind \"quantum\" have qubits");
      if (!qubits->is_number_unsigned() || qubits->get<std::uint64_t>() < 1 ||
          qubits->get<std::uint64_t>() > qubits_max)
        return usage(".qubits: expected a whole number from 1 to " + std::to_string(qubits_max));
      spec.qubits = qubits->get<std::uint32_t>();
    }
    if (auto read = containment_from_json(object, spec); !read) return usage(read.error().message);
  } catch (const nlohmann::json::exception& error) {
    return usage(std::string(": a member has the wrong type: ") + error.what());
  }
  return spec;
}

}  // namespace micro_swarm
