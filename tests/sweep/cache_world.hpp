#pragma once

// One supervisor with a cache and one client on real segments: the supervisor's side is the
// production code (CacheStore over Banks, Tokens, Succession), rebuilt from memory after each death
// as a new supervisor does it; the client is the fewest lines that put, get, read and give back.
//
// A stepped process has no worker's thread. A step of the loop is killed with the jobs before it
// ended, those it begins never begun; or the step says work_here(), and they are stepped with it.
//
// What else outlives a supervisor goes with the memory: what root keeps for it, and its files. The
// next one works on a copy of the files, so that who is stepped on finds its own as they were.

#include <deque>
#include <map>
#include <memory>
#include <string>

#include "supervisor/cache_store.hpp"
#include "supervisor/parties.hpp"
#include "supervisor/succession.hpp"
#include "tests/sweep/stepper.hpp"
#include "tests/temporary_directory.hpp"

namespace micro_swarm::sweep {

class CacheWorld;

/// A supervisor's process: everything that is not in shared memory.
class CacheBrain {
 public:
  /// Made, not adopted: what of a new supervisor is not stepped.
  explicit CacheBrain(const CacheWorld& world);

  void adopt();
  /// One look at the client's rings and at what waits for space.
  bool serve();
  /// The loop takes what the worker has answered.
  void hear_worker();
  /// Until the worker has done what it was given; nothing of it is heard.
  void wait_for_worker() const;
  /// What it was given is done here and now.
  void work_here() { store_->work_here(); }
  CacheStore& store() { return *store_; }
  Banks& banks() { return *banks_; }
  Tokens& tokens() { return *tokens_; }
  RootLink& root() { return context_->root; }
  /// Root's end of its socket.
  int at_root() const { return root_.first.get(); }
  void tick(std::uint64_t now) { store_->tick(now); }
  Peer& client();

 private:
  const CacheWorld& world_;
  std::pair<UniqueFd, UniqueFd> root_;
  std::unique_ptr<SupervisorContext> context_;
  std::unique_ptr<Banks> banks_;
  std::unique_ptr<Tokens> tokens_;
  std::unique_ptr<Deliveries> deliveries_;
  std::unique_ptr<Tasks> tasks_;
  std::unique_ptr<CacheStore> store_;
  std::unique_ptr<Succession> succession_;
};

class CacheWorld {
 public:
  explicit CacheWorld(caching::OnEviction on_eviction);

  static constexpr std::size_t entry_bytes = 1'000;
  static constexpr PartyId client_party = first_client;

  // ---- the client ----
  void put(const std::string& name, std::uint32_t ttl_ms = 0);
  void get(const std::string& name);
  void erase(const std::string& name);
  /// Gives back a right to read it.
  void release(const std::string& name);
  /// Takes answers and its own regions; asks the next supervisor what was not answered.
  bool client_works(bool is_new_supervisor = false);

  // ---- what happens before a step ----
  /// A supervisor as it runs.
  std::unique_ptr<CacheBrain> running_supervisor();
  /// Root does what it was told.
  void hear_root(const CacheBrain& brain);
  /// Everybody works until nothing moves.
  bool run_to_quiet(CacheBrain& brain);
  /// A forked process may write what the cache's jobs under way write to, as its thread would.
  static void give_banks_to_children();

  /// `dead` is, and this is what it left: a new supervisor adopts it, everybody comes to rest,
  /// everything is looked at, and given up. Returns what is violated, empty = nothing. Everything
  /// but the segments is as before.
  std::string adopt_and_check(const CacheBrain& dead);

  SharedMemory memory(const CacheBrain& stepped);
  /// What is done in it has each call that changes a file or tells root something as a state.
  static std::function<void()> with_calls_as_states(std::function<void()> step);
  SegmentView segment() const { return supervisor_.view(); }
  SegmentView client_segment() const { return client_.view(); }
  const Config& config() const { return config_; }
  int client_fd() const { return client_.fd(); }
  /// By bank; read-only.
  using Kept = std::map<std::uint32_t, std::shared_ptr<UniqueFd>>;
  const Kept& banks() const { return kept_; }
  /// It may be gone afterwards: evicted, expired, erased, or never put in.
  void may_go(const std::string& name) { seen_.must_be_there[name] = false; }
  /// By name; in the directory of whoever is supervisor now.
  using Files = std::map<std::string, std::string>;
  Files files() const;
  std::filesystem::path spill_directory() const {
    return std::filesystem::path(config_.swarm.state_dir) / "cache";
  }
  /// Files that the dead had left unfinished.
  std::size_t unfinished_files_seen() const { return unfinished_seen_; }

 private:
  /// What the client knows.
  struct Seen {
    struct Request {
      MessageKind kind{};
      std::string name;
    };
    std::map<std::uint64_t, Request> open;
    std::map<std::string, std::vector<std::uint32_t>> readers;  ///< holds of the client's
    std::map<std::string, bool> must_be_there;  ///< stored; false = it may have gone since
    std::map<std::string, int> gets_found, gets_missed;
    std::uint64_t next_number = 1;
  };
  /// What a snapshot has beside the pages.
  struct Beside {
    Kept kept;
    std::map<std::uint32_t, std::string> in_banks;  ///< of the cache's
    Files files;
    bool operator==(const Beside&) const = default;
  };
  std::string check(CacheBrain& brain);
  std::uint64_t remember();
  void put_files(const Files& files) const;
  void put_beside(const Beside& beside);
  bool take_answer();
  std::string check_readers(CacheBrain& brain) const;
  /// Each right that is out is in one hold, and the pool's account is what its rows say.
  std::string check_places(CacheBrain& brain) const;
  bool has_bytes(CacheBrain& brain, Token token, const std::string& name) const;
  std::uint32_t free_hold() const;

  TemporaryDirectory directory_;
  TemporaryDirectory copy_;
  Config config_;
  Segment supervisor_;
  Segment client_;
  Kept kept_;
  Mapping client_memory_;
  Seen seen_;
  std::deque<Beside> beside_;
  std::size_t unfinished_seen_ = 0;
};

/// What lies in an entry of that name.
std::vector<std::byte> bytes_of(const std::string& name);

}  // namespace micro_swarm::sweep
