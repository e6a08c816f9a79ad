#pragma once

#include <cstddef>
#include <string>
#include <string_view>
#include <vector>

namespace micro_swarm {

/// Insertions, deletions, replacements and swaps of neighbours that turn `a` into `b`.
std::size_t edit_distance(std::string_view a, std::string_view b);

/// The candidate nearest to `word`, or empty when none is near enough to be meant
/// (more than a third of its letters, at least two, would have to change).
std::string nearest(std::string_view word, const std::vector<std::string>& candidates);

}  // namespace micro_swarm
