#pragma once

// The atomics policy: ring and bell are written against it, so that the very code that runs in
// production is what the memory-order checker explores (tests/relacy).

#include <atomic>
#include <cstdint>
#include <cstring>

#if defined(__SANITIZE_THREAD__)
#define MS_THREAD_SANITIZER 1
#elif defined(__has_feature)
#if __has_feature(thread_sanitizer)
#define MS_THREAD_SANITIZER 1
#endif
#endif

namespace micro_swarm {

/// 56 bytes of a ring slot behind its sequence: what a message says. Copied whole by both sides;
/// a reader validates its copy, never the shared bytes (they are input and may change under it).
struct SlotBody {
  std::uint16_t kind = 0;          ///< MessageKind of the protocol above the ring
  std::uint16_t inline_bytes = 0;  ///< how many of inline_data[] are payload
  std::uint32_t region_bytes = 0;  ///< payload size where `token` names a region
  std::uint64_t token = 0;         ///< Token::word, 0 = none
  std::uint64_t inline_data[5] = {};

  friend bool operator==(const SlotBody&, const SlotBody&) = default;
};
static_assert(sizeof(SlotBody) == 56 && alignof(SlotBody) == 8);

/// The policy of the real processes: std::atomic words in shared memory.
struct StdAtomics {
  using Word = std::atomic<std::uint64_t>;
  using Body = SlotBody;
  static_assert(Word::is_always_lock_free && sizeof(Word) == 8);

  static std::uint64_t load_acquire(const Word& w) noexcept {
    return w.load(std::memory_order_acquire);
  }
  static std::uint64_t load_relaxed(const Word& w) noexcept {
    return w.load(std::memory_order_relaxed);
  }
  static void store_release(Word& w, std::uint64_t value) noexcept {
    w.store(value, std::memory_order_release);
  }
  static void store_relaxed(Word& w, std::uint64_t value) noexcept {
    w.store(value, std::memory_order_relaxed);
  }
  static void fence() noexcept {
#if defined(MS_THREAD_SANITIZER)
    // It does not know fences. An exchange on a word of this thread's own is as strong on the
    // machine and orders nothing in the sanitizer's eyes, so it hides no race.
    thread_local std::atomic<std::uint64_t> own{0};
    own.exchange(1, std::memory_order_seq_cst);
#else
    std::atomic_thread_fence(std::memory_order_seq_cst);
#endif
  }
  static void write_body(Body& shared, const SlotBody& value) noexcept { shared = value; }
  static SlotBody read_body(const Body& shared) noexcept { return shared; }
};

using Word = StdAtomics::Word;

inline std::uint64_t load(const Word& w) noexcept { return StdAtomics::load_acquire(w); }
inline void store(Word& w, std::uint64_t value) noexcept { StdAtomics::store_release(w, value); }

}  // namespace micro_swarm
