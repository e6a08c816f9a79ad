#pragma once

// What goes into the cache and what comes out of it. Values only.

#include <cstddef>
#include <cstdint>
#include <string_view>
#include <vector>

#include "common/cache_options.hpp"
#include "shm/task_record_data.hpp"

namespace micro_swarm::caching {

/// {serial:32, slot:32}, high to low. The slot is below Settings::entries_max, and its owner's
/// table may have a row for it; the serial makes an id one entry's alone. 0 is no entry.
using EntryId = std::uint64_t;

constexpr EntryId make_entry_id(std::uint32_t slot, std::uint32_t serial) {
  return EntryId{serial} << 32 | slot;
}
constexpr std::uint32_t entry_slot(EntryId id) { return static_cast<std::uint32_t>(id); }
constexpr std::uint32_t entry_serial(EntryId id) { return static_cast<std::uint32_t>(id >> 32); }

/// A name has 1 to so many bytes; any bytes.
inline constexpr std::size_t name_bytes_max = 64;

struct Settings {
  Policy policy = Policy::lru;
  OnEviction on_eviction = OnEviction::drop;
  /// With compress: what is compressed already, or cannot be, is spilled rather than dropped.
  bool spill_compressed = false;
  /// Bytes of the pool it may have. More only for a while: what is being brought back.
  std::uint64_t capacity_bytes = 0;
  /// Bytes it may have on disk; those who would be evicted first are dropped from there.
  std::uint64_t spill_bytes_max = 0;
  /// Entries, wherever they are; constant for the cache's life.
  std::uint32_t entries_max = 4096;
  /// Once what is compressed has more than this share of the used bytes (0-100), what is compressed
  /// goes before what is not; until then the other way round.
  std::uint8_t compressed_percent_max = 50;
};

enum class State : std::uint8_t {
  plain,       ///< in the pool as it was put
  compressed,  ///< in the pool, smaller
  spilled,     ///< on disk
  restoring    ///< being brought back from one of those two
};

/// What somebody puts. `name` is copied.
struct NewEntry {
  std::string_view name;
  std::uint64_t bytes = 0;   ///< of the pool, from now on the cache's; at least 1
  std::uint64_t ttl_ns = 0;  ///< 0 = does not expire
  Priority priority = Priority::normal;
  /// Used already, by whoever writes the bytes: until unpin().
  bool is_pinned = false;
};

enum class Refusal : std::uint8_t {
  none,
  bad_name,      ///< empty or too long
  bad_size,      ///< 0 bytes
  bad_priority,  ///< none of the four
  duplicate,     ///< entries are immutable: it has to be erased first
  too_large,     ///< more than the capacity
  table_full,    ///< entries_max, and nobody of its priority or a lower one can go
  no_room        ///< not now: what is there is pinned, of a higher priority, or on its way out
};

struct PutAnswer {
  Refusal refusal = Refusal::none;
  EntryId id = 0;  ///< where nothing was refused
};

struct LookupAnswer {
  enum class Kind : std::uint8_t {
    miss,
    hit,       ///< pinned for the reader, and readable
    restoring  ///< pinned, and not readable before it is told to restored()
  };
  Kind kind = Kind::miss;
  EntryId id = 0;
};

/// What `need` did.
struct Freed {
  std::uint64_t bytes = 0;            ///< at once, by the drops among the actions
  std::uint64_t bytes_under_way = 0;  ///< about to come by answers to compress and spill; estimated
};

/// Why an entry is gone.
enum class Cause : std::uint8_t {
  none,
  evicted,
  expired,
  erased,
  lost  ///< it could not be brought back
};

struct Action {
  enum class Kind : std::uint8_t {
    drop,      ///< free its memory and file; the id means nothing any more
    compress,  ///< then compressed(), exactly once
    spill,     ///< then spilled(), exactly once
    restore    ///< into `bytes` of new memory, then restored(), exactly once
  };
  Kind kind{};
  Cause cause = Cause::none;  ///< drop
  State from{};               ///< what it is now: where the bytes to work on are
  EntryId id = 0;
  std::uint64_t bytes = 0;  ///< as they were put
};
using Actions = std::vector<Action>;

/// All a successor needs to know of an entry, as its table has it.
struct Record {
  EntryId id = 0;
  std::string_view name;
  std::uint64_t bytes = 0;         ///< as they were put
  std::uint64_t stored_bytes = 0;  ///< as they are now, in the pool or on disk
  State state = State::plain;      ///< never restoring: that is what it is restored from
  Priority priority = Priority::normal;
  std::uint32_t pins = 0;
  std::uint64_t uses = 1;  ///< the putting included
  std::uint64_t stored_ns = 0;
  std::uint64_t last_use_ns = 0;
  std::uint64_t expires_ns = 0;  ///< 0 = never
  bool incompressible = false;   ///< tried once
};

/// One for each policy, of the time it was in force. `bytes_*` are bytes of the pool, and balance:
/// inserted + adopted + restored = used + evicted + expired + erased + lost + saved + spilled +
/// replaced, over all policies.
struct Counters {
  std::uint64_t hits = 0;  ///< those that had to be brought back included
  std::uint64_t misses = 0;
  std::uint64_t insertions = 0;
  std::uint64_t refusals = 0;
  std::uint64_t evictions = 0;  ///< dropped to make room, in the pool or on disk
  std::uint64_t expirations = 0;
  std::uint64_t erasures = 0;
  std::uint64_t losses = 0;
  std::uint64_t compressed = 0;
  std::uint64_t incompressible = 0;
  std::uint64_t spilled = 0;
  std::uint64_t restored = 0;
  std::uint64_t bytes_inserted = 0;
  std::uint64_t bytes_adopted = 0;
  std::uint64_t bytes_restored = 0;  ///< taken to bring back
  std::uint64_t bytes_evicted = 0;
  std::uint64_t bytes_expired = 0;
  std::uint64_t bytes_erased = 0;
  std::uint64_t bytes_lost = 0;
  std::uint64_t bytes_saved = 0;     ///< by compression
  std::uint64_t bytes_spilled = 0;   ///< out of the pool
  std::uint64_t bytes_replaced = 0;  ///< compressed copies, once brought back
};

std::string_view name_of(State state);
std::string_view name_of(Refusal refusal);

}  // namespace micro_swarm::caching
