#include "supervisor/tokens.hpp"

namespace micro_swarm {

namespace {
SlotBody release_body() {
  SlotBody body;
  body.kind = static_cast<std::uint16_t>(MessageKind::release);
  return body;
}
}  // namespace

bool Tokens::release(Hold& hold, MessageInHand in_hand) {
  const Token token{load(hold.token)};
  if (!token) return true;
  if (is_forged(token)) return drop_malformed(hold, in_hand);
  if (Word* word = banks_.heir_word(token)) {
    release_own(hold, *word, in_hand);
    c_.count(Counter::tokens_released);
    tell_cache(token);
    return true;
  }
  if (!token.well_formed() || !banks_.outstanding(token)) return drop_malformed(hold, in_hand);
  Peer& owner = c_.peers[token.owner()];
  if (!pass(owner.release_out, hold, Lane::release, owner.id, release_body(), in_hand)) {
    if (in_hand.ring == nullptr) pending_.push_back({&hold, token.word});
    return false;
  }
  c_.ring(owner);
  c_.count(Counter::tokens_released);
  return true;
}

bool Tokens::relay(RingReader& ring, Lane lane, PartyId producer, Word& in_hand_word) {
  const Token token{ring.front().token};
  if (is_forged(token)) {
    c_.count(Counter::messages_malformed);
    ring.advance();
    return true;
  }
  if (Word* word = banks_.heir_word(token)) {
    receive_release(ring, *word, token);
    c_.count(Counter::tokens_released);
    tell_cache(token);
    return true;
  }
  if (!banks_.outstanding(token)) {  // repeated after a death, or a lie: either way nothing is out
    ring.advance();
    return true;
  }
  // Space and a hold first, the message second: the supervisor never waits with one in hand.
  if (!c_.peers[token.owner()].release_out.has_space(1)) return false;
  Hold* hold = free_transit_hold();
  if (hold == nullptr) return false;
  const MessageInHand in_hand = take_in_hand(ring, in_hand_word, lane, producer);
  take_token(*hold, token);
  return release(*hold, in_hand);
}

bool Tokens::can_return(Token token) {
  if (!banks_.outstanding(token)) return true;
  return (banks_.heir_word(token) != nullptr || c_.peers[token.owner()].release_out.has_space(1)) &&
         free_transit_hold() != nullptr;
}

bool Tokens::return_to_sender(Token token, MessageInHand in_hand) {
  if (!banks_.outstanding(token)) {
    in_hand.ring->advance();
    return true;
  }
  if (banks_.heir_word(token) == nullptr && !c_.peers[token.owner()].release_out.has_space(1))
    return false;
  Hold* hold = free_transit_hold();
  if (hold == nullptr) return false;
  take_token(*hold, token);
  return release(*hold, in_hand);
}

void Tokens::retry() {
  std::vector<Pending> again;
  again.swap(pending_);
  for (const Pending& entry : again)
    if (load(entry.hold->token) == entry.token) release(*entry.hold);
}

Hold* Tokens::free_transit_hold() {
  Hold* holds = c_.segment.holds() + (c_.segment.hold_count() - transit_holds);
  for (std::uint32_t k = 0; k < transit_holds; ++k)
    if (load(holds[k].token) == 0) return &holds[k];
  return nullptr;
}

bool Tokens::drop_malformed(Hold& hold, MessageInHand in_hand) {
  c_.count(Counter::messages_malformed);
  if (in_hand.ring != nullptr) in_hand.ring->advance();
  store(hold.token, 0);
  return true;
}

}  // namespace micro_swarm
