#pragma once

// What processes cost, as the kernel counts it.

#include <sys/types.h>

#include <cstdint>
#include <vector>

namespace micro_swarm::bench {

/// All descendants of `root`, and itself.
std::vector<pid_t> process_tree(pid_t root);
/// Time on a core so far of all threads of a process, in nanoseconds.
std::uint64_t cpu_time_ns(pid_t pid);
/// Its share of the memory it maps (PSS) and its page tables, in KiB.
std::uint64_t memory_kib(pid_t pid);

}  // namespace micro_swarm::bench
