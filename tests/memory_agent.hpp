#pragma once

// Bytes that tell which region they are of.

#include <cstddef>
#include <cstdint>
#include <span>

namespace micro_swarm {

inline std::byte pattern_at(std::uint64_t tag, std::size_t i) {
  return static_cast<std::byte>((tag * 0x9e3779b97f4a7c15ull + i * 31) >> 5);
}
/// All of a small one; of a large one every page's first bytes and the end.
template <class F>
void for_pattern(std::size_t size, F&& f) {
  for (std::size_t i = 0; i < size; ++i) {
    if (i % 4096 == 64 && i + 4096 < size) i += 4096 - 64;
    f(i);
  }
}
inline void fill_pattern(std::span<std::byte> bytes, std::uint64_t tag) {
  for_pattern(bytes.size(), [&](std::size_t i) { bytes[i] = pattern_at(tag, i); });
}
inline bool has_pattern(std::span<const std::byte> bytes, std::uint64_t tag) {
  bool is_equal = true;
  for_pattern(bytes.size(), [&](std::size_t i) { is_equal &= bytes[i] == pattern_at(tag, i); });
  return is_equal;
}

}  // namespace micro_swarm
