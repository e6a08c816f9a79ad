#pragma once

// The client library: submit tasks to a running swarm and take their results, over shared memory.
//
//   auto client = Client::connect("default");
//   TaskRequest request;
//   request.capability = "hash";
//   request.payload = bytes;                       // up to 24 bytes travel in the message, more
//   are auto number = client->submit(std::move(request));  // copied into a region; allocate()
//   avoids that auto result = client->next_result(1'000);      // optional: none within the time
//
// A client is one party: its objects (Client, Region, TaskResult) belong to one thread at a time
// and make no thread. Nothing here returns memory of others for writing, and nothing a crashing
// client leaves behind has to be cleaned up: the supervisor is its heir.
// A supervisor that dies is replaced under the client's feet: rings, regions and results stand,
// calls take a few milliseconds longer. When the whole swarm is gone, calls return not_running.

#include <array>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "common/posix.hpp"
#include "common/result.hpp"
#include "ipc/client_cache.hpp"
#include "ipc/party_memory.hpp"
#include "ipc/party_protocol.hpp"
#include "ipc/region.hpp"
#include "shm/task_record_data.hpp"

namespace micro_swarm {

class ClientCore;
// For owners of one here, where nothing else of it is known.
void intrusive_ptr_add_ref(const ClientCore* core) noexcept;
void intrusive_ptr_release(const ClientCore* core) noexcept;

/// A task that another one waits for and reads the result of.
struct TaskDependency {
  enum class Kind : std::uint8_t { submission, batch_entry, task };
  Kind kind = Kind::task;
  std::uint64_t value = 0;
  /// An earlier submission of this client, by the number submit() returned.
  static constexpr TaskDependency submission(std::uint64_t number) {
    return {Kind::submission, number};
  }
  /// A request of the same submit_batch(), by its position; also one that comes later in it.
  static constexpr TaskDependency batch_entry(std::size_t index) {
    return {Kind::batch_entry, index};
  }
  /// Anybody's task.
  static constexpr TaskDependency task(TaskId id) { return {Kind::task, id}; }
};

/// What few tasks need. A submission that has options costs the supervisor a look into the memory
/// it came in: many of them in one submit_batch() cost that once.
struct TaskOptions {
  /// At most 64. The task waits until all have ended, and finds their results in its inputs. A task
  /// whose result lies in a region tells its client when those that depend on it are over; one
  /// that has told it already cannot be depended on any more: submit both in one batch.
  std::vector<TaskDependency> depends_on;
  OnDependencyFailure on_dependency_failure = OnDependencyFailure::fail;
  /// Kind of work, for shares and limits: the name of a [[category]]. Empty = none.
  std::string_view category;
  /// From acceptance; the earlier goes first in its class, and a task that is late is timed out.
  /// 0 = none.
  std::uint32_t deadline_ms = 0;
  /// How often a task that its agent answered as failed is run again, and how long after the first
  /// failure.
  std::uint16_t retries = 0;
  std::uint32_t retry_backoff_ms = 0;
  /// Only agents that offer the capability in this version or a later one.
  std::uint16_t min_version = 0;
  /// Reserved while it runs.
  std::uint16_t cpu_slots = 0;
  std::uint32_t resource_regions = 0;
  std::uint64_t resource_bytes = 0;
  /// At most 64 bytes; for swarms with a state directory. A request with the same key, capability
  /// and payload as an earlier one, of whomever, ends as that one does and does not run again; with
  /// another payload it is refused (key_conflict).
  std::string_view idempotency_key;
};

/// A task to be done.
struct TaskRequest {
  /// Must be one of the swarm's; see Client::capabilities.
  std::string_view capability;
  Priority priority = Priority::normal;
  /// The payload: these bytes, copied ...
  std::span<const std::byte> payload;
  /// ... or this region, whole, handed over. Empty after a successful submit, untouched else.
  Region region;
  /// From acceptance to the end, queueing included; 0 = the swarm's default.
  std::uint32_t timeout_ms = 0;
  /// The result is not for this client: it stays with the swarm for `microswarm task result`, while
  /// there is room. The submission stays in_flight() unless it is refused.
  bool is_detached = false;
  /// The caller's; needed until submit returns.
  const TaskOptions* options = nullptr;
};

/// How a task ended. Holds the right to read the result, where it lies in the agent's memory; the
/// destructor (or release()) gives it back. May outlive its Client.
class TaskResult {
 public:
  TaskResult() noexcept = default;
  TaskResult(TaskResult&& other) noexcept { swap(other); }
  TaskResult& operator=(TaskResult&& other) noexcept {
    TaskResult(std::move(other)).swap(*this);
    return *this;
  }
  ~TaskResult() { release(); }

  /// As submit() returned it.
  std::uint64_t number() const noexcept { return number_; }
  /// The swarm's id of the task; 0 when the submission was refused.
  TaskId task_id() const noexcept { return task_id_; }
  /// Terminal; TaskState::free = the supervisor refused the submission (see refusal()).
  TaskState state() const noexcept { return state_; }
  bool is_done() const noexcept { return state_ == TaskState::done; }
  /// Executions, 0 when it never ran.
  unsigned attempts() const noexcept { return attempts_; }

  /// The result of a done task, the message of a failed one. Valid until release(). A lying agent
  /// could change them while they are read: check a copy where that matters.
  std::span<const std::byte> bytes() const noexcept {
    return core_ != nullptr ? region_ : std::span(inline_).first(inline_bytes_);
  }
  std::string_view text() const noexcept {
    return {reinterpret_cast<const char*>(bytes().data()), bytes().size()};
  }

  /// Why a submission was refused, or (ErrorCode::protocol) that the result's memory made no sense.
  std::optional<ErrorCode> refusal() const noexcept { return refusal_; }
  /// The same, closer.
  SubmitRefusal refusal_reason() const noexcept { return refusal_reason_; }
  /// The submission that is the cause; with a batch it may be another one of it.
  std::uint64_t refused_number() const noexcept { return refused_number_; }
  /// After a refusal: when trying again may help.
  std::uint32_t retry_after_ms() const noexcept { return retry_after_ms_; }

  /// Gives the memory back now; bytes() is empty afterwards. Never blocks.
  void release() noexcept;

 private:
  friend class ClientCore;
  void swap(TaskResult& other) noexcept;

  std::uint64_t number_ = 0;
  TaskId task_id_ = 0;
  TaskState state_ = TaskState::free;
  std::uint8_t attempts_ = 0;
  std::uint8_t inline_bytes_ = 0;
  std::optional<ErrorCode> refusal_;
  SubmitRefusal refusal_reason_ = SubmitRefusal::none;
  std::uint64_t refused_number_ = 0;
  std::uint32_t retry_after_ms_ = 0;
  std::uint32_t hold_ = 0;
  std::span<const std::byte> region_;
  std::array<std::byte, task_inline_bytes_max> inline_{};
  boost::intrusive_ptr<ClientCore> core_;  ///< set while a region is held
};

struct BatchSubmitted {
  std::uint64_t first_number = 0;  ///< the others follow one by one
  std::size_t count = 0;
};

class Client {
 public:
  static constexpr std::uint32_t forever = 0xffffffff;

  /// Joins the swarm of that name, or behind that control socket if `swarm` contains a slash.
  /// `timeout_ms` is for the whole handshake. Errors: not_running, refused (all client places
  /// taken, draining), protocol (another version), timed_out.
  static Result<Client> connect(std::string_view swarm = "default",
                                std::uint32_t timeout_ms = 10'000);
  /// The same on a party socket that was come by otherwise.
  static Result<Client> attach(UniqueFd party_socket, std::uint32_t timeout_ms = 10'000);

  Client(Client&&) noexcept = default;
  Client& operator=(Client&& other) noexcept;
  /// Leaves the swarm once no Region and no TaskResult of it is left. Results not taken are
  /// dropped.
  ~Client();

  /// Memory to be filled, for a payload or for another party. Waits for it up to `timeout_ms`.
  /// Errors: usage (0 bytes), too_large (more than the pool), refused (pool full; says why),
  /// not_running.
  Result<Region> allocate(std::size_t size_bytes, std::uint32_t timeout_ms = 10'000);
  /// A region of this client's own with these bytes in it: what others wrote cannot be written to,
  /// so a new version of it is a copy. Counted. Errors: as allocate.
  Result<Region> write(std::span<const std::byte> bytes, std::uint32_t timeout_ms = 10'000);

  /// Hands the region to another party, agent or client, at the same cost whatever its size: only
  /// the right to read it moves. It is delivered once, by a new supervisor if this one dies, and to
  /// the agent's successor if the agent does. What the party cannot take (it is gone, or 32 regions
  /// wait for it already) comes back by receive() with the reason. Empty afterwards; on an error it
  /// stays as it was. Errors: usage (an empty one, another client's, to itself), not_found (no such
  /// party), not_running (it is gone, or the swarm is), timed_out (ring full).
  Result<void> transfer(Region&& region, PartyId target, std::uint64_t tag = 0,
                        std::uint32_t timeout_ms = 10'000);
  Result<void> transfer(ReceivedRegion&& region, PartyId target, std::uint64_t tag = 0,
                        std::uint32_t timeout_ms = 10'000);
  /// Gives each of `targets` a right of its own to read the region, which stays here too: not to be
  /// written any more. At most 31 at a time. Stops at the first error; those before it have theirs.
  /// Errors: as transfer; refused (too many rights are out).
  Result<void> share(Region& region, std::span<const PartyId> targets, std::uint64_t tag = 0,
                     std::uint32_t timeout_ms = 10'000);
  /// Hands the region to each who subscribes to `topic` now, uncopied, this client excepted;
  /// returns how many. Empty afterwards. Each gets it once, in the order of what this client sends
  /// it; a subscriber that does not take what waits for it misses it (counted as
  /// publications_dropped). On an error the region is here still, and some may have it. Errors:
  /// usage (the name; an empty region), refused, timed_out (ring full), not_running.
  Result<std::uint32_t> publish(std::string_view topic, Region&& region, std::uint64_t tag = 0,
                                std::uint32_t timeout_ms = 10'000);
  /// From its return on this client gets by receive() what others publish under `topic`: 1 to 24 of
  /// [a-zA-Z0-9_./-]. Again: does nothing. Ends with the client. Errors: usage (the name), refused
  /// (31 subscribe already; 256 topics have subscribers), timed_out, not_running.
  Result<void> subscribe(std::string_view topic, std::uint32_t timeout_ms = 10'000);
  /// What was published before its return may still come. Errors: as subscribe.
  Result<void> unsubscribe(std::string_view topic, std::uint32_t timeout_ms = 10'000);
  /// The next region that somebody handed to this client, or of its own that came back. nullopt:
  /// none within `timeout_ms` (0 = only look). Results that arrive meanwhile are kept. At most 256
  /// wait here; further ones go back to their senders. Error: not_running.
  Result<std::optional<ReceivedRegion>> receive(std::uint32_t timeout_ms);
  PartyMemoryStats memory_stats() const noexcept;

  /// Hands a task in; returns its number, unique in this client's life, growing by one. Blocks up
  /// to `timeout_ms` while the ring to the supervisor (or the pool, where the payload must be
  /// copied into a region) is full; results that arrive meanwhile are kept for next_result(). On
  /// error nothing was sent and nothing moved out of `request`.
  /// Errors: not_found (unknown capability), too_large, refused (draining, pool full), timed_out
  /// (ring full), usage (payload and region), not_running.
  Result<std::uint64_t> submit(TaskRequest&& request, std::uint32_t timeout_ms = 10'000);

  /// Hands in all of `requests` with one message: all are accepted, or all are refused for one
  /// reason (each then has a result that says so). Their numbers follow one by one. Payloads are
  /// copied into one region that is given back when the last of the tasks has ended; regions in
  /// requests are taken only where there is one request. Blocks up to `timeout_ms` for memory and
  /// for room in the ring. On error nothing was sent and nothing moved out of `requests`.
  /// Errors: as submit; usage (a ring of dependencies, naming its members; too many of something);
  /// too_large (all payloads together are more than the pool).
  Result<BatchSubmitted> submit_batch(std::span<TaskRequest> requests,
                                      std::uint32_t timeout_ms = 10'000);

  /// Hands in as many of `requests`, from the first on, as there is room for right now, and wakes
  /// the supervisor once. Never blocks. count 0 = no room now. Regions of those handed in are
  /// empty afterwards. Error: the first of `requests` is wrong in itself (as in submit), or has
  /// options: those are submit_batch()'s.
  Result<BatchSubmitted> try_submit_batch(std::span<TaskRequest> requests);

  /// The next result, in the order they arrived; each number comes once. nullopt: none within
  /// `timeout_ms` (0 = only look). Spins for a moment, then sleeps.
  /// Errors: refused (too many results are held: release some), not_running.
  Result<std::optional<TaskResult>> next_result(std::uint32_t timeout_ms);

  /// Puts an entry into the swarm's cache: `bytes`, copied, under a name of 1 to 64 bytes. Returns
  /// once it is there (CacheRefusal::none) or refused. Blocks up to `timeout_ms`; results that
  /// arrive meanwhile are kept for next_result(). After timed_out it may come to be there still.
  /// Errors: refused (the pool is full, too many results are held), timed_out, not_running.
  Result<CacheRefusal> cache_put(std::string_view name, std::span<const std::byte> bytes,
                                 const CacheOptions& options = {},
                                 std::uint32_t timeout_ms = 10'000);
  /// The same of a region, whole, handed over; empty after an answer, whatever it is. Copied once
  /// less where it has room for the name behind the bytes.
  Result<CacheRefusal> cache_put(std::string_view name, Region&& region,
                                 const CacheOptions& options = {},
                                 std::uint32_t timeout_ms = 10'000);
  /// The entry of that name, to be read where it lies; nullopt: there is none. Waits up to
  /// `timeout_ms`, also for an entry that has to be brought back first. Errors: refused (31 readers
  /// have it; too many results are held), timed_out, not_running.
  Result<std::optional<CachedEntry>> cache_get(std::string_view name,
                                               std::uint32_t timeout_ms = 10'000);
  /// False: there is no such entry (or a supervisor died after it was gone). Whoever reads it keeps
  /// it until it lets go. Errors: timed_out, not_running.
  Result<bool> cache_erase(std::string_view name, std::uint32_t timeout_ms = 10'000);

  /// Submissions whose result has not been returned by next_result() yet.
  std::size_t in_flight() const noexcept;
  /// Results that came more than once and were dropped (a supervisor died while telling).
  std::uint64_t doubled_results() const noexcept;
  /// The capabilities submissions may name.
  std::vector<std::string> capabilities() const;
  /// How many supervisors the swarm has had.
  std::uint64_t supervisor_epoch() const noexcept;
  PartyId party() const noexcept;
  Incarnation incarnation() const noexcept;

 private:
  explicit Client(boost::intrusive_ptr<ClientCore> core) noexcept : core_(std::move(core)) {}
  boost::intrusive_ptr<ClientCore> core_;
};

}  // namespace micro_swarm
