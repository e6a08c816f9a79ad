#include "supervisor/task_steps.hpp"

#define XXH_INLINE_ALL
#include <xxhash.h>

namespace micro_swarm {

std::uint64_t request_checksum(const TaskRequestData& request) noexcept {
  return XXH3_64bits(&request, sizeof request);
}

}  // namespace micro_swarm
