#pragma once

// What a submission asked for beyond its request, as the journal keeps it: the column `options`.
// Dependencies, key and payload have columns and tables of their own.

#include <cstring>
#include <span>
#include <vector>

#include "shm/task_record_data.hpp"

namespace micro_swarm {

/// 1: as it was first; 2: with flags. Rows without flags are written as 1, which every version can
/// read.
inline constexpr std::uint16_t durable_options_version = 2;
/// DurableOptions::flags: the payload is a packed block.
inline constexpr std::uint16_t durable_payload_compressed = 1;

struct DurableOptions {
  std::uint16_t version = 1;
  std::uint16_t retries = 0;
  std::uint16_t cpu_slots = 0;
  std::uint16_t min_version = 0;
  std::uint32_t deadline_ms = 0;
  std::uint32_t retry_backoff_ms = 0;
  std::uint32_t resource_regions = 0;
  std::uint8_t on_dependency_failure = 0;
  std::uint8_t category_bytes = 0;
  std::uint16_t flags = 0;
  std::uint64_t resource_bytes = 0;
  char category[task_category_bytes_max] = {};
};
static_assert(sizeof(DurableOptions) == 64 && std::is_trivially_copyable_v<DurableOptions>);

inline DurableOptions durable_options(const TaskOptionsRow& from) {
  DurableOptions to;
  to.retries = from.retries;
  to.cpu_slots = from.cpu_slots;
  to.min_version = from.min_version;
  to.deadline_ms = from.deadline_ms;
  to.retry_backoff_ms = from.retry_backoff_ms;
  to.resource_regions = from.resource_regions;
  to.on_dependency_failure = static_cast<std::uint8_t>(from.on_dependency_failure);
  to.category_bytes = from.category_bytes;
  to.resource_bytes = from.resource_bytes;
  std::memcpy(to.category, from.category, sizeof to.category);
  return to;
}

/// Into `to`, all but key and dependencies; and the flags. False: nothing this version has written.
/// Empty bytes are no options.
inline bool read_durable_options(std::span<const std::byte> bytes, TaskOptionsRow& to,
                                 std::uint16_t& flags) {
  flags = 0;
  if (bytes.empty()) return true;
  DurableOptions from;
  if (bytes.size() != sizeof from) return false;
  std::memcpy(&from, bytes.data(), sizeof from);
  if (from.version == 0 || from.version > durable_options_version ||
      (from.flags & ~durable_payload_compressed) != 0 ||
      from.category_bytes > task_category_bytes_max ||
      from.on_dependency_failure > static_cast<std::uint8_t>(OnDependencyFailure::run))
    return false;
  to.retries = from.retries;
  to.cpu_slots = from.cpu_slots;
  to.min_version = from.min_version;
  to.deadline_ms = from.deadline_ms;
  to.retry_backoff_ms = from.retry_backoff_ms;
  to.resource_regions = from.resource_regions;
  to.on_dependency_failure = static_cast<OnDependencyFailure>(from.on_dependency_failure);
  to.category_bytes = from.category_bytes;
  to.resource_bytes = from.resource_bytes;
  std::memcpy(to.category, from.category, sizeof to.category);
  flags = from.flags;
  return true;
}

}  // namespace micro_swarm
