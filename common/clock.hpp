#pragma once

#include <cstdint>
#include <ctime>

namespace micro_swarm {

/// Nanoseconds of CLOCK_MONOTONIC: comparable between all processes of one boot.
inline std::uint64_t now_ns() noexcept {
  timespec t{};
  ::clock_gettime(CLOCK_MONOTONIC, &t);
  return static_cast<std::uint64_t>(t.tv_sec) * 1'000'000'000u +
         static_cast<std::uint64_t>(t.tv_nsec);
}

inline constexpr std::uint64_t ns_per_ms = 1'000'000;
inline constexpr std::uint64_t ns_per_s = 1'000'000'000;

/// Time from `since` to `now`, 0 when `since` is later: the two may come from different looks at
/// the clock.
constexpr std::uint64_t elapsed_ns(std::uint64_t now, std::uint64_t since) noexcept {
  return now > since ? now - since : 0;
}

/// Tells the core that this is a spin loop.
inline void cpu_relax() noexcept {
#if defined(__x86_64__)
  __builtin_ia32_pause();
#else
  asm volatile("yield");
#endif
}

}  // namespace micro_swarm
