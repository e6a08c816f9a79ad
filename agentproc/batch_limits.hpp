#pragma once

#include <cstddef>
#include <cstdint>

namespace micro_swarm {

/// How many tasks a handler takes at once, and how long the first of them waits for the others.
struct BatchLimits {
  std::size_t tasks_max = 1;
  std::uint64_t delay_ns = 0;  ///< 0: only those that are there already
};

}  // namespace micro_swarm
