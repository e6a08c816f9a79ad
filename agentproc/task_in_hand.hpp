#pragma once

// A dispatch its agent has begun: what its handler reads, and where its result grows.

#include <array>
#include <optional>
#include <vector>

#include "agentproc/handler.hpp"
#include "agentproc/packed_payload.hpp"

namespace micro_swarm {

/// A dispatch whose words have been checked.
struct Dispatch {
  TaskId task = 0;
  AttemptWord attempt;
  std::size_t payload_bytes = 0;
  std::uint64_t payload_offset = 0;  ///< in the token's region, where others' payloads lie too
  Token token;                       ///< lent; none: the payload is inline
};

/// One thread. Used again for the next dispatch, so what it keeps (vectors, an unpacked payload) is
/// made once.
class TaskInHand {
 public:
  TaskInHand() = default;
  TaskInHand(const TaskInHand&) = delete;
  TaskInHand& operator=(const TaskInHand&) = delete;

  /// What a handler is given; there from WorkThread::next_task() to finish().
  TaskContext& context() noexcept { return *context_; }
  /// Else it is memory of this object's.
  bool is_payload_in_pool() const noexcept {
    return dispatch_.token && (dispatch_.attempt.flags() & dispatch_payload_compressed) == 0;
  }

 private:
  friend class WorkThread;

  Dispatch dispatch_;
  std::uint64_t started_ns_ = 0;
  alignas(16) std::array<std::byte, task_inline_bytes_max> inline_payload_{};
  PackedPayload packed_payload_;
  std::vector<TaskInput> inputs_;
  std::array<std::array<std::byte, task_inline_bytes_max>, task_dependencies_max> inline_inputs_{};
  std::optional<TaskContext> context_;
};

}  // namespace micro_swarm
