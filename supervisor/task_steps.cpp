#include "supervisor/task_steps.hpp"

#define XXH_INLINE_ALL
#include <xxhash.h>

namespace micro_swarm {

std::uint64_t request_checksum(const TaskRequestData& request) noexcept {
  return XXH3_64bits(&request, sizeof request);
}

std::uint64_t request_checksum(const TaskRequestData& request, const TaskOptionsRow& options,
                               const TaskDependencies& dependencies) noexcept {
  XXH3_state_t state;
  XXH3_INITSTATE(&state);
  XXH3_64bits_reset(&state);
  XXH3_64bits_update(&state, &request, sizeof request);
  XXH3_64bits_update(&state, &options, sizeof options);
  // A damaged count must not lead beyond the row.
  const std::size_t count = options.dependency_count <= task_dependencies_max
                                ? options.dependency_count
                                : task_dependencies_max;
  XXH3_64bits_update(&state, &dependencies, count * sizeof(TaskId));
  return XXH3_64bits_digest(&state);
}

}  // namespace micro_swarm
