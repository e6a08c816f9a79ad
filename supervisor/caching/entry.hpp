#pragma once

// One cached entry, and the list of those with equally many uses.

#include <array>
#include <boost/intrusive/list.hpp>
#include <boost/intrusive/list_hook.hpp>
#include <boost/intrusive/set_hook.hpp>
#include <boost/intrusive/unordered_set_hook.hpp>
#include <cstdint>
#include <limits>

#include "supervisor/caching/types.hpp"

namespace micro_swarm::caching {

inline constexpr std::uint64_t never = std::numeric_limits<std::uint64_t>::max();

namespace intrusive = boost::intrusive;
using Unchecked = intrusive::link_mode<intrusive::normal_link>;
using TreeHook = intrusive::set_member_hook<Unchecked, intrusive::optimize_size<true>>;
using ListHook = intrusive::list_member_hook<Unchecked>;
using NameHook = intrusive::unordered_set_member_hook<Unchecked, intrusive::store_hash<true>>;

struct Frequency;
class EvictionOrder;

struct alignas(64) Entry {
  // All that an eviction touches of an entry that does not expire is two cache lines.
  ListHook in_list;        ///< while evictable under lru or lfu
  NameHook in_names;       ///< until doomed
  EvictionOrder* order{};  ///< that knows it, or nullptr
  Frequency* frequency{};  ///< lfu, while an order knows it
  std::uint64_t expires_ns = never;
  EntryId id = 0;  ///< 0 = the slot is free
  // ---
  std::uint64_t bytes = 0;  ///< as they were put
  std::uint64_t pool_bytes = 0;
  std::uint64_t disk_bytes = 0;
  std::uint64_t expected = 0;  ///< by the job under way: what it is thought to free
  std::uint32_t pins = 0;
  State state = State::plain;
  State from = State::plain;  ///< restoring
  Priority priority = Priority::normal;
  enum class Job : std::uint8_t { none, compress, spill } job = Job::none;
  Cause doomed = Cause::none;  ///< has no name any more, goes as soon as nobody needs it
  bool evictable = false;
  bool cancelled = false;       ///< the job's outcome is not wanted any more
  bool incompressible = false;  ///< tried once
  bool unspillable = false;     ///< failed once
  std::uint8_t name_bytes = 0;
  // ---
  TreeHook in_tree;           ///< while evictable under fifo or ttl
  std::uint64_t arrival = 0;  ///< place in the order of coming
  std::int64_t touched = 0;   ///< place in the order of letting go; no two are equal
  std::uint64_t uses = 0;
  // ---
  TreeHook in_expiries;  ///< if it expires, until doomed
  std::uint64_t stored_ns = 0;
  std::uint64_t last_use_ns = 0;
  std::array<char, name_bytes_max> name_chars{};

  std::string_view name() const { return {name_chars.data(), name_bytes}; }
  /// Somebody works with its bytes: it cannot go.
  bool in_use() const { return pins != 0 || job != Job::none || state == State::restoring; }
};

using EntryList = intrusive::list<Entry, intrusive::member_hook<Entry, ListHook, &Entry::in_list>,
                                  intrusive::constant_time_size<false>>;

/// The entries used equally often, as in the paper eviction_order.hpp names.
struct Frequency {
  std::uint64_t uses = 0;
  std::uint32_t members = 0;  ///< those that cannot be evicted just now included
  EntryList evictable;        ///< as they were let go
  TreeHook in_frequencies;
};

}  // namespace micro_swarm::caching
