#pragma once

// Words of the configuration that the cache and the configuration share. Values only.

#include <cstdint>
#include <string_view>

namespace micro_swarm::caching {

/// Who goes first when memory is short, inside one priority.
enum class Policy : std::uint8_t {
  lru,   ///< whose last reader let go longest ago
  lfu,   ///< the fewest uses, then as lru. Uses are never forgotten: what was hot long ago stays
         ///< until it is erased, expires, or is of a lower priority
  fifo,  ///< who came first
  ttl    ///< who expires next; those that never do come last, as fifo
};
inline constexpr unsigned policies = 4;

/// What becomes of an entry that has to make room.
enum class OnEviction : std::uint8_t { drop, compress, spill };

constexpr std::string_view name_of(Policy policy) {
  switch (policy) {
    case Policy::lru: return "lru";
    case Policy::lfu: return "lfu";
    case Policy::fifo: return "fifo";
    case Policy::ttl: return "ttl";
  }
  return "unknown";
}

constexpr std::string_view name_of(OnEviction what) {
  switch (what) {
    case OnEviction::drop: return "drop";
    case OnEviction::compress: return "compress";
    case OnEviction::spill: return "spill";
  }
  return "unknown";
}

}  // namespace micro_swarm::caching
