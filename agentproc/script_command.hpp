#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <vector>

#include "common/config.hpp"

namespace micro_swarm {

/// What a kind's agents run, as its template was told.
struct ScriptCommand {
  AgentInterface interface = AgentInterface::protocol;  ///< protocol: no script
  std::vector<std::string> argv;
  std::map<std::string, std::string> environment;
  std::string files_directory;
  std::uint32_t stop_grace_ms = 0;
};

}  // namespace micro_swarm
