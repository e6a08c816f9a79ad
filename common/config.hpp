#pragma once

#include <algorithm>
#include <cstdint>
#include <filesystem>
#include <map>
#include <nlohmann/json_fwd.hpp>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "common/cache_options.hpp"
#include "common/compression.hpp"
#include "common/containment_options.hpp"
#include "common/ids.hpp"
#include "common/result.hpp"
#include "common/scheduling_options.hpp"

namespace micro_swarm {

enum class Topology { star, mesh, ring, hierarchical };

/// OTP's words: permanent is always restarted, transient only after a crash, temporary never.
enum class RestartPolicy { permanent, transient, temporary };

enum class LogLevel { trace, debug, info, warn, error, off };

/// What an agent of a kind is: built in, an ONNX model, a simulator of quantum circuits, or
/// somebody's executable.
enum class AgentKind { generic, neural, quantum, external };

/// How an external kind's command is spoken to: as an agent of its own over its party socket, or as
/// a script in lines on its standard input and output, or as a command run once for each task.
enum class AgentInterface { protocol, stdio, exec };

std::string_view name_of(Topology value);
std::string_view name_of(RestartPolicy value);
std::string_view name_of(LogLevel value);
std::string_view name_of(AgentKind value);
std::string_view name_of(AgentInterface value);

inline constexpr std::uint32_t agent_kinds_max = 64;
inline constexpr std::uint32_t categories_max = 16;
inline constexpr std::uint32_t qubits_max = 24;
inline constexpr std::uint32_t qubits_default = 16;

/// One [[agent]] table: `count` agents made from one template.
struct AgentSpec {
  std::string name;  ///< unique; [a-z0-9_-]{1,32}
  AgentKind kind = AgentKind::generic;
  std::uint32_t count = 1;
  std::vector<std::string> capabilities;  ///< never empty once loaded
  std::filesystem::path model;            ///< neural: absolute path of the ONNX file
  /// Neural, instead of `model`: a file for each of its capabilities.
  std::map<std::string, std::filesystem::path> models;
  std::vector<std::filesystem::path> plugins;      ///< generic: shared libraries, absolute
  std::vector<std::string> command;                ///< external: argv, never empty
  std::map<std::string, std::string> environment;  ///< added to the agent's environment
  std::uint32_t version = 1;  ///< of all its capabilities; tasks may ask for a least one
  std::uint32_t weight = 1;   ///< how much capability_based prefers it
  /// Bytes of the pool that one agent may have leased; unset = memory.agent_quota, 0 = no limit.
  std::optional<std::uint64_t> memory_quota = std::nullopt;
  AgentInterface interface = AgentInterface::protocol;  ///< external: what the command speaks
  /// Neural: so many waiting tasks are run as one, where the model can do that; the first of them
  /// waits so long for the others.
  std::uint32_t batch_max = 1;
  std::uint32_t batch_delay_us = 0;
  std::uint32_t qubits = qubits_default;  ///< quantum: the largest circuit; 16 << qubits bytes
  /// An agent that has done so many tasks, or is so old, is replaced by a new one; 0 = never.
  std::uint32_t max_tasks = 0;
  std::uint32_t max_age_ms = 0;
  ContainmentOptions containment = {};
};

/// One [[category]] table: tasks may name it; what they share and may use together.
struct CategorySpec {
  std::string name;                ///< unique; [a-z0-9_-]{1,32}
  std::uint32_t weight = 1;        ///< share against other flows of its class
  std::uint32_t running_max = 0;   ///< in flight at once; 0 = no limit
  std::uint32_t queued_max = 0;    ///< accepted and not running; 0 = no limit
  std::uint64_t memory_quota = 0;  ///< bytes of payloads of its unfinished tasks; 0 = no limit
};

struct SwarmConfig {
  std::string name = "default";
  Topology topology = Topology::star;
  std::uint32_t agents = 4;  ///< generic agents, when no [[agent]] table is given
  std::string state_dir;     ///< absolute; empty: nothing is kept over a stop of the swarm
};

inline constexpr std::uint64_t pool_size_min = std::uint64_t{1} << 20;
inline constexpr std::uint64_t pool_size_max = std::uint64_t{64} << 30;

struct MemoryConfig {
  std::uint64_t pool_size = 28ull << 20;    ///< bytes; a multiple of region_size
  std::uint64_t region_size = 64ull << 10;  ///< bytes; a power of two
  std::uint64_t agent_quota = 0;            ///< bytes leased by one agent; 0 = no limit
  std::uint64_t client_quota = 0;           ///< bytes leased by one client; 0 = no limit
  std::uint32_t supervisor_reserve = 2;     ///< pool regions parties never get
  /// Clients compress payloads of so many bytes and more, where that pays.
  bool compression_enabled = false;
  std::uint64_t compression_threshold = 64ull << 10;
  Codec compression = Codec::lz4;
  bool guard = false;  ///< for finding bugs: ipc/guard.hpp

  /// What of the reserve is kept: at most an eighth of the pool. In pool regions.
  std::uint64_t reserved_of(std::uint64_t pool_regions) const {
    return std::min<std::uint64_t>(supervisor_reserve, pool_regions / 8);
  }
};

struct CacheConfig {
  std::uint64_t capacity = 0;  ///< bytes of the pool; 0 = a quarter of it
  caching::Policy policy = caching::Policy::lru;
  caching::OnEviction on_eviction = caching::OnEviction::drop;
  std::uint64_t spill_max = 256ull << 20;  ///< bytes on disk
  Codec compression = Codec::lz4;
  std::uint32_t entries_max = 4'096;
};

struct TasksConfig {
  std::uint32_t queue_size = 10'000;  ///< task records kept
  std::uint32_t attempts_max = 5;     ///< executions before the dead-letter list
  std::uint32_t timeout_ms = 0;       ///< of a task that names none; 0 = none
  std::uint32_t cancel_grace_ms = 2'000;
  std::uint32_t in_flight_per_agent = 4;
  std::uint32_t max_concurrent = 0;  ///< in flight in the whole swarm; 0 = no limit
  WhenClientDies when_client_dies = WhenClientDies::keep;
  std::uint32_t result_ttl_ms = 0;  ///< unfetched results are kept so long; 0 = while there is room
};

struct SchedulerConfig {
  Strategy strategy = Strategy::least_loaded;
  FairShare fair_share = FairShare::client_category;
  WhenFull when_full = WhenFull::reject;
  std::uint32_t aging_ms = 5'000;           ///< waiting that lifts a task one class; 0 = never
  std::uint32_t deadline_slack_ms = 1'000;  ///< a task without deadline is placed as with this one
  std::uint32_t cpu_slots_per_agent = 0;    ///< 0 = tasks.in_flight_per_agent
  std::uint32_t client_running_max = 0;     ///< in flight at once; 0 = no limit
  std::uint32_t client_queued_max = 0;      ///< accepted and not running; 0 = no limit
  std::uint32_t retry_backoff_max_ms = 60'000;
};

struct SupervisionConfig {
  RestartPolicy restart = RestartPolicy::permanent;
  std::uint32_t intensity = 10;  ///< restarts of one agent tolerated in period_ms
  std::uint32_t period_ms = 5'000;
  std::uint32_t backoff_initial_ms = 20;
  std::uint32_t backoff_max_ms = 5'000;
  std::uint32_t stable_after_ms = 2'000;  ///< uptime after which the backoff starts over
  std::uint32_t hang_timeout_ms = 3'000;  ///< a busy agent's progress word may stand still
  std::uint32_t supervisor_hang_timeout_ms = 5'000;
  std::uint32_t supervisor_restarts_max = 20;  ///< in supervisor_period_ms, then the swarm gives up
  std::uint32_t supervisor_period_ms = 60'000;
  std::uint32_t drain_timeout_ms = 10'000;
  std::uint32_t register_timeout_ms = 10'000;  ///< spawn to registration of an agent
};

struct ContainmentConfig {
  /// A swarm that runs as uid 0 gives each agent a uid from here on; 0 = they keep the swarm's. The
  /// default is of a range that nothing else hands out.
  std::uint32_t uid_base = 1'900'000'000;
};

struct WaitConfig {
  std::uint32_t spin_us = 50;  ///< upper bound of the adaptive spin before parking
};

struct LogConfig {
  LogLevel level = LogLevel::info;
};

/// Where an effective value came from; later ones win.
enum class ConfigOrigin { built_in, file, environment, flag };
std::string_view name_of(ConfigOrigin value);

/// The whole effective configuration of one `microswarm run`, complete without a file and checked:
/// whoever holds one from load_config() need not look at ranges again.
struct Config {
  SwarmConfig swarm;
  MemoryConfig memory;
  CacheConfig cache;
  TasksConfig tasks;
  SchedulerConfig scheduler;
  SupervisionConfig supervision;
  ContainmentConfig containment;
  WaitConfig wait;
  LogConfig log;
  std::vector<CategorySpec> categories;  ///< the [[category]] tables, in their order
  std::vector<AgentSpec> agents;  ///< effective kinds: the [[agent]] tables, or the default one

  std::filesystem::path file;  ///< absolute; empty when no file was read
  std::map<std::string, ConfigOrigin, std::less<>> origins;  ///< by "table.key"; absent = built in
};

/// What the command line and the environment may override. Unset = leave alone.
struct ConfigOverrides {
  std::optional<std::string> name;
  std::optional<std::string> topology;
  std::optional<std::string> state_dir;
  std::optional<std::string> log_level;
  std::optional<std::uint32_t> agents;  ///< with one [[agent]] table: its count; with more: refused
};

/// MICROSWARM_NAME and MICROSWARM_LOG_LEVEL; empty counts as unset.
ConfigOverrides overrides_from_environment();

/// Reads and checks a configuration: built-in values, then the file, then the environment, then
/// the flags. Errors are ErrorCode::config (ErrorCode::usage for a bad flag) and name file, line,
/// key, what is allowed and, for an unknown key, the nearest valid one. Touches no other file than
/// `file`, except that the models it names must exist.
Result<Config> load_config(const std::optional<std::filesystem::path>& file,
                           const ConfigOverrides& environment = {},
                           const ConfigOverrides& flags = {});

/// The same from text already in memory; `file` is used for messages and to resolve models.
Result<Config> parse_config(std::string_view text, const std::filesystem::path& file,
                            const ConfigOverrides& environment = {},
                            const ConfigOverrides& flags = {});

/// Effective values as a TOML document that loads to the same Config, each value with a comment
/// saying where it came from.
std::string to_toml(const Config& config);

/// {"schema":1,"file":...,"config":{table:{key:value}},"origins":{"table.key":"file"},"categories":[],
/// "agents":[]}
nlohmann::json to_json(const Config& config);

/// Capabilities of a kind that lists none.
std::vector<std::string> default_capabilities(AgentKind kind, std::string_view name);

/// [a-z0-9_-]{1,32}: names of swarms and agent kinds.
bool is_valid_name(std::string_view name);

/// [a-z0-9_.-]{1,31}.
bool is_valid_capability(std::string_view name);

}  // namespace micro_swarm
