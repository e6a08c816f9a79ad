#include "supervisor/run_limits.hpp"

#include <algorithm>
#include <fstream>
#include <optional>
#include <sstream>
#include <vector>

#include "common/size_text.hpp"
#include "shm/supervisor_data.hpp"
#include "supervisor/root_protocol.hpp"

namespace micro_swarm {

namespace {

constexpr std::uint64_t kib = 1024;
constexpr std::uint64_t mib = kib * kib;

/// Party socket, segment, bell page, pidfd, log pipe, and the predecessor's segment.
constexpr std::uint64_t descriptors_per_agent = 6;
constexpr std::uint64_t descriptors_per_client = 5;  ///< the same without pipe
constexpr std::uint64_t descriptors_per_template = 2;
constexpr std::uint64_t descriptors_spare = 64;  ///< epoll, timers, state files, what is in flight
constexpr std::uint64_t control_connections = 256;
constexpr std::uint64_t memory_per_agent = 200 * kib;    ///< private pages and page tables
constexpr std::uint64_t memory_base = 8 * mib;           ///< root, supervisor, plain template
constexpr std::uint64_t address_space_base = 512 * mib;  ///< code, heap, stacks

std::optional<std::string> read_text(const std::string& path) {
  std::ifstream file(path);
  if (!file) return std::nullopt;
  std::ostringstream text;
  text << file.rdbuf();
  return text.str();
}

/// The number behind `key` at the start of a line, or of the whole file for an empty key.
/// nullopt: not there, or a word such as "max".
std::optional<std::uint64_t> read_number(const std::string& path, std::string_view key = {}) {
  const auto text = read_text(path);
  if (!text) return std::nullopt;
  std::istringstream lines(*text);
  for (std::string line; std::getline(lines, line);) {
    if (!line.starts_with(key)) continue;
    std::uint64_t value = 0;
    std::istringstream rest(line.substr(key.size()));
    if (rest >> value) return value;
    return std::nullopt;
  }
  return std::nullopt;
}

struct CgroupFiles {
  std::string mount;  ///< where the hierarchy is mounted
  const char* limit;
  const char* usage;
  const char* reclaimable;  ///< line of memory.stat
};

/// What the group at `path` and each of its ancestors leave.
void limit_by_cgroup(const CgroupFiles& files, std::string path, AvailableMemory& available) {
  // In a container the path may be the host's, of which only the end, or nothing, is mounted here.
  for (;;) {
    const std::string group = files.mount + path;
    const auto limit = read_number(group + "/" + files.limit);
    const auto usage = read_number(group + "/" + files.usage);
    if (limit && usage) {
      const auto cache = read_number(group + "/memory.stat", files.reclaimable).value_or(0);
      const std::uint64_t used = *usage > cache ? *usage - cache : 0;
      const std::uint64_t left = *limit > used ? *limit - used : 0;
      if (left < available.bytes) available = {left, "the memory limit of its cgroup"};
    }
    if (path.empty()) return;
    path.erase(path.find_last_of('/'));
  }
}

void limit_by_cgroups(const std::string& root, AvailableMemory& available) {
  const auto memberships = read_text(root + "/proc/self/cgroup");
  if (!memberships) return;
  std::istringstream lines(*memberships);
  for (std::string line; std::getline(lines, line);) {  // number:controllers:path
    const auto first = line.find(':');
    const auto second = line.find(':', first + 1);
    if (first == std::string::npos || second == std::string::npos) continue;
    const std::string controllers = "," + line.substr(first + 1, second - first - 1) + ",";
    std::string path = line.substr(second + 1);
    if (path == "/" || !path.starts_with('/')) path.clear();
    if (controllers == ",,") {
      for (const char* mount : {"/sys/fs/cgroup", "/sys/fs/cgroup/unified"})
        limit_by_cgroup({root + mount, "memory.max", "memory.current", "inactive_file "}, path,
                        available);
    } else if (controllers.find(",memory,") != std::string::npos) {
      limit_by_cgroup({root + "/sys/fs/cgroup/memory", "memory.limit_in_bytes",
                       "memory.usage_in_bytes", "total_inactive_file "},
                      path, available);
    }
  }
}

Error too_low(const std::string& text) { return Error{ErrorCode::system, text, 0}; }

Result<rlim_t> raise_descriptors(const SwarmNeeds& needs) {
  rlimit limit{};
  if (::getrlimit(RLIMIT_NOFILE, &limit) != 0) return system_error("getrlimit(NOFILE)", errno);
  if (limit.rlim_max < needs.descriptors_min)
    return too_low(
        "this swarm needs " + std::to_string(needs.descriptors_min) +
        " open files, and the hard limit is " + std::to_string(limit.rlim_max) +
        ": raise it (`ulimit -Hn`, LimitNOFILE= of a systemd unit), or run fewer agents");
  const rlim_t before = limit.rlim_cur;
  const rlim_t wanted = std::min<rlim_t>(needs.descriptors_wanted, limit.rlim_max);
  if (before >= wanted) return before;
  limit.rlim_cur = wanted;
  if (::setrlimit(RLIMIT_NOFILE, &limit) != 0) return system_error("setrlimit(NOFILE)", errno);
  return before;
}

}  // namespace

SwarmNeeds needs_of(const Config& config) {
  std::uint64_t agents = 0;
  for (const AgentSpec& spec : config.agents) agents += spec.count;
  const std::uint64_t pool = config.memory.pool_size;
  const std::uint64_t banks = std::min<std::uint64_t>(
      banks_max, pool / std::max<std::uint64_t>(config.memory.region_size, 1) + agents);
  const std::uint64_t fixed =
      descriptors_spare + (config.agents.size() + 1) * descriptors_per_template;

  SwarmNeeds needs;
  needs.descriptors_min =
      fixed + agents * descriptors_per_agent + std::min(banks, pool / mib + agents);
  needs.descriptors_wanted = fixed + std::uint64_t{agents_max} * descriptors_per_agent +
                             clients_max * descriptors_per_client + control_connections + banks_max;
  const std::uint64_t records =
      std::uint64_t{config.tasks.queue_size} * (sizeof(TaskRecord) + 2 * sizeof(Hold));
  const std::uint64_t cache_table =
      std::uint64_t{config.cache.entries_max} * (sizeof(CacheRow) + 2 * sizeof(Hold));
  needs.memory_bytes = pool + records + cache_table + agents * memory_per_agent + memory_base;
  const std::uint64_t own_segment =
      supervisor_layout(config.tasks.queue_size, config.cache.entries_max).size_bytes;
  const std::uint64_t party_segment = party_layout(0).size_bytes;
  needs.address_space_bytes = own_segment + pool + agents * party_segment + address_space_base;
  needs.file_size_bytes_max = std::max({own_segment, party_segment, mib});
  return needs;
}

AvailableMemory available_memory(const std::string& root) {
  AvailableMemory available;
  const std::string meminfo = root + "/proc/meminfo";
  if (const auto free_kib = read_number(meminfo, "MemAvailable:"))
    available = {(*free_kib + read_number(meminfo, "SwapFree:").value_or(0)) * kib,
                 "this machine's free memory"};
  limit_by_cgroups(root, available);
  return available;
}

Result<rlim_t> prepare_limits(const SwarmNeeds& needs, const AvailableMemory& memory) {
  if (memory.bytes < needs.memory_bytes)
    return too_low("this swarm needs " + rounded_size_text(needs.memory_bytes) +
                   " of memory, and " + memory.limited_by + " leaves " +
                   rounded_size_text(memory.bytes) +
                   ": lower memory.pool_size, tasks.queue_size or the number of agents");
  rlimit limit{};
  if (::getrlimit(RLIMIT_AS, &limit) == 0 && limit.rlim_cur < needs.address_space_bytes)
    return too_low("this swarm needs " + rounded_size_text(needs.address_space_bytes) +
                   " of address space, and the limit is " + rounded_size_text(limit.rlim_cur) +
                   ": raise it (`ulimit -v`), or lower memory.pool_size or tasks.queue_size");
  if (::getrlimit(RLIMIT_FSIZE, &limit) == 0 && limit.rlim_cur < needs.file_size_bytes_max)
    return too_low("this swarm needs shared memory files of " +
                   rounded_size_text(needs.file_size_bytes_max) +
                   ", and the limit of file size is " + rounded_size_text(limit.rlim_cur) +
                   ": raise it (`ulimit -f`)");
  return raise_descriptors(needs);
}

}  // namespace micro_swarm
