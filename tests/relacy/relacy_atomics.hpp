#pragma once

// The atomics policy for relacy: the production templates (ipc/ring.hpp, ipc/bell.hpp) run on
// rl::atomic words and rl::var bodies, and every execution that the C++ memory model allows may be
// explored, reads of old values included.

#include <cstdint>

#include "shm/atomics.hpp"

// Last: it defines macros over half of the standard library.
#include <relacy/relacy.hpp>
#undef new
#undef delete
#undef malloc
#undef calloc
#undef realloc
#undef free
#undef assert
#undef errno
#undef memory_order_relaxed
#undef memory_order_consume
#undef memory_order_acquire
#undef memory_order_release
#undef memory_order_acq_rel
#undef memory_order_seq_cst

namespace micro_swarm::checked {

/// Two words of a slot's body stand for all of it: each access is a plain one, so relacy reports a
/// data race where the order of the protocol does not cover it.
struct CheckedBody {
  rl::var<std::uint64_t> token;
  rl::var<std::uint64_t> first;
};

struct RelacyAtomics {
  using Word = rl::atomic<std::uint64_t>;
  using Body = CheckedBody;

  static std::uint64_t load_acquire(const Word& w) noexcept {
    return w(RL_INFO).load(rl::mo_acquire);
  }
  static std::uint64_t load_relaxed(const Word& w) noexcept {
    return w(RL_INFO).load(rl::mo_relaxed);
  }
  static void store_release(Word& w, std::uint64_t value) noexcept {
    w(RL_INFO).store(value, rl::mo_release);
  }
  static void store_relaxed(Word& w, std::uint64_t value) noexcept {
    w(RL_INFO).store(value, rl::mo_relaxed);
  }
  static void fence() noexcept { rl::atomic_thread_fence(rl::mo_seq_cst, RL_INFO); }
  static void write_body(Body& shared, const SlotBody& value) noexcept {
    shared.token(RL_INFO) = value.token;
    shared.first(RL_INFO) = value.inline_data[0];
  }
  static SlotBody read_body(const Body& shared) noexcept {
    SlotBody value;
    value.token = shared.token(RL_INFO);
    value.inline_data[0] = shared.first(RL_INFO);
    return value;
  }
};

// ---- planted mistakes ----

/// The publication is relaxed: the body may be seen later than the sequence.
struct RelaxedPublish : RelacyAtomics {
  static void store_release(Word& w, std::uint64_t value) noexcept {
    w(RL_INFO).store(value, rl::mo_relaxed);
  }
};

/// The consumer does not acquire what it looks at.
struct RelaxedLook : RelacyAtomics {
  static std::uint64_t load_acquire(const Word& w) noexcept {
    return w(RL_INFO).load(rl::mo_relaxed);
  }
};

/// The bell without its full fences: both sides may miss each other's store.
struct NoFence : RelacyAtomics {
  static void fence() noexcept {}
};

/// A weaker fence does not do.
struct AcquireReleaseFence : RelacyAtomics {
  static void fence() noexcept { rl::atomic_thread_fence(rl::mo_acq_rel, RL_INFO); }
};

}  // namespace micro_swarm::checked
