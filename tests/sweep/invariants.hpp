#pragma once

// What must hold, read off the memory alone and without the production recovery code. An empty
// string is "holds"; else the first thing that does not.

#include <map>
#include <string>

#include "tests/sweep/world.hpp"

namespace micro_swarm::sweep {

/// Two exceptions the protocol allows after one particular death.
struct Excuses {
  /// A RELEASE that was being consumed may be there again although its bit is cleared.
  std::uint64_t repeated_release = 0;  ///< message number, 0 = none
  /// The message the dead had in hand may be handled twice; any other exactly once.
  PartyId may_handle_again = no_party;
};

/// Calls visit(producer, life, consumer, lane, sequence, body) for every message that lies in a
/// ring, consumed or not; without the slot that the next message will be written to (it may be half
/// written, and what was in it has long been consumed).
template <class Visit>
void for_each_message(const World& world, Visit&& visit) {
  for (const PartyId producer : everybody)
    for (Incarnation life = 1; life <= lives_max; ++life)
      for (const PartyId consumer : everybody)
        for (unsigned lane = 0; lane < world_lanes; ++lane) {
          const Slot* slots =
              world.ring_slots_of(producer, life, consumer, static_cast<Lane>(lane));
          const std::uint64_t tail = find_tail(slots, world_slots);
          for (std::uint64_t n = tail >= world_slots ? tail - world_slots + 2 : 1; n <= tail; ++n)
            visit(producer, life, consumer, static_cast<Lane>(lane), n,
                  slots[(n - 1) % world_slots].body);
        }
}

inline bool is_consumed(const World& world, PartyId producer, Incarnation life, PartyId consumer,
                        Lane lane, std::uint64_t sequence) {
  const Cursor at{load(world.cursor(consumer, producer, lane))};
  return at.incarnation() > life || (at.incarnation() == life && at.consumed() >= sequence);
}

/// A hold counts: it is not empty, its token has not left with a published message, and if its
/// region is the holder's own (or S's as heir) the bit stands.
inline bool hold_counts(const World& world, PartyId holder, const Hold& hold) {
  const Token token{load(hold.token)};
  const Via via{load(hold.via)};
  if (!token) return false;
  const PartyId sender = world.sender_for(holder);
  if (via) {
    const Slot* slots =
        world.ring_slots_of(sender, world.incarnation(sender), via.target(), via.lane());
    if (load(slots[(via.sequence() - 1) % world_slots].sequence) >= via.sequence()) return false;
  }
  const PartyId owner = token.owner();
  const bool own = owner == holder || (sender == S && !world.is_live(owner));
  return !own || RegionWord{load(world.words_of(owner).regions[token.region()])}.names(token);
}

/// Each token that is out is in exactly one place: a hold that counts or a message not consumed;
/// and what is in a place is out. True whenever nobody is inside an operation.
inline std::string check_places(const World& world, const Excuses& excuses) {
  std::map<std::uint64_t, unsigned> places;
  for (const PartyId p : everybody) {
    const PartyWords words = world.words_of(p);
    for (unsigned k = 0; k < hold_count; ++k) {
      if (load(words.holds[k].token) == 0) continue;
      if (!hold_counts(world, p, words.holds[k])) return "a hold is left that counts for nothing";
      ++places[load(words.holds[k].token)];
    }
  }
  std::uint64_t excused = 0;
  for_each_message(world, [&](PartyId producer, Incarnation life, PartyId consumer, Lane lane,
                              std::uint64_t sequence, const SlotBody& body) {
    if (body.token == 0 || is_consumed(world, producer, life, consumer, lane, sequence)) return;
    if (lane == Lane::release && body.inline_data[0] == excuses.repeated_release)
      excused = body.token;
    else
      ++places[body.token];
  });
  for (RegionIndex i = 0; i < region_count; ++i) {
    const PartyId owner = owner_of(i);
    const RegionWord region{load(world.words_of(owner).regions[i])};
    for (unsigned number = 0; number < 32; ++number) {
      if (((region.outstanding() >> number) & 1u) == 0) continue;
      const std::uint64_t token = Token::make(owner, i, number, region.generation()).word;
      unsigned count = excused == token ? 1 : 0;
      if (const auto found = places.find(token); found != places.end()) {
        count += found->second;
        places.erase(found);
      }
      if (count == 0) return "a token is out and in no place: it has leaked";
      if (count > 1)
        return "a token is in " + std::to_string(count) + " places: two may read by one right";
    }
  }
  if (!places.empty()) return "a place holds a token that is not out (released or never minted)";
  return {};
}

/// When nothing can move any more.
inline std::string check_quiet(const World& world, const Excuses& excuses) {
  if (std::string wrong = check_places(world, excuses); !wrong.empty()) return wrong;
  for (const PartyId p : everybody) {
    const PartyWords words = world.words_of(p);
    for (unsigned k = 0; k < hold_count; ++k)
      if (load(words.holds[k].token) != 0) return "a hold is not empty at the end";
  }
  for (RegionIndex i = 0; i < region_count; ++i)
    if (RegionWord{load(world.words_of(owner_of(i)).regions[i])}.outstanding() != 0)
      return "a region is not free at the end";
  std::string wrong;
  for_each_message(world, [&](PartyId producer, Incarnation life, PartyId consumer, Lane lane,
                              std::uint64_t sequence, const SlotBody& body) {
    const std::string which = "message " + std::to_string(body.inline_data[0]);
    if (!is_consumed(world, producer, life, consumer, lane, sequence)) {
      wrong = which + " was never consumed";
      return;
    }
    const std::uint32_t times = world.times_handled(consumer, body);
    const bool again = consumer == excuses.may_handle_again;
    if (times == 0) wrong = which + " was consumed and never handled";
    if (times > (again ? 2u : 1u))
      wrong = which + " was handled " + std::to_string(times) + " times";
  });
  return wrong;
}

}  // namespace micro_swarm::sweep
