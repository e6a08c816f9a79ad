#include "common/config.hpp"

#include <algorithm>
#include <cstdlib>

namespace micro_swarm {

std::string_view name_of(Topology value) {
  switch (value) {
    case Topology::star: return "star";
    case Topology::mesh: return "mesh";
    case Topology::ring: return "ring";
    case Topology::hierarchical: return "hierarchical";
  }
  return "?";
}

std::string_view name_of(RestartPolicy value) {
  switch (value) {
    case RestartPolicy::permanent: return "permanent";
    case RestartPolicy::transient: return "transient";
    case RestartPolicy::temporary: return "temporary";
  }
  return "?";
}

std::string_view name_of(LogLevel value) {
  switch (value) {
    case LogLevel::trace: return "trace";
    case LogLevel::debug: return "debug";
    case LogLevel::info: return "info";
    case LogLevel::warn: return "warn";
    case LogLevel::error: return "error";
    case LogLevel::off: return "off";
  }
  return "?";
}

std::string_view name_of(AgentKind value) {
  switch (value) {
    case AgentKind::generic: return "generic";
    case AgentKind::neural: return "neural";
    case AgentKind::quantum: return "quantum";
    case AgentKind::external: return "external";
  }
  return "?";
}

std::string_view name_of(AgentInterface value) {
  switch (value) {
    case AgentInterface::protocol: return "protocol";
    case AgentInterface::stdio: return "stdio";
    case AgentInterface::exec: return "exec";
  }
  return "?";
}

std::string_view name_of(Strategy value) {
  switch (value) {
    case Strategy::round_robin: return "round_robin";
    case Strategy::least_loaded: return "least_loaded";
    case Strategy::load_balanced: return "load_balanced";
    case Strategy::capability_based: return "capability_based";
  }
  return "?";
}

std::string_view name_of(FairShare value) {
  switch (value) {
    case FairShare::client_category: return "client_category";
    case FairShare::category: return "category";
    case FairShare::off: return "off";
  }
  return "?";
}

std::string_view name_of(WhenClientDies value) {
  switch (value) {
    case WhenClientDies::keep: return "keep";
    case WhenClientDies::cancel: return "cancel";
  }
  return "?";
}

std::string_view name_of(WhenFull value) {
  switch (value) {
    case WhenFull::reject: return "reject";
    case WhenFull::block: return "block";
    case WhenFull::shed: return "shed";
  }
  return "?";
}

std::string_view name_of(ConfigOrigin value) {
  switch (value) {
    case ConfigOrigin::built_in: return "default";
    case ConfigOrigin::file: return "file";
    case ConfigOrigin::environment: return "environment";
    case ConfigOrigin::flag: return "flag";
  }
  return "?";
}

namespace {

bool is_lower_or_digit(char c) { return (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9'); }

std::optional<std::string> variable(const char* name) {
  const char* value = std::getenv(name);
  if (value == nullptr || *value == '\0') return std::nullopt;
  return std::string(value);
}

}  // namespace

bool is_valid_name(std::string_view name) {
  return !name.empty() && name.size() <= 32 && std::all_of(name.begin(), name.end(), [](char c) {
    return is_lower_or_digit(c) || c == '_' || c == '-';
  });
}

bool is_valid_capability(std::string_view name) {
  return !name.empty() && name.size() <= 31 && std::all_of(name.begin(), name.end(), [](char c) {
    return is_lower_or_digit(c) || c == '_' || c == '-' || c == '.';
  });
}

std::vector<std::string> default_capabilities(AgentKind kind, std::string_view name) {
  if (kind == AgentKind::generic)
    return {"noop",
            "echo",
            "hash",
            "sum",
            "sleep",
            "spin",
            "fill",
            "fail",
            "flaky",
            "concat",
            "bytes.hash",
            "bytes.compress",
            "bytes.decompress",
            "bytes.histogram",
            "tensor.map",
            "tensor.filter",
            "tensor.convert",
            "tensor.reduce",
            "tensor.statistics",
            "tensor.histogram"};
  if (kind == AgentKind::quantum)
    return {"quantum.run", "quantum.amplitudes", "quantum.maxcut", "quantum.qubo"};
  return {std::string(name.substr(0, 31))};
}

ConfigOverrides overrides_from_environment() {
  ConfigOverrides overrides;
  overrides.name = variable("MICROSWARM_NAME");
  overrides.log_level = variable("MICROSWARM_LOG_LEVEL");
  return overrides;
}

}  // namespace micro_swarm
