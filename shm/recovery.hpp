#pragma once

// Recovery: what a successor, or the supervisor as heir, makes of a dead party's words.
//
//   d: dead, frozen (root has reaped it or its pidfd says so: its stores are all visible and are a
//      prefix of its program order).  f: fresh, seen by nobody until one store publishes it.
//
// inherit() reads d and writes f only; it may be killed half-way and run again from the start,
// with the same result. The supervisor's own holds are settled in place (settle_in_place), where
// every line is one guarded store. The invariant both keep, recomputable from memory alone: each
// outstanding token is in exactly one place (a counting hold, or a message not consumed); a region
// with none is free. Source: docs/protocol.md; shown by tests/sweep/ and tests/model/.

#include <functional>
#include <optional>
#include <span>
#include <vector>

#include "shm/segment_data.hpp"
#include "shm/words.hpp"

namespace micro_swarm {

/// How recovery finds memory it has no pointer to. Both return null when the thing is not there.
struct RecoveryMaps {
  /// The ring slots that `producer`'s life `incarnation` wrote for `consumer`.
  std::function<const Slot*(PartyId producer, Incarnation incarnation, PartyId consumer, Lane lane)>
      ring;
};

/// The words of a dead party. Pointers stay the caller's.
struct DeadParty {
  PartyId party = no_party;
  Incarnation incarnation = 0;
  const Hold* holds = nullptr;
  std::uint32_t hold_count = 0;
  const CursorRow* cursors = nullptr;  ///< parties_max rows
  const Word* in_hand = nullptr;
  const Word* regions = nullptr;  ///< regions_max words
};

/// Where the inheritance is written: a successor's own segment, or an heir area.
struct Heir {
  Hold* holds = nullptr;
  std::uint32_t hold_count = 0;
  CursorRow* cursors = nullptr;
  Word* in_hand = nullptr;
  Word* regions = nullptr;
};

/// Slot of message `sequence` in the ring producer -> consumer.
inline const Slot& slot_at(const Slot* ring, PartyId producer, PartyId consumer,
                           std::uint64_t sequence) noexcept {
  return ring[(sequence - 1) & (ring_slots(producer, consumer) - 1)];
}

/// The hold's token has left, or was never (or no longer) backed by a bit:
///  - its `via` message is published, or
///  - the holder owns the region and the bit is not set in this generation.
/// `own_regions` are the region words of the hold's party.
bool gone(PartyId party, Incarnation incarnation, const Hold& hold, const Word* own_regions,
          const RecoveryMaps& maps);

struct Inheritance {
  std::vector<std::uint32_t> kept;  ///< holds of the heir that now carry inherited tokens
  std::uint32_t dropped = 0;        ///< holds of the dead that counted for nothing
  bool skipped_message = false;     ///< the message in hand was handled: its cursor moved on
};

/// Copies what counts. `banks` are the region indices of d's banks that may have tokens out (from
/// the supervisor's bank table). Words of f that are not written are expected to be 0.
/// Errors: none; a malformed word of d (a liar's) is dropped and counted in `dropped`.
Inheritance inherit(const DeadParty& d, const Heir& f, std::span<const RegionIndex> regions,
                    const RecoveryMaps& maps);

/// The supervisor's holds after its own death, settled where they lie. `reader_cursor` is the
/// cursor word of the ring that in_hand names. Idempotent; may be killed anywhere and repeated.
/// `region_word(token)` gives the region word when the supervisor is owner or heir, else null.
/// `sender` is whose rings the holds are passed on. `receiver` is whose rings `cursors` belong to:
/// the same party, except for an heir area, which receives as the dead and sends as the supervisor.
struct SettleCounts {
  std::uint32_t finished = 0;     ///< had left: hold emptied
  std::uint32_t redelivered = 0;  ///< will be received again: hold emptied
  std::uint32_t retried = 0;      ///< still held: via cleared
};
SettleCounts settle_in_place(std::span<Hold> holds, Word& in_hand, CursorRow* cursors,
                             PartyId sender, Incarnation sender_incarnation, PartyId receiver,
                             const std::function<const Word*(Token)>& region_word,
                             const RecoveryMaps& maps);

}  // namespace micro_swarm
