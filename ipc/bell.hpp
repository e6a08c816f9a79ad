#pragma once

// Bell: how a sender wakes a parked receiver without either ever waiting for the other.
//
// `asleep` lies in the receiver's own segment (it alone writes it). The bell page is a hint page
// that every linked sender may add to; scribbling on it costs at most one bounded wait, never a
// message, because a receiver looks at its rings, not at the bell, to learn whether there is work.
//
// The race that matters (store buffering): the receiver stores asleep and then looks at the rings,
// the sender publishes and then looks at asleep. Both put a full fence in between, so at least one
// of them sees the other. Explored on this code by tests/relacy.

#include <atomic>
#include <cstdint>

#include "shm/atomics.hpp"

namespace micro_swarm {

/// The memory-order half of the bell, on any atomics policy.
template <class Atomics>
struct BasicBellProtocol {
  using AsleepWord = typename Atomics::Word;

  /// Sender, after publishing: must the receiver be woken?
  static bool must_ring(const AsleepWord& asleep) noexcept {
    Atomics::fence();
    return Atomics::load_relaxed(asleep) != 0;
  }
  /// Receiver: says it is about to sleep; it must look at its rings once more after this.
  static void about_to_sleep(AsleepWord& asleep) noexcept {
    Atomics::store_relaxed(asleep, 1);
    Atomics::fence();
  }
  static void awake(AsleepWord& asleep) noexcept { Atomics::store_relaxed(asleep, 0); }
};
using BellProtocol = BasicBellProtocol<StdAtomics>;

/// What lies in a bell page. Not a cross-process lock: nobody's death in any state blocks anybody.
struct BellPage {
  std::atomic<std::uint32_t> rings;
};
inline constexpr std::uint64_t bell_page_bytes = 4096;

/// FUTEX_WAIT (shared) while `word` == `seen`, at most `timeout_ns`. Spurious returns are normal.
void futex_wait(const std::atomic<std::uint32_t>& word, std::uint32_t seen,
                std::uint64_t timeout_ns) noexcept;
void futex_wake_one(std::atomic<std::uint32_t>& word) noexcept;

/// How long a spinning waiter keeps its core to itself.
inline constexpr std::uint64_t spin_alone_ns = 3'000;

/// Sender: wakes the receiver if it sleeps, and says whether it did. One system call then, none
/// otherwise.
inline bool ring_bell(const Word& asleep, BellPage& bell) noexcept {
  if (!BellProtocol::must_ring(asleep)) return false;
  bell.rings.fetch_add(1, std::memory_order_release);
  futex_wake_one(bell.rings);
  return true;
}

/// Spin-then-park. Spins `spin_ns` looking at has_work(), then parks until rung or `timeout_ns`
/// has passed. Returns has_work(). `asleep` is the caller's own word.
template <class HasWork>
bool wait_on_bell(Word& asleep, const BellPage& bell, std::uint64_t spin_ns,
                  std::uint64_t timeout_ns, HasWork&& has_work);

}  // namespace micro_swarm

#include <sched.h>

#include "common/clock.hpp"

namespace micro_swarm {

template <class HasWork>
bool wait_on_bell(Word& asleep, const BellPage& bell, std::uint64_t spin_ns,
                  std::uint64_t timeout_ns, HasWork&& has_work) {
  if (has_work()) return true;
  if (spin_ns != 0) {
    const std::uint64_t start_ns = now_ns();
    std::uint64_t last_ns = start_ns;
    do {
      for (int i = 0; i < 32; ++i) {
        if (has_work()) return true;
        cpu_relax();
      }
      const std::uint64_t at_ns = now_ns();
      // A gap in the spin is the kernel giving the core to somebody else: others need it more.
      if (at_ns - last_ns > 200'000) break;
      last_ns = at_ns;
      // Who has waited for longer than an answer at once takes lets others have the core between
      // looks: where there are fewer cores than spinners, one of those may be who it waits for.
      if (at_ns - start_ns > spin_alone_ns) ::sched_yield();
    } while (last_ns - start_ns < spin_ns);
  }
  const std::uint32_t seen = bell.rings.load(std::memory_order_acquire);
  BellProtocol::about_to_sleep(asleep);
  if (has_work()) {
    BellProtocol::awake(asleep);
    return true;
  }
  futex_wait(bell.rings, seen, timeout_ns);
  BellProtocol::awake(asleep);
  return has_work();
}

}  // namespace micro_swarm
