#include "supervisor/orchestrator/agent_factory.hpp"

namespace micro_swarm {

AgentSpec AgentFactory::create_generic(std::string name, std::uint32_t count,
                                       std::vector<std::string> capabilities) {
  AgentSpec spec;
  spec.name = std::move(name);
  spec.kind = AgentKind::generic;
  spec.count = count;
  spec.capabilities = std::move(capabilities);
  return spec;
}

AgentSpec AgentFactory::create_neural(std::string name, std::filesystem::path model,
                                      std::uint32_t count, std::vector<std::string> capabilities) {
  AgentSpec spec = create_generic(std::move(name), count, std::move(capabilities));
  spec.kind = AgentKind::neural;
  spec.model = std::move(model);
  return spec;
}

AgentSpec AgentFactory::from_command(std::string name, std::vector<std::string> command,
                                     std::uint32_t count, std::vector<std::string> capabilities,
                                     std::map<std::string, std::string> environment) {
  AgentSpec spec = create_generic(std::move(name), count, std::move(capabilities));
  spec.kind = AgentKind::external;
  spec.command = std::move(command);
  spec.environment = std::move(environment);
  return spec;
}

AgentSpec AgentFactory::create_quantum(std::string name, std::uint32_t qubits, std::uint32_t count,
                                       std::vector<std::string> capabilities) {
  AgentSpec spec = create_generic(std::move(name), count, std::move(capabilities));
  spec.kind = AgentKind::quantum;
  spec.qubits = qubits;
  return spec;
}

}  // namespace micro_swarm
