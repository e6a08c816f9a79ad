#pragma once

#include <cstdint>
#include <nlohmann/json_fwd.hpp>
#include <string>

#include "common/config.hpp"
#include "common/result.hpp"

namespace micro_swarm {

/// Control memory, beside the pool, that the links of a swarm may take; the promise for 256 agents.
inline constexpr std::uint64_t link_bytes_max = std::uint64_t{64} << 20;

/// What a configuration's topology costs when every link of it is used, clients included.
struct TopologyCost {
  Topology topology = Topology::star;
  std::uint32_t agents = 0;
  std::uint32_t clients = 0;
  std::uint32_t links = 0;       ///< pairs that can exchange messages
  std::uint64_t link_bytes = 0;  ///< pages of rings and cursors, counted from the layout
  std::uint32_t task_records = 0;
  std::uint64_t task_record_bytes = 0;
  std::uint64_t pool_bytes = 0;
  std::uint64_t region_bytes = 0;
};

TopologyCost topology_cost(const Config& config);

/// ErrorCode::refused when the links may take more than link_bytes_max.
Result<void> check_budget(const TopologyCost& cost);

std::string describe(const TopologyCost& cost);
nlohmann::json to_json(const TopologyCost& cost);

}  // namespace micro_swarm
