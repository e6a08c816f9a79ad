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

#include <cstddef>
#include <span>
#include <vector>

namespace micro_swarm::sweep {

using Snapshot = std::vector<std::byte>;

/// The shared memory that an operation works on, as the stepper sees it.
struct SharedMemory {
  std::function<Snapshot()> save;
  std::function<void(const Snapshot&)> load;
  /// What tells one state from another: the words the operation may store to.
  std::vector<std::span<const std::byte>> watched;
  /// Whether nothing has changed but what the operation may store to; empty = not asked.
  std::function<bool()> others_are_untouched;
};

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

/// `operation` runs in the child on the memory as it stands; `check` runs here after each kill, may
/// change the memory, and returns what is violated (empty = nothing). On return the memory is as
/// the finished operation left it; a store to what is not the operation's is a violation too.
/// The operation must make no system call that waits.
SweepCounts kill_at_every_instruction(const SharedMemory& memory, Depth depth,
                                      const std::function<void()>& operation,
                                      const std::function<std::string()>& check);

/// The distinct states that a death inside `operation` can leave, found by stepping. The memory is
/// put back.
std::vector<Snapshot> states_left_by(const SharedMemory& memory,
                                     const std::function<void()>& operation);

/// One core for the whole process: a stop then never waits for another core.
void pin_to_one_core();

}  // namespace micro_swarm::sweep
