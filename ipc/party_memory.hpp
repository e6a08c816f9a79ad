#pragma once

// A party's side of handing regions to other parties: what clients and agents have in common. One
// thread, the one that uses the link. Only rights move; docs/protocol.md has the order of stores.
//
// A death of this process at any point: what was published is delivered, what was taken in and not
// given away is inherited by a successor, which releases it, or by the supervisor.

#include <deque>
#include <memory>
#include <optional>
#include <span>

#include "ipc/party_link.hpp"
#include "ipc/region.hpp"
#include "ipc/topics.hpp"

namespace micro_swarm {

/// What this party's memory is and what it has done with it.
struct PartyMemoryStats {
  std::uint64_t holds_in_use = 0;  ///< rights to read, its own regions' included
  std::uint64_t holds_max = 0;
  std::uint64_t inbox = 0;  ///< received and not asked for yet
  std::uint64_t transfers_sent = 0;
  std::uint64_t transfers_received = 0;
  std::uint64_t transfers_returned = 0;    ///< of those sent: came back
  std::uint64_t publications_dropped = 0;  ///< received and dropped: the inbox was full
  std::uint64_t copies = 0;                ///< writes that had to copy
  std::uint64_t bytes_copied = 0;
};

class PartyMemory {
 public:
  /// Received regions nobody has asked for; what comes beyond them goes back to its sender.
  static constexpr std::size_t inbox_max = 256;

  explicit PartyMemory(PartyLink& link) noexcept : link_(link) {}

  Region make_region(RegionKeeperPtr keeper, const Allocation& allocation) {
    return Region(std::move(keeper), allocation.memory, allocation.hold);
  }

  /// The region's hold, for whoever passes its token on by another kind of message. Empty then.
  static std::uint32_t give_up(Region& region) noexcept {
    const std::uint32_t hold = region.hold_;
    region.forget();
    return hold;
  }

  /// Hands the region over. False = no room in the ring now, nothing happened. Empty after true.
  /// Errors: usage (empty, another party's, to itself), not_found (no such party), not_running (it
  /// is gone for good).
  Result<bool> try_transfer(const RegionKeeper& keeper, Region& region, PartyId target,
                            std::uint64_t tag);
  Result<bool> try_transfer(const RegionKeeper& keeper, ReceivedRegion& region, PartyId target,
                            std::uint64_t tag);
  /// One more right to the region for `target`; the region stays the caller's, to be read only.
  /// Errors: as try_transfer; refused (32 rights are out already, or no hold is free).
  Result<bool> try_share(const RegionKeeper& keeper, Region& region, PartyId target,
                         std::uint64_t tag, const TopicName& topic = {});
  /// Shares the region with each who subscribes to `topic` now, itself excepted, and gives up its
  /// own right. `until_true(attempt)` waits until `attempt() -> Result<bool>` is true. Returns with
  /// how many; on an error the region is here still, and some may have it.
  template <class UntilTrue>
  Result<std::uint32_t> publish(const RegionKeeper& keeper, Region& region, const TopicName& topic,
                                std::uint64_t tag, UntilTrue&& until_true) {
    if (auto ok = check_ours(region.keeper_.get() == &keeper); !ok) return ok.error();
    Result<std::uint32_t> shared = 0u;
    subscribers_of(link_.tables().topics, topic).for_each([&](PartyId subscriber) {
      if (!shared || subscriber == link_.party()) return;
      Result<void> done =
          until_true([&] { return try_share(keeper, region, subscriber, tag, topic); });
      if (done) {
        ++*shared;
      } else if (done.error().code != ErrorCode::not_running &&
                 done.error().code != ErrorCode::not_found) {  // who has gone gets nothing
        shared = done.error();
      }
    });
    if (shared) region.release();
    return shared;
  }

  /// The next message of the data ring is a transfer.
  bool is_next() const noexcept {
    return link_.data_in().ready() &&
           link_.data_in().front().kind == static_cast<std::uint16_t>(MessageKind::transfer);
  }
  /// Takes it. False = it stays there for now: no hold is free, or the inbox is full and there is
  /// no room to send it back.
  bool take_next();
  /// The oldest that was taken.
  std::optional<ReceivedRegion> next(RegionKeeperPtr keeper);
  bool has_received() const noexcept { return !inbox_.empty(); }

  void count_copy(std::size_t bytes) noexcept {
    ++stats_.copies;
    stats_.bytes_copied += bytes;
  }
  PartyMemoryStats stats() const noexcept;

 private:
  struct Incoming {
    std::uint32_t hold;
    Token token;
    std::uint32_t size_bytes;
    TransferWord word;
    std::uint64_t tag;
    TopicName topic;
  };
  static Result<void> check_ours(bool is_ours);
  Result<void> check(bool is_ours, PartyId target) const;
  void send(std::uint32_t hold, std::uint64_t size_bytes, TransferWord word, std::uint64_t tag,
            const TopicName& topic = {});

  PartyLink& link_;
  std::deque<Incoming> inbox_;
  PartyMemoryStats stats_;
};

}  // namespace micro_swarm
