#pragma once

#include <memory>

#include "agentproc/quantum/qaoa.hpp"

namespace micro_swarm {

/// The angles' optimiser from NLopt: BOBYQA, which needs no derivatives (Powell 2009). The library
/// is opened by this call, so that only processes that optimise carry it: libnlopt.so.0, where the
/// system looks. Never null; where the library is not there, maximise() says so (ErrorCode::system)
/// and what to do. Makes no thread.
std::unique_ptr<quantum::AngleSearch> open_angle_search();

}  // namespace micro_swarm
