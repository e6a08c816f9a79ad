#pragma once

// Regions without tasks: taking and giving back, handing on, and what collecting them costs.

#include "tests/bench/figure.hpp"

namespace micro_swarm::bench {

void allocation(const Options& options, const Tell& tell);
void transfer_round_trip(const Options& options, const Tell& tell);
void transfer_sizes(const Options& options, const Tell& tell);
void garbage(const Options& options, const Tell& tell);

}  // namespace micro_swarm::bench
