#pragma once

#include <cstdint>
#include <filesystem>
#include <string>

#include "common/config.hpp"
#include "common/result.hpp"
#include "supervisor/orchestrator/swarm_orchestrator.hpp"

namespace micro_swarm {

using FaultToleranceConfig = SupervisionConfig;

struct MonitoringConfig {
  LogLevel level = LogLevel::warn;
  std::filesystem::path log_file;  ///< appended to; empty = standard error of this process
};

/// Describes a swarm. What is not said has the value of docs/configuration.md.
///
///   auto swarm = SwarmBuilder().name("images").max_agents(8).build();
class SwarmBuilder {
 public:
  /// Unique in its runtime directory; the command line finds the swarm by it.
  SwarmBuilder& name(std::string name);
  /// How many agents may be registered; 256 unless told otherwise.
  SwarmBuilder& max_agents(std::uint32_t count);
  SwarmBuilder& topology(Topology topology);
  /// Order, strategy, limits, and what becomes of what does not fit.
  SwarmBuilder& scheduler_config(const SchedulerConfig& config);
  /// A kind of work that tasks may name, with its share and limits; may be called for each.
  SwarmBuilder& category(CategorySpec category);
  /// Size of the queue, attempts, timeouts.
  SwarmBuilder& tasks_config(const TasksConfig& config);
  SwarmBuilder& memory_config(const MemoryConfig& config);
  SwarmBuilder& fault_tolerance(const FaultToleranceConfig& config);
  SwarmBuilder& monitoring(MonitoringConfig config);
  /// The microswarm executable. Unless said: $MICROSWARM_BINARY, else beside the library or the
  /// executable that this code is in, else beside the running executable.
  SwarmBuilder& binary(std::filesystem::path path);
  /// Where socket and lock of the swarm lie. Unless said, as for the command line.
  SwarmBuilder& runtime_directory(std::filesystem::path path);

  /// Checks everything; starts nothing. Error: config (which setting, and what is allowed), usage.
  Result<SwarmOrchestrator> build() const;

 private:
  SwarmPlan plan_;
};

}  // namespace micro_swarm
