#pragma once

// One owner of slab banks, one reader of its regions, one supervisor, on real segments and a real
// socket: the owner is a PartyLink with its BankOwner and a PartyMemory, the supervisor is Banks,
// Tokens, Deliveries and Succession, built anew from the tables for each recovery as a new
// supervisor does it. The reader is the fewest lines that receive, hold and give back. What the
// owner has sent on its socket before it dies stays there, descriptors included, as in life.

#include <map>
#include <memory>

#include "ipc/party_memory.hpp"
#include "supervisor/parties.hpp"
#include "supervisor/succession.hpp"
#include "tests/sweep/stepper.hpp"

namespace micro_swarm::sweep {

inline constexpr PartyId owner_party = 0;
inline constexpr PartyId reader_party = first_client;
inline constexpr std::uint32_t reader_bank = 0;
inline constexpr std::uint64_t small_bytes = 64;      ///< 64 of them lie in a slab
inline constexpr std::uint64_t quarter_bytes = 1024;  ///< 4 of them lie in a slab

/// One life of the owner.
struct OwnerLife {
  Incarnation incarnation = 0;
  std::unique_ptr<PartyLink> link;
  std::unique_ptr<PartyMemory> memory;
  UniqueFd segment_fd;  ///< as root keeps it
  UniqueFd wire;        ///< the supervisor's end of its socket
};

/// What a party said on its socket.
struct SentMessage {
  PartyMessage message;
  UniqueFd fd;
};

class MemoryWorld;

/// A supervisor's process.
class MemorySupervisor {
 public:
  /// Adopts what the tables say. `owner`: whose segment root keeps (the dead one's, too).
  MemorySupervisor(const MemoryWorld& world, OwnerLife& owner);

  void hear(const SentMessage& sent);
  /// A look at the rings and at what waits.
  bool serve();
  /// The owner's death, without a successor. May be repeated after a death of the supervisor.
  void inherit_all();
  /// The owner's death: a successor is started from what `dead` left. It has not begun.
  void start_successor(OwnerLife& dead, OwnerLife& next);

  SupervisorContext& context() { return *context_; }
  Banks& banks() { return *banks_; }
  Peer& owner() { return context_->peers[owner_party]; }
  Peer& reader() { return context_->peers[reader_party]; }
  /// The first life: there is nothing to inherit.
  void start(OwnerLife& next, const OwnerLife* dead);

 private:
  const MemoryWorld& world_;
  /// Root's end of the second: what it is told fits in there.
  std::pair<UniqueFd, UniqueFd> root_;
  std::unique_ptr<SupervisorContext> context_;
  std::unique_ptr<Banks> banks_;
  std::unique_ptr<Tokens> tokens_;
  std::unique_ptr<Deliveries> deliveries_;
  std::unique_ptr<Tasks> tasks_;
  std::unique_ptr<Succession> succession_;
};

class MemoryWorld {
 public:
  MemoryWorld();

  // ---- to get it where it is wanted; all of it by a supervisor that runs meanwhile ----
  MemorySupervisor& supervisor() { return *running_; }
  OwnerLife& owner() { return owner_; }
  /// A region of the owner's; banks are asked for and granted as needed.
  Allocation allocate(std::size_t size_bytes);
  Region region(const Allocation& allocation);
  /// The reader hands the owner a region of its own bank; it lies in the owner's ring.
  void reader_transfers();
  /// Socket and rings, until nothing moves; the reader keeps what it gets.
  void settle();
  RegionKeeperPtr keeper() const { return keeper_; }
  /// The running supervisor dies; another one goes on, and the owner repeats what was not answered.
  void replace_supervisor();
  /// The owner dies and is succeeded. What it said last was heard, or lost with a supervisor.
  void replace_owner(bool is_heard);

  // ---- the reader ----
  bool reader_receives() const;
  /// Gives everything back that it holds.
  bool reader_releases() const;

  // ---- after a death ----
  /// What the owner has sent since the last look is kept: the supervisor may or may not read it.
  void collect(OwnerLife& life, std::vector<SentMessage>& sent) const;
  /// Everybody at work after the recovery: what the reader holds stays as it is while a successor
  /// allocates all it can get, then all is given back. Empty = nothing is violated.
  std::string run_to_quiet(MemorySupervisor& supervisor, OwnerLife* successor) const;

  /// The words of everybody; `life` is the owner's that may write.
  SharedMemory memory(const OwnerLife& life) const;

  const Config& config() const { return config_; }
  SegmentView tables_view() const { return supervisor_.view(); }
  const Segment& supervisor_segment() const { return supervisor_; }
  const Segment& reader_segment() const { return reader_; }
  int eventfd() const { return eventfd_.get(); }
  /// What root keeps for the next supervisor.
  mutable std::map<std::uint32_t, UniqueFd> kept;

 private:
  std::vector<Token> held_by_reader() const;

  Config config_;
  Segment supervisor_;
  Segment reader_;
  UniqueFd eventfd_;
  RegionKeeperPtr keeper_;
  OwnerLife owner_;
  std::unique_ptr<MemorySupervisor> running_;
  std::uint64_t tags_ = 0;
};

}  // namespace micro_swarm::sweep
