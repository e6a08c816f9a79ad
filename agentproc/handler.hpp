#pragma once

// What work looks like from inside an agent: a Handler is called once per attempt with a
// TaskContext, which gives the payload and takes the result. Everything is called on the work
// thread. A handler may crash, hang or throw: the first two cost this process and are what the
// supervisor is for, an exception fails the task with its text.

#include <array>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <string_view>

#include "agentproc/agent_memory.hpp"
#include "agentproc/batch_limits.hpp"
#include "common/result.hpp"
#include "ipc/bank_owner.hpp"
#include "ipc/party_protocol.hpp"

namespace micro_swarm {

/// What a TaskContext needs from the thread that runs it. Implemented by WorkThread.
class TaskServices {
 public:
  virtual ~TaskServices() = default;
  /// The supervisor asked to stop this task.
  virtual bool is_cancelled(TaskId task) const noexcept = 0;
  /// Says that the work gets on.
  virtual void report_progress() noexcept = 0;
  /// Sleeps up to `timeout_ns`, less when the task is cancelled.
  virtual void sleep_unless_cancelled(TaskId task, std::uint64_t timeout_ns) noexcept = 0;
  /// A region of this agent's own; waits for memory up to `wait_ns`, less when cancelled.
  virtual Result<Allocation> allocate_result(TaskId task, std::size_t size_bytes,
                                             std::uint64_t wait_ns) = 0;
  virtual void release_result(const Allocation& allocation) noexcept = 0;
  /// The agent's regions beside tasks.
  virtual AgentMemory& memory() noexcept = 0;
};

/// What a task that this one depends on ended with.
struct TaskInput {
  TaskId task = 0;
  TaskState state = TaskState::done;  ///< not done only if the policy is to run all the same
  std::span<const std::byte> bytes;   ///< as TaskContext::payload
};

/// One attempt at one task.
class TaskContext {
 public:
  TaskContext(TaskServices& services, TaskId task, std::uint8_t attempt,
              std::string_view capability, std::span<const std::byte> payload,
              std::span<const TaskInput> inputs = {}) noexcept
      : services_(&services),
        task_(task),
        attempt_(attempt),
        capability_(capability),
        payload_(payload),
        inputs_(inputs) {}
  TaskContext(const TaskContext&) = delete;
  TaskContext& operator=(const TaskContext&) = delete;
  ~TaskContext();

  TaskId task() const noexcept { return task_; }
  /// Counts from 1 and grows with every execution of the task: what lets an effect be made once.
  std::uint8_t attempt() const noexcept { return attempt_; }
  std::string_view capability() const noexcept { return capability_; }

  /// The submitter's bytes where they lie (aligned to at least 16), readable until the handler
  /// returns. They are input: a lying submitter can change them while they are read.
  std::span<const std::byte> payload() const noexcept { return payload_; }
  std::string_view payload_text() const noexcept {
    return {reinterpret_cast<const char*>(payload_.data()), payload_.size()};
  }

  /// The results of the tasks it depends on, in the order in which the submitter named them, where
  /// their agents left them.
  std::span<const TaskInput> inputs() const noexcept { return inputs_; }

  /// The task was cancelled or ran out of time. A handler that goes on regardless is killed after
  /// a grace; one that stops returns Outcome::cancelled.
  bool cancelled() const noexcept { return services_->is_cancelled(task_); }
  /// A handler that works longer than supervision.hang_timeout_ms calls this now and then.
  void report_progress() noexcept { services_->report_progress(); }
  /// Sleeps; returns false when the task was cancelled meanwhile. Reports progress.
  bool sleep_for_ms(std::uint64_t duration_ms) noexcept;

  /// Room for the result, to be written in place: up to 24 bytes in the message, more in a region
  /// of this agent's own (aligned to at least 16). The content is undefined at first. Calling it
  /// again starts over. Errors: too_large (more than the pool), timed_out (no memory became free),
  /// cancelled.
  Result<std::span<std::byte>> result_buffer(std::size_t size_bytes);
  /// The result is only the first `size_bytes` of the buffer. Precondition: no more than it has.
  void shrink_result(std::size_t size_bytes) noexcept;
  /// Copies the result. Errors as result_buffer.
  Result<void> set_result(std::span<const std::byte> bytes);
  Result<void> set_result(std::string_view text) {
    return set_result(std::as_bytes(std::span(text.data(), text.size())));
  }

  /// Regions of this agent's own, to be handed to other parties, and theirs.
  AgentMemory& memory() noexcept { return services_->memory(); }

  /// The result becomes the reason why the task failed; `return task.fail("...")`. Cut to what fits
  /// a message where there is no memory for more.
  Outcome fail(std::string_view why) noexcept;
  /// The same with an error's text; ErrorCode::cancelled makes it Outcome::cancelled.
  Outcome fail(const Error& error) noexcept {
    return error.code == ErrorCode::cancelled ? Outcome::cancelled : fail(error.message);
  }

  // For the thread that runs it:
  std::span<const std::byte> result() const noexcept { return result_; }
  /// The region that holds the result, handed to the caller.
  std::optional<Allocation> take_allocation() noexcept;
  /// There is no result (any more).
  void forget_result() noexcept { result_ = {}; }

 private:
  void drop_result() noexcept;
  Result<std::span<std::byte>> result_buffer_within(std::size_t size_bytes, std::uint64_t wait_ns);

  TaskServices* services_;
  TaskId task_;
  std::uint8_t attempt_;
  std::string_view capability_;
  std::span<const std::byte> payload_;
  std::span<const TaskInput> inputs_;
  std::span<std::byte> result_;
  std::optional<Allocation> allocation_;
  alignas(16) std::array<std::byte, task_inline_bytes_max> inline_{};
};

/// What an agent is, as handlers may want to know it.
struct AgentEnvironment {
  PartyId party = no_party;
  Incarnation incarnation = 0;
  std::span<const std::byte> supervisor_segment;  ///< mapped read-only
};

/// The work of one or several capabilities.
class Handler {
 public:
  virtual ~Handler() = default;
  /// Once, after the agent was admitted and before the first task.
  virtual void started(const AgentEnvironment& /*environment*/) {}
  virtual Outcome handle(TaskContext& task) = 0;

  virtual BatchLimits batch_limits() const { return {}; }
  /// Several tasks of this handler's in one piece of work; `outcomes` has a place for each. Only
  /// tasks that were never tried before come together: if they crash their agent, each is tried
  /// again alone, and the one whose fault it is stands there by itself.
  virtual void handle_batch(std::span<TaskContext* const> tasks, std::span<Outcome> outcomes) {
    for (std::size_t i = 0; i < tasks.size(); ++i) outcomes[i] = handle(*tasks[i]);
  }
};

}  // namespace micro_swarm
