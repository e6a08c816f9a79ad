#pragma once

// Scenario by scenario: kill, recover with the production code, let everybody come to rest, check.

#include "tests/sweep/operations.hpp"
#include "tests/sweep/stepper.hpp"

namespace micro_swarm::sweep {

/// What follows the death of an agent is the swarm's choice: both are tried. A dead S has one way.
inline std::vector<Succession> successions_of(PartyId actor) {
  if (actor == S) return {Succession::heir};
  return {Succession::successor, Succession::heir};
}

/// `actor` is dead and the world as it left it. Recovers with `use`, then checks to quiet.
inline std::string recover_and_check(const World& world, const Protocol& use,
                                     const Scenario& scenario, const Excuses& excuses) {
  const Snapshot left = snapshot(world);
  const std::vector<RegionIndex> regions = World::regions_of(scenario.actor);
  for (const Succession how : successions_of(scenario.actor)) {
    restore(world, left);
    if (scenario.meanwhile) scenario.meanwhile(world);
    if (scenario.actor == S) {
      settle_supervisor(world, use);
    } else {
      const Incarnation dead = world.incarnation(scenario.actor);
      fresh_segment(world, scenario.actor, how, dead);
      succeed(world, use, scenario.actor, how, dead, regions);
    }
    std::string wrong = check_places(world, excuses);
    if (wrong.empty()) wrong = Drain(world, production, excuses).run();
    if (!wrong.empty()) return wrong;
  }
  return {};
}

/// Kills the operation everywhere.
inline SweepCounts sweep_operation(const World& world, const Protocol& use,
                                   const Scenario& scenario, Depth depth) {
  world.reset();
  scenario.prepare(world);
  const Excuses excuses = scenario.excuses(world);
  BOOST_REQUIRE_EQUAL(check_places(world, excuses), "");
  const Operation operation = scenario.begin(world, use);
  return kill_at_every_instruction(memory_of(world, scenario.actor), depth, operation, [&] {
    return recover_and_check(world, use, scenario, excuses);
  });
}

/// Kills the recovery from the operation everywhere, and runs it again: for every state the
/// operation can leave (or only every `stride`-th of them).
inline SweepCounts sweep_recovery(const World& world, const Protocol& use, const Scenario& scenario,
                                  Depth depth, std::size_t stride = 1) {
  SweepCounts counts;
  world.reset();
  scenario.prepare(world);
  const Excuses excuses = scenario.excuses(world);
  // The operation is the production one: a planted mistake is in the recovery.
  const std::vector<Snapshot> states =
      states_left_by(memory_of(world, scenario.actor), scenario.begin(world, production));
  const std::vector<RegionIndex> regions = World::regions_of(scenario.actor);
  for (std::size_t i = 0; i < states.size(); i += stride)
    for (const Succession how : successions_of(scenario.actor)) {
      restore(world, states[i]);
      if (scenario.meanwhile) scenario.meanwhile(world);
      if (scenario.actor == S) {
        counts += kill_at_every_instruction(
            memory_of(world, S), depth, [&] { settle_supervisor(world, use); },
            [&] {
              settle_supervisor(world, use);
              std::string wrong = check_places(world, excuses);
              return wrong.empty() ? Drain(world, production, excuses).run() : wrong;
            });
        continue;
      }
      const Incarnation dead = world.incarnation(scenario.actor);
      fresh_segment(world, scenario.actor, how, dead);
      counts += kill_at_every_instruction(
          memory_of(world, how == Succession::heir ? S : scenario.actor), depth,
          [&] { succeed(world, use, scenario.actor, how, dead, regions); },
          [&] {
            // Died with the heir: S itself, which settles first, then begins anew. Died with the
            // successor: the next one starts from the same dead segment.
            if (how == Succession::heir) settle_supervisor(world, production);
            const bool published =
                world.roster_of(scenario.actor) != RosterWord::make(RosterState::live, dead);
            if (!published) {
              fresh_segment(world, scenario.actor, how, dead);
              succeed(world, use, scenario.actor, how, dead, regions);
            } else if (how == Succession::successor) {
              // It was a party already: its own death is succeeded like any other.
              const auto next = static_cast<Incarnation>(dead + 1);
              fresh_segment(world, scenario.actor, how, next);
              succeed(world, use, scenario.actor, how, next, regions);
            }
            std::string wrong = check_places(world, excuses);
            return wrong.empty() ? Drain(world, production, excuses).run() : wrong;
          });
    }
  return counts;
}

}  // namespace micro_swarm::sweep
