#include "supervisor/orchestrator/statistics.hpp"

#include <nlohmann/json.hpp>

namespace micro_swarm {

namespace {

using nlohmann::json;

const json& member(const json& object, const char* name) {
  static const json nothing = json::object();
  const auto found = object.find(name);
  return found == object.end() || !found->is_object() ? nothing : *found;
}

std::uint64_t number(const json& object, const char* name) {
  const auto found = object.find(name);
  return found == object.end() || !found->is_number_unsigned() ? 0 : found->get<std::uint64_t>();
}

LatencyStats latency(const json& status, const char* name) {
  const json& from = member(status, name);
  return {number(from, "count"), number(from, "p50_ns"), number(from, "p99_ns"),
          number(from, "max_ns")};
}

}  // namespace

SwarmMetrics swarm_metrics_of(const json& status) {
  const json& agents = member(status, "agents");
  const json& counters = member(status, "counters");
  return {.uptime_ms = number(status, "uptime_ms"),
          .agents_live = number(agents, "live"),
          .agents_configured = number(agents, "configured"),
          .agents_died = number(counters, "agents_died"),
          .agents_restarted = number(counters, "agents_restarted"),
          .tasks_accepted = number(counters, "tasks_accepted"),
          .tasks_done = number(counters, "tasks_done"),
          .tasks_failed = number(counters, "tasks_failed"),
          .tasks_cancelled = number(counters, "tasks_cancelled"),
          .tasks_timed_out = number(counters, "tasks_timed_out"),
          .tasks_dead_letter = number(counters, "tasks_dead_letter"),
          .accept_to_end = latency(status, "accept_to_end")};
}

SchedulerStats scheduler_stats_of(const json& status) {
  const json& tasks = member(status, "tasks");
  const json& counters = member(status, "counters");
  return {.tasks_pending = number(tasks, "pending"),
          .tasks_ready = number(tasks, "ready"),
          .tasks_running = number(tasks, "running"),
          .task_records = number(tasks, "records"),
          .tasks_refused = number(counters, "tasks_refused"),
          .dispatched = number(counters, "tasks_dispatched"),
          .rerun = number(counters, "tasks_rerun"),
          .dispatch_round_trip = latency(status, "dispatch_round_trip")};
}

MemoryStats memory_stats_of(const json& status) {
  const json& memory = member(status, "memory");
  return {.pool_bytes = number(memory, "pool_bytes"),
          .region_bytes = number(memory, "region_bytes"),
          .pool_regions = number(memory, "pool_regions"),
          .leased_regions = number(memory, "leased_regions"),
          .tokens_out = number(memory, "tokens_out"),
          .segment_bytes = number(memory, "segment_bytes")};
}

CoordinationStats coordination_stats_of(const json& status) {
  const json& agents = member(status, "agents");
  const json& counters = member(status, "counters");
  const auto topology = status.find("topology");
  return {.topology = topology != status.end() && topology->is_string()
                          ? topology->get<std::string>()
                          : std::string(),
          .supervisor_epoch = number(status, "epoch"),
          .clients = number(status, "clients"),
          .agents_starting = number(agents, "starting"),
          .agents_restarting = number(agents, "restarting"),
          .agents_gave_up = number(agents, "gave_up"),
          .messages_malformed = number(counters, "messages_malformed"),
          .results_delivered = number(counters, "results_delivered")};
}

}  // namespace micro_swarm
