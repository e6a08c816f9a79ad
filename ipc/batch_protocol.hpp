#pragma once

// Submissions with options, and many at once: what lies in the region that a `submit_batch` message
// brings. A client writes it, the supervisor copies it and then reads the copy: a liar that changes
// it afterwards changes nothing.
//
//   at the message's offset:  BatchHeader, then `count` entries, each a multiple of 8 bytes:
//                             BatchEntryData, BatchDependency[], category, key, inline payload
//   anywhere else in the region:  the payloads that are larger than a message

#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <string_view>
#include <type_traits>
#include <vector>

#include "ipc/party_protocol.hpp"

namespace micro_swarm {

inline constexpr std::uint32_t batch_magic = 0x4842534d;  // "MSBH"
inline constexpr std::uint16_t batch_version = 1;

struct BatchHeader {
  std::uint32_t magic = batch_magic;
  std::uint16_t version = batch_version;
  std::uint16_t reserved = 0;
  std::uint32_t count = 0;
  std::uint32_t bytes = 0;  ///< this header and all entries
};
static_assert(sizeof(BatchHeader) == 16);

struct BatchDependency {
  enum class Kind : std::uint64_t {
    number = 0,  ///< a submission of this client: earlier, or anywhere in this batch
    task = 1,    ///< a TaskId, of whomever
  };
  Kind kind = Kind::number;
  std::uint64_t value = 0;
};
static_assert(sizeof(BatchDependency) == 16);

struct BatchEntryData {
  std::uint32_t entry_bytes = 0;  ///< this and what follows it, padded to 8
  std::uint16_t capability = 0;
  std::uint8_t priority = 0;
  std::uint8_t flags = 0;            ///< submit_detached, submit_compressed (not inline)
  std::uint64_t payload_offset = 0;  ///< in the region; a multiple of 16
  std::uint32_t payload_bytes = 0;   ///< 0 = the payload is inline
  std::uint32_t timeout_ms = 0;
  std::uint32_t deadline_ms = 0;
  std::uint32_t retry_backoff_ms = 0;
  std::uint64_t resource_bytes = 0;
  std::uint32_t resource_regions = 0;
  std::uint16_t retries = 0;
  std::uint16_t cpu_slots = 0;
  std::uint16_t min_version = 0;
  std::uint8_t on_dependency_failure = 0;
  std::uint8_t dependency_count = 0;
  std::uint8_t category_bytes = 0;
  std::uint8_t key_bytes = 0;
  std::uint8_t inline_bytes = 0;
  std::uint8_t reserved = 0;
};
static_assert(sizeof(BatchEntryData) == 56 && std::is_trivially_copyable_v<BatchEntryData>);

inline constexpr std::size_t batch_entry_bytes_max =
    sizeof(BatchEntryData) + task_dependencies_max * sizeof(BatchDependency) +
    task_category_bytes_max + idempotency_key_bytes_max + task_inline_bytes_max;
static_assert(batch_entry_bytes_max % 8 == 0);
inline constexpr std::uint64_t batch_payload_alignment = 16;

/// One entry; the views point into the bytes it was read from, or that the writer has.
struct BatchEntry {
  BatchEntryData data;
  std::span<const BatchDependency> dependencies;
  std::string_view category;
  std::string_view key;
  std::span<const std::byte> inline_payload;
};

/// Appends `entry` in its form in the region; sets its sizes and counts. The views are within the
/// limits.
void append_entry(std::vector<std::byte>& bytes, BatchEntry entry);

/// Why a batch was not taken, and because of which entry.
struct BatchRefused {
  ErrorCode code = ErrorCode::protocol;
  SubmitRefusal reason = SubmitRefusal::malformed;
  std::uint32_t entry = 0;
};

/// Reads a copy of what lies at the message's offset, header included. `words` is 8-aligned
/// storage; entries point into it. `count` is what the message said, `region_bytes` how much the
/// region holds. Checks all that can be checked without knowing the swarm: sizes, ranges, texts.
std::optional<BatchRefused> parse_batch(std::span<const std::uint64_t> words, std::uint32_t count,
                                        std::uint64_t region_bytes,
                                        std::vector<BatchEntry>& entries);

}  // namespace micro_swarm
