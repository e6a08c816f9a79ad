#pragma once

// Kills a process at every instruction of one operation.
//
// A child is forked and runs the operation one machine instruction at a time (ptrace). At each
// stop, before the instruction, it is duplicated: the twin has the child's registers and private
// memory at exactly this instruction, and is SIGKILLed and reaped. What it leaves on the shared
// mapping is what a process that dies there leaves. The caller recovers and checks, the mapping is
// put back, and the child takes its next step. So one run of n instructions is n deaths, each in a
// state that a real execution reached, and a count of instructions need not repeat between runs.

#include <cstdint>
#include <functional>
#include <string>

#include "tests/sweep/world.hpp"

namespace micro_swarm::sweep {

enum class Depth {
  each_state,        ///< one kill for each state of the shared memory that was not seen before
  each_instruction,  ///< a kill at every instruction
};

struct SweepCounts {
  std::uint64_t instructions = 0;
  std::uint64_t states = 0;  ///< distinct contents of the shared memory
  std::uint64_t kills = 0;
  std::uint64_t violations = 0;
  std::string first_violation;

  SweepCounts& operator+=(const SweepCounts& other);
};

/// `operation` is `actor`'s; it runs in the child on the world as it stands; `check` runs here
/// after each kill, may change the world, and returns what is violated (empty = nothing). On return
/// the world is as the finished operation left it; a store outside of what `actor` may write is a
/// violation too. The operation must make no system call that waits.
SweepCounts kill_at_every_instruction(const World& world, PartyId actor, Depth depth,
                                      const std::function<void()>& operation,
                                      const std::function<std::string()>& check);

/// The distinct states of the world that a death inside `operation` can leave, found by stepping.
std::vector<Snapshot> states_left_by(const World& world, PartyId actor,
                                     const std::function<void()>& operation);

/// One core for the whole process: a stop then never waits for another core.
void pin_to_one_core();

}  // namespace micro_swarm::sweep
