#pragma once

// The limits of the machine, without any runtime: each is what the product's figure stands beside.
// Two-process references are member functions of both sides: `ask` runs in the measuring process
// and returns nanoseconds, `serve` in its Partner.

#include <array>
#include <atomic>
#include <cstdint>
#include <string>

#include "tests/bench/partner.hpp"

namespace micro_swarm::bench {

/// A store that the other core sees and answers: nothing two processes do together is faster.
class CacheLine {
 public:
  double ask(Partner& partner, std::uint32_t what, std::uint64_t round_trips);
  std::uint64_t serve(std::uint64_t round_trips);

 private:
  struct Lines {
    alignas(128) std::atomic<std::uint64_t> there{0};
    alignas(128) std::atomic<std::uint64_t> back{0};
  };
  Shared<Lines> lines_;
};

/// As few instructions as a one-way queue can have: 64-byte slots with the sequence in them, the
/// consumer's position published once a batch, no owner, no crash story.
class MinimalRing {
 public:
  static constexpr std::uint32_t slots_max = 1024;
  MinimalRing(std::uint32_t slots, std::uint32_t batch) : mask_(slots - 1), batch_(batch) {}
  /// Returns nanoseconds for all messages, until the last was consumed.
  double ask(Partner& partner, std::uint32_t what, std::uint64_t messages);
  std::uint64_t serve(std::uint64_t messages);

 private:
  struct alignas(64) Slot {
    std::atomic<std::uint64_t> sequence{0};
    std::uint64_t body[7];
  };
  struct Memory {
    std::array<Slot, slots_max> slots;
    alignas(128) std::atomic<std::uint64_t> consumed{0};
  };
  Shared<Memory> memory_;
  std::uint64_t mask_, batch_;
  std::uint64_t at_ = 0;  ///< of this side
};

/// Wakes with a futex a peer that is really asleep: the waker spins `hold_ns` first, and that time
/// is not counted. (Without the hold both may go on finding the word changed and never sleep.)
class ParkedPingPong {
 public:
  static constexpr std::uint64_t hold_ns = 15'000;
  /// Median of the round trips, in nanoseconds, both wake-ups in it.
  double ask(Partner& partner, std::uint32_t what, std::uint64_t round_trips);
  std::uint64_t serve(std::uint64_t round_trips);

 private:
  struct Words {
    alignas(128) std::atomic<std::uint32_t> there{0};
    alignas(128) std::atomic<std::uint32_t> back{0};
    alignas(128) std::atomic<std::uint64_t> held_ns{0};
  };
  Shared<Words> words_;
  std::uint32_t at_ = 0;
};

/// Spins until `time_ns` have passed; returns how long it was.
std::uint64_t hold(std::uint64_t time_ns) noexcept;

/// SIGKILL of a small sleeping child until its pidfd says so, in nanoseconds.
double kill_to_pidfd_ns();
/// fork() until the child runs its first instruction, in nanoseconds.
double fork_to_first_instruction_ns();
/// vfork() and exec of a program that writes one byte into a pipe, until the byte is read, in
/// nanoseconds.
double exec_to_first_word_ns(const std::string& program);
/// Forking `count` children one after the other, until the last one runs, in nanoseconds.
double fork_many_ns(unsigned count);

}  // namespace micro_swarm::bench
