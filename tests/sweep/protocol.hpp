#pragma once

// The operations a sweep exercises, as a table: production code by default, and one entry replaced
// where a mistake is planted (planted.hpp).

#include "tests/sweep/world.hpp"

namespace micro_swarm::sweep {

struct Protocol {
  bool (*pass)(RingWriter&, Hold&, Lane, PartyId, SlotBody,
               MessageInHand) = [](RingWriter& ring, Hold& hold, Lane lane, PartyId target,
                                   SlotBody body, MessageInHand in_hand) {
    return micro_swarm::pass(ring, hold, lane, target, body, in_hand);
  };
  Token (*allocate)(Hold&, Word&, PartyId, RegionIndex) = [](Hold& hold, Word& region,
                                                             PartyId owner, RegionIndex index) {
    return micro_swarm::allocate(hold, region, owner, index, 0);
  };
  std::optional<Token> (*mint)(Hold&, Word&, PartyId, RegionIndex) = micro_swarm::mint;
  /// Message in hand, its token written down.
  MessageInHand (*receive)(RingReader&, Word& in_hand, Lane, PartyId, Hold&,
                           Token) = [](RingReader& ring, Word& in_hand_word, Lane lane,
                                       PartyId producer, Hold& hold, Token token) {
    const MessageInHand in_hand = take_in_hand(ring, in_hand_word, lane, producer);
    if (token) take_token(hold, token);
    return in_hand;
  };
  void (*keep)(MessageInHand) = micro_swarm::keep;
  void (*release_own)(Hold&, Word&, MessageInHand) = micro_swarm::release_own;
  bool (*receive_release)(RingReader&, Word&, Token) = micro_swarm::receive_release;

  Inheritance (*inherit)(const DeadParty&, const Heir&, std::span<const RegionIndex>,
                         const RecoveryMaps&) = micro_swarm::inherit;
  SettleCounts (*settle)(std::span<Hold>, Word&, CursorRow*, PartyId, Incarnation, PartyId,
                         const std::function<const Word*(Token)>&,
                         const RecoveryMaps&) = micro_swarm::settle_in_place;
  /// Everything that makes a successor (or S, as heir) stand in for p; see succession.hpp.
  bool publish_before_cursors = false;
};

}  // namespace micro_swarm::sweep
