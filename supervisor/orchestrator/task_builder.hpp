#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "common/result.hpp"
#include "ipc/client.hpp"
#include "ipc/task_names.hpp"

namespace micro_swarm {

/// A task that has not been handed in; owns what it carries. Made by TaskBuilder.
struct Task {
  std::string capability;
  Priority priority = Priority::normal;
  std::vector<std::byte> payload;
  Region region;  ///< instead of payload: memory of SwarmOrchestrator::allocate(), not copied again
  std::uint32_t timeout_ms = 0;
  /// What TaskBuilder set beyond that; its views are empty, the texts are in the two below.
  std::optional<TaskOptions> options;
  std::string category;
  std::string idempotency_key;
};

/// A submission, by what SwarmOrchestrator::submit_task() returned.
using SubmissionId = std::uint64_t;

///   auto task = TaskBuilder().requires_capability("hash").payload("text").build();
class TaskBuilder {
 public:
  /// What an agent must offer to run it.
  TaskBuilder& requires_capability(std::string name) {
    task_.capability = std::move(name);
    return *this;
  }
  TaskBuilder& payload(std::vector<std::byte> bytes) {
    task_.payload = std::move(bytes);
    return *this;
  }
  TaskBuilder& payload(std::string_view text) {
    const auto bytes = std::as_bytes(std::span(text.data(), text.size()));
    task_.payload.assign(bytes.begin(), bytes.end());
    return *this;
  }
  TaskBuilder& payload(Region region) {
    task_.region = std::move(region);
    return *this;
  }
  /// Higher ones run first.
  TaskBuilder& priority(Priority value) {
    task_.priority = value;
    return *this;
  }
  /// From acceptance to the end, waiting included; 0 = the swarm's default.
  TaskBuilder& timeout(std::uint32_t timeout_ms) {
    task_.timeout_ms = timeout_ms;
    return *this;
  }

  /// Kind of work, for its share and limits: the name of a category of the configuration.
  TaskBuilder& category(std::string name) {
    options();
    task_.category = std::move(name);
    return *this;
  }
  /// It waits until that submission has ended, and its handler finds the result in its inputs. May
  /// be called for up to 64. A submission whose result was large and has been delivered cannot be
  /// depended on any more: what belongs together is best handed in by one submit_tasks().
  TaskBuilder& depends_on(SubmissionId earlier) {
    options().depends_on.push_back(TaskDependency::submission(earlier));
    return *this;
  }
  /// The same for a task of the same submit_tasks(), by its position; also one that comes later.
  TaskBuilder& depends_on_entry(std::size_t index) {
    options().depends_on.push_back(TaskDependency::batch_entry(index));
    return *this;
  }
  /// What becomes of it when one of those does not end well: it fails, unless told otherwise.
  TaskBuilder& on_dependency_failure(OnDependencyFailure policy) {
    options().on_dependency_failure = policy;
    return *this;
  }
  /// Milliseconds from acceptance: the earlier goes first in its class, and what is late ends.
  TaskBuilder& deadline(std::uint32_t deadline_ms) {
    options().deadline_ms = deadline_ms;
    return *this;
  }
  /// How often it is run again when its agent says that it failed, and how long after the first
  /// failure; the pause doubles with each. An agent's death is not a failure of the task.
  TaskBuilder& retries(std::uint16_t count, std::uint32_t backoff_ms = 100) {
    options().retries = count;
    options().retry_backoff_ms = backoff_ms;
    return *this;
  }
  /// Reserved while it runs: slots of its agent, regions and bytes of the pool.
  TaskBuilder& resources(std::uint16_t cpu_slots, std::uint32_t regions = 0,
                         std::uint64_t bytes = 0) {
    options().cpu_slots = cpu_slots;
    options().resource_regions = regions;
    options().resource_bytes = bytes;
    return *this;
  }
  /// Only agents whose kind has at least this version.
  TaskBuilder& min_version(std::uint16_t version) {
    options().min_version = version;
    return *this;
  }
  /// At most 64 bytes. Two submissions with the same key are one task; needs a state directory.
  TaskBuilder& idempotency_key(std::string key) {
    options();
    task_.idempotency_key = std::move(key);
    return *this;
  }

  /// Leaves the builder empty. Error (usage): no capability, or a payload and a region.
  Result<Task> build();

 private:
  TaskOptions& options() {
    if (!task_.options) task_.options.emplace();
    return *task_.options;
  }
  Task task_;
};

}  // namespace micro_swarm
