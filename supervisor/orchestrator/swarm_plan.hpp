#pragma once

#include <cstdint>
#include <filesystem>

#include "common/config.hpp"

namespace micro_swarm {

/// What SwarmBuilder gathers.
struct SwarmPlan {
  Config config;
  std::uint32_t max_agents = agents_max;
  std::filesystem::path binary;             ///< empty = find it
  std::filesystem::path runtime_directory;  ///< empty = the environment's
  std::filesystem::path log_file;           ///< empty = standard error
};

}  // namespace micro_swarm
