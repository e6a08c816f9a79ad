#pragma once

// The cache's ring messages. Every request has a number, which its party gives out one by one; an
// answer names it. After a supervisor's death the party repeats what was not answered, and takes
// one answer to each.
//
//   cache_get    party -> S, data lane: word 0 number; words 1, 2 the name's CacheKey
//   cache_erase  the same
//   cache_put    party -> S, data lane; token = the region with the bytes from its start on and the
//                name behind them (its right passes to S and comes home when they are copied);
//                region_bytes = both; word 0 number; word 1 bytes; word 2 CachePutWord.
//                Without a token: what became of the put of that number?
//   cache_answer S -> party, data lane: word 0 number; word 1 CacheAnswerWord. With `found` the
//                token is a right of the party's own to the entry, from the region's start on;
//                region_bytes = the entry's.
//
// A party has at most so many requests unanswered (cache_requests_max); more only block its ring.

#include <cstdint>
#include <string_view>

#include "common/ids.hpp"
#include "shm/cache_data.hpp"

namespace micro_swarm {

constexpr std::uint32_t cache_requests_max(PartyId party) { return is_agent(party) ? 8 : 256; }

/// XXH3-128 of a name.
struct CacheKey {
  std::uint64_t words[2] = {};
  friend bool operator==(const CacheKey&, const CacheKey&) = default;
};
CacheKey cache_key(std::string_view name) noexcept;

/// {ttl_ms:32, 0:8, flags:8, priority:8, name_bytes:8}; ttl 0 = does not expire.
struct CachePutWord {
  std::uint64_t word = 0;
  static constexpr CachePutWord make(std::uint32_t ttl_ms, Priority priority,
                                     std::size_t name_bytes) {
    return CachePutWord{std::uint64_t{ttl_ms} << 32 | static_cast<std::uint64_t>(priority) << 8 |
                        (name_bytes & 0xff)};
  }
  constexpr std::uint32_t ttl_ms() const { return static_cast<std::uint32_t>(word >> 32); }
  constexpr std::uint8_t flags() const { return static_cast<std::uint8_t>(word >> 16); }
  constexpr std::uint8_t priority() const { return static_cast<std::uint8_t>(word >> 8); }
  constexpr std::uint8_t name_bytes() const { return static_cast<std::uint8_t>(word); }
};

enum class CacheAnswer : std::uint8_t {
  miss = 1,  ///< get, erase: there is no such entry
  found,     ///< get
  stored,    ///< put
  erased,    ///< erase
  refused,   ///< get, put; why is beside it
};
inline constexpr CacheAnswer last_cache_answer = CacheAnswer::refused;

enum class CacheRefusal : std::uint8_t {
  none = 0,
  bad_name,
  bad_size,
  bad_priority,
  duplicate,    ///< entries are immutable: erase it first
  too_large,    ///< more than the cache's capacity
  table_full,   ///< cache.entries_max
  no_room,      ///< not now: what is there is in use or more important, or the pool is full
  busy,         ///< get: as many readers as an entry can have (31) read it now
  malformed,    ///< the request makes no sense
  stopping,     ///< the swarm takes nothing new
  interrupted,  ///< put: a supervisor died over it, or it is gone already: look, or put it again
};
inline constexpr CacheRefusal last_cache_refusal = CacheRefusal::interrupted;
std::string_view name_of(CacheRefusal refusal);
/// One sentence for whoever asked.
std::string_view text_of(CacheRefusal refusal);

/// {party's incarnation:16, 0:32, refusal:8, answer:8}.
struct CacheAnswerWord {
  std::uint64_t word = 0;
  static constexpr CacheAnswerWord make(CacheAnswer answer, CacheRefusal refusal,
                                        Incarnation incarnation) {
    return CacheAnswerWord{std::uint64_t{incarnation} << 48 |
                           static_cast<std::uint64_t>(refusal) << 8 |
                           static_cast<std::uint64_t>(answer)};
  }
  constexpr std::uint8_t answer() const { return static_cast<std::uint8_t>(word); }
  constexpr std::uint8_t refusal() const { return static_cast<std::uint8_t>(word >> 8); }
  constexpr Incarnation incarnation() const { return static_cast<Incarnation>(word >> 48); }
};

}  // namespace micro_swarm
