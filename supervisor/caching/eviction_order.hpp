#pragma once

// Who is evicted next, among entries of one priority and one state.
//
//           first()                             hold(), release()     used()
//   lru     O(1): the head of a list            O(1)                  -
//   lfu     O(1), plus one step for each use    O(1)                  O(1)
//           count that only held entries have
//   fifo,   O(1): the leftmost of a tree        O(log n)              -
//   ttl
//
// Linked as Shah, Mitra and Matani have it ("An O(1) algorithm for implementing the LFU cache
// eviction scheme", 2010): one list for each number of uses, and an entry that is used goes to the
// list beside. The lists hang in a tree instead of a list, so that an entry which comes with some
// uses already (compressed, brought back, adopted) finds its own in O(log of the different counts);
// stepping to the neighbour and removing there are amortised O(1) as well. Where there are equally
// many uses, who was let go first goes first.
//
// Trees for fifo and ttl, because a held entry comes back to its own place, not to an end.

#include <boost/intrusive/set.hpp>

#include "supervisor/caching/entry.hpp"

namespace micro_swarm::caching {

class EvictionOrder {
 public:
  EvictionOrder() = default;
  EvictionOrder(const EvictionOrder&) = delete;
  EvictionOrder& operator=(const EvictionOrder&) = delete;
  ~EvictionOrder() { clear(); }

  /// It must know nobody.
  void set_policy(Policy policy);
  /// Forgets everybody without a look at them: what the entries say of it is the caller's to mend.
  void clear();

  /// Known from now on, and held.
  void enter(Entry& entry);
  /// A held one, not known any more.
  void leave(Entry& entry);
  /// Evictable from now on; its `touched` says when it was let go, and is above that of all others
  /// here (or, with `first`, below).
  void release(Entry& entry, bool first);
  void hold(Entry& entry);
  /// A held one, whose `uses` have grown by one.
  void used(Entry& entry);
  /// Who goes first, or nullptr.
  Entry* first();

 private:
  struct ComesFirst {
    Policy policy;
    bool operator()(const Entry& a, const Entry& b) const {
      if (policy == Policy::ttl && a.expires_ns != b.expires_ns) return a.expires_ns < b.expires_ns;
      return a.arrival < b.arrival;
    }
  };
  struct FewerUses {
    using type = std::uint64_t;
    type operator()(const Frequency& frequency) const { return frequency.uses; }
  };
  using Tree =
      intrusive::multiset<Entry, intrusive::member_hook<Entry, TreeHook, &Entry::in_tree>,
                          intrusive::compare<ComesFirst>, intrusive::constant_time_size<false>>;
  using Frequencies =
      intrusive::set<Frequency,
                     intrusive::member_hook<Frequency, TreeHook, &Frequency::in_frequencies>,
                     intrusive::key_of_value<FewerUses>, intrusive::constant_time_size<false>>;

  void join(Entry& entry, Frequencies::iterator at_or_after);
  void part(Entry& entry);

  Policy policy_ = Policy::lru;
  EntryList list_;                       // lru
  Tree tree_{ComesFirst{Policy::fifo}};  // fifo, ttl
  Frequencies frequencies_;              // lfu
};

}  // namespace micro_swarm::caching
