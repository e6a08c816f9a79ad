#pragma once

// What an orchestrator reports. Counts are since the swarm was started and survive supervisors;
// latencies are since the last supervisor was, in nanoseconds.

#include <cstdint>
#include <nlohmann/json_fwd.hpp>
#include <string>

namespace micro_swarm {

struct LatencyStats {
  std::uint64_t count = 0;
  std::uint64_t p50_ns = 0;
  std::uint64_t p99_ns = 0;
  std::uint64_t max_ns = 0;
};

struct SwarmMetrics {
  std::uint64_t uptime_ms = 0;
  std::uint64_t agents_live = 0;
  std::uint64_t agents_configured = 0;
  std::uint64_t agents_died = 0;
  std::uint64_t agents_restarted = 0;
  std::uint64_t tasks_accepted = 0;
  std::uint64_t tasks_done = 0;
  std::uint64_t tasks_failed = 0;
  std::uint64_t tasks_cancelled = 0;
  std::uint64_t tasks_timed_out = 0;
  std::uint64_t tasks_dead_letter = 0;
  LatencyStats accept_to_end;
};

struct SchedulerStats {
  std::uint64_t tasks_pending = 0;
  std::uint64_t tasks_ready = 0;
  std::uint64_t tasks_running = 0;
  std::uint64_t task_records = 0;  ///< how many there are room for
  std::uint64_t tasks_refused = 0;
  std::uint64_t dispatched = 0;
  std::uint64_t rerun = 0;  ///< executions begun again because their agent died
  LatencyStats dispatch_round_trip;
};

struct MemoryStats {
  std::uint64_t pool_bytes = 0;
  std::uint64_t region_bytes = 0;
  std::uint64_t pool_regions = 0;
  std::uint64_t leased_regions = 0;
  std::uint64_t tokens_out = 0;
  std::uint64_t segment_bytes = 0;  ///< of the supervisor, in address space
};

struct CoordinationStats {
  std::string topology;
  std::uint64_t supervisor_epoch = 0;  ///< how many supervisors there have been
  std::uint64_t clients = 0;
  std::uint64_t agents_starting = 0;
  std::uint64_t agents_restarting = 0;
  std::uint64_t agents_gave_up = 0;
  std::uint64_t messages_malformed = 0;
  std::uint64_t results_delivered = 0;
};

// From an answer to the verb `status`; a member that is missing there counts as 0.
SwarmMetrics swarm_metrics_of(const nlohmann::json& status);
SchedulerStats scheduler_stats_of(const nlohmann::json& status);
MemoryStats memory_stats_of(const nlohmann::json& status);
CoordinationStats coordination_stats_of(const nlohmann::json& status);

}  // namespace micro_swarm
