#pragma once

// The built-in operations of generic agents; each is a capability of the same name.
//
//   noop   any payload -> empty                      sum    little-endian float32s -> decimal text
//   echo   payload -> the same bytes                 sleep  decimal ms -> empty; stops when
//   cancelled hash   payload -> XXH3-64, 16 hex digits         spin   decimal ms of CPU -> empty;
//   does not stop fill   decimal n -> n bytes 0,1,...,250,0,...    fail   text -> fails with it

#include <string_view>
#include <vector>

#include "agentproc/agent_runtime.hpp"

namespace micro_swarm {

std::vector<std::string_view> generic_operation_names();

/// Adds all of them under their names.
void add_generic_operations(HandlerSet& handlers);

}  // namespace micro_swarm
