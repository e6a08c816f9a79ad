#include "ipc/template_protocol.hpp"

#include <array>
#include <exception>
#include <nlohmann/json.hpp>
#include <stdexcept>

namespace micro_swarm {

namespace {

template <class Enum, std::size_t size>
Enum from_name(const std::array<Enum, size>& values, const std::string& name) {
  for (const Enum value : values)
    if (name_of(value) == name) return value;
  throw std::invalid_argument("\"" + name + "\" is none of its words");
}

constexpr std::array agent_kinds{AgentKind::generic, AgentKind::neural, AgentKind::quantum,
                                 AgentKind::external};
constexpr std::array interfaces{AgentInterface::protocol, AgentInterface::stdio,
                                AgentInterface::exec};
constexpr std::array log_levels{LogLevel::trace, LogLevel::debug, LogLevel::info,
                                LogLevel::warn,  LogLevel::error, LogLevel::off};

}  // namespace

Result<std::string> encode_template_spec(const TemplateSpec& spec) {
  std::string packet;
  try {
    nlohmann::json capabilities = nlohmann::json::array();
    for (const auto& capability : spec.capabilities)
      capabilities.push_back({{"name", capability.name}, {"id", capability.id}});
    nlohmann::json document{{"name", spec.name},
                            {"kind", name_of(spec.kind)},
                            {"capabilities", std::move(capabilities)},
                            {"model", spec.model},
                            {"models", spec.models},
                            {"plugins", spec.plugins},
                            {"qubits", spec.qubits},
                            {"command", spec.command},
                            {"environment", spec.environment},
                            {"interface", name_of(spec.interface)},
                            {"files_directory", spec.files_directory},
                            {"stop_grace_ms", spec.stop_grace_ms},
                            {"batch_max", spec.batch_max},
                            {"batch_delay_us", spec.batch_delay_us},
                            {"log_level", name_of(spec.log_level)}};
    const ContainmentOptions& containment = spec.containment;
    document["containment"] = {{"enabled", containment.enabled},
                               {"readable", containment.readable},
                               {"writable", containment.writable},
                               {"memory_limit", containment.memory_limit},
                               {"processes_max", containment.processes_max}};
    document["shared_bytes"] = spec.shared_bytes;
    if (spec.uid) document["uid"] = *spec.uid;
    if (spec.gid) document["gid"] = *spec.gid;
    packet = document.dump();
  } catch (const nlohmann::json::exception& e) {
    return Error{ErrorCode::config, "agent kind " + spec.name + ": not UTF-8: " + e.what(), 0};
  }
  if (packet.size() > template_spec_bytes_max)
    return Error{ErrorCode::too_large,
                 "agent kind " + spec.name + ": command, environment and capabilities take " +
                     std::to_string(packet.size()) + " bytes, " +
                     std::to_string(template_spec_bytes_max) + " is the limit",
                 0};
  return packet;
}

Result<TemplateSpec> decode_template_spec(std::string_view packet) {
  try {
    const auto document = nlohmann::json::parse(packet);
    TemplateSpec spec;
    spec.name = document.at("name").get<std::string>();
    spec.kind = from_name(agent_kinds, document.at("kind").get<std::string>());
    for (const auto& capability : document.at("capabilities"))
      spec.capabilities.push_back(
          {capability.at("name").get<std::string>(), capability.at("id").get<std::uint16_t>()});
    spec.model = document.at("model").get<std::string>();
    spec.plugins = document.at("plugins").get<std::vector<std::string>>();
    spec.models = document.at("models").get<std::map<std::string, std::string>>();
    spec.qubits = document.at("qubits").get<std::uint32_t>();
    if (spec.qubits < 1 || spec.qubits > qubits_max)
      throw std::invalid_argument("qubits is out of range");
    spec.command = document.at("command").get<std::vector<std::string>>();
    spec.environment = document.at("environment").get<std::map<std::string, std::string>>();
    spec.interface = from_name(interfaces, document.at("interface").get<std::string>());
    spec.files_directory = document.at("files_directory").get<std::string>();
    spec.stop_grace_ms = document.at("stop_grace_ms").get<std::uint32_t>();
    spec.batch_max = document.at("batch_max").get<std::uint32_t>();
    spec.batch_delay_us = document.at("batch_delay_us").get<std::uint32_t>();
    spec.log_level = from_name(log_levels, document.at("log_level").get<std::string>());
    const auto& containment = document.at("containment");
    spec.containment.enabled = containment.at("enabled").get<bool>();
    spec.containment.readable = containment.at("readable").get<std::vector<std::string>>();
    spec.containment.writable = containment.at("writable").get<std::vector<std::string>>();
    spec.containment.memory_limit = containment.at("memory_limit").get<std::uint64_t>();
    spec.containment.processes_max = containment.at("processes_max").get<std::uint32_t>();
    spec.shared_bytes = document.at("shared_bytes").get<std::uint64_t>();
    if (document.contains("uid")) spec.uid = document["uid"].get<std::uint32_t>();
    if (document.contains("gid")) spec.gid = document["gid"].get<std::uint32_t>();
    if (spec.kind == AgentKind::external && spec.command.empty())
      throw std::invalid_argument("an external kind needs a command");
    return spec;
  } catch (const std::exception& e) {
    return Error{ErrorCode::protocol, std::string("template specification: ") + e.what(), 0};
  }
}

}  // namespace micro_swarm
