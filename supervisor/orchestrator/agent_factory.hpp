#pragma once

// What an orchestrator's agents are. Nothing is started or looked up here: register_agent() checks.

#include <cstdint>
#include <filesystem>
#include <map>
#include <string>
#include <vector>

#include "common/config.hpp"
#include "common/result.hpp"

namespace micro_swarm {

/// Makes definitions of agent kinds: `count` processes each, which offer `capabilities` (none
/// named: those of the kind). Names are unique in a swarm.
struct AgentFactory {
  /// A built-in agent of small operations (noop, echo, hash, sum, ...).
  static AgentSpec create_generic(std::string name, std::uint32_t count = 1,
                                  std::vector<std::string> capabilities = {});
  /// An ONNX model, which is loaded once and shared by all `count` processes.
  static AgentSpec create_neural(std::string name, std::filesystem::path model,
                                 std::uint32_t count = 1,
                                 std::vector<std::string> capabilities = {});
  /// Any program that speaks the agents' protocol (docs/agent-protocol.md). `environment` is added
  /// to the swarm's own.
  static AgentSpec from_command(std::string name, std::vector<std::string> command,
                                std::uint32_t count = 1, std::vector<std::string> capabilities = {},
                                std::map<std::string, std::string> environment = {});
  /// A simulator of circuits of up to `qubits` (1 to 24) qubits (docs/quantum.md).
  static AgentSpec create_quantum(std::string name, std::uint32_t qubits = qubits_default,
                                  std::uint32_t count = 1,
                                  std::vector<std::string> capabilities = {});
};

}  // namespace micro_swarm
