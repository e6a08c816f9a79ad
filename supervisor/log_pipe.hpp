#pragma once

#include <utility>

#include "common/posix.hpp"

namespace micro_swarm {

/// A pipe for a child's stdout and stderr: {our end, non-blocking; its end, blocking}.
Result<std::pair<UniqueFd, UniqueFd>> make_log_pipe();

}  // namespace micro_swarm
