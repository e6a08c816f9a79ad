#include "supervisor/orchestrator/swarm_builder.hpp"

#include "common/config_check.hpp"

namespace micro_swarm {

SwarmBuilder& SwarmBuilder::name(std::string name) {
  plan_.config.swarm.name = std::move(name);
  return *this;
}

SwarmBuilder& SwarmBuilder::max_agents(std::uint32_t count) {
  plan_.max_agents = count;
  return *this;
}

SwarmBuilder& SwarmBuilder::topology(Topology topology) {
  plan_.config.swarm.topology = topology;
  return *this;
}

SwarmBuilder& SwarmBuilder::scheduler_config(const SchedulerConfig& config) {
  plan_.config.scheduler = config;
  return *this;
}

SwarmBuilder& SwarmBuilder::category(CategorySpec category) {
  plan_.config.categories.push_back(std::move(category));
  return *this;
}

SwarmBuilder& SwarmBuilder::tasks_config(const TasksConfig& config) {
  plan_.config.tasks = config;
  return *this;
}

SwarmBuilder& SwarmBuilder::memory_config(const MemoryConfig& config) {
  plan_.config.memory = config;
  return *this;
}

SwarmBuilder& SwarmBuilder::fault_tolerance(const FaultToleranceConfig& config) {
  plan_.config.supervision = config;
  return *this;
}

SwarmBuilder& SwarmBuilder::monitoring(MonitoringConfig config) {
  plan_.config.log.level = config.level;
  plan_.log_file = std::move(config.log_file);
  return *this;
}

SwarmBuilder& SwarmBuilder::binary(std::filesystem::path path) {
  plan_.binary = std::move(path);
  return *this;
}

SwarmBuilder& SwarmBuilder::runtime_directory(std::filesystem::path path) {
  plan_.runtime_directory = std::move(path);
  return *this;
}

Result<SwarmOrchestrator> SwarmBuilder::build() const {
  SwarmPlan plan = plan_;
  if (plan.max_agents < 1 || plan.max_agents > agents_max)
    return Error{ErrorCode::config,
                 "max_agents: " + std::to_string(plan.max_agents) +
                     " is out of range; allowed: 1 to " + std::to_string(agents_max),
                 0};
  if (!is_valid_name(plan.config.swarm.name))
    return Error{
        ErrorCode::config,
        "name: \"" + plan.config.swarm.name + "\" is no name; allowed: [a-z0-9_-], 1 to 32 of them",
        0};
  plan.config.swarm.agents = 0;  // as many as are registered
  // The swarm reads the same text: what it would refuse is refused here.
  if (auto checked = check_config(plan.config); !checked) return checked.error();
  return SwarmOrchestrator(std::move(plan));
}

}  // namespace micro_swarm
