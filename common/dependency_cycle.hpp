#pragma once

// Whether tasks wait for each other in a ring. Pure; asked by the client before it submits and by
// the supervisor before it believes.

#include <algorithm>
#include <cstdint>
#include <optional>
#include <span>
#include <vector>

namespace micro_swarm {

/// `dependencies[i]` are the indexes that i depends on (each below the size; one may be there
/// twice). Returns the members of one cycle, each depending on the next and the last on the first,
/// or nothing. Linear; no recursion, so a chain may be as long as a batch.
inline std::optional<std::vector<std::uint32_t>> find_cycle(
    std::span<const std::vector<std::uint32_t>> dependencies) {
  enum class Mark : std::uint8_t { fresh, on_path, done };
  struct Step {
    std::uint32_t task;
    std::size_t next;
  };
  std::vector<Mark> marks(dependencies.size(), Mark::fresh);
  std::vector<Step> path;
  for (std::uint32_t start = 0; start < dependencies.size(); ++start) {
    if (marks[start] != Mark::fresh) continue;
    marks[start] = Mark::on_path;
    path.push_back({start, 0});
    while (!path.empty()) {
      Step& step = path.back();
      if (step.next == dependencies[step.task].size()) {
        marks[step.task] = Mark::done;
        path.pop_back();
        continue;
      }
      const std::uint32_t dependency = dependencies[step.task][step.next++];
      if (marks[dependency] == Mark::on_path) {
        std::vector<std::uint32_t> cycle;
        const auto first = std::find_if(
            path.begin(), path.end(), [dependency](const Step& s) { return s.task == dependency; });
        for (auto at = first; at != path.end(); ++at) cycle.push_back(at->task);
        return cycle;
      }
      if (marks[dependency] == Mark::done) continue;
      marks[dependency] = Mark::on_path;
      path.push_back({dependency, 0});
    }
  }
  return std::nullopt;
}

}  // namespace micro_swarm
