#pragma once

#include <string>
#include <string_view>

#include "common/result.hpp"

namespace micro_swarm {

/// The absolute path of what a shell would run: a name with a slash is looked for from the working
/// directory, another one in $PATH. Error (usage, with the errno of execve): missing, a directory,
/// or not executable by us.
Result<std::string> find_program(std::string_view name);

}  // namespace micro_swarm
