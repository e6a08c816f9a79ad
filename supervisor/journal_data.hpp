#pragma once

// What goes into the journal and comes back: plain values, so that the loop's thread and the
// journal's share nothing but them.

#include <cstddef>
#include <cstdint>
#include <cstring>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "common/result.hpp"
#include "shm/task_record_data.hpp"

namespace micro_swarm {

/// Names a task for good: unique in one journal, over all runs of the swarm that write it.
using DurableId = std::uint64_t;

inline constexpr std::size_t journal_key_bytes_max = 64;
/// A payload or result larger than this has no place in a journal (SQLite's own limit is 1 GB).
inline constexpr std::uint64_t journal_blob_bytes_max = 256ull << 20;

struct JournalAccept {
  DurableId id = 0;
  TaskId task = 0;  ///< comes back with the news that it is synced
  std::string_view capability;
  Priority priority = Priority::normal;
  std::uint32_t timeout_ms = 0;
  std::uint64_t accepted_us = 0;           ///< wall clock, microseconds since 1970
  bool is_again = false;                   ///< where it has ended, that is taken back
  std::span<const std::byte> options;      ///< opaque here: what else the submission asked for
  std::span<const DurableId> inputs;       ///< the tasks it depends on, in their order
  std::string_view key;                    ///< idempotency key; empty = none
  std::uint64_t request_hash[2] = {0, 0};  ///< XXH3-128; compared when the key is there already
};

struct JournalEnd {
  DurableId id = 0;
  TaskId task = 0;
  TaskState state = TaskState::done;  ///< terminal
  std::uint32_t attempts = 0;
  std::uint64_t ended_us = 0;
  bool has_inputs = false;  ///< of its own: nobody needs their results for it any longer
};

/// Entries in the order they were made; their bytes lie in one piece beside them.
struct JournalBatch {
  struct Bytes {
    std::uint64_t offset = 0;
    std::uint64_t size = 0;
  };
  struct Entry {
    DurableId id = 0;
    TaskId task = 0;
    std::uint64_t at_us = 0;
    std::uint64_t request_hash[2] = {0, 0};
    Bytes text, options, inputs, key, blob;  ///< text: the capability; blob: payload or result
    std::uint32_t timeout_ms = 0;
    std::uint32_t attempts = 0;
    TaskState state = TaskState::free;  ///< free = an acceptance, else an end
    Priority priority = Priority::normal;
    bool has_inputs = false;  ///< of an end
    bool is_again = false;    ///< of an acceptance
  };
  static constexpr std::size_t bytes_kept = 8u << 20;  ///< allocated, from batch to batch
  std::vector<Entry> entries;
  std::vector<std::byte> bytes;

  bool empty() const noexcept { return entries.empty(); }
  void clear() noexcept {
    entries.clear();
    bytes.clear();
    if (bytes.capacity() > bytes_kept) bytes = {};
  }
  const std::byte* at(Bytes where) const noexcept { return bytes.data() + where.offset; }
  Bytes add(const void* data, std::size_t size) {
    const Bytes where{bytes.size(), size};
    bytes.resize(bytes.size() + size);
    if (size != 0) std::memcpy(bytes.data() + where.offset, data, size);
    return where;
  }
  void append(const JournalBatch& other) {
    const std::uint64_t by = bytes.size();
    bytes.insert(bytes.end(), other.bytes.begin(), other.bytes.end());
    entries.reserve(entries.size() + other.entries.size());
    for (Entry entry : other.entries) {
      for (Bytes* where : {&entry.text, &entry.options, &entry.inputs, &entry.key, &entry.blob})
        where->offset += by;
      entries.push_back(entry);
    }
  }
};

/// What became of one entry, told after it was synced.
struct JournalSynced {
  enum class What : std::uint8_t {
    accepted,   ///< it is in the journal (also: was already, entered again after a death)
    duplicate,  ///< not entered: `other` has the same key and the same payload
    conflict,   ///< not entered: `other` has the same key and another payload
    ended
  };
  What what = What::accepted;
  TaskId task = 0;
  DurableId id = 0;
  DurableId other = 0;
};

/// Whose a key is.
struct JournalKey {
  DurableId id = 0;
  std::uint64_t request_hash[2] = {0, 0};
};

/// A row as it is on disk.
struct JournalRow {
  DurableId id = 0;
  std::string key;
  std::string capability;
  Priority priority = Priority::normal;
  std::uint32_t timeout_ms = 0;
  std::vector<std::byte> options;
  std::vector<DurableId> inputs;  ///< of a task that has not ended
  std::vector<std::byte> payload;
  TaskState state = TaskState::free;  ///< free = not ended
  std::uint32_t attempts = 0;
  std::vector<std::byte> result;
  std::uint64_t accepted_us = 0;
  std::uint64_t ended_us = 0;
};

struct JournalOptions {
  std::string path;
  /// Names the life of this swarm (from root's start to its end); the same for each of its
  /// supervisors.
  std::string run;
  /// Ended tasks; beyond that the oldest are deleted, but for those that unfinished ones depend on.
  std::uint64_t ended_kept = 100'000;
  bool check_all = true;  ///< look at every page once when opening
  std::string vfs;        ///< SQLite's; empty = the default one
};

}  // namespace micro_swarm
