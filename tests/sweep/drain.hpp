#pragma once

// The parties at work until nothing can move any more: everybody receives what has come, and gives
// back every token it gets or holds. Whom a kill left in the middle is somebody else's business by
// now (succession.hpp); here every step is complete, and the invariant of places holds after each.

#include <string>

#include "tests/sweep/invariants.hpp"
#include "tests/sweep/protocol.hpp"

namespace micro_swarm::sweep {

class Drain {
 public:
  Drain(const World& world, const Protocol& use, const Excuses& excuses)
      : world_(world), use_(use), excuses_(excuses) {}

  /// Runs to quiet. Returns what was violated on the way or at the end; empty = nothing.
  std::string run() {
    for (unsigned round = 0; round < 64; ++round) {
      moved_ = false;
      for (const PartyId p : everybody) {
        for (const PartyId producer : everybody)
          for (const Lane lane : {Lane::release, Lane::data})
            while (receive(p, producer, lane))
              if (std::string wrong = check_places(world_, excuses_); !wrong.empty()) return wrong;
        give_back_holds(p);
        if (std::string wrong = check_places(world_, excuses_); !wrong.empty()) return wrong;
      }
      if (!moved_) return check_quiet(world_, excuses_);
    }
    return "the parties do not come to rest";
  }

  /// p (or S in its place) receives the next message from `producer`, if there is one.
  bool receive(PartyId p, PartyId producer, Lane lane) {
    if (p == producer) return false;
    RingReader ring = world_.reader(p, producer, lane);
    if (!ring.ready()) {
      const Incarnation next = static_cast<Incarnation>(ring.at().incarnation() + 1);
      if (world_.incarnation(producer) < next || ring.ready()) return false;
      ring.move_to(world_.ring_slots_of(producer, next, p, lane), next);
      moved_ = true;
      return true;
    }
    const SlotBody body = ring.front();
    const Token token{body.token};
    const PartyWords words = world_.words_of(p);
    if (lane == Lane::release && token.owner() == p) {
      world_.handle(p, body);
      use_.receive_release(ring, words.regions[token.region()], token);
      moved_ = true;
      return true;
    }
    if (token && !has_way_home(p, token)) return false;
    Hold& hold = world_.empty_hold(words);
    const MessageInHand in_hand = use_.receive(ring, *words.in_hand, lane, producer, hold, token);
    world_.handle(p, body);
    if (token)
      give_back(p, hold, in_hand);
    else
      use_.keep(in_hand);
    moved_ = true;
    return true;
  }

  /// Releases what p holds. False = a token found no space on its way.
  bool give_back(PartyId p, Hold& hold, MessageInHand in_hand = {}) {
    const Token token{load(hold.token)};
    if (Word* region = region_word_for(p, token)) {
      use_.release_own(hold, *region, in_hand);
      return true;
    }
    RingWriter ring = way_home(p, token);
    return use_.pass(ring, hold, Lane::release, next_hop(p, token), world_.new_message(), in_hand);
  }

 private:
  void give_back_holds(PartyId p) {
    const PartyWords words = world_.words_of(p);
    for (unsigned k = 0; k < hold_count; ++k)
      if (load(words.holds[k].token) != 0 && give_back(p, words.holds[k])) moved_ = true;
  }
  /// The region word where whoever acts for p is the owner or the owner's heir, else null.
  Word* region_word_for(PartyId p, Token token) {
    const PartyId owner = token.owner();
    const bool own = owner == p || (world_.sender_for(p) == S && !world_.is_live(owner));
    return own ? &world_.words_of(owner).regions[token.region()] : nullptr;
  }
  PartyId next_hop(PartyId p, Token token) {
    return World::linked(world_.sender_for(p), token.owner()) ? token.owner() : S;
  }
  RingWriter way_home(PartyId p, Token token) {
    return world_.writer(world_.sender_for(p), next_hop(p, token), Lane::release);
  }
  bool has_way_home(PartyId p, Token token) {
    return region_word_for(p, token) != nullptr || way_home(p, token).has_space(1);
  }

  const World& world_;
  const Protocol& use_;
  const Excuses& excuses_;
  bool moved_ = false;
};

}  // namespace micro_swarm::sweep
