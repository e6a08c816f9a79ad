#pragma once

#include <string>

#include "supervisor/cli/cli.hpp"

namespace micro_swarm::cli {

struct BatchOptions {
  std::string file;             ///< "-" = standard input
  std::uint32_t chunk = 1'000;  ///< lines handed in together, at most
};

/// `task submit --batch`: tasks in, one JSON object a line; their ends out, as they come. Returns
/// the highest exit code of the ends. After an error in the input nothing more is handed in; what
/// was is waited for and printed first.
Result<int> submit_lines(const Cli& shared, const BatchOptions& chosen);

/// The pool's bytes and the task records, from the swarm's status.
struct SwarmSize {
  std::uint64_t pool_bytes = 0;
  std::uint64_t records = 0;
};
Result<SwarmSize> swarm_size(ControlClient& client);

}  // namespace micro_swarm::cli
