#pragma once

// Which tasks wait for which. Pure; rebuilt from the records of live tasks.

#include <cstdint>
#include <optional>
#include <span>
#include <unordered_map>
#include <vector>

#include "common/dependency_cycle.hpp"
#include "supervisor/scheduling/types.hpp"

namespace micro_swarm::scheduling {

using micro_swarm::find_cycle;

class TaskGraph {
 public:
  struct Outcome {
    enum class Kind : std::uint8_t { waits, free, doomed } kind = Kind::waits;
    TaskId task = 0;
    TaskId because = 0;  ///< doomed: the dependency that did not end well
    OnDependencyFailure policy = OnDependencyFailure::fail;
  };

  /// `task` is not known yet. A dependency named twice counts once.
  Outcome add(TaskId task, std::span<const Dependency> dependencies,
              OnDependencyFailure on_failure);
  /// `task` has ended: appends what became free or doomed by it. Each is told once.
  void ended(TaskId task, bool succeeded, std::vector<Outcome>& outcomes);
  /// `task` itself is over: it names nobody any more.
  void forget(TaskId task);

  /// A live task depends on it: its record and results must stay.
  bool is_named(TaskId task) const { return named_.contains(task); }
  /// What it still waits for; empty when it waits for nothing or is not known.
  std::vector<TaskId> waits_for(TaskId task) const;
  std::size_t size() const { return waiting_.size(); }

 private:
  struct Named {
    std::vector<TaskId> dependents;  // those that are over since may still be among them
    std::uint32_t live = 0;
    bool is_over = false;
  };
  struct Waiting {
    std::vector<TaskId> dependencies;
    std::uint32_t open = 0;
    OnDependencyFailure on_failure = OnDependencyFailure::fail;
    bool told = false;
  };
  std::unordered_map<TaskId, Named> named_;
  std::unordered_map<TaskId, Waiting> waiting_;
};

}  // namespace micro_swarm::scheduling
