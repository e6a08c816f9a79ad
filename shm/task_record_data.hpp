#pragma once

// Task record: bytes only. Writer: the supervisor, alone; agents read `word` to re-check a
// dispatch just before they run it.
//
// Order: everything else first, then `word` with release. The first store of `word` with state
// ready is the acceptance (of a task of a batch: the store of the cursor after all of them, see
// TaskOptionsRow); every later step of the task's life is one store of `word`.
// Supervisor dies between two stores: before the store of `word` the step has not happened, after
// it has; what a step still owes then (publish the dispatch, tell the client, pass tokens home) is
// found by its successor from the record and the rings alone (supervisor/adoption.hpp).
// Shown by tests/sweep/.

#include <cstdint>
#include <type_traits>

#include "common/ids.hpp"
#include "shm/atomics.hpp"

namespace micro_swarm {

enum class TaskState : std::uint8_t {
  free = 0,
  pending,  ///< accepted, waits for something other than an agent
  ready,
  running,
  done,
  failed,  ///< its handler said so
  cancelled,
  timed_out,
  dead_letter,  ///< killed its agent attempts_max times, or its record failed the checksum
};
inline constexpr unsigned task_states = 9;
constexpr bool is_terminal(TaskState s) { return s >= TaskState::done; }

enum class Priority : std::uint8_t { critical = 0, high = 1, normal = 2, low = 3 };
inline constexpr unsigned priorities = 4;

enum class CancelReason : std::uint8_t { none = 0, asked, timed_out };

/// {state:8, attempt:8, agent:16, generation:32}, high to low.
struct TaskWord {
  std::uint64_t word = 0;

  static constexpr TaskWord make(TaskState state, std::uint8_t attempt, PartyId agent,
                                 std::uint32_t generation) {
    return TaskWord{(static_cast<std::uint64_t>(state) << 56) | (std::uint64_t{attempt} << 48) |
                    (std::uint64_t{agent} << 32) | generation};
  }
  constexpr TaskState state() const { return static_cast<TaskState>(word >> 56); }
  constexpr std::uint8_t attempt() const { return static_cast<std::uint8_t>(word >> 48); }
  constexpr PartyId agent() const { return static_cast<PartyId>((word >> 32) & 0xffff); }
  constexpr std::uint32_t generation() const { return static_cast<std::uint32_t>(word); }
  friend constexpr bool operator==(TaskWord, TaskWord) = default;
};

constexpr TaskId make_task_id(std::uint32_t slot, std::uint32_t generation) {
  return (std::uint64_t{generation} << 32) | slot;
}
constexpr std::uint32_t task_slot(TaskId id) { return static_cast<std::uint32_t>(id); }
constexpr std::uint32_t task_generation(TaskId id) { return static_cast<std::uint32_t>(id >> 32); }

inline constexpr std::size_t task_inline_bytes_max = 24;

constexpr std::uint64_t client_key(PartyId client, Incarnation incarnation) {
  return (std::uint64_t{client} << 16) | incarnation;
}

/// The request as accepted: constant while the record is not free, covered by `checksum`.
struct TaskRequestData {
  std::uint64_t client_key = 0;  ///< identifies the submitter's life: {party, incarnation}
  std::uint64_t number = 0;      ///< made by the client; {client_key, number} is unique
  std::uint64_t payload_token = 0;
  std::uint64_t accepted_ns = 0;  ///< CLOCK_MONOTONIC
  std::uint32_t payload_bytes = 0;
  std::uint32_t timeout_ms = 0;  ///< 0 = none; counted from acceptance
  std::uint32_t generation = 0;
  std::uint16_t client = no_party;
  std::uint16_t capability = 0;
  Priority priority = Priority::normal;
  std::uint8_t inline_bytes = 0;
  std::uint8_t is_detached = 0;  ///< its client does not wait for the result
  std::uint8_t has_options = 0;  ///< its TaskOptionsRow counts, and its TaskDependencies
  std::uint8_t is_result_only =
      0;  ///< an earlier run ended it; here for those that read its result
  std::uint8_t is_payload_compressed = 0;  ///< in its region lies a packed block
  std::uint8_t reserved[2] = {};
  std::uint8_t inline_payload[task_inline_bytes_max] = {};
};
static_assert(sizeof(TaskRequestData) == 80);

/// What becomes of a task when one that it depends on did not end well.
enum class OnDependencyFailure : std::uint8_t { fail = 0, skip, run };

inline constexpr std::uint32_t task_dependencies_max = 64;
inline constexpr std::size_t task_category_bytes_max = 32;
inline constexpr std::size_t idempotency_key_bytes_max = 64;

/// What a submission asked for beyond the request: row `slot` of a table of its own, so that tasks
/// without options touch no page of it. Written before the record's `word`, constant as the request
/// is, and covered by the same checksum. Counts only where the request says has_options.
struct TaskOptionsRow {
  /// Where its batch lay in the client's ring. All tasks of a batch are accepted by one store, the
  /// ring's cursor: until that is past this sequence the record is only prepared.
  std::uint64_t batch_sequence = 0;
  std::uint64_t payload_offset = 0;  ///< in the region that payload_token names
  std::uint64_t resource_bytes = 0;
  std::uint32_t resource_regions = 0;
  std::uint32_t deadline_ms = 0;  ///< from acceptance; 0 = none
  std::uint32_t retry_backoff_ms = 0;
  std::uint16_t retries = 0;
  std::uint16_t cpu_slots = 0;
  std::uint16_t min_version = 0;
  OnDependencyFailure on_dependency_failure = OnDependencyFailure::fail;
  std::uint8_t dependency_count = 0;
  std::uint8_t category_bytes = 0;
  std::uint8_t key_bytes = 0;
  std::uint8_t reserved[6] = {};
  char category[task_category_bytes_max] = {};
  char idempotency_key[idempotency_key_bytes_max] = {};
  /// Durable id of the task that has the same idempotency key: this one never runs, it ends as that
  /// one does, with its result. 0 = none.
  std::uint64_t repeats = 0;
  std::uint64_t request_hash[2] = {};  ///< XXH3-128; where there is an idempotency key
};
static_assert(sizeof(TaskOptionsRow) == 176);
static_assert(std::is_trivially_copyable_v<TaskOptionsRow>);

/// Row `slot`: what the task depends on, as many as its options say. Written and covered as they
/// are. Agents read it to find their inputs.
struct TaskDependencies {
  TaskId ids[task_dependencies_max];
};
static_assert(sizeof(TaskDependencies) == 512);

struct alignas(64) TaskRecord {
  Word word;
  // Where the dispatch of {word.attempt, word.agent} lies; stored before `word` says running.
  std::uint64_t dispatch_sequence;
  std::uint64_t dispatched_ns;
  std::uint64_t finished_ns;
  // Where the result notice to the client lies; stored before it is published.
  std::uint64_t notice_sequence;
  std::uint64_t result_token;  ///< as received; the right itself is in the result hold
  std::uint32_t result_bytes;
  std::uint16_t dispatch_incarnation;
  std::uint8_t result_inline_bytes;
  std::uint8_t reserved_0;
  // ---
  TaskRequestData request;
  std::uint64_t checksum;  ///< XXH3 of `request`, and of its options and dependencies if it has any
  std::uint8_t result_inline[task_inline_bytes_max];
  /// {crashes:8, agent:16, incarnation:16}: agents that died with this task in hand, and the last
  /// of them; one store, so a new supervisor that looks at the same death again counts it once.
  std::uint64_t crash;
  std::uint8_t notified;          ///< the client has its result notice (or is gone)
  std::uint8_t cancel_requested;  ///< CancelReason, intent: survives the supervisor
  /// {failures:8, attempt:8}: attempts that their agents answered as failed, and the last of them;
  /// one store, so an answer that is looked at again after a death is counted once.
  std::uint16_t failure;
  /// A dead letter was requeued so long after its acceptance (at least 1): what is counted from
  /// acceptance is counted from then on, and nobody waits for its end. 0 = never.
  std::uint32_t revived_after_ms;
  std::uint64_t not_before_ns;  ///< pending: CLOCK_MONOTONIC time of its next attempt; 0 = none
};
static_assert(sizeof(TaskRecord) == 192 && std::is_standard_layout_v<TaskRecord>);
static_assert(std::is_trivially_destructible_v<TaskRecord>);

}  // namespace micro_swarm
