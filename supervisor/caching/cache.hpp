#pragma once

// Which named entries are kept in the pool, which make room for others, and how. A pure state
// machine: no clock, no I/O, no memory of others; the same calls in the same order give the same
// answers and actions. It holds nothing that cannot be rebuilt from its owner's table (adopt()).
//
//                  put
//                   |                        compressed()
//                   v      +-- compress ---------------------> compressed --+
//                 plain ---+                                     |          |
//                   ^      +-- spill -----> spilled <--- spill --+          |
//      restored()   |                         |                             |
//               restoring <------ lookup -----+-----------------------------+
//
// and from everywhere, once nobody is using it: drop.
//
// Order of eviction, said once: the lowest priority that has somebody; there, what is not
// compressed or what is, by Settings::compressed_percent_max; there, the policy's first. Who is
// pinned, being brought back, or worked on by an action that is not answered yet is not asked. On
// behalf of a put or a lookup nobody of a higher priority than the entry's own makes room; on
// behalf of need() everybody does.
//
// Bounds: the decision who goes next takes no longer with more entries (eviction_order.hpp says it
// for each policy); dropping that one, and the hold and release of a lookup and its unpin, are O(1)
// but for the trees named there, those of what expires (O(log n)) and hashing its name.
//
// An entry that was erased or has expired while somebody uses it has no name from then on, and is
// dropped when the last of them lets go. An action's outcome that is not wanted any more, because
// somebody looked the entry up meanwhile, is refused by the call that tells it (false), and whoever
// made it throws it away.
//
// Times are `now_ns`, of any clock that never goes back and is the same in a successor.

#include <array>
#include <boost/intrusive/set.hpp>
#include <boost/intrusive/unordered_set.hpp>
#include <deque>
#include <optional>
#include <span>

#include "supervisor/caching/eviction_order.hpp"

namespace micro_swarm::caching {

class Cache {
 public:
  explicit Cache(const Settings& settings);
  Cache(const Cache&) = delete;
  Cache& operator=(const Cache&) = delete;

  // ---- events: each appends to `actions` what is to be done now, in that order ----

  /// Takes `entry.bytes` of the pool over, readable and pinned only if it asks for that. After a
  /// refusal they are the caller's still; `no_room` may come with actions that make some, and what
  /// expired is dropped.
  PutAnswer put(const NewEntry& entry, std::uint64_t now_ns, Actions& actions);
  /// A reader wants it: a hit is pinned once more, until unpin().
  LookupAnswer lookup(std::string_view name, std::uint64_t now_ns, Actions& actions);
  /// One reader has let go. False = no such entry, or nobody had pinned it.
  bool unpin(EntryId id, std::uint64_t now_ns, Actions& actions);
  /// False = no such name.
  bool erase(std::string_view name, std::uint64_t now_ns, Actions& actions);
  /// Somebody needs at least so many bytes of the pool, beside what others were promised before.
  /// What does not come at once comes with the answers to the actions; where an answer brings less
  /// than was thought, it brings further actions. What nobody can free is forgotten.
  Freed need(std::uint64_t bytes, std::uint64_t now_ns, Actions& actions);
  /// Time has passed; needed at next_due_ns().
  void tick(std::uint64_t now_ns, Actions& actions);
  /// Live; rebuilding the order takes O(n log n) when the policy changes. `entries_max` cannot.
  void set(const Settings& settings, std::uint64_t now_ns, Actions& actions);

  // ---- answers to actions ----

  /// A compressed copy of so many bytes is there; as many as before (or 0: it failed) = it did not
  /// pay, which is remembered. True: the copy is the entry from now on, free the original. False:
  /// free the copy.
  [[nodiscard]] bool compressed(EntryId id, std::uint64_t stored_bytes, std::uint64_t now_ns,
                                Actions& actions);
  /// It is on disk, or that failed. True: free its memory. False: delete the file if there is one.
  [[nodiscard]] bool spilled(EntryId id, bool ok, std::uint64_t now_ns, Actions& actions);
  /// True: it is readable; free the compressed copy or delete the file. False: it is lost (`ok` was
  /// false: tell the readers, who unpin as ever) or unknown; free the new memory.
  [[nodiscard]] bool restored(EntryId id, bool ok, std::uint64_t now_ns, Actions& actions);

  // ---- succession ----

  /// Into an empty cache: what a predecessor left. No job of its time is under way any more; what
  /// has pins and is not plain is brought back by an action. No id given from now on has a serial
  /// below `next_serial` or that of a record. Returns the records that make no sense (a damaged
  /// table, a name twice, a slot twice): the caller's to free.
  std::vector<EntryId> adopt(std::span<const Record> records, std::uint32_t next_serial,
                             std::uint64_t now_ns, Actions& actions);

  // ---- questions ----

  /// When tick() is needed next; max = never.
  std::uint64_t next_due_ns() const;
  /// As it is now; `name` is valid until the next event. Nothing for what has no name any more.
  std::optional<Record> look(std::string_view name) const;
  const Settings& settings() const { return settings_; }
  std::uint64_t used_bytes() const { return used_; }
  std::uint64_t spilled_bytes() const { return on_disk_; }
  std::uint32_t size() const { return size_; }
  const Counters& counters(Policy policy) const { return counters_[static_cast<unsigned>(policy)]; }
  /// Asserts all that must hold, linear in the entries. The balance of Counters is asserted by
  /// every event.
  void check() const;

 private:
  static constexpr unsigned places = 3;  // plain, compressed, spilled

  // cache.cpp: entries and their lives.
  Counters& count() { return counters_[static_cast<unsigned>(settings_.policy)]; }
  Entry* get(EntryId id);
  Entry* find(std::string_view name, std::uint64_t now_ns, Actions& actions);
  Entry& add(EntryId id, std::string_view name, std::uint64_t bytes, Priority priority);
  void set_expiry(Entry& entry, std::uint64_t expires_ns);
  void enter_order(Entry& entry);
  void leave_order(Entry& entry);
  void hold(Entry& entry);
  void release(Entry& entry, bool first);
  void restore(Entry& entry, Actions& actions);
  void lose_name(Entry& entry);
  void discard(Entry& entry, Cause cause, Actions& actions);
  void remove(Entry& entry, Cause cause, Actions& actions);
  void settle(Entry& entry, bool first, std::uint64_t now_ns, Actions& actions);
  void expire(std::uint64_t now_ns, Actions& actions);
  void rebuild();

  // eviction.cpp: who makes room.
  Entry* victim(Priority lowest_spared) const;
  Entry* spilled_victim(Priority lowest_spared) const;
  bool make_disk_room(std::uint64_t bytes, Priority for_whom, Actions& actions);
  bool make_slot(Priority for_whom, Actions& actions);
  void evict(Entry& entry, Actions& actions);
  void start_job(Entry& entry, Entry::Job job, Actions& actions);
  void cancel_job(Entry& entry);
  void end_job(Entry& entry);
  bool could_fit(std::uint64_t bytes, Priority for_whom) const;
  void keep_capacity(std::uint64_t coming, Priority for_whom, Actions& actions);
  void pay(Actions& actions);
  void freed(std::uint64_t bytes);

  // invariants.cpp
  void check_balance() const;

  struct ExpiresSooner {
    bool operator()(const Entry& a, const Entry& b) const { return a.expires_ns < b.expires_ns; }
  };
  using Expiries =
      intrusive::multiset<Entry, intrusive::member_hook<Entry, TreeHook, &Entry::in_expiries>,
                          intrusive::compare<ExpiresSooner>, intrusive::constant_time_size<false>>;

  struct NameOf {
    using type = std::string_view;
    type operator()(const Entry& entry) const { return entry.name(); }
  };
  using Names = intrusive::unordered_set<
      Entry, intrusive::member_hook<Entry, NameHook, &Entry::in_names>,
      intrusive::key_of_value<NameOf>, intrusive::hash<std::hash<std::string_view>>,
      intrusive::equal<std::equal_to<std::string_view>>, intrusive::power_2_buckets<true>>;

  Settings settings_;
  std::deque<Entry> entries_;                // by slot; grows, never shrinks
  std::vector<std::uint32_t> free_slots_;    // of those
  std::vector<Names::bucket_type> buckets_;  // as many as entries_max asks for: never rehashed
  Names names_;
  Expiries expiries_;
  mutable std::array<std::array<EvictionOrder, priorities>, places> orders_;  // by state, priority
  std::array<Counters, policies> counters_{};

  std::uint32_t size_ = 0;
  std::uint32_t next_serial_ = 1;
  std::uint64_t arrivals_ = 0;
  std::int64_t touched_last_ = 0;
  std::int64_t touched_first_ = 0;

  std::uint64_t used_ = 0;                             // of the pool
  std::uint64_t packed_ = 0;                           // of those, of compressed entries
  std::array<std::uint64_t, priorities> evictable_{};  // of those, of evictable entries
  std::uint64_t on_disk_ = 0;
  std::uint64_t owed_ = 0;           // promised by need() and capacity, and not free yet
  std::uint64_t under_way_ = 0;      // what the jobs that are wanted are thought to free
  Priority spared_ = Priority::low;  // owed: nobody above this one pays
};

}  // namespace micro_swarm::caching
