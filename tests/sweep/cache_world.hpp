#pragma once

// One supervisor with a cache and one client on real segments: the supervisor's side is the
// production code (CacheStore over Banks, Tokens, Succession), rebuilt from memory after each death
// as a new supervisor does it; the client is the fewest lines that put, get, read and give back.
//
// The worker's thread is not stepped: what it does is nobody's until the loop takes its answer. A
// step of the loop is killed with the jobs before it ended, those it begins never begun.

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
  CacheStore& store() { return *store_; }
  Banks& banks() { return *banks_; }
  void tick(std::uint64_t now) { store_->tick(now); }

 private:
  Peer& client();

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
  /// The banks of this life are known to the next ones (root has them).
  void keep_banks(const CacheBrain& brain);
  /// Everybody works until nothing moves.
  bool run_to_quiet(CacheBrain& brain);

  /// A new supervisor has adopted the memory: everybody comes to rest, everything is looked at, and
  /// given up. Returns what is violated, empty = nothing.
  std::string check(CacheBrain& brain);

  SharedMemory memory() const;
  SegmentView segment() const { return supervisor_.view(); }
  SegmentView client_segment() const { return client_.view(); }
  const Config& config() const { return config_; }
  int client_fd() const { return client_.fd(); }
  const std::map<std::uint32_t, UniqueFd>& banks() const { return kept_; }

  /// Files and what was seen outside of the segments; put back together with them.
  struct Outside {
    struct Request {
      MessageKind kind{};
      std::string name;
    };
    std::map<std::uint64_t, Request> open;
    std::map<std::string, std::vector<std::uint32_t>> readers;  ///< holds of the client's
    std::map<std::string, bool> must_be_there;  ///< stored; false = it may have gone since
    std::map<std::string, int> gets_found, gets_missed;
    std::uint64_t next_number = 1;
    std::map<std::string, std::string> files;
  };
  Outside outside() const;
  void put_back(const Outside& outside);
  /// It may be gone afterwards: evicted, expired, erased, or never put in.
  void may_go(const std::string& name) { seen_.must_be_there[name] = false; }
  std::filesystem::path spill_directory() const { return directory_.path() / "cache"; }

 private:
  bool take_answer();
  std::string check_readers(CacheBrain& brain) const;
  bool has_bytes(CacheBrain& brain, Token token, const std::string& name) const;
  std::uint32_t free_hold() const;

  TemporaryDirectory directory_;
  Config config_;
  Segment supervisor_;
  Segment client_;
  std::map<std::uint32_t, UniqueFd> kept_;
  Mapping client_memory_;
  Outside seen_;
};

/// What lies in an entry of that name.
std::vector<std::byte> bytes_of(const std::string& name);

}  // namespace micro_swarm::sweep
