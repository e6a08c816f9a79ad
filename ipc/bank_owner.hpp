#pragma once

// The banks a party fills: asks the supervisor for them, makes their memory, hands out regions,
// takes them back when their tokens are home, returns banks nobody needs. One thread.
//
// Regions come in the classes of shm/size_classes.hpp; each bank has regions of one class. A region
// is taken from the class that fits, and from a larger one only while the pool is short. Between
// two marks a class keeps what it has:
//   low   fewer regions free than a quarter of the bank it would ask for next: it is asked for
//         before somebody has to wait for it, as long as the pool has plenty;
//   high  more regions free than a whole such bank beside the one that is empty: that one goes back
//         after an eighth of the usual time.
// Small allocations go to the fullest bank, so that the others become empty and can go back.
//
//   request --> granted (memory made, sealed, sent) --> live (regions) --> returned
//
// Every step can be lost with a supervisor that dies; `repeat()` sends what was not answered, and
// every message is idempotent. What counts after a death of this process are the region words and
// holds in its segment and the supervisor's bank table, nothing in here.

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <span>
#include <vector>

#include "ipc/hold_set.hpp"
#include "ipc/party_protocol.hpp"
#include "shm/memfd.hpp"
#include "shm/segment.hpp"
#include "shm/size_classes.hpp"
#include "shm/supervisor_data.hpp"

namespace micro_swarm {

class Guard;

/// A region just allocated: the caller's to fill and then to pass or release.
struct Allocation {
  std::uint32_t hold = 0;  ///< taken from the HoldSet; carries `token`
  Token token;
  /// As many bytes as were asked for, aligned to 64 bytes (region_alignment_bytes), and to a page
  /// where the region that they lie in is a page or more.
  std::span<std::byte> memory;
};

class BankOwner {
 public:
  using Send = std::function<Result<void>(const PartyMessage&, std::span<const int>)>;

  /// `own` is the party's segment, `tables` the supervisor's; both outlive this object. In guard
  /// mode (the tables say) its banks are protected, see ipc/guard.hpp.
  BankOwner(const SegmentView& own, const SupervisorTables& tables, HoldSet& holds, Send send);
  ~BankOwner();
  BankOwner(const BankOwner&) = delete;
  BankOwner& operator=(const BankOwner&) = delete;

  /// A region of at least `size_bytes`. nullopt: none is free; a bank has been asked for, or will
  /// be by a later call (after a refusal it waits, 5 to 200 ms): try again after the next message
  /// or release. Errors: too_large (more than the pool can ever give), refused (no hold is free).
  Result<std::optional<Allocation>> try_allocate(std::size_t size_bytes, std::uint64_t now);

  /// The same where it costs nothing but the stores: a region of the class lies here, and no mark
  /// is passed. nullopt: ask try_allocate().
  std::optional<Allocation> at_hand(std::size_t size_bytes) {
    const unsigned size_class = class_for(pool_region_bytes_, size_bytes);
    if (guard_ != nullptr || size_class == large_class) return std::nullopt;
    const SizeClass& regions = classes_[size_class];
    if (regions.free < regions.next_slots / 4) return std::nullopt;
    return from_class(size_class, size_bytes);
  }

  /// All memory of the own region whose token the hold carries, also behind what was asked for
  /// (but in guard mode, where that is the redzone).
  std::span<std::byte> whole_region(std::uint32_t hold);

  /// Gives up an allocation that was not passed on.
  void release(const Allocation& allocation) { release(allocation.hold); }
  /// Releases a token of an own region (or an inherited one) and frees its hold.
  void release(std::uint32_t hold);
  /// One more token of the own region whose token the hold carries, in a hold of its own. Errors:
  /// refused (all 32 of the region are out; no hold is free).
  Result<std::uint32_t> share(std::uint32_t hold);
  /// The hold's token, of an own region, is about to leave with a message: nobody here writes the
  /// region any more. Before pass(), with room in the ring; costs nothing but in guard mode.
  void leaving(std::uint32_t hold) {
    if (guard_ != nullptr) guard_leaving(hold);
  }
  /// The token left with a message: the hold is empty, the region is out until it comes home.
  void passed(std::uint32_t hold) { holds_->put_back(hold); }

  /// One of the region's tokens came home (its bit is cleared).
  void came_home(RegionIndex region);
  /// The region is one of this life's own banks (not inherited).
  bool is_own(RegionIndex region) const { return find(bank_of(region)) != nullptr; }
  /// The bytes of an own region; empty if the token names none of a live own bank.
  std::span<const std::byte> memory_of(Token token, std::size_t size_bytes) const;

  void granted(const PartyMessage& message);
  void refused(const PartyMessage& message, std::uint64_t now);
  void live(const PartyMessage& message);
  /// A new supervisor: sends again what has not been answered.
  void repeat();

  /// Banks of earlier lives (from the supervisor's table): returned as soon as they are empty.
  void adopt(std::uint32_t bank, std::uint32_t serial);

  /// Returns the banks of which no region was out for `idle_ns` (0 = all that are empty now); those
  /// above the high mark after an eighth of it.
  void trim(std::uint64_t now, std::uint64_t idle_ns);
  /// Others need memory: returns what is empty, asks for nothing ahead for 2 s, and takes small
  /// regions from larger ones that are here, meanwhile.
  void pool_is_short(std::uint64_t now);
  /// There is something a later trim() could return.
  bool has_idle() const noexcept { return idle_ != 0; }

  /// What the supervisor last said when it refused a bank; empty if the last one was granted.
  const std::string& refusal() const noexcept { return refusal_; }
  /// A bank has been asked for and its memory is not live yet.
  bool is_asking() const noexcept { return request_.has_value() || making_ != 0; }

 private:
  enum class Step { granted, live };
  struct Bank {
    std::uint32_t number = 0;
    std::uint32_t serial = 0;
    std::uint32_t slots = 0;
    std::uint64_t region_bytes = 0;
    Step step = Step::granted;
    unsigned size_class = pool_class;
    UniqueFd fd;  ///< until it is live
    Mapping memory;
    std::uint64_t free = 0;            ///< bit n: no token of slot n is out; 0 until it is live
    std::uint64_t empty_since_ns = 0;  ///< 0 = not looked at since it became empty

    std::uint64_t all() const { return ~std::uint64_t{0} >> (bank_slots_max - slots); }
    bool is_empty() const { return free == all(); }
  };
  struct SizeClass {
    std::uint32_t next_slots = 1;         ///< of the bank asked for next
    std::uint32_t free = 0;               ///< regions of live banks of which no token is out
    std::uint32_t making = 0;             ///< banks granted and not live
    std::uint32_t last_bank = banks_max;  ///< where a region was last taken from
  };
  struct Request {
    std::uint64_t number = 0;
    unsigned size_class = pool_class;
    std::uint32_t slots = 0;
    std::uint64_t region_bytes = 0;  ///< 0 = the pool's
    bool ahead = false;              ///< nobody waits for it
    bool sent = false;
  };
  struct Gone {
    std::uint32_t bank;
    std::uint32_t serial;
  };

  const Bank* find(std::uint32_t number) const;
  Bank* find(std::uint32_t number) {
    return const_cast<Bank*>(static_cast<const BankOwner*>(this)->find(number));
  }
  std::optional<Allocation> allocate_in(Bank& bank, std::size_t size_bytes);
  std::optional<Allocation> from_class(unsigned size_class, std::size_t size_bytes);
  std::optional<Allocation> from_large_bank(std::size_t size_bytes, std::size_t room_bytes);
  void guard_leaving(std::uint32_t hold) const;
  void ask(std::size_t size_bytes, std::uint64_t now);
  void ask_ahead(unsigned size_class, std::uint64_t now);
  void send_request(Request request);
  void send_request();
  void remove(Bank& bank);
  bool send_memory(const Bank& bank);
  void send_returned(Gone gone);
  bool is_mine(Gone gone) const;
  bool is_empty(std::uint32_t bank) const;

  SegmentView own_;
  const SupervisorTables* tables_;
  HoldSet* holds_;
  Send send_;
  PartyId party_;
  std::uint64_t pool_region_bytes_;

  std::vector<Bank> banks_;
  /// By bank number: its place in banks_, counted from 1. As large as the highest of them.
  std::vector<std::uint16_t> places_;
  SizeClass classes_[size_classes];
  std::vector<Gone> adopted_;   ///< banks of earlier lives with tokens out
  std::vector<Gone> returned_;  ///< sent back, perhaps not heard yet
  std::optional<Request> request_;
  std::uint64_t requests_ = 0;
  std::uint32_t idle_ = 0;    ///< live banks with nothing out
  std::uint32_t making_ = 0;  ///< banks granted and not live
  std::uint64_t not_before_ns_ = 0;
  std::uint64_t backoff_ns_ = 0;
  std::uint64_t short_until_ns_ = 0;
  std::string refusal_;
  /// Requests of so many bytes and more were refused for good, in a pool of so many regions.
  std::uint64_t impossible_bytes_ = ~std::uint64_t{0};
  std::uint64_t impossible_in_regions_ = 0;
  std::string impossible_because_;
  std::unique_ptr<Guard> guard_;  ///< null: off
};

}  // namespace micro_swarm
