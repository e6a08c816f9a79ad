#include "agentproc/heap_holes.hpp"

#include <unistd.h>

#include <cstddef>
#include <cstdint>
#include <cstdlib>

namespace micro_swarm {

namespace {

std::uintptr_t address(const void* p) { return reinterpret_cast<std::uintptr_t>(p); }

/// Allocates pieces of that size until one does not come from below `end`.
void take_all(std::size_t size_bytes, std::uintptr_t end) {
  for (;;) {
    void* piece = std::malloc(size_bytes);
    if (piece == nullptr) return;
    // Never read: kept by being forgotten.
    if (address(piece) < end) continue;
    std::free(piece);
    return;
  }
}

}  // namespace

void fill_heap_holes() noexcept {
  // Below the size from which glibc maps a piece of its own, above any hole of this small heap.
  constexpr std::size_t large_bytes = std::size_t{120} << 10;
  constexpr std::size_t small_bytes = 1024;
  void* large = std::malloc(large_bytes);
  const std::uintptr_t end = address(large);
  std::free(large);
  const std::uintptr_t heap_end = address(::sbrk(0));
  constexpr std::uintptr_t near_bytes = std::uintptr_t{1} << 20;
  if (end == 0 || end > heap_end || heap_end - end > near_bytes) return;  // not glibc's heap
  for (std::size_t size_bytes = large_bytes / 2; size_bytes > small_bytes;
       size_bytes -= small_bytes)
    take_all(size_bytes, end);
  // Every size class of the allocator.
  for (std::size_t size_bytes = small_bytes; size_bytes >= 24; size_bytes -= 16)
    take_all(size_bytes, end);
}

}  // namespace micro_swarm
