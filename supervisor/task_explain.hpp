#pragma once

// Why a task is where it is, in words and in numbers. Reads; changes nothing.

#include <nlohmann/json.hpp>

#include "supervisor/tasks.hpp"

namespace micro_swarm {

/// Of a task on record: `id`, `state`, `reason` (one stable word: a scheduling::Reason, or
/// `ended`), `text` (one sentence), what belongs to the reason, and `expected_start_in_ms` where
/// somebody can say.
nlohmann::json explanation_of(const SupervisorContext& context, Tasks& tasks, TaskId id,
                              std::uint64_t now);

/// How many of the tasks that do not run are held by what; each reason is there, also with 0.
nlohmann::json pending_by_reason(const scheduling::Scheduler& scheduler);

}  // namespace micro_swarm
