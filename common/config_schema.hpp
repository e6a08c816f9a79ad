#pragma once

#include <array>
#include <cstdint>
#include <string_view>
#include <type_traits>

#include "common/config.hpp"

/// The one list of settings: reading, showing and "did you mean" all walk it, so a setting cannot
/// be known to one of them only. Private to config*.cpp.
namespace micro_swarm::config_schema {

/// Whole numbers, both ends allowed.
struct Range {
  std::uint64_t min;
  std::uint64_t max;
};

/// Bytes: a whole number, or a text such as "28MiB".
struct SizeRange {
  std::uint64_t min;
  std::uint64_t max;
  bool power_of_two;
};

/// Of circuits that a quantum agent takes.
inline constexpr Range qubits_range{1, qubits_max};

/// Of agents and clients; 0 = no limit.
inline constexpr SizeRange memory_quota_range{0, std::uint64_t{64} << 30, false};

/// One word of the value's enum.
struct Choice {};

/// true or false.
struct Switch {};

/// is_valid_name().
struct Name {};

/// Any text.
struct Text {};

template <class Enum>
struct Words;
template <>
struct Words<Topology> {
  static constexpr std::array values{Topology::star, Topology::mesh, Topology::ring,
                                     Topology::hierarchical};
};
template <>
struct Words<RestartPolicy> {
  static constexpr std::array values{RestartPolicy::permanent, RestartPolicy::transient,
                                     RestartPolicy::temporary};
};
template <>
struct Words<LogLevel> {
  static constexpr std::array values{LogLevel::trace, LogLevel::debug, LogLevel::info,
                                     LogLevel::warn,  LogLevel::error, LogLevel::off};
};
template <>
struct Words<Strategy> {
  static constexpr std::array values{Strategy::round_robin, Strategy::least_loaded,
                                     Strategy::load_balanced, Strategy::capability_based};
};
template <>
struct Words<Codec> {
  static constexpr std::array values{Codec::lz4, Codec::zstd};
};
template <>
struct Words<FairShare> {
  static constexpr std::array values{FairShare::client_category, FairShare::category,
                                     FairShare::off};
};
template <>
struct Words<WhenFull> {
  static constexpr std::array values{WhenFull::reject, WhenFull::block, WhenFull::shed};
};
template <>
struct Words<WhenClientDies> {
  static constexpr std::array values{WhenClientDies::keep, WhenClientDies::cancel};
};
template <>
struct Words<caching::Policy> {
  static constexpr std::array values{caching::Policy::lru, caching::Policy::lfu,
                                     caching::Policy::fifo, caching::Policy::ttl};
};
template <>
struct Words<caching::OnEviction> {
  static constexpr std::array values{caching::OnEviction::drop, caching::OnEviction::compress,
                                     caching::OnEviction::spill};
};
template <>
struct Words<AgentKind> {
  static constexpr std::array values{AgentKind::generic, AgentKind::neural, AgentKind::quantum,
                                     AgentKind::external};
};
template <>
struct Words<AgentInterface> {
  static constexpr std::array values{AgentInterface::protocol, AgentInterface::stdio,
                                     AgentInterface::exec};
};

/// Calls v(table, key, value, rule) for every setting outside [[agent]] and [[category]], in the
/// order of the documentation.
template <class AConfig, class Visitor>
requires std::is_same_v<std::remove_const_t<AConfig>, Config>
void visit_settings(AConfig& c, Visitor&& v) {
  constexpr std::uint64_t day_ms = 86'400'000;
  constexpr std::uint64_t kib = 1024;
  constexpr std::uint64_t mib = kib * kib;

  v("swarm", "name", c.swarm.name, Name{});
  v("swarm", "topology", c.swarm.topology, Choice{});
  v("swarm", "agents", c.swarm.agents, Range{0, agents_max});
  v("swarm", "state_dir", c.swarm.state_dir, Text{});

  v("memory", "pool_size", c.memory.pool_size, SizeRange{pool_size_min, pool_size_max, false});
  v("memory", "region_size", c.memory.region_size, SizeRange{4 * kib, 16 * mib, true});
  v("memory", "agent_quota", c.memory.agent_quota, memory_quota_range);
  v("memory", "client_quota", c.memory.client_quota, memory_quota_range);
  v("memory", "supervisor_reserve", c.memory.supervisor_reserve, Range{0, 1'024});
  v("memory", "compression_enabled", c.memory.compression_enabled, Switch{});
  v("memory", "compression_threshold", c.memory.compression_threshold,
    SizeRange{kib, 64 * kib * mib, false});
  v("memory", "compression", c.memory.compression, Choice{});
  v("memory", "guard", c.memory.guard, Switch{});

  v("cache", "capacity", c.cache.capacity, SizeRange{0, 64 * kib * mib, false});
  v("cache", "policy", c.cache.policy, Choice{});
  v("cache", "on_eviction", c.cache.on_eviction, Choice{});
  v("cache", "spill_max", c.cache.spill_max, SizeRange{0, kib * kib * mib, false});
  v("cache", "compression", c.cache.compression, Choice{});
  v("cache", "entries_max", c.cache.entries_max, Range{16, 65'536});

  v("tasks", "queue_size", c.tasks.queue_size, Range{16, 1'000'000});
  v("tasks", "attempts_max", c.tasks.attempts_max, Range{1, 255});
  v("tasks", "timeout_ms", c.tasks.timeout_ms, Range{0, day_ms});
  v("tasks", "cancel_grace_ms", c.tasks.cancel_grace_ms, Range{0, 600'000});
  v("tasks", "in_flight_per_agent", c.tasks.in_flight_per_agent, Range{1, 16});
  v("tasks", "max_concurrent", c.tasks.max_concurrent, Range{0, 1'000'000});
  v("tasks", "when_client_dies", c.tasks.when_client_dies, Choice{});
  v("tasks", "result_ttl_ms", c.tasks.result_ttl_ms, Range{0, 7 * day_ms});

  auto& q = c.scheduler;
  v("scheduler", "strategy", q.strategy, Choice{});
  v("scheduler", "fair_share", q.fair_share, Choice{});
  v("scheduler", "when_full", q.when_full, Choice{});
  v("scheduler", "aging_ms", q.aging_ms, Range{0, day_ms});
  v("scheduler", "deadline_slack_ms", q.deadline_slack_ms, Range{0, day_ms});
  v("scheduler", "cpu_slots_per_agent", q.cpu_slots_per_agent, Range{0, 1'024});
  v("scheduler", "client_running_max", q.client_running_max, Range{0, 1'000'000});
  v("scheduler", "client_queued_max", q.client_queued_max, Range{0, 1'000'000});
  v("scheduler", "retry_backoff_max_ms", q.retry_backoff_max_ms, Range{0, day_ms});

  auto& s = c.supervision;
  v("supervision", "restart", s.restart, Choice{});
  v("supervision", "intensity", s.intensity, Range{0, 1'000'000});
  v("supervision", "period_ms", s.period_ms, Range{1, day_ms});
  v("supervision", "backoff_initial_ms", s.backoff_initial_ms, Range{0, 600'000});
  v("supervision", "backoff_max_ms", s.backoff_max_ms, Range{0, 600'000});
  v("supervision", "stable_after_ms", s.stable_after_ms, Range{0, day_ms});
  v("supervision", "hang_timeout_ms", s.hang_timeout_ms, Range{100, day_ms});
  v("supervision", "supervisor_hang_timeout_ms", s.supervisor_hang_timeout_ms, Range{100, day_ms});
  v("supervision", "supervisor_restarts_max", s.supervisor_restarts_max, Range{0, 1'000'000});
  v("supervision", "supervisor_period_ms", s.supervisor_period_ms, Range{1, day_ms});
  v("supervision", "drain_timeout_ms", s.drain_timeout_ms, Range{0, day_ms});
  v("supervision", "register_timeout_ms", s.register_timeout_ms, Range{100, 600'000});

  // uid_base plus an agent's or a kind's number is a uid; the last one means "none".
  v("containment", "uid_base", c.containment.uid_base, Range{0, 4'294'960'000});

  v("wait", "spin_us", c.wait.spin_us, Range{0, 1'000});

  v("log", "level", c.log.level, Choice{});
}

inline constexpr Range batch_max_range{1, 16};
inline constexpr Range batch_delay_us_range{0, 1'000'000};
inline constexpr Range lifetime_range{0, 4'000'000'000};
inline constexpr SizeRange memory_limit_range{0, std::uint64_t{1} << 40, false};
inline constexpr Range processes_max_range{2, 4'096};
/// uid 0 is the swarm's own: who wants that says contain = false.
inline constexpr Range uid_range{1, 4'294'967'294};
inline constexpr std::array<std::string_view, 24> agent_keys{
    "name",           "kind",    "count",     "capabilities", "version",      "weight",
    "model",          "command", "interface", "environment",  "memory_quota", "batch_max",
    "batch_delay_us", "qubits",  "contain",   "readable",     "writable",     "memory_limit",
    "processes_max",  "uid",     "max_tasks", "max_age_ms",   "models",       "plugins"};

/// Calls v(key, value, rule) for every setting of a [[category]].
template <class ACategory, class Visitor>
requires std::is_same_v<std::remove_const_t<ACategory>, CategorySpec>
void visit_category(ACategory& c, Visitor&& v) {
  v("name", c.name, Name{});
  v("weight", c.weight, Range{1, 1'000});
  v("running_max", c.running_max, Range{0, 1'000'000});
  v("queued_max", c.queued_max, Range{0, 1'000'000});
  v("memory_quota", c.memory_quota, memory_quota_range);
}

/// The value a word stands for, and "star, mesh, ring or hierarchical".
template <class Enum>
bool enum_from_word(std::string_view word, Enum& value) {
  for (const Enum candidate : Words<Enum>::values)
    if (name_of(candidate) == word) {
      value = candidate;
      return true;
    }
  return false;
}

template <class Enum>
std::vector<std::string> words_of() {
  std::vector<std::string> words;
  for (const Enum value : Words<Enum>::values) words.emplace_back(name_of(value));
  return words;
}

inline std::string one_of(const std::vector<std::string>& words) {
  std::string text;
  for (std::size_t i = 0; i < words.size(); ++i)
    text += (i == 0 ? "" : i + 1 == words.size() ? " or " : ", ") + words[i];
  return text;
}

}  // namespace micro_swarm::config_schema
