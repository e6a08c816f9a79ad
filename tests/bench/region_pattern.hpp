#pragma once

// What the memory benchmarks write into regions and read out of them again: one of a few patterns,
// so that a wrong or half-written region shows in its checksum. Write and read are the same code
// with and without the runtime.

#include <array>
#include <cstddef>
#include <cstdint>
#include <span>
#include <string>

namespace micro_swarm::bench {

class RegionPattern {
 public:
  static constexpr std::size_t size_bytes = 64 << 10;
  static constexpr std::uint64_t patterns = 8;

  RegionPattern();
  /// Writes all of it.
  static void write(std::span<std::byte> region, std::uint64_t pattern) noexcept;
  /// Reads all of it: XXH3, as the built-in operation `hash` does.
  static std::uint64_t read(std::span<const std::byte> region) noexcept;

  bool is(std::uint64_t checksum, std::uint64_t pattern) const noexcept {
    return checksum == checksums_[pattern % patterns];
  }
  /// As `hash` answers.
  const std::string& text(std::uint64_t pattern) const noexcept {
    return texts_[pattern % patterns];
  }

 private:
  std::array<std::uint64_t, patterns> checksums_;
  std::array<std::string, patterns> texts_;
};

}  // namespace micro_swarm::bench
