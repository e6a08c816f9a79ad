#pragma once

// The steps of a cache row's life, store by store, on the rows and holds in the supervisor's
// segment. The supervisor may die between any two stores; beside each step stands what that leaves
// and what survey() makes of it. No heap but survey()'s answer, no system call, no clock.
//
//   free --begin_fill--> filling --commit--> plain <--commit--> compressed
//     ^                     |                  |  ^                |
//     +-------forget--------+------------------+  +---- spilled ---+
//
// A row that is free has no rights: whatever its holds still carry goes home. A row that is plain
// or compressed has the right its current hold carries; the other one's goes home.

#include <functional>
#include <span>
#include <string_view>
#include <vector>

#include "ipc/transfer.hpp"
#include "shm/cache_data.hpp"

namespace micro_swarm {

/// What is constant of an entry.
struct CacheRowFacts {
  std::uint32_t serial = 0;
  std::string_view name;
  Priority priority = Priority::normal;
  std::uint64_t bytes = 0;
  std::uint64_t put_key = 0;
  std::uint64_t put_number = 0;
  std::uint64_t stored_ns = 0;
  std::uint64_t expires_ns = 0;
};

inline CacheWord word_of(const CacheRow& row) noexcept { return CacheWord{load(row.word)}; }

std::uint64_t row_checksum(const CacheRow& row, std::uint32_t serial) noexcept;

/// Of a free row. Hold 0 carries the right to the entry's new region; `source` (empty) is hold 1
/// and gets the token that came with the message in hand.
void begin_fill(CacheRow& row, Hold& source, const CacheRowFacts& facts, Token token,
                MessageInHand in_hand) noexcept;

/// The current hold and the state, in one store: before it the row is as it was and the other hold
/// counts for nothing, after it the old one does. What the new state needs of the row
/// (stored_bytes, file_bytes) is written before; the right that is not needed any more goes home
/// after.
inline void commit(CacheRow& row, CacheRowState state, unsigned current) noexcept {
  store(row.word, CacheWord::make(word_of(row).serial(), state, current).word);
}

/// Nobody finds it from here on. Then its rights go home.
inline void forget(CacheRow& row) noexcept { commit(row, CacheRowState::free, 0); }

/// What a predecessor left of one row.
struct CacheRowFound {
  enum class Kind : std::uint8_t {
    entry,        ///< there, as `word` says
    interrupted,  ///< was being filled, and hold 1 has the bytes: begin again
    remains,      ///< nothing but rights and perhaps a file to give back
    damaged,      ///< the same, and its row makes no sense
  };
  Kind kind{};
  std::uint32_t slot = 0;
  CacheWord word;
};

/// Every used row that is not free and empty. `holds` are the cache's (cache_holds()), settled as
/// all of the supervisor's. `is_readable(token, bytes)`: an outstanding right to a region of the
/// cache's, with room for the bytes; `is_source(token, bytes)`: an outstanding right of a party's.
/// Repeatable: it changes nothing.
std::vector<CacheRowFound> survey(std::span<const CacheRow> rows, const Hold* holds,
                                  const std::function<bool(Token, std::uint64_t)>& is_readable,
                                  const std::function<bool(Token, std::uint64_t)>& is_source);

/// How many rows were ever used: the first ones.
std::uint32_t used_rows(std::span<const CacheRow> rows) noexcept;

}  // namespace micro_swarm
