#pragma once

// Wrong orders, each one store or one question away from the right one. The sweep must catch every
// one of them: a check that cannot fail shows nothing. Names are those of docs/protocol.md.

#include "tests/sweep/kill_sweep.hpp"

namespace micro_swarm::sweep::planted {

// ---- pass ----

enum class PassMistake { publish_before_via, hold_before_publish, hold_before_cursor };

template <PassMistake mistake>
bool pass(RingWriter& ring, Hold& hold, Lane lane, PartyId target, SlotBody body,
          MessageInHand in_hand) {
  const std::uint64_t sequence = ring.claim();
  if (sequence == 0) return false;
  body.token = load(hold.token);
  ring.write(sequence, body);
  const std::uint64_t via = Via::make(lane, target, sequence).word;
  if (mistake == PassMistake::publish_before_via) {
    ring.publish(sequence);
    store(hold.via, via);
  } else if (mistake == PassMistake::hold_before_publish) {
    store(hold.via, via);
    store(hold.token, 0);
    ring.publish(sequence);
  } else {
    store(hold.via, via);
    ring.publish(sequence);
    store(hold.token, 0);
  }
  if (in_hand.ring != nullptr) in_hand.ring->advance();
  store(hold.token, 0);
  return true;
}

// ---- receive ----

inline MessageInHand cursor_before_hold(RingReader& ring, Word& in_hand, Lane lane,
                                        PartyId producer, Hold& hold, Token token) {
  take_in_hand(ring, in_hand, lane, producer);
  ring.advance();
  take_token(hold, token);
  return {};
}
inline void keep_nothing(MessageInHand) {}

inline MessageInHand no_in_hand(RingReader& ring, Word& in_hand, Lane, PartyId, Hold& hold,
                                Token token) {
  take_token(hold, token);
  return {&ring, &in_hand};
}

inline MessageInHand hold_before_in_hand(RingReader& ring, Word& in_hand, Lane lane,
                                         PartyId producer, Hold& hold, Token token) {
  take_token(hold, token);
  return take_in_hand(ring, in_hand, lane, producer);
}

/// Relay without a hold: publish a copy, then move the cursor.
inline MessageInHand take_nothing_down(RingReader& ring, Word& in_hand, Lane, PartyId, Hold&,
                                       Token) {
  return {&ring, &in_hand};
}
inline bool pass_a_copy(RingWriter& ring, Hold&, Lane, PartyId, SlotBody body,
                        MessageInHand in_hand) {
  body.token = in_hand.ring->front().token;
  if (!ring.try_send(body)) return false;
  in_hand.ring->advance();
  return true;
}

// ---- the owner ----

inline Token bit_before_hold(Hold& hold, Word& region, PartyId owner, RegionIndex index) {
  const RegionWord next = RegionWord::make(RegionWord{load(region)}.generation() + 1, 1);
  const Token token = Token::make(owner, index, 0, next.generation());
  store(region, next.word);
  store(hold.via, 0);
  store(hold.token, token.word);
  return token;
}

inline std::optional<Token> mint_bit_before_hold(Hold& hold, Word& region, PartyId owner,
                                                 RegionIndex index) {
  const RegionWord word{load(region)};
  const unsigned number = static_cast<unsigned>(std::countr_one(word.outstanding()));
  const Token token = Token::make(owner, index, number, word.generation());
  store(region, word.with(number).word);
  store(hold.via, 0);
  store(hold.token, token.word);
  return token;
}

inline void hold_before_bit(Hold& hold, Word& region, MessageInHand in_hand) {
  const Token token{load(hold.token)};
  if (in_hand.ring != nullptr) in_hand.ring->advance();
  store(hold.token, 0);
  store(region, RegionWord{load(region)}.without(token.number()).word);
}

inline void hold_before_cursor(Hold& hold, Word& region, MessageInHand in_hand) {
  const Token token{load(hold.token)};
  store(region, RegionWord{load(region)}.without(token.number()).word);
  store(hold.token, 0);
  if (in_hand.ring != nullptr) in_hand.ring->advance();
}

inline bool cursor_before_bit(RingReader& ring, Word& region, Token token) {
  ring.advance();
  const RegionWord word{load(region)};
  if (!word.names(token)) return false;
  store(region, word.without(token.number()).word);
  return true;
}

// ---- recovery ----

enum class InheritMistake {
  none,  ///< the control: this copy of the algorithm passes where it is right
  ignores_via,
  handled_message_not_skipped,
  message_and_hold,
  skips_by_token_value,
  inherits_hold_without_bit,
  leaves_regions,
  fresh_cursors,
};

inline bool is_published(const DeadParty& d, Via via, const RecoveryMaps& maps) {
  if (!via) return false;
  const Slot* ring = maps.ring(d.party, d.incarnation, via.target(), via.lane());
  return load(slot_at(ring, d.party, via.target(), via.sequence()).sequence) >= via.sequence();
}

/// The token that the next message of {producer, lane} brings to the dead, if one is there.
inline Token next_token(const DeadParty& d, PartyId producer, Lane lane, const RecoveryMaps& maps) {
  const Cursor at{load(d.cursors[producer].lane[static_cast<unsigned>(lane)])};
  if (at.incarnation() == 0) return {};
  const Slot& slot = slot_at(maps.ring(producer, at.incarnation(), d.party, lane), producer,
                             d.party, at.consumed() + 1);
  return load(slot.sequence) == at.consumed() + 1 ? Token{slot.body.token} : Token{};
}

template <InheritMistake mistake>
Inheritance inherit(const DeadParty& d, const Heir& f, std::span<const RegionIndex> regions,
                    const RecoveryMaps& maps) {
  const InHand in_hand{load(*d.in_hand)};
  const auto lane_of_in_hand = static_cast<unsigned>(in_hand.lane());
  const bool unfinished =
      in_hand.valid() &&
      in_hand.is_at(Cursor{load(d.cursors[in_hand.producer()].lane[lane_of_in_hand])});
  PartyId skip_producer = no_party;
  unsigned skip_lane = 0;
  std::uint32_t next = 0;
  for (std::uint32_t k = 0; k < d.hold_count; ++k) {
    const Token token{load(d.holds[k].token)};
    if (!token) continue;
    bool mine = false;
    PartyId mine_producer = in_hand.producer();
    unsigned mine_lane = lane_of_in_hand;
    if (mistake == InheritMistake::skips_by_token_value) {
      for (const PartyId producer : everybody)
        for (unsigned lane = 0; lane < world_lanes; ++lane)
          if (producer != d.party &&
              next_token(d, producer, static_cast<Lane>(lane), maps) == token) {
            mine = true;
            mine_producer = producer;
            mine_lane = lane;
          }
    } else {
      mine = unfinished && next_token(d, in_hand.producer(), in_hand.lane(), maps) == token;
    }
    const bool without_bit = token.owner() == d.party &&
                             !RegionWord{load(d.regions[token.region()])}.names(token) &&
                             mistake != InheritMistake::inherits_hold_without_bit;
    const bool left =
        mistake != InheritMistake::ignores_via && is_published(d, Via{load(d.holds[k].via)}, maps);
    if (left || without_bit) {
      if (mine && mistake != InheritMistake::handled_message_not_skipped) {
        skip_producer = mine_producer;
        skip_lane = mine_lane;
      }
    } else if (!mine || mistake == InheritMistake::message_and_hold) {
      store(f.holds[next].via, 0);
      store(f.holds[next++].token, token.word);
    }
  }
  for (PartyId producer = 0; producer < parties_max; ++producer)
    for (unsigned lane = 0; lane < world_lanes; ++lane) {
      Cursor cursor{load(d.cursors[producer].lane[lane])};
      if (cursor.word == 0) continue;
      if (mistake == InheritMistake::fresh_cursors)
        cursor = Cursor::make(cursor.incarnation(), 0);
      else if (skip_producer == producer && skip_lane == lane)
        cursor = Cursor::make(cursor.incarnation(), cursor.consumed() + 1);
      store(f.cursors[producer].lane[lane], cursor.word);
    }
  for (const RegionIndex i : regions)
    if (mistake != InheritMistake::leaves_regions &&
        RegionWord{load(d.regions[i])}.outstanding() != 0)
      store(f.regions[i], load(d.regions[i]));
  return {};
}

inline SettleCounts settle_nothing(std::span<Hold>, Word&, CursorRow*, PartyId, Incarnation,
                                   PartyId, const std::function<const Word*(Token)>&,
                                   const RecoveryMaps&) {
  return {};
}

/// Moves the cursor past "the message that brought the token" whenever a token has left, without
/// asking whether that message is still the next one.
inline SettleCounts settle_without_in_hand(std::span<Hold> holds, Word& in_hand_word,
                                           CursorRow* cursors, PartyId sender,
                                           Incarnation sender_incarnation, PartyId receiver,
                                           const std::function<const Word*(Token)>& region_word,
                                           const RecoveryMaps& maps) {
  const InHand in_hand{load(in_hand_word)};
  for (Hold& hold : holds) {
    const Token token{load(hold.token)};
    const Via via{load(hold.via)};
    if (token && via && in_hand.valid()) {
      const Slot* ring = maps.ring(sender, sender_incarnation, via.target(), via.lane());
      if (load(slot_at(ring, sender, via.target(), via.sequence()).sequence) >= via.sequence()) {
        Word& cursor = cursors[in_hand.producer()].lane[static_cast<unsigned>(in_hand.lane())];
        const Cursor at{load(cursor)};
        store(cursor, Cursor::make(at.incarnation(), at.consumed() + 1).word);
      }
    }
  }
  return settle_in_place(holds, in_hand_word, cursors, sender, sender_incarnation, receiver,
                         region_word, maps);
}

// ---- the list ----

struct Planted {
  std::string mistake;
  std::string scenario;  ///< where it shows
  Protocol protocol;
  bool in_recovery = false;  ///< shows only when recovery itself is killed and repeated
};

inline std::vector<Planted> all_planted() {
  std::vector<Planted> all;
  const auto plant = [&all](std::string mistake, std::string where, auto change,
                            bool in_recovery = false) {
    Protocol protocol;
    change(protocol);
    all.push_back({std::move(mistake), std::move(where), protocol, in_recovery});
  };
  plant("publish before via", "pass on what was kept",
        [](Protocol& p) { p.pass = pass<PassMistake::publish_before_via>; });
  plant("publish before via", "give",
        [](Protocol& p) { p.pass = pass<PassMistake::publish_before_via>; });
  plant("hold cleared before publish", "pass on what was kept",
        [](Protocol& p) { p.pass = pass<PassMistake::hold_before_publish>; });
  plant("hold cleared before cursor", "pass on",
        [](Protocol& p) { p.pass = pass<PassMistake::hold_before_cursor>; });
  plant("hold cleared before cursor", "relay a release",
        [](Protocol& p) { p.pass = pass<PassMistake::hold_before_cursor>; });
  plant("cursor before hold", "receive and keep", [](Protocol& p) {
    p.receive = cursor_before_hold;
    p.keep = keep_nothing;
  });
  plant("no in_hand", "receive and keep", [](Protocol& p) { p.receive = no_in_hand; });
  plant("hold before in_hand", "receive and keep",
        [](Protocol& p) { p.receive = hold_before_in_hand; });
  plant("blind relay", "relay a release", [](Protocol& p) {
    p.receive = take_nothing_down;
    p.pass = pass_a_copy;
  });
  plant("allocate: bit before hold", "give", [](Protocol& p) { p.allocate = bit_before_hold; });
  plant("mint: bit before hold", "give to two", [](Protocol& p) { p.mint = mint_bit_before_hold; });
  plant("own release: hold before bit", "allocate and release",
        [](Protocol& p) { p.release_own = hold_before_bit; });
  plant("own release: hold before cursor", "own release of what came back",
        [](Protocol& p) { p.release_own = hold_before_cursor; });
  plant("arriving release: cursor before bit", "arriving release",
        [](Protocol& p) { p.receive_release = cursor_before_bit; });
  plant("arriving release: cursor before bit", "heir collects a release",
        [](Protocol& p) { p.receive_release = cursor_before_bit; });

  plant("recovery ignores via", "pass on what was kept",
        [](Protocol& p) { p.inherit = inherit<InheritMistake::ignores_via>; });
  plant("handled message not skipped", "pass on",
        [](Protocol& p) { p.inherit = inherit<InheritMistake::handled_message_not_skipped>; });
  plant("message in hand and hold both inherited", "receive and keep",
        [](Protocol& p) { p.inherit = inherit<InheritMistake::message_and_hold>; });
  plant("skip decided by token value", "pass on, and it comes back by another ring",
        [](Protocol& p) { p.inherit = inherit<InheritMistake::skips_by_token_value>; });
  plant("hold without bit inherited", "give",
        [](Protocol& p) { p.inherit = inherit<InheritMistake::inherits_hold_without_bit>; });
  plant("region words not inherited", "give",
        [](Protocol& p) { p.inherit = inherit<InheritMistake::leaves_regions>; });
  plant("successor starts with fresh cursors", "receive and keep",
        [](Protocol& p) { p.inherit = inherit<InheritMistake::fresh_cursors>; });
  plant(
      "successor published before cursors are copied", "receive and keep",
      [](Protocol& p) { p.publish_before_cursors = true; }, true);

  plant("S does not settle its holds", "S releases a token it kept",
        [](Protocol& p) { p.settle = settle_nothing; });
  plant("S does not settle its holds", "relay a release",
        [](Protocol& p) { p.settle = settle_nothing; });
  plant(
      "settling moves the cursor without asking in_hand", "relay a release",
      [](Protocol& p) { p.settle = settle_without_in_hand; }, true);
  return all;
}

}  // namespace micro_swarm::sweep::planted
