#pragma once

// How large regions and banks may be, for whoever asks for them and whoever grants them.
//
// A pool region is the unit of the budget. What is smaller lies in a slab: a bank whose regions are
// a fourth, a sixteenth or a sixty-fourth of a pool region and which takes one pool region in all.
// What is larger gets a bank with one region of its size in whole pages. Every region begins at a
// multiple of its size, or of a page; so at a multiple of 64 bytes in any case.

#include <cstdint>

#include "shm/segment_data.hpp"
#include "shm/words.hpp"

namespace micro_swarm {

/// 0, 1, 2: slabs of 64, 16, 4 regions; 3: banks of pool regions.
inline constexpr unsigned pool_class = 3;
inline constexpr unsigned size_classes = 4;
/// Banks of one region that is larger than the pool's.
inline constexpr unsigned large_class = size_classes;

inline constexpr std::uint64_t region_alignment_bytes = 64;
inline constexpr std::uint64_t pool_region_bytes_min = 4096;
static_assert(pool_region_bytes_min / bank_slots_max >= region_alignment_bytes);

/// Regions of a slab of the class; 1 for the pool's own.
constexpr std::uint32_t slab_slots(unsigned size_class) { return 1u << (2 * (3 - size_class)); }
static_assert(slab_slots(0) == bank_slots_max && slab_slots(pool_class) == 1);

/// Bytes of a region of a class up to pool_class.
constexpr std::uint64_t class_region_bytes(std::uint64_t pool_region_bytes, unsigned size_class) {
  return pool_region_bytes / slab_slots(size_class);
}

/// The smallest class whose regions have room for `size_bytes`, or large_class.
constexpr unsigned class_for(std::uint64_t pool_region_bytes, std::uint64_t size_bytes) {
  unsigned size_class = 0;
  while (size_class < size_classes &&
         class_region_bytes(pool_region_bytes, size_class) < size_bytes)
    ++size_class;
  return size_class;
}

/// The budget of `slots` regions that lie in one bank: whole pool regions, rounded up per bank.
constexpr std::uint64_t pool_regions_of(std::uint64_t pool_region_bytes, std::uint64_t slots,
                                        std::uint64_t region_bytes) {
  return (slots * region_bytes + pool_region_bytes - 1) / pool_region_bytes;
}

/// A bank that may be: 1 to 64 regions, each a pool region or more in whole pages, or a power of
/// two's part of a pool region down to 1/64, where all of them are whole pages and at most one pool
/// region. `pool_region_bytes` is a power of two. Does not look at the budget.
constexpr bool is_bank_shape(std::uint64_t pool_region_bytes, std::uint64_t slots,
                             std::uint64_t region_bytes) {
  if (slots == 0 || slots > bank_slots_max || region_bytes == 0) return false;
  if (region_bytes >= pool_region_bytes) return region_bytes % 4096 == 0;
  return (region_bytes & (region_bytes - 1)) == 0 &&
         region_bytes >= pool_region_bytes / bank_slots_max &&
         slots * region_bytes <= pool_region_bytes && slots * region_bytes % 4096 == 0;
}

}  // namespace micro_swarm
