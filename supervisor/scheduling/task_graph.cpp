#include "supervisor/scheduling/task_graph.hpp"

#include <algorithm>

namespace micro_swarm::scheduling {

TaskGraph::Outcome TaskGraph::add(TaskId task, std::span<const Dependency> dependencies,
                                  OnDependencyFailure on_failure) {
  Waiting waiting;
  waiting.on_failure = on_failure;
  TaskId failed = 0;
  for (const Dependency& dependency : dependencies) {
    if (std::find(waiting.dependencies.begin(), waiting.dependencies.end(), dependency.task) !=
        waiting.dependencies.end())
      continue;
    waiting.dependencies.push_back(dependency.task);
    Named& named = named_[dependency.task];
    named.is_over = dependency.state != Dependency::State::live;
    ++named.live;
    if (!named.is_over) {
      ++waiting.open;
      // A task of which dependents are cancelled again and again must not collect them.
      if (named.dependents.size() > 2 * std::size_t{named.live} + 64)
        std::erase_if(named.dependents, [this](TaskId id) { return !waiting_.contains(id); });
      named.dependents.push_back(task);
    }
    if (dependency.state == Dependency::State::failed && failed == 0) failed = dependency.task;
  }
  Outcome outcome{Outcome::Kind::waits, task, failed, on_failure};
  if (failed != 0 && on_failure != OnDependencyFailure::run)
    outcome.kind = Outcome::Kind::doomed;
  else if (waiting.open == 0)
    outcome.kind = Outcome::Kind::free;
  waiting.told = outcome.kind != Outcome::Kind::waits;
  waiting_.emplace(task, std::move(waiting));
  return outcome;
}

void TaskGraph::ended(TaskId task, bool succeeded, std::vector<Outcome>& outcomes) {
  const auto at = named_.find(task);
  if (at == named_.end() || at->second.is_over) return;
  at->second.is_over = true;
  for (const TaskId dependent : at->second.dependents) {
    const auto found = waiting_.find(dependent);
    if (found == waiting_.end()) continue;
    Waiting& waiting = found->second;
    --waiting.open;
    if (waiting.told) continue;
    const bool is_doomed = !succeeded && waiting.on_failure != OnDependencyFailure::run;
    if (!is_doomed && waiting.open != 0) continue;
    waiting.told = true;
    outcomes.push_back({is_doomed ? Outcome::Kind::doomed : Outcome::Kind::free, dependent,
                        is_doomed ? task : TaskId{0}, waiting.on_failure});
  }
  at->second.dependents = {};
}

void TaskGraph::forget(TaskId task) {
  const auto at = waiting_.find(task);
  if (at == waiting_.end()) return;
  for (const TaskId dependency : at->second.dependencies) {
    const auto named = named_.find(dependency);
    if (--named->second.live == 0) named_.erase(named);
  }
  waiting_.erase(at);
}

std::vector<TaskId> TaskGraph::waits_for(TaskId task) const {
  std::vector<TaskId> open;
  const auto at = waiting_.find(task);
  if (at == waiting_.end()) return open;
  for (const TaskId dependency : at->second.dependencies)
    if (!named_.at(dependency).is_over) open.push_back(dependency);
  return open;
}

}  // namespace micro_swarm::scheduling
