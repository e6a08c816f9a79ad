#pragma once

#include <string_view>

#include "shm/task_record_data.hpp"

namespace micro_swarm {

/// The words people and the control socket use.
std::string_view name_of(TaskState state);
std::string_view name_of(Priority priority);

}  // namespace micro_swarm
