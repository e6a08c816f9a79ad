#pragma once

#include <cstddef>

namespace micro_swarm {

/// A hint to the processor that these bytes will be written soon. Changes nothing; any address will
/// do. Always inline, as whatever only calls it must be: the compiler takes a function that does
/// nothing else for one without effect and drops its calls.
[[gnu::always_inline]] inline void prefetch_for_write(const void* at, std::size_t bytes) {
  for (std::size_t i = 0; i < bytes; i += 64)
    __builtin_prefetch(static_cast<const char*>(at) + i, 1);
}

}  // namespace micro_swarm
