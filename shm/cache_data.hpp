#pragma once

// The cache's table in the supervisor's segment: one row per entry. Bytes only; only the supervisor
// writes it, and a new one rebuilds its cache from it (supervisor/cache_rows.hpp has the steps of a
// row's life and what a death leaves of each).
//
// A row has two holds in the supervisor's hold array. One is the row's current one: the right of
// the cache itself to the region where the entry lies. The other is where the next copy of the
// entry comes to be (compressed, or brought back), or, while a row is being filled, the right to
// the region that somebody handed over with the bytes. One store of `word` is each commit.

#include "shm/segment_data.hpp"
#include "shm/task_record_data.hpp"

namespace micro_swarm {

inline constexpr std::uint32_t cache_name_bytes_max = 64;

enum class CacheRowState : std::uint8_t {
  free = 0,
  filling,     ///< hold 0: its region, being written; hold 1: the bytes as they were handed over
  plain,       ///< current hold: as it was put
  compressed,  ///< current hold: a packed block (common/compression.hpp)
  spilled,     ///< in a file, as a packed block
};

/// {serial:32, 0:16, current:8, state:8}. The serial is that of the row's entry, also after its end
/// (0: the row was never used, and no row behind it), and is never used again.
struct CacheWord {
  std::uint64_t word = 0;
  static constexpr CacheWord make(std::uint32_t serial, CacheRowState state, unsigned current) {
    return CacheWord{std::uint64_t{serial} << 32 | std::uint64_t{current & 1} << 8 |
                     static_cast<std::uint64_t>(state)};
  }
  constexpr std::uint32_t serial() const { return static_cast<std::uint32_t>(word >> 32); }
  constexpr CacheRowState state() const { return static_cast<CacheRowState>(word & 0xff); }
  constexpr unsigned current() const { return (word >> 8) & 1; }
  friend constexpr bool operator==(CacheWord, CacheWord) = default;
};

struct alignas(64) CacheRow {
  Word word;
  // Constant from `filling` on, and covered by the checksum.
  std::uint64_t bytes;       ///< as they were put
  std::uint64_t put_key;     ///< client_key() of who put it
  std::uint64_t put_number;  ///< its request
  std::uint64_t stored_ns;
  std::uint64_t expires_ns;  ///< 0 = never
  char name[cache_name_bytes_max];
  std::uint8_t name_bytes;
  Priority priority;
  std::uint8_t reserved[6];
  std::uint64_t checksum;  ///< XXH3-64 of the serial and the above
  // Each of these is one store.
  std::uint64_t stored_bytes[2];  ///< by hold: bytes in its region
  std::uint64_t file_bytes;       ///< spilled
  std::uint64_t last_use_ns;
  std::uint64_t uses;
  std::uint64_t incompressible;  ///< tried once
};
static_assert(sizeof(CacheRow) == 192 && std::is_standard_layout_v<CacheRow>);

/// What was set while the swarm ran. The first word is 0 until then, and is stored last.
struct CacheSettingsRow {
  Word chosen;  ///< {1:1, policy:8, on_eviction:8}
  std::uint64_t capacity_bytes;
};
static_assert(sizeof(CacheSettingsRow) <= 64);

/// Of the supervisor's hold array: the first for a reader's right on its way out, then two a row.
constexpr std::uint32_t cache_holds(std::uint32_t entries) {
  return entries == 0 ? 0 : 1 + 2 * entries;
}

}  // namespace micro_swarm
