#pragma once

// Regions that one party hands to another. The links form a star, so they come through here: taken
// from the sender's ring into a hold of the supervisor's, with a row beside it that says where to;
// from there into the receiver's ring as soon as there is room. Only the right moves, never a byte.
//
// The receiver does not read, or is being started again: the region waits here, waits_max for each
// receiver, and nobody else waits with it. What cannot be delivered goes back to its sender with
// the reason; what the sender does not take either goes home to its owner. What was published under
// a topic goes home at once: its publisher has not asked for anybody in particular. Nothing is left
// over, and the supervisor never waits: every message is taken at once.
//
//   message in ring --> [row, hold] --cursor--> waiting --slot published--> the receiver's
//
// Deaths. The supervisor's: before the cursor has moved the message is taken again; from then on
// the row and its token are found by adopt(), in their order; what was published and not cleared
// settles as every pass does (shm/recovery.hpp). A receiver's: its successor reads the ring from
// where it stood; if nobody succeeds it, what waits goes back. A sender's: what it published is
// delivered.

#include <array>
#include <deque>
#include <vector>

#include "ipc/topics.hpp"
#include "ipc/transfer.hpp"
#include "supervisor/tokens.hpp"

namespace micro_swarm {

class Deliveries {
 public:
  /// Regions that wait for one receiver, at most.
  static constexpr std::size_t waits_max = 32;

  Deliveries(SupervisorContext& context, Banks& banks, Tokens& tokens)
      : c_(context), banks_(banks), tokens_(tokens) {}

  /// A transfer is the next message of the sender's data ring. False = it stays there for now (its
  /// token has to go home, and there is no room for that).
  bool taken(Peer& sender, const SlotBody& body, MessageInHand in_hand);

  /// New supervisor, after its holds are settled.
  void adopt();

  /// Delivers what there is room for now; what waits for somebody who is gone goes back.
  void retry();
  bool has_waiting() const { return waiting_ != 0; }
  /// Somebody has not waited for long: it is worth looking again soon. Nobody tells when a ring has
  /// room.
  bool is_urgent(std::uint64_t now) const {
    return waiting_ != 0 && elapsed_ns(now, last_waiting_ns_) < urgent_ns;
  }

  std::uint32_t waiting() const { return waiting_; }
  Hold& hold(std::uint32_t row) const;

 private:
  static constexpr std::uint64_t urgent_ns = ns_per_s;
  struct Waiting {
    PartyId to;
    std::deque<std::uint32_t> rows;
  };

  bool is_there(PartyId party) const;
  bool subscribes(PartyId party, const TopicName& topic) const;
  std::optional<std::uint32_t> free_row();
  std::size_t waiting_for(PartyId party) const;
  void enqueue(std::uint32_t row);
  /// False = no room: it waits.
  bool deliver(std::uint32_t row);
  void send_back(std::uint32_t row);
  void drop(std::uint32_t row);
  DeliveryRow& row_of(std::uint32_t row) const { return c_.tables().deliveries[row]; }
  DeliveryWay way_of(std::uint32_t row) const { return DeliveryWay{load(row_of(row).way)}; }

  SupervisorContext& c_;
  Banks& banks_;
  Tokens& tokens_;
  std::vector<Waiting> queues_;  ///< of those for whom something waits
  std::uint32_t waiting_ = 0;
  std::uint32_t next_row_ = 0;
  std::uint64_t order_ = 0;
  std::uint64_t last_waiting_ns_ = 0;
};

}  // namespace micro_swarm
