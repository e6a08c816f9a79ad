#pragma once

#include <sys/types.h>

#include <cstdint>
#include <optional>

namespace micro_swarm::cli {

/// What a process takes: its share of the pages it maps (proc(5), smaps_rollup: Pss) and its page
/// tables (status: VmPTE). Where its smaps may not be read (an agent is not dumpable, and we are
/// not root): its resident pages that nobody shares, `is_share` false.
struct ProcessMemory {
  std::uint64_t bytes = 0;
  std::uint64_t page_table_bytes = 0;
  bool is_share = true;
};

/// nullopt: there is no such process.
std::optional<ProcessMemory> memory_of(pid_t pid);

}  // namespace micro_swarm::cli
