#pragma once

// The operations on tokens: one owner, any number of holds (docs/protocol.md). In every function
// one line is one store, and the process may die between any two of them; the comment on a line
// says why it may not move. All are noexcept, allocate nothing, wait for nothing and make no
// system call; each belongs to the thread that owns the words it stores to.
//
// What each kill leaves is repaired by shm/recovery.hpp; tests/sweep/ kills at every instruction
// and plants the wrong orders.

#include <optional>

#include "ipc/ring.hpp"
#include "shm/hold_data.hpp"

namespace micro_swarm {

/// The message a receiving thread works on: which ring, and the thread's in_hand word.
struct MessageInHand {
  RingReader* ring = nullptr;
  Word* in_hand = nullptr;
};

/// Writes down that the next message of `ring` is being handled. Do it before anything else.
inline MessageInHand take_in_hand(RingReader& ring, Word& in_hand, Lane lane,
                                  PartyId producer) noexcept {
  store(in_hand, InHand::make(lane, producer, ring.at()).word);
  return MessageInHand{&ring, &in_hand};
}

/// Moves the hold's token to `target` with one message. Gives, passes on, sends home.
/// `in_hand` is set when the token came with the message in hand: publishing then also finishes
/// that message. False = the ring is full, nothing was written (so a `via` is never abandoned).
inline bool pass(RingWriter& ring, Hold& hold, Lane lane, PartyId target, SlotBody body,
                 MessageInHand in_hand = {}) noexcept {
  const std::uint64_t sequence = ring.claim();
  if (sequence == 0) return false;
  body.token = load(hold.token);
  ring.write(sequence, body);
  // Before the publication: else a death after it leaves a hold that looks alive while the
  // receiver has the token too.
  store(hold.via, Via::make(lane, target, sequence).word);
  ring.publish(sequence);  // commit
  // Before the hold is emptied: once it is gone nothing tells that the message was handled.
  if (in_hand.ring != nullptr) in_hand.ring->advance();
  store(hold.token, 0);
  return true;
}

/// Owner: the first token of a new generation of a region nobody has a token of, into an empty
/// hold. `generation_floor` is where the region's generations start (first_generation).
inline Token allocate(Hold& hold, Word& region, PartyId owner, RegionIndex index,
                      std::uint32_t generation_floor) noexcept {
  const RegionWord word{load(region)};
  const std::uint32_t last =
      word.generation() > generation_floor ? word.generation() : generation_floor;
  const RegionWord next = RegionWord::make(last + 1, 1);
  const Token token = Token::make(owner, index, 0, next.generation());
  store(hold.via, 0);
  // Hold first: a bit without a place that holds it would leak, a hold without its bit is
  // recognised and dropped.
  store(hold.token, token.word);
  store(region, next.word);
  return token;
}

/// Owner, while it holds a token of the region: one more token, into the empty hold `hold`.
/// nullopt = all 32 numbers are out.
inline std::optional<Token> mint(Hold& hold, Word& region, PartyId owner,
                                 RegionIndex index) noexcept {
  const RegionWord word{load(region)};
  for (unsigned number = 0; number < 32; ++number) {
    if (((word.outstanding() >> number) & 1u) != 0) continue;
    const Token token = Token::make(owner, index, number, word.generation());
    store(hold.via, 0);
    store(hold.token, token.word);  // hold first, as in allocate
    store(region, word.with(number).word);
    return token;
  }
  return std::nullopt;
}

/// Receiver of a message in hand that brings a token: writes the right down. What becomes of it
/// (pass on, release, keep) is the handler's last act.
inline void take_token(Hold& hold, Token token) noexcept {
  store(hold.via, 0);
  store(hold.token, token.word);
}

/// Keeps the token beyond the message that brought it. The cursor's store is the commit.
inline void keep(MessageInHand in_hand) noexcept { in_hand.ring->advance(); }

/// Owner (or its heir): gives up one of its own tokens.
inline void release_own(Hold& hold, Word& region, MessageInHand in_hand = {}) noexcept {
  const Token token{load(hold.token)};
  const RegionWord word{load(region)};
  // Bit first: a hold without bit is recognised as done, a bit without hold leaks.
  if (word.names(token)) store(region, word.without(token.number()).word);
  if (in_hand.ring != nullptr) in_hand.ring->advance();
  store(hold.token, 0);
}

/// Owner (or its heir): a token came home in a RELEASE message, the next one of `ring`.
/// Returns false when the token names no outstanding right: normal once after a death, else a lie.
inline bool receive_release(RingReader& ring, Word& region, Token token) noexcept {
  const RegionWord word{load(region)};
  const bool known = word.names(token);
  // Bit before cursor, nothing in between; doing it twice is harmless.
  if (known) store(region, word.without(token.number()).word);
  ring.advance();
  return known;
}

}  // namespace micro_swarm
