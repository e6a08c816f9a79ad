#pragma once

// Whether this machine, and what it grants this process, carry a swarm of the configured size.
// Asked once before anything is started: later it could only fail half-way.

#include <sys/resource.h>

#include <cstdint>
#include <string>

#include "common/config.hpp"
#include "common/result.hpp"

namespace micro_swarm {

/// What a swarm takes, computed from its configuration.
struct SwarmNeeds {
  std::uint64_t descriptors_min = 0;      ///< in root and in the supervisor each
  std::uint64_t descriptors_wanted = 0;   ///< with every client slot and bank in use
  std::uint64_t memory_bytes = 0;         ///< pool and control memory of the whole swarm
  std::uint64_t address_space_bytes = 0;  ///< of the supervisor, which maps everything
  std::uint64_t file_size_bytes_max = 0;  ///< of the largest single memfd
};
SwarmNeeds needs_of(const Config& config);

/// Bytes that could be allocated now: MemAvailable and free swap, or less where a memory cgroup
/// (v1 or v2) of this process or one of its ancestors leaves less. `limited_by` says which it was.
/// Unreadable sources do not limit. `root` is prefixed to the absolute paths that are read.
struct AvailableMemory {
  std::uint64_t bytes = UINT64_MAX;
  std::string limited_by = "nothing";
};
AvailableMemory available_memory(const std::string& root = "");

/// Checks memory, RLIMIT_AS and RLIMIT_FSIZE, and raises the soft RLIMIT_NOFILE as far as it helps.
/// Returns the soft limit found before. Errors (system) name the limit, what is needed, what is
/// there and what to change.
Result<rlim_t> prepare_limits(const SwarmNeeds& needs, const AvailableMemory& memory);

}  // namespace micro_swarm
