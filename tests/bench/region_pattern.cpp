#include "tests/bench/region_pattern.hpp"

#include <cstdio>
#include <vector>

#define XXH_INLINE_ALL
#include <xxhash.h>

namespace micro_swarm::bench {

RegionPattern::RegionPattern() {
  std::vector<std::byte> bytes(size_bytes);
  for (std::uint64_t i = 0; i < patterns; ++i) {
    write(bytes, i);
    checksums_[i] = read(bytes);
    char text[17];
    std::snprintf(text, sizeof text, "%016llx", static_cast<unsigned long long>(checksums_[i]));
    texts_[i] = text;
  }
}

void RegionPattern::write(std::span<std::byte> region, std::uint64_t pattern) noexcept {
  auto* words = reinterpret_cast<std::uint64_t*>(region.data());
  const std::uint64_t first = pattern % patterns;
  for (std::size_t i = 0; i < region.size() / sizeof *words; ++i) words[i] = first + i;
}

std::uint64_t RegionPattern::read(std::span<const std::byte> region) noexcept {
  return XXH3_64bits(region.data(), region.size());
}

}  // namespace micro_swarm::bench
