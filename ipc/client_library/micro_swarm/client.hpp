#pragma once

// A client of a Micro Swarm, in C++20: hands tasks to a running swarm and takes their results, over
// shared memory. Link libmicroswarm-client (CMake target MicroSwarm::client, pkg-config
// microswarm-client). Needs nothing but the C++ standard library.
//
//   namespace msc = micro_swarm::client;
//   auto client = msc::Client::connect("default");
//   if (!client) return complain(client.error().message);
//   auto result = client->run({.capability = "hash", .payload = msc::bytes_of(pixels)}, 1'000);
//   if (!result) return complain(result.error().message);           // not handed in, or no end yet
//   if (!result->is_done()) return complain(result->error().message);  // how the task ended
//   instead use(result->bytes());
//
// Errors. What can fail returns a Result: the value, or an Error with a code and one sentence. No
// exception leaves the library but std::bad_alloc where there is not even memory for the Error; a
// heap that is full is ErrorCode::system otherwise, and the Client is then good for its destructor
// only. Calls of a Client that was moved from return ErrorCode::usage.
//
// Threads. A Client and all that came from it (Region, ReceivedRegion, TaskResult, CachedEntry) are
// used by one thread at a time, not necessarily always the same; several Clients in one process
// know nothing of each other. The library makes no thread, raises no SIGPIPE and writes nothing to
// stdout or stderr, but for the sentence before abort() when the value of a failed Result is asked
// for. It installs a signal handler, SIGSEGV's, only in swarms with memory.guard. Do not fork() and
// go on using a Client in the child; fork() and exec() is well.
//
// Ownership. Everything is a move-only object that gives back what it stands for in its destructor,
// and may outlive its Client. Views in a Request are read until the call returns and not later.
//
// Crashes. A client that dies at whatever instruction leaves nothing to clean up: the swarm takes
// its memory back, and the tasks it handed in go on. A supervisor that dies is replaced under the
// client's feet: what was handed in stays handed in, a result comes once, calls take some
// milliseconds longer. When the whole swarm has ended calls return ErrorCode::not_running; a new
// swarm needs a new Client.
//
// Timeouts are milliseconds from the call on; 0 = look, do not wait; `forever` = without limit.
//
// Compatibility. Before version 1.0 the library's soname names the minor version: what was compiled
// against 0.1 runs with every 0.1.x.

#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <ranges>
#include <span>
#include <string>
#include <string_view>
#include <type_traits>
#include <utility>
#include <variant>
#include <vector>

#if defined(__GNUC__)
#define MICRO_SWARM_CLIENT_API __attribute__((visibility("default")))
#else
#define MICRO_SWARM_CLIENT_API
#endif

namespace micro_swarm::client {

inline constexpr std::uint32_t forever = 0xffffffff;

/// What went wrong, in terms a caller can act on.
enum class ErrorCode : std::uint8_t {
  system = 0,   ///< a system call failed (Error::sys_errno says how), or the heap is full
  usage,        ///< the arguments make no sense
  not_running,  ///< no swarm there, or it has ended; or the other party is gone
  refused,      ///< well formed, but not now or not here: full, quota, stopping
  protocol,     ///< what somebody else sent makes no sense, or the swarm is of another version
  not_found,    ///< no such capability, party or submission
  too_large,    ///< more than the pool or a message can ever hold
  timed_out,    ///< not within the time given
  failed,       ///< the task's agent said so; or anything else, the text says what
  cancelled,    ///< somebody cancelled the task
  dead_letter,  ///< the task killed its agents, again and again
};
/// "system", "usage", ... Static.
MICRO_SWARM_CLIENT_API std::string_view name_of(ErrorCode code) noexcept;

struct Error {
  ErrorCode code = ErrorCode::system;
  std::string message;  ///< one sentence that names what to do about it
  int sys_errno = 0;    ///< of the system call that failed; else 0
};

namespace detail {
/// Writes one line to stderr and aborts: the value of a Result that has an error was asked for, or
/// the error of one that has none.
[[noreturn]] MICRO_SWARM_CLIENT_API void wrong_result(const Error* error) noexcept;
}  // namespace detail

/// A value or an Error. Asking for the one that is not there aborts with the error's text.
template <class T>
class [[nodiscard]] Result {
 public:
  Result(T value) : content_(std::in_place_index<0>, std::move(value)) {}
  Result(Error error) : content_(std::in_place_index<1>, std::move(error)) {}

  bool has_value() const noexcept { return content_.index() == 0; }
  explicit operator bool() const noexcept { return has_value(); }
  T& operator*() & noexcept { return *value(); }
  const T& operator*() const& noexcept { return *const_cast<Result*>(this)->value(); }
  T&& operator*() && noexcept { return std::move(*value()); }
  T* operator->() noexcept { return value(); }
  const T* operator->() const noexcept { return const_cast<Result*>(this)->value(); }
  const Error& error() const noexcept {
    const Error* const error = std::get_if<1>(&content_);
    if (error == nullptr) detail::wrong_result(nullptr);
    return *error;
  }

 private:
  T* value() noexcept {
    T* const value = std::get_if<0>(&content_);
    if (value == nullptr) detail::wrong_result(std::get_if<1>(&content_));
    return value;
  }
  std::variant<T, Error> content_;
};

template <>
class [[nodiscard]] Result<void> {
 public:
  Result() = default;
  Result(Error error) : error_(std::move(error)) {}
  bool has_value() const noexcept { return !error_; }
  explicit operator bool() const noexcept { return has_value(); }
  const Error& error() const noexcept {
    if (!error_) detail::wrong_result(nullptr);
    return *error_;
  }

 private:
  std::optional<Error> error_;
};

/// The bytes of text, of a vector or of any other array of values without invariants. A view: the
/// array must stay where it is as long as the view is used.
template <std::ranges::contiguous_range Values>
requires(std::ranges::sized_range<Values>&&
             std::is_trivially_copyable_v<std::ranges::range_value_t<Values>>)
    std::span<const std::byte> bytes_of(const Values& values)
noexcept { return std::as_bytes(std::span(std::ranges::data(values), std::ranges::size(values))); }

/// Strict: while a task of a higher class can run, none of a lower one starts, but for aging.
enum class Priority : std::uint8_t { critical = 0, high, normal, low };

/// How a task ended.
enum class TaskState : std::uint8_t {
  done = 0,
  failed,       ///< its agent said so
  cancelled,    ///< somebody asked for it
  timed_out,    ///< Request::timeout_ms or deadline_ms is over
  dead_letter,  ///< it killed its agent as often as the swarm allows
  refused,      ///< it was never accepted
};
/// "done", "failed", ... Static.
MICRO_SWARM_CLIENT_API std::string_view name_of(TaskState state) noexcept;

/// What becomes of a task when one that it depends on did not end well: it fails, it is cancelled,
/// or it runs and sees which of its inputs are not there.
enum class OnDependencyFailure : std::uint8_t { fail = 0, skip, run };

/// A party of the swarm: 0 to 255 an agent, 257 to 319 a client.
using PartyId = std::uint16_t;

/// Memory of this client's own in the swarm's pool, to be filled and then handed over without being
/// copied: as a task's payload, a cache entry, or to another party. The destructor gives it back
/// unless it was handed over.
class MICRO_SWARM_CLIENT_API Region {
 public:
  Region() noexcept;
  Region(Region&& other) noexcept;
  Region& operator=(Region&& other) noexcept;
  ~Region();

  /// False: empty, or handed over.
  explicit operator bool() const noexcept { return impl_ != nullptr; }
  /// As many bytes as were asked for, aligned to 64; undefined at first. Writable until it is
  /// handed over or shared: whoever writes after a share() changes what others read.
  std::span<std::byte> bytes() const noexcept;
  /// Gives it back now; empty afterwards. Never blocks.
  void release() noexcept;

 private:
  friend class Client;
  struct Impl;
  explicit Region(std::unique_ptr<Impl> impl) noexcept;
  std::unique_ptr<Impl> impl_;
};

/// A region that another party handed over, or one of this client's that came back. To be read, or
/// handed on. The destructor gives it back.
class MICRO_SWARM_CLIENT_API ReceivedRegion {
 public:
  enum class Refusal : std::uint8_t {
    none = 0,  ///< somebody else's, for this client
    gone,      ///< this client's, come back: there is no such party any more
    full,      ///< this client's, come back: the party does not take what waits for it
  };

  ReceivedRegion() noexcept;
  ReceivedRegion(ReceivedRegion&& other) noexcept;
  ReceivedRegion& operator=(ReceivedRegion&& other) noexcept;
  ~ReceivedRegion();

  explicit operator bool() const noexcept { return impl_ != nullptr; }
  /// Who sent it; with a refusal: whom it was for.
  PartyId from() const noexcept;
  Refusal refusal() const noexcept;
  /// The sender's.
  std::uint64_t tag() const noexcept;
  /// The topic it was published under; "": it was sent to this client. Valid as long as the region.
  std::string_view topic() const noexcept;
  /// The bytes where they lie, valid until this object is released or handed on. They are input: a
  /// lying writer can change them while they are read. Waits for their memory to be mapped.
  /// Errors: usage (empty), timed_out, protocol (whoever sent it lied), not_running.
  Result<std::span<const std::byte>> bytes(std::uint32_t timeout_ms = 10'000) const;
  /// Gives it back now; empty afterwards. Never blocks.
  void release() noexcept;

 private:
  friend class Client;
  struct Impl;
  explicit ReceivedRegion(std::unique_ptr<Impl> impl) noexcept;
  std::unique_ptr<Impl> impl_;
};

/// A task that another one waits for and reads the result of.
struct Dependency {
  enum class Kind : std::uint8_t { submission, batch_entry, task };
  Kind kind = Kind::task;
  std::uint64_t value = 0;
  /// An earlier submission of this client, by the number submit() returned.
  static constexpr Dependency submission(std::uint64_t number) noexcept {
    return {Kind::submission, number};
  }
  /// A request of the same submit_batch(), by its position; also one that comes later in it.
  static constexpr Dependency batch_entry(std::size_t index) noexcept {
    return {Kind::batch_entry, index};
  }
  /// Anybody's task, by TaskResult::task_id().
  static constexpr Dependency task(std::uint64_t id) noexcept { return {Kind::task, id}; }
};

/// A task to be done. What it points to is the caller's and needed until the call returns. The
/// members from `idempotency_key` on cost the supervisor a look into the memory they came in; many
/// such requests in one submit_batch() cost that once.
struct Request {
  /// One of Client::capabilities().
  std::string_view capability;
  /// The payload: these bytes, copied ...
  std::span<const std::byte> payload = {};
  /// ... or this region, whole, handed over. Empty after a successful submit, untouched else.
  Region region = {};
  Priority priority = Priority::normal;
  /// From acceptance to the end, queueing included; 0 = the swarm's default.
  std::uint32_t timeout_ms = 0;
  /// The result is not for this client: it stays with the swarm for `microswarm task result`, while
  /// there is room. It cannot be waited for; in_flight() counts it unless it is refused.
  bool is_detached = false;

  /// At most 64 bytes; for swarms with a state directory. A request with the same key, capability
  /// and payload as an earlier one, of whomever, ends as that one does and does not run again; with
  /// another payload it is refused ("key_conflict"). Empty = none.
  std::string_view idempotency_key = {};
  /// At most 64. The task waits until all have ended, and finds their results in its inputs, in
  /// this order. A task whose result was told to its client cannot always be depended on any more
  /// ("result_not_kept"): hand in both with one submit_batch().
  std::span<const Dependency> depends_on = {};
  OnDependencyFailure on_dependency_failure = OnDependencyFailure::fail;
  /// The name of a [[category]] of the configuration, for shares and limits. Empty = none.
  std::string_view category = {};
  /// From acceptance; the earlier goes first in its class, and a task that is late is timed out.
  /// 0 = none.
  std::uint32_t deadline_ms = 0;
  /// How often a task that its agent answered as failed is run again, and how long after the first
  /// failure (twice as long after each further one).
  std::uint16_t retries = 0;
  std::uint32_t retry_backoff_ms = 0;
  /// Only agents that offer the capability in this version or a later one.
  std::uint16_t min_version = 0;
  /// Reserved while it runs: CPUs, the pool's regions, bytes of them.
  std::uint16_t cpu_slots = 0;
  std::uint32_t resource_regions = 0;
  std::uint64_t resource_bytes = 0;
};

/// How a task ended, and the right to read its result where the agent wrote it. The destructor (or
/// release()) gives that back: results that are kept take room in the pool.
class MICRO_SWARM_CLIENT_API TaskResult {
 public:
  TaskResult() noexcept;
  TaskResult(TaskResult&& other) noexcept;
  TaskResult& operator=(TaskResult&& other) noexcept;
  ~TaskResult();

  /// As submit() returned it.
  std::uint64_t number() const noexcept;
  /// The swarm's id of the task, as `microswarm task show` knows it; 0 when it was refused.
  std::uint64_t task_id() const noexcept;
  TaskState state() const noexcept;
  bool is_done() const noexcept { return state() == TaskState::done; }
  /// Executions, 0 when it never ran.
  unsigned attempts() const noexcept;
  /// The result of a done task, the message of a failed one; empty else. Valid until release(), at
  /// whatever alignment. They are input: a lying agent can change them while they are read.
  std::span<const std::byte> bytes() const noexcept;
  /// The same as text.
  std::string_view text() const noexcept {
    return {reinterpret_cast<const char*>(bytes().data()), bytes().size()};
  }
  /// What stands in the way of is_done(), as a code and a sentence. Not to be called of a done
  /// task: ErrorCode::usage.
  Error error() const;
  /// Why it was refused, in a word: "queue_full", "client_quota", "unknown_dependency",
  /// "no_state_dir", "key_conflict", ...; "none" else. Static.
  std::string_view refusal() const noexcept;
  /// After a refusal: when trying again may help. 0 = never by itself.
  std::uint32_t retry_after_ms() const noexcept;
  /// Gives the memory back now; bytes() is empty afterwards. Never blocks.
  void release() noexcept;

 private:
  friend class Client;
  struct Impl;
  explicit TaskResult(std::unique_ptr<Impl> impl) noexcept;
  std::unique_ptr<Impl> impl_;
};

/// An entry of the swarm's cache, read where it lies. It stays there, whatever becomes of the
/// entry, until the destructor (or release()) lets go of it.
class MICRO_SWARM_CLIENT_API CachedEntry {
 public:
  CachedEntry() noexcept;
  CachedEntry(CachedEntry&& other) noexcept;
  CachedEntry& operator=(CachedEntry&& other) noexcept;
  ~CachedEntry();

  explicit operator bool() const noexcept { return impl_ != nullptr; }
  /// Aligned to 64 bytes. Nobody changes them.
  std::span<const std::byte> bytes() const noexcept;
  void release() noexcept;

 private:
  friend class Client;
  struct Impl;
  explicit CachedEntry(std::unique_ptr<Impl> impl) noexcept;
  std::unique_ptr<Impl> impl_;
};

struct CacheOptions {
  std::uint32_t ttl_ms = 0;              ///< 0 = does not expire
  Priority priority = Priority::normal;  ///< whose entries go first when there is no room
};

/// Submissions that were handed in together: their numbers follow one by one.
struct Batch {
  std::uint64_t first_number = 0;
  std::size_t count = 0;
};

class MICRO_SWARM_CLIENT_API Client {
 public:
  /// Joins the swarm of that name, in $MICROSWARM_RUNTIME_DIR, else $XDG_RUNTIME_DIR/microswarm,
  /// else /run/microswarm; or the one behind that control socket, if `swarm` contains a slash
  /// (".../NAME.sock"). Only processes of the swarm's own user, or of uid 0, may. `timeout_ms`
  /// is for all of it.
  /// Errors: not_running, refused (all 63 places of clients are taken, it is stopping, or another
  /// user's), usage (no name a swarm can have), protocol (another version), timed_out, system.
  static Result<Client> connect(std::string_view swarm = "default",
                                std::uint32_t timeout_ms = 10'000);

  Client(Client&& other) noexcept;
  Client& operator=(Client&& other) noexcept;
  /// Leaves the swarm once nothing that came from it is left. Results not taken are dropped; tasks
  /// go on. Never blocks.
  ~Client();

  // ---- tasks ----

  /// Hands a task in; returns its number, from 1, growing by one. Waits while there is no room on
  /// the way to the supervisor, or in the pool for the payload's copy (payloads of up to 24 bytes
  /// need none). On an error nothing was handed in. Whether the swarm accepts it, its result says:
  /// a full queue, for one, is a TaskState::refused.
  /// Errors: not_found (no such capability), too_large (more than the pool), usage (payload and
  /// region; an option out of its range), refused (stopping, pool full), timed_out (no room on the
  /// way), not_running.
  Result<std::uint64_t> submit(Request&& request, std::uint32_t timeout_ms = 10'000);
  /// Hands in all of `requests` at once: all are accepted, or all are refused for one reason (each
  /// then has a result that says so). Payloads are copied into one region, which is given back when
  /// the last of the tasks has ended; a region is taken only where there is one request.
  /// Errors: as submit; usage (a ring of dependencies, naming its members; no requests).
  Result<Batch> submit_batch(std::span<Request> requests, std::uint32_t timeout_ms = 10'000);

  /// The next result, in the order in which they arrived; each comes once, here or from wait().
  /// Nothing: none within the time. Spins for a moment, then sleeps.
  /// Errors: refused (more results are held than there is room for: release some), not_running.
  Result<std::optional<TaskResult>> next_result(std::uint32_t timeout_ms);
  /// The result of that submission; others that arrive meanwhile are kept for later calls.
  /// Errors: not_found (never handed in, detached, or its result was returned before), timed_out
  /// (it can still be waited for), and those of next_result().
  Result<TaskResult> wait(std::uint64_t number, std::uint32_t timeout_ms = forever);
  /// submit() and wait(), together within the time. After timed_out the task goes on and its result
  /// comes by next_result(), unless the submission itself found no room.
  Result<TaskResult> run(Request&& request, std::uint32_t timeout_ms = forever);
  /// Submissions whose result has not been returned yet.
  std::size_t in_flight() const noexcept;
  /// What requests may ask for: those of the agents that there are now.
  Result<std::vector<std::string>> capabilities() const;

  // ---- named entries that all of the swarm can read ----

  /// Puts `bytes`, copied, under a name of 1 to 64 bytes. False: there is an entry of that name
  /// already, and entries do not change. Results that arrive meanwhile are kept.
  /// Errors: usage (name, no bytes, priority), too_large (more than the cache), refused (no room
  /// now, or a supervisor died over it: look, or put it again), timed_out (it may come to be there
  /// still), not_running.
  Result<bool> cache_put(std::string_view name, std::span<const std::byte> bytes,
                         const CacheOptions& options = {}, std::uint32_t timeout_ms = 10'000);
  /// The same of a region, whole, handed over; empty after an answer, whatever it is.
  Result<bool> cache_put(std::string_view name, Region&& region, const CacheOptions& options = {},
                         std::uint32_t timeout_ms = 10'000);
  /// The entry of that name; nothing: there is none.
  /// Errors: refused (31 readers have it, or too many results are held), timed_out, not_running.
  Result<std::optional<CachedEntry>> cache_get(std::string_view name,
                                               std::uint32_t timeout_ms = 10'000);
  /// False: there was none. Whoever reads it keeps it until it lets go.
  /// Errors: timed_out, not_running.
  Result<bool> cache_erase(std::string_view name, std::uint32_t timeout_ms = 10'000);

  // ---- memory, and regions from party to party ----

  /// Memory to be filled, at least 1 byte and at most nearly the pool. Waits for it.
  /// Errors: usage (0 bytes), too_large, refused (pool full or quota; says which), not_running.
  Result<Region> allocate(std::size_t size_bytes, std::uint32_t timeout_ms = 10'000);
  /// Hands the region to an agent or client at the same cost whatever its size: only the right to
  /// read it moves. It is delivered once, in the order sent, to the agent's successor if the agent
  /// dies. What is not taken comes back by receive(), with the reason. Empty afterwards; on an
  /// error it stays as it was. `tag` is the caller's. Errors: usage (empty, another client's, to
  /// itself), not_found (no such party), not_running, timed_out (no room on the way).
  Result<void> send(Region&& region, PartyId party, std::uint64_t tag = 0,
                    std::uint32_t timeout_ms = 10'000);
  Result<void> send(ReceivedRegion&& region, PartyId party, std::uint64_t tag = 0,
                    std::uint32_t timeout_ms = 10'000);
  /// Gives each of up to 31 parties a right of its own to read the region, which stays here too:
  /// not to be written any more. Stops at the first error; the parties before it have theirs.
  /// Errors: as send; refused (too many rights are out).
  Result<void> share(Region& region, std::span<const PartyId> parties, std::uint64_t tag = 0,
                     std::uint32_t timeout_ms = 10'000);
  /// Hands the region to each who subscribes to the topic now, this client excepted, uncopied;
  /// returns how many. Empty afterwards; on an error it is here still, and some may have it. Who
  /// does not take what waits for it misses it. Errors: as share; usage (the topic's name).
  Result<std::uint32_t> publish(std::string_view topic, Region&& region, std::uint64_t tag = 0,
                                std::uint32_t timeout_ms = 10'000);
  /// From its return on receive() also brings what others publish under the topic: 1 to 24 of
  /// a-z A-Z 0-9 _ . / - . Ends with the client. Again: does nothing. Errors: usage (the name),
  /// refused (31 parties subscribe already, or 256 topics have subscribers), timed_out,
  /// not_running.
  Result<void> subscribe(std::string_view topic, std::uint32_t timeout_ms = 10'000);
  /// What was published before its return may still come. Errors: as subscribe.
  Result<void> unsubscribe(std::string_view topic, std::uint32_t timeout_ms = 10'000);
  /// The next region that somebody handed to this client, or of its own that came back. Nothing:
  /// none within the time. Results that arrive meanwhile are kept. At most 256 wait here; further
  /// ones go back to their senders. Errors: refused (too many results are held), not_running.
  Result<std::optional<ReceivedRegion>> receive(std::uint32_t timeout_ms);
  /// Where other parties send regions to: 257 to 319. 0xffff of a Client that was moved from.
  PartyId party() const noexcept;

 private:
  struct Impl;
  explicit Client(std::unique_ptr<Impl> impl) noexcept;
  std::unique_ptr<Impl> impl_;
};

/// The library's release, "0.1.0". Static.
MICRO_SWARM_CLIENT_API std::string_view version() noexcept;

}  // namespace micro_swarm::client
