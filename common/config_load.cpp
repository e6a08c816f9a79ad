#include <cerrno>
#include <cstring>
#include <fstream>
#include <iterator>

#include "common/config.hpp"
#include "common/config_read.hpp"
#include "common/config_schema.hpp"
#include "common/edit_distance.hpp"
#include "common/size_text.hpp"

namespace micro_swarm {

namespace schema = config_schema;

namespace {

constexpr std::uintmax_t file_bytes_max = 1 << 20;

Result<std::string> read_text(const std::filesystem::path& file) {
  const std::string name = file.string();
  std::error_code failure;
  const auto status = std::filesystem::status(file, failure);
  if (failure || !std::filesystem::exists(status))
    return Error{ErrorCode::config,
                 name + ": cannot read the configuration file: " +
                     (failure ? failure.message() : std::string("no such file"))};
  if (!std::filesystem::is_regular_file(status))
    return Error{ErrorCode::config, name + ": is not a file; name a TOML file with -c"};
  if (std::filesystem::file_size(file, failure) > file_bytes_max)
    return Error{ErrorCode::config, name + ": is larger than 1 MiB; that is no configuration"};
  std::ifstream stream(file, std::ios::binary);
  std::string text(std::istreambuf_iterator<char>(stream), {});
  if (!stream.is_open() || stream.bad())
    return Error{ErrorCode::config,
                 name + ": cannot read the configuration file: " + std::strerror(errno)};
  return text;
}

/// "--name" or "MICROSWARM_NAME".
std::string override_text(ConfigOrigin origin, std::string_view word) {
  if (origin == ConfigOrigin::flag) {
    std::string flag = "--" + std::string(word);
    for (char& c : flag)
      if (c == '_') c = '-';
    return flag;
  }
  std::string name = "MICROSWARM_" + std::string(word);
  for (char& c : name)
    if (c >= 'a' && c <= 'z') c = static_cast<char>(c - 'a' + 'A');
  return name;
}

Error usage(const std::string& what, const std::string& text) {
  return Error{ErrorCode::usage, what + ": " + text};
}

template <class Enum>
Result<void> override_word(const std::string& what, const std::string& word, Enum& value) {
  if (schema::enum_from_word(word, value)) return {};
  const auto words = schema::words_of<Enum>();
  std::string text = "\"" + word + "\" is unknown; allowed: " + schema::one_of(words);
  if (const auto near = nearest(word, words); !near.empty())
    text += "; did you mean \"" + near + "\"?";
  return usage(what, text);
}

Result<void> override_agents(std::uint32_t count, ConfigOrigin origin, Config& config) {
  const std::string what = override_text(origin, "agents");
  if (count > agents_max)
    return usage(what, std::to_string(count) + " is out of range; allowed: 0 to " +
                           std::to_string(agents_max));
  if (config.agents.size() > 1)
    return usage(what, "the configuration file has several [[agent]] kinds; set their count there");
  if (config.agents.size() == 1) config.agents.front().count = count;
  config.swarm.agents = count;
  return {};
}

Result<void> apply(const ConfigOverrides& overrides, ConfigOrigin origin, Config& config) {
  if (overrides.name) {
    if (!is_valid_name(*overrides.name))
      return usage(override_text(origin, "name"),
                   "\"" + *overrides.name + "\" is no name; allowed: [a-z0-9_-], 1 to 32 of them");
    config.swarm.name = *overrides.name;
    config.origins["swarm.name"] = origin;
  }
  if (overrides.topology) {
    if (auto done = override_word(override_text(origin, "topology"), *overrides.topology,
                                  config.swarm.topology);
        !done)
      return done.error();
    config.origins["swarm.topology"] = origin;
  }
  if (overrides.state_dir) {
    config.swarm.state_dir = *overrides.state_dir;
    config.origins["swarm.state_dir"] = origin;
  }
  if (overrides.log_level) {
    if (auto done = override_word(override_text(origin, "log_level"), *overrides.log_level,
                                  config.log.level);
        !done)
      return done.error();
    config.origins["log.level"] = origin;
  }
  if (overrides.agents) {
    if (auto done = override_agents(*overrides.agents, origin, config); !done) return done.error();
    config.origins["swarm.agents"] = origin;
  }
  return {};
}

/// What must hold between settings, and what this version has not got.
class Finisher {
 public:
  Finisher(const config_detail::SettingLines& lines, Config& config)
      : lines_(lines), config_(config) {}

  Result<void> finish() {
    auto& c = config_;
    if (c.swarm.topology != Topology::star)
      return refuse("swarm.topology",
                    "\"" + std::string(name_of(c.swarm.topology)) +
                        "\" is known but carries no links in this version; use \"star\"");
    if (!c.swarm.state_dir.empty()) {
      // In a file it is meant beside the file, as models are.
      const auto origin = c.origins.find("swarm.state_dir");
      const bool in_file = origin != c.origins.end() && origin->second == ConfigOrigin::file;
      const auto base = in_file ? c.file.parent_path() : std::filesystem::path();
      c.swarm.state_dir = std::filesystem::absolute(base / c.swarm.state_dir).string();
    }
    if (c.memory.pool_size % c.memory.region_size != 0)
      return refuse("memory.pool_size", exact_size_text(c.memory.pool_size) +
                                            " is no multiple of memory.region_size, which is " +
                                            exact_size_text(c.memory.region_size));
    if (auto quotas = check_quotas(); !quotas) return quotas.error();
    if (auto batches = check_batches(); !batches) return batches.error();
    if (c.cache.capacity > c.memory.pool_size)
      return refuse("cache.capacity", exact_size_text(c.cache.capacity) +
                                          " is more than memory.pool_size, which is " +
                                          exact_size_text(c.memory.pool_size));
    if (c.cache.on_eviction == caching::OnEviction::spill && c.swarm.state_dir.empty())
      return refuse("cache.on_eviction",
                    "\"spill\" needs a directory to spill to; set swarm.state_dir");
    if (c.supervision.backoff_initial_ms > c.supervision.backoff_max_ms)
      return refuse("supervision.backoff_initial_ms",
                    std::to_string(c.supervision.backoff_initial_ms) +
                        " is more than supervision.backoff_max_ms, which is " +
                        std::to_string(c.supervision.backoff_max_ms));
    return finish_agents();
  }

 private:
  /// Memory is leased in pool regions: under a quota smaller than one nothing would work.
  Result<void> check_quotas() const {
    const MemoryConfig& m = config_.memory;
    const auto check = [&](const std::string& key, std::uint64_t quota) -> Result<void> {
      if (quota == 0 || quota >= m.region_size) return {};
      return refuse(key, exact_size_text(quota) + " is less than memory.region_size, which is " +
                             exact_size_text(m.region_size) + "; 0 means no limit");
    };
    if (auto ok = check("memory.agent_quota", m.agent_quota); !ok) return ok;
    if (auto ok = check("memory.client_quota", m.client_quota); !ok) return ok;
    for (const auto& spec : config_.agents)
      if (auto ok = check("agent." + spec.name, spec.memory_quota.value_or(0)); !ok)
        return with_context(ok.error(), "memory_quota");
    return {};
  }

  /// An agent is never given more tasks than that at a time.
  Result<void> check_batches() const {
    for (const auto& spec : config_.agents)
      if (spec.batch_max > config_.tasks.in_flight_per_agent)
        return refuse("agent." + spec.name,
                      "batch_max: " + std::to_string(spec.batch_max) +
                          " is more than tasks.in_flight_per_agent, which is " +
                          std::to_string(config_.tasks.in_flight_per_agent) + "; raise that");
    return {};
  }

  Result<void> finish_agents() {
    auto& c = config_;
    const bool has_tables = c.origins.contains("agent");
    if (!has_tables) {
      if (c.swarm.agents > 0) {
        AgentSpec& generic = c.agents.emplace_back();
        generic.name = "generic";
        generic.count = c.swarm.agents;
        generic.capabilities = default_capabilities(AgentKind::generic, generic.name);
      }
      return {};
    }
    if (const auto origin = c.origins.find("swarm.agents");
        origin != c.origins.end() && origin->second == ConfigOrigin::file)
      return refuse("swarm.agents",
                    "counts the default agents, but there are [[agent]] tables; give count there");
    if (c.agents.size() > agent_kinds_max)
      return refuse("agent." + c.agents[agent_kinds_max].name,
                    "there are " + std::to_string(c.agents.size()) +
                        " kinds of agents; allowed: " + std::to_string(agent_kinds_max));
    std::uint32_t total = 0;
    for (const auto& spec : c.agents) {
      total += spec.count;
      if (total > agents_max)
        return refuse("agent." + spec.name, "with its " + std::to_string(spec.count) +
                                                " there are " + std::to_string(total) +
                                                " agents; allowed: " + std::to_string(agents_max));
    }
    c.swarm.agents = total;
    return {};
  }

  /// Names the flag, the variable or the line of the file that has to change.
  Error refuse(const std::string& key, const std::string& text) const {
    const auto origin = config_.origins.find(key);
    if (origin != config_.origins.end() && origin->second >= ConfigOrigin::environment)
      return usage(override_text(origin->second, key.substr(key.find('.') + 1)), text);
    const auto line = lines_.find(key);
    std::string where = config_.file.string();
    if (line != lines_.end()) where += ":" + std::to_string(line->second);
    return Error{ErrorCode::config, (where.empty() ? "" : where + ": ") + key + ": " + text};
  }

  const config_detail::SettingLines& lines_;
  Config& config_;
};

Result<Config> finish_config(Config config, const config_detail::SettingLines& lines,
                             const ConfigOverrides& environment, const ConfigOverrides& flags) {
  if (auto done = apply(environment, ConfigOrigin::environment, config); !done) return done.error();
  if (auto done = apply(flags, ConfigOrigin::flag, config); !done) return done.error();
  if (auto done = Finisher(lines, config).finish(); !done) return done.error();
  return config;
}

}  // namespace

Result<Config> parse_config(std::string_view text, const std::filesystem::path& file,
                            const ConfigOverrides& environment, const ConfigOverrides& flags) {
  Config config;
  config.file = file;
  auto lines = config_detail::read_toml(text, file, config);
  if (!lines) return lines.error();
  return finish_config(std::move(config), *lines, environment, flags);
}

Result<Config> load_config(const std::optional<std::filesystem::path>& file,
                           const ConfigOverrides& environment, const ConfigOverrides& flags) {
  if (!file) return finish_config({}, {}, environment, flags);
  std::error_code failure;
  const auto absolute = std::filesystem::absolute(*file, failure).lexically_normal();
  if (failure) return Error{ErrorCode::config, file->string() + ": " + failure.message()};
  const auto text = read_text(absolute);
  if (!text) return text.error();
  return parse_config(*text, absolute, environment, flags);
}

}  // namespace micro_swarm
