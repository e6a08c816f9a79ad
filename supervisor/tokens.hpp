#pragma once

// Tokens on their way home through the supervisor: releases of its own holds, and relaying for
// parties that are not linked with a region's owner. Never waits: what finds no space stays in its
// hold and is tried again.

#include <functional>
#include <vector>

#include "ipc/transfer.hpp"
#include "supervisor/banks.hpp"

namespace micro_swarm {

class Tokens {
 public:
  Tokens(SupervisorContext& context, Banks& banks) : c_(context), banks_(banks) {}

  /// The cache, which owns regions of the supervisor's and counts on its rights to them.
  struct CacheHooks {
    std::function<void(Token)> came_home;  ///< a reader's right
    std::function<bool(Token)> is_kept;    ///< the cache's own: whoever gives it up lies
  };
  void set_cache(CacheHooks hooks) { cache_ = std::move(hooks); }

  /// Sends the hold's token home. `in_hand`: the message that brought it (finished with it).
  /// False = no space towards the owner: nothing changed. Without a message in hand it is then
  /// remembered and retried by retry().
  bool release(Hold& hold, MessageInHand in_hand = {});

  /// A RELEASE message is the next one of `ring`: relay it or, for heired banks, clear its bit.
  /// False = it stays where it is for now.
  bool relay(RingReader& ring, Lane lane, PartyId producer, Word& in_hand_word);

  /// Takes the token of the message in hand into a transit hold and sends it home (a submission
  /// refused, a stale answer). False = not now, leave the message.
  bool return_to_sender(Token token, MessageInHand in_hand);
  /// return_to_sender() would succeed right now.
  bool can_return(Token token);

  void retry();
  bool has_pending() const { return !pending_.empty(); }

 private:
  Hold* free_transit_hold();
  /// The token is not (any more) what a token can be; its hold is emptied.
  bool drop_malformed(Hold& hold, MessageInHand in_hand);

  bool is_forged(Token token) const {
    return token.owner() == supervisor_party && cache_.is_kept && cache_.is_kept(token);
  }
  void tell_cache(Token token) const {
    if (token.owner() == supervisor_party && cache_.came_home) cache_.came_home(token);
  }

  SupervisorContext& c_;
  Banks& banks_;
  CacheHooks cache_;
  struct Pending {
    Hold* hold;
    std::uint64_t token;  ///< the hold may be another's by the time it is tried again
  };
  std::vector<Pending> pending_;
};

}  // namespace micro_swarm
