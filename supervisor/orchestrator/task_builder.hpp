#pragma once

#include <cstddef>
#include <cstdint>
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
};

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

  /// Leaves the builder empty. Error (usage): no capability, or a payload and a region.
  Result<Task> build();

 private:
  Task task_;
};

}  // namespace micro_swarm
