#pragma once

#include <string>

#include "tests/bench/figure.hpp"

namespace micro_swarm::bench {

/// One object on a line: name, value, unit, reference, ratio, goal, met, spread
/// (docs/benchmarks.md).
std::string to_json_line(const Figure& figure);

std::string table_head();
std::string table_line(const Figure& figure);

}  // namespace micro_swarm::bench
