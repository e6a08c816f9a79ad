#pragma once

// The cache, joined: what it decides (caching::Cache), where that is written down (shm/cache_data),
// where the bytes lie (OwnRegions), who works on them (CacheWorker), and who reads them (tokens).
//
// A put: the cache finds room, a region is allocated, the row says `filling` and has the bytes as
// they were handed over, the worker copies, the row says `plain`: from then on the entry is there
// whatever dies, and only then its giver is told. A get: one more right to the region, made and
// passed to the reader in one message. The readers of an entry are what its region's word says is
// out, less the cache's own right; so nothing of a reader has to be recovered but its tokens.
//
// What is only in this process: who waits for an entry that is not readable yet, and answers that
// found no space. Whoever was not answered asks the next supervisor again (ipc/cache_protocol.hpp).
// What a death leaves of rows and rights: supervisor/cache_rows.hpp; of jobs: cache_worker.hpp.

#include <boost/asio/posix/stream_descriptor.hpp>
#include <deque>
#include <unordered_map>

#include "ipc/cache_protocol.hpp"
#include "supervisor/cache_rows.hpp"
#include "supervisor/cache_worker.hpp"
#include "supervisor/caching/cache.hpp"
#include "supervisor/own_regions.hpp"
#include "supervisor/tokens.hpp"

namespace micro_swarm {

/// What of the cache can change while it runs.
struct CacheChoice {
  caching::Policy policy = caching::Policy::lru;
  caching::OnEviction on_eviction = caching::OnEviction::drop;
  std::uint64_t capacity_bytes = 0;
};

/// What there is to say of one entry.
struct CacheEntryInfo {
  std::string name;
  CacheRowState state = CacheRowState::free;
  bool is_restoring = false;
  Priority priority = Priority::normal;
  std::uint64_t bytes = 0;
  std::uint64_t stored_bytes = 0;  ///< as it is now: in the pool, or in its file
  std::uint32_t readers = 0;
  std::uint64_t uses = 0;
  std::uint64_t stored_ns = 0;
  std::uint64_t last_use_ns = 0;
  std::uint64_t expires_ns = 0;
};

class CacheStore {
 public:
  CacheStore(SupervisorContext& context, Banks& banks, Tokens& tokens);
  ~CacheStore();
  CacheStore(const CacheStore&) = delete;
  CacheStore& operator=(const CacheStore&) = delete;

  /// A swarm's first supervisor: files that an earlier swarm left go.
  void start();
  /// A later one: takes over what the rows say. The holds are settled (succession.hpp).
  void adopt();

  /// The next message of a party's data ring is one of the cache's: see to it. False = it has to
  /// stay for now.
  bool handle(Peer& peer, const SlotBody& body, MessageInHand in_hand);
  static bool is_request(const SlotBody& body);

  /// A reader's right came home.
  void came_home(Token token);
  /// The right is the cache's own: nobody else can give it up.
  bool is_kept(Token token) const;
  /// Others need memory. False: nothing comes of it at once.
  bool give_way(std::uint64_t bytes);

  void tick(std::uint64_t now);
  std::uint64_t next_due_ns() const { return cache_.next_due_ns(); }
  /// Answers wait for space in a ring, or work for memory.
  bool has_retry() const { return !due_.empty() || !undelivered_.empty() || !hungry_.empty(); }
  void retry();

  CacheChoice choice() const;
  /// Errors: usage (spill without a state directory; more than the pool).
  Result<void> choose(const CacheChoice& choice);
  const caching::Cache& cache() const { return cache_; }
  CompressionCounters compression() const { return worker_.counters(); }
  std::uint64_t damaged() const { return damaged_; }
  /// Jobs of the worker whose end the loop has not seen, and whether they have all ended.
  std::size_t jobs_under_way() const { return worker_.under_way(); }
  bool have_jobs_ended() const { return worker_.is_idle(); }
  /// For a sweep of deaths: CacheWorker says why.
  void begin_worker() { worker_.begin(); }
  void work_here() { worker_.work_here(); }
  std::vector<CacheEntryInfo> list() const;

  /// Calls f(hold) for each hold that may carry a right.
  template <class F>
  void for_each_hold(F&& f) const {
    for (std::size_t i = 0; i < 1 + 2 * slots_.size(); ++i) f(holds_[i]);
  }

 private:
  struct Waiting {
    PartyId party = no_party;
    Incarnation incarnation = 0;
    std::uint64_t number = 0;
  };
  /// Beside a row: of an entry that the cache knows.
  struct Slot {
    caching::EntryId id = 0;
    CacheRowState state = CacheRowState::free;
    unsigned current = 0;
    bool is_nameless = false;  ///< erased while it was used
    std::uint32_t readers = 0;
    CacheKey key;
    std::vector<Waiting> waiting;
  };
  struct Due {
    Waiting to;
    CacheAnswer answer{};
    CacheRefusal refusal{};
  };
  struct Hungry {
    caching::Action restore;
    std::uint64_t until_ns = 0;
  };
  struct Deferred {
    std::uint64_t number = 0;
    std::uint64_t room_made = 0;
  };
  struct KeyHash {
    std::size_t operator()(const CacheKey& key) const noexcept { return key.words[0]; }
  };
  struct PutHash {
    std::size_t operator()(const std::pair<std::uint64_t, std::uint64_t>& put) const noexcept {
      return put.first * 0x9e3779b97f4a7c15ull ^ put.second;
    }
  };

  // cache_requests.cpp
  bool get(Peer& peer, const SlotBody& body, MessageInHand in_hand);
  bool put(Peer& peer, const SlotBody& body, MessageInHand in_hand);
  bool put_again(Peer& peer, const SlotBody& body, MessageInHand in_hand);
  bool erase(Peer& peer, const SlotBody& body, MessageInHand in_hand);
  bool refuse_put(Peer& peer, const SlotBody& body, MessageInHand in_hand, CacheRefusal why);
  bool may_wait(const Peer& peer, std::uint64_t number);
  bool answer(Peer& peer, std::uint64_t number, CacheAnswer answer, CacheRefusal refusal,
              MessageInHand in_hand);
  bool deliver_to(Slot& slot, const Waiting& to);
  void deliver(std::uint32_t slot);
  void tell(const Waiting& to, CacheAnswer answer, CacheRefusal refusal);
  Peer* living(const Waiting& to) const;

  // cache_store.cpp
  Hold& hold(std::uint32_t slot, unsigned which) const { return holds_[1 + 2 * slot + which]; }
  CacheRow& row(std::uint32_t slot) const { return rows_[slot]; }
  Slot* find(caching::EntryId id);
  std::string_view name_at(std::uint32_t slot) const {
    return {rows_[slot].name, rows_[slot].name_bytes};
  }
  void settings_from(const CacheChoice& choice, caching::Settings& settings) const;
  void index(std::uint32_t slot);
  void lose_name(std::uint32_t slot);
  void release_hold(Hold& hold);
  void undo_put(std::uint32_t slot, std::string_view name, caching::EntryId id, std::uint64_t now);
  void begin_copy(std::uint32_t slot);
  void fill_failed(std::uint32_t slot, CacheRefusal why);
  /// Who could not go when the capacity was made smaller goes when it is let go of.
  void keep_capacity();
  void note_use(std::uint32_t slot, std::uint64_t now);

  // cache_jobs.cpp
  void run_actions();
  void drop(const caching::Action& action);
  void start_job(const caching::Action& action);
  void start_restore(const caching::Action& action, std::uint64_t until_ns);
  bool source_of(std::uint32_t slot, unsigned which, std::uint64_t bytes, CacheJob& job) const;
  void watch_worker();
  void finished(CacheJobDone& done);
  void copied(std::uint32_t slot, const CacheJobDone& done);
  void packed(std::uint32_t slot, CacheJobDone& done);
  void compressed(std::uint32_t slot, std::uint64_t bytes);
  void spilled(std::uint32_t slot, const CacheJobDone& done);
  void restored(std::uint32_t slot, bool ok);
  void room_job_done() {
    --room_jobs_;
    ++room_made_;
  }

  SupervisorContext& c_;
  Banks& banks_;
  Tokens& tokens_;
  OwnRegions regions_;
  CacheRow* rows_;
  Hold* holds_;
  caching::Cache cache_;
  CacheWorker worker_;
  std::optional<boost::asio::posix::stream_descriptor> worker_event_;
  std::deque<Slot> slots_;
  std::unordered_map<CacheKey, std::uint32_t, KeyHash> by_key_;
  std::unordered_map<std::pair<std::uint64_t, std::uint64_t>, std::uint32_t, PutHash> by_put_;
  std::unordered_map<RegionIndex, std::uint32_t> by_region_;  ///< whose right is in a row's hold
  caching::Actions actions_;
  std::vector<Due> due_;
  std::vector<std::uint32_t> undelivered_;
  std::vector<Hungry> hungry_;
  std::unordered_map<PartyId, Deferred> deferred_;
  std::uint64_t room_jobs_ = 0;  ///< compressions and spills under way
  std::uint64_t room_made_ = 0;  ///< that have ended
  std::uint64_t damaged_ = 0;
  bool is_watching_ = false;
};

}  // namespace micro_swarm
