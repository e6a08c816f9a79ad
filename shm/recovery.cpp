#include "shm/recovery.hpp"

namespace micro_swarm {

namespace {

Word* cursor_of(CursorRow* cursors, InHand in_hand) {
  return &cursors[in_hand.producer()].lane[static_cast<unsigned>(in_hand.lane())];
}

/// A word of another process may name a lane or party that does not exist.
bool is_ring(PartyId peer, Lane lane) {
  return peer < parties_max && static_cast<unsigned>(lane) < lanes_used;
}

/// The message in hand, if its cursor has not moved past it: {which, the token it names}.
struct Unfinished {
  InHand in_hand;
  Token token;
};
std::optional<Unfinished> unfinished(PartyId party, const Word& in_hand_word,
                                     const CursorRow* cursors, const RecoveryMaps& maps) {
  const InHand in_hand{load(in_hand_word)};
  if (!in_hand.valid() || !is_ring(in_hand.producer(), in_hand.lane())) return std::nullopt;
  const Cursor cursor{
      load(cursors[in_hand.producer()].lane[static_cast<unsigned>(in_hand.lane())])};
  if (!in_hand.is_at(cursor)) return std::nullopt;
  const Slot* ring = maps.ring(in_hand.producer(), cursor.incarnation(), party, in_hand.lane());
  if (ring == nullptr) return std::nullopt;
  const Slot& slot = slot_at(ring, in_hand.producer(), party, cursor.consumed() + 1);
  // Not there: it will not be delivered again, so it must not stand in for a hold.
  if (load(slot.sequence) != cursor.consumed() + 1) return std::nullopt;
  return Unfinished{in_hand, Token{slot.body.token}};
}

bool published(PartyId party, Incarnation incarnation, Via via, const RecoveryMaps& maps) {
  if (!via || !is_ring(via.target(), via.lane())) return false;
  const Slot* ring = maps.ring(party, incarnation, via.target(), via.lane());
  if (ring == nullptr) return false;
  // A later message in the same slot means that this one was published before it.
  return load(slot_at(ring, party, via.target(), via.sequence()).sequence) >= via.sequence();
}

bool gone_with(PartyId party, Incarnation incarnation, Token token, Via via, const Word* region,
               const RecoveryMaps& maps) {
  if (published(party, incarnation, via, maps)) return true;
  return region != nullptr && !RegionWord{load(*region)}.names(token);
}

}  // namespace

bool gone(PartyId party, Incarnation incarnation, const Hold& hold, const Word* own_regions,
          const RecoveryMaps& maps) {
  const Token token{load(hold.token)};
  const Word* region = token.owner() == party ? &own_regions[token.region()] : nullptr;
  return gone_with(party, incarnation, token, Via{load(hold.via)}, region, maps);
}

Inheritance inherit(const DeadParty& d, const Heir& f, std::span<const RegionIndex> regions,
                    const RecoveryMaps& maps) {
  Inheritance result;
  const auto in_hand = unfinished(d.party, *d.in_hand, d.cursors, maps);

  // Holds. The heir's are written from 0 on, so that running again writes the same words.
  std::uint32_t next = 0;
  for (std::uint32_t k = 0; k < d.hold_count; ++k) {
    const Token token{load(d.holds[k].token)};
    if (!token) continue;
    if (!token.well_formed()) {
      ++result.dropped;
      continue;
    }
    const bool mine = in_hand && in_hand->token == token;
    if (gone(d.party, d.incarnation, d.holds[k], d.regions, maps)) {
      if (mine) result.skipped_message = true;
      ++result.dropped;
    } else if (!mine && next < f.hold_count) {
      store(f.holds[next].via, 0);
      store(f.holds[next].token, token.word);
      result.kept.push_back(next++);
    }
    // else: the message in hand brings the token again.
  }
  // A run that was cut short may have written more than this one: it cannot, the input is frozen.

  for (PartyId producer = 0; producer < parties_max; ++producer) {
    for (unsigned lane = 0; lane < lanes_max; ++lane) {
      Cursor cursor{load(d.cursors[producer].lane[lane])};
      if (cursor.word == 0) continue;
      if (result.skipped_message && in_hand->in_hand.producer() == producer &&
          static_cast<unsigned>(in_hand->in_hand.lane()) == lane)
        cursor = Cursor::make(cursor.incarnation(), cursor.consumed() + 1);
      store(f.cursors[producer].lane[lane], cursor.word);
    }
  }

  for (const RegionIndex i : regions) {
    const RegionWord word{load(d.regions[i])};
    if (word.outstanding() != 0) store(f.regions[i], word.word);
  }
  return result;
}

SettleCounts settle_in_place(std::span<Hold> holds, Word& in_hand_word, CursorRow* cursors,
                             PartyId sender, Incarnation sender_incarnation, PartyId receiver,
                             const std::function<const Word*(Token)>& region_word,
                             const RecoveryMaps& maps) {
  SettleCounts counts;
  for (Hold& hold : holds) {
    const Token token{load(hold.token)};
    if (!token) continue;
    // Looked at anew for every hold: an earlier line of this loop may have moved the cursor.
    const auto in_hand = unfinished(receiver, in_hand_word, cursors, maps);
    const bool mine = in_hand && in_hand->token == token;
    if (gone_with(sender, sender_incarnation, token, Via{load(hold.via)}, region_word(token),
                  maps)) {
      if (mine) {
        Word* cursor = cursor_of(cursors, in_hand->in_hand);
        const Cursor at{load(*cursor)};
        store(*cursor, Cursor::make(at.incarnation(), at.consumed() + 1).word);
      }
      store(hold.token, 0);
      ++counts.finished;
    } else if (mine) {
      store(hold.token, 0);
      ++counts.redelivered;
    } else {
      if (load(hold.via) != 0) store(hold.via, 0);
      ++counts.retried;
    }
  }
  return counts;
}

}  // namespace micro_swarm
