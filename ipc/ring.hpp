#pragma once

// Ring: single producer thread, single consumer thread, fixed 64-byte slots in the producer's
// segment, the consumer's cursor in the consumer's. Bytes and crash story: shm/ring_data.hpp.
// Both ends are noexcept, allocate nothing, never block and make no system call.

#include <cstdint>
#include <type_traits>

#include "shm/ring_data.hpp"
#include "shm/words.hpp"

namespace micro_swarm {

/// The producer's end. One per {consumer, lane}; used by one thread of the slots' owner.
template <class Atomics>
class BasicRingWriter {
 public:
  using Slots = BasicSlot<Atomics>*;
  using CursorWord = typename Atomics::Word;

  BasicRingWriter() noexcept = default;
  /// `slot_count` is a power of two. `sent` is the tail (find_tail) where the memory was written
  /// by a predecessor, else 0. `cursor` is the consumer's word; `incarnation` is the producer's.
  BasicRingWriter(Slots slots, std::uint32_t slot_count, const CursorWord* cursor,
                  Incarnation incarnation, std::uint64_t sent = 0) noexcept
      : slots_(slots),
        mask_(slot_count - 1),
        cursor_(cursor),
        incarnation_(incarnation),
        sent_(sent) {}

  /// Sequence the next message will have, or 0 when the ring is full.
  std::uint64_t claim() noexcept { return has_space(1) ? sent_ + 1 : 0; }

  bool has_space(std::uint32_t messages) noexcept {
    if (sent_ + messages - consumed_ <= mask_ + 1) return true;
    refresh();
    return sent_ + messages - consumed_ <= mask_ + 1;
  }
  std::uint32_t space() noexcept {
    refresh();
    return static_cast<std::uint32_t>(mask_ + 1 - (sent_ - consumed_));
  }

  /// Writes what message `sequence` says. Not published yet.
  void write(std::uint64_t sequence, const SlotBody& body) noexcept {
    Atomics::write_body(slot(sequence).body, body);
  }
  /// The commit: from this store on the message is the consumer's.
  void publish(std::uint64_t sequence) noexcept {
    Atomics::store_release(slot(sequence).sequence, sequence);
    sent_ = sequence;
  }
  /// claim + write + publish. False = full, nothing written.
  bool try_send(const SlotBody& body) noexcept {
    const std::uint64_t sequence = claim();
    if (sequence == 0) return false;
    write(sequence, body);
    publish(sequence);
    return true;
  }
  /// Publishes up to `count` messages, in order; returns how many. Each is made by
  /// `make(i) -> SlotBody`, or straight in its slot by `make(i, Body&)`, which has to set every
  /// field; that is twice as fast, because a body put together on the stack and copied whole waits
  /// for its own stores. Looks at the consumer's cursor once for all of them.
  template <class Make>
  std::uint32_t try_send_batch(std::uint32_t count, Make&& make) noexcept {
    if (!has_space(count)) {
      const std::uint32_t room = space();
      if (room < count) count = room;
    }
    for (std::uint32_t i = 0; i < count; ++i) {
      const std::uint64_t sequence = sent_ + 1;
      if constexpr (std::is_invocable_v<Make&, std::uint32_t, typename Atomics::Body&>)
        make(i, slot(sequence).body);
      else
        write(sequence, make(i));
      publish(sequence);
    }
    return count;
  }

  /// The consumer has a successor: its cursor lies elsewhere now, and goes on where it stood.
  void follow(const CursorWord* cursor) noexcept { cursor_ = cursor; }

  std::uint64_t sent() const noexcept { return sent_; }
  /// What the consumer's cursor says it has consumed of this incarnation. A value ahead of what
  /// was sent, or one that went back, is a lie; the caller evicts (`lying`).
  std::uint64_t consumed() noexcept {
    refresh();
    return consumed_;
  }
  bool lying() const noexcept { return lying_; }

 private:
  BasicSlot<Atomics>& slot(std::uint64_t sequence) const noexcept {
    return slots_[(sequence - 1) & mask_];
  }
  void refresh() noexcept {
    const Cursor cursor{Atomics::load_acquire(*cursor_)};
    if (cursor.incarnation() != incarnation_) return;  // still with a predecessor: nothing consumed
    const std::uint64_t consumed = cursor.consumed();
    if (consumed < consumed_ || consumed > sent_)
      lying_ = true;  // input of another process: counted by the owner of this writer, not believed
    else
      consumed_ = consumed;
  }

  Slots slots_ = nullptr;
  std::uint64_t mask_ = 0;
  const CursorWord* cursor_ = nullptr;
  Incarnation incarnation_ = 0;
  bool lying_ = false;
  std::uint64_t sent_ = 0;
  std::uint64_t consumed_ = 0;
};

/// The consumer's end. One per {producer, lane}; used by one thread of the cursor's owner.
template <class Atomics>
class BasicRingReader {
 public:
  using Slots = const BasicSlot<Atomics>*;
  using CursorWord = typename Atomics::Word;

  BasicRingReader() noexcept = default;
  /// Starts where `cursor` stands; the caller has set it to {incarnation of the slots' owner, n}.
  BasicRingReader(Slots slots, std::uint32_t slot_count, CursorWord* cursor) noexcept
      : slots_(slots),
        mask_(slot_count - 1),
        cursor_(cursor),
        at_(Cursor{Atomics::load_relaxed(*cursor)}) {}

  explicit operator bool() const noexcept { return slots_ != nullptr; }

  /// Is a message there? Looks at one word of the producer's segment.
  bool ready() const noexcept {
    return Atomics::load_acquire(next().sequence) == at_.consumed() + 1;
  }
  /// The message `ahead` places behind the next one.
  bool ready(std::uint32_t ahead) const noexcept {
    const std::uint64_t sequence = at_.consumed() + 1 + ahead;
    return Atomics::load_acquire(slots_[(sequence - 1) & mask_].sequence) == sequence;
  }
  /// A copy of the next message (ready() was true). The copy is what is validated.
  SlotBody front() const noexcept { return Atomics::read_body(next().body); }
  SlotBody front(std::uint32_t ahead) const noexcept {
    return Atomics::read_body(slots_[(at_.consumed() + ahead) & mask_].body);
  }
  /// Where the next message lies: what `in_hand` and recovery compare.
  Cursor at() const noexcept { return at_; }
  /// The message was handled: one store. Its slot may be overwritten from here on.
  void advance(std::uint64_t messages = 1) noexcept {
    at_ = Cursor::make(at_.incarnation(), at_.consumed() + messages);
    Atomics::store_release(*cursor_, at_.word);
  }
  /// Copies up to `max` messages out to `handle(const SlotBody&)` and then moves the cursor once.
  /// At-least-once: a death in between delivers the batch again.
  template <class Handle>
  std::uint32_t consume_batch(std::uint32_t max, Handle&& handle) noexcept {
    std::uint32_t taken = 0;
    while (taken < max && ready(taken)) handle(front(taken++));
    if (taken != 0) advance(taken);
    return taken;
  }
  /// Moves from a drained predecessor to the next incarnation's slots: one store. The caller has
  /// read the roster and THEN found ready() false once more (docs/protocol.md).
  void move_to(Slots slots, Incarnation incarnation) noexcept {
    slots_ = slots;
    at_ = Cursor::make(incarnation, 0);
    Atomics::store_release(*cursor_, at_.word);
  }

 private:
  const BasicSlot<Atomics>& next() const noexcept { return slots_[at_.consumed() & mask_]; }

  Slots slots_ = nullptr;
  std::uint64_t mask_ = 0;
  CursorWord* cursor_ = nullptr;
  Cursor at_{};
};

using RingWriter = BasicRingWriter<StdAtomics>;
using RingReader = BasicRingReader<StdAtomics>;

}  // namespace micro_swarm
