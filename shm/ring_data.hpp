#pragma once

// Ring: bytes only. Writer: the producer, alone (the ring lies in its segment; everybody else maps
// it read-only). The consumer's cursor lies in the consumer's segment.
//
// Order: body, then `sequence` with release. The sequence is the publication; there is no tail.
// A reader sees message n when slot[(n-1) % slots].sequence == n.
// Writer dies between two stores: before the sequence store nothing was sent (the slot still has
// its old sequence; the body of a message long consumed was overwritten, nobody looks at it);
// after it the message stands. Repair: none needed; the next writer of the same memory finds the
// tail by scanning (find_tail). Shown by tests/sweep/.

#include <bit>
#include <cstddef>
#include <type_traits>

#include "shm/atomics.hpp"

namespace micro_swarm {

template <class Atomics>
struct alignas(64) BasicSlot {
  typename Atomics::Word sequence;
  typename Atomics::Body body;
};

using Slot = BasicSlot<StdAtomics>;
static_assert(sizeof(Slot) == 64 && alignof(Slot) == 64);
static_assert(offsetof(Slot, body) == 8);
static_assert(std::is_standard_layout_v<Slot> && std::is_trivially_destructible_v<Slot>);

/// Messages published so far, read off the slots alone: the highest sequence in them.
/// For a writer's successor on the same memory, and for recovery of the dead.
template <class Atomics>
std::uint64_t find_tail(const BasicSlot<Atomics>* slots, std::uint32_t slot_count) noexcept {
  std::uint64_t tail = 0;
  for (std::uint32_t i = 0; i < slot_count; ++i) {
    const std::uint64_t sequence = Atomics::load_acquire(slots[i].sequence);
    if (sequence > tail) tail = sequence;
  }
  return tail;
}

}  // namespace micro_swarm
