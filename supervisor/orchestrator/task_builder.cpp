#include "supervisor/orchestrator/task_builder.hpp"

#include <utility>

namespace micro_swarm {

Result<Task> TaskBuilder::build() {
  if (task_.capability.empty())
    return Error{ErrorCode::usage, "a task needs a capability: requires_capability(\"echo\")", 0};
  if (task_.region && !task_.payload.empty())
    return Error{ErrorCode::usage, "a task has either payload bytes or a region, not both", 0};
  return std::exchange(task_, {});
}

}  // namespace micro_swarm
