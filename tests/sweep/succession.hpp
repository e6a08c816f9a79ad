#pragma once

// What follows a death: a successor in a fresh segment, S as heir, or a new S on the same memory.
// Each can be cut short anywhere and is then done again from the start.

#include "tests/sweep/protocol.hpp"

namespace micro_swarm::sweep {

enum class Succession { successor, heir };

inline DeadParty dead_party(const World& world, PartyId p, Incarnation incarnation) {
  const PartyWords words = world.words_of_life(p, incarnation);
  DeadParty dead;
  dead.party = p;
  dead.incarnation = incarnation;
  dead.holds = words.holds;
  dead.hold_count = hold_count;
  dead.cursors = words.cursors;
  dead.in_hand = words.in_hand;
  dead.regions = words.regions;
  return dead;
}

/// The store that ends a succession.
inline void publish_roster(const World& world, PartyId p, Succession how, Incarnation dead) {
  if (how == Succession::successor)
    store(world.roster(p),
          RosterWord::make(RosterState::live, static_cast<Incarnation>(dead + 1)).word);
  else
    store(world.roster(p), RosterWord::make(RosterState::heir_is_supervisor, dead).word);
}

/// A successor's segment is a new one each time; an heir area is overwritten as it stands.
inline void fresh_segment(const World& world, PartyId p, Succession how, Incarnation dead) {
  if (how == Succession::successor)
    std::memset(static_cast<void*>(&world.life(p, static_cast<Incarnation>(dead + 1))), 0,
                sizeof(LifeWords));
}

/// p's life `dead` is over. Executed by the successor or by S; `regions` are p's (the vector is
/// made beforehand, as the bank table is).
inline void succeed(const World& world, const Protocol& use, PartyId p, Succession how,
                    Incarnation dead, std::span<const RegionIndex> regions) {
  const PartyWords to = how == Succession::successor
                            ? world.words_of_life(p, static_cast<Incarnation>(dead + 1))
                            : world.words_of_heir(p);
  const Heir heir{to.holds, hold_count, to.cursors, to.in_hand, to.regions};
  if (use.publish_before_cursors) publish_roster(world, p, how, dead);
  use.inherit(dead_party(world, p, dead), heir, regions, world.maps());
  if (!use.publish_before_cursors) publish_roster(world, p, how, dead);
}

/// A new S on the old one's memory: its own holds and those of every heir area.
inline void settle_supervisor(const World& world, const Protocol& use) {
  const Incarnation incarnation = world.incarnation(S);
  const auto region_word = [&world](Token token) -> const Word* {
    return token.owner() != S && !world.is_live(token.owner())
               ? &world.heir_regions()[token.region()]
               : nullptr;
  };
  const RecoveryMaps maps = world.maps();
  for (const PartyId p : everybody) {
    if (p != S && world.is_live(p)) continue;
    const PartyWords words = p == S ? world.words_of(S) : world.words_of_heir(p);
    use.settle({words.holds, hold_count}, *words.in_hand, words.cursors, S, incarnation, p,
               region_word, maps);
  }
}

}  // namespace micro_swarm::sweep
