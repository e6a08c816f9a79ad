#pragma once

// What goes into the scheduler and what comes out of it. Values only.

#include <bitset>
#include <cstdint>
#include <functional>
#include <span>
#include <variant>
#include <vector>

#include "common/agent_set.hpp"
#include "common/ids.hpp"
#include "common/scheduling_options.hpp"
#include "shm/supervisor_data.hpp"
#include "shm/task_record_data.hpp"

namespace micro_swarm {

using CapabilitySet = std::bitset<capabilities_max>;

/// Row of the configured categories; 0 = the one of tasks that name none.
using CategoryId = std::uint16_t;

namespace scheduling {

// ---- settings ----

struct CategoryLimits {
  std::uint32_t weight = 1;       ///< share against the others of its class, at least 1
  std::uint32_t running_max = 0;  ///< 0 = no limit
  std::uint32_t queued_max = 0;   ///< accepted and not running; 0 = no limit
};

struct Settings {
  Strategy strategy = Strategy::least_loaded;
  FairShare fair_share = FairShare::client_category;
  WhenFull when_full = WhenFull::reject;
  std::uint32_t credit_per_agent = 4;      ///< tasks in flight
  std::uint32_t cpu_slots_per_agent = 4;   ///< of the tasks in flight together
  std::uint32_t max_concurrent = 0;        ///< tasks in flight in the whole swarm; 0 = no limit
  std::uint64_t aging_ns = 5'000'000'000;  ///< 0 = no aging
  std::uint64_t deadline_slack_ns = 1'000'000'000;
  std::uint64_t backoff_max_ns = 60'000'000'000;
  std::uint32_t client_running_max = 0;  ///< 0 = no limit
  std::uint32_t client_queued_max = 0;   ///< accepted and not running; 0 = no limit
  std::uint64_t regions = 0;             ///< what running tasks may reserve together
  std::uint64_t bytes = 0;
  std::vector<CategoryLimits> categories{CategoryLimits{}};  ///< by CategoryId; never empty
};

/// Uniform over all values; what the jitter of backoffs is made of.
using Random = std::function<std::uint64_t()>;

// ---- tasks and agents ----

struct Resources {
  std::uint32_t cpu_slots = 1;  ///< of its agent while it is in flight, at least 1
  std::uint32_t regions = 0;    ///< reserved while it is in flight
  std::uint64_t bytes = 0;      ///< reserved while it is in flight
};

/// All of a task that decides when and where it runs. Constant for the task's life.
struct TaskSpec {
  /// Whose it is: equal for tasks of the same submitter. Few different ones at a time (a party
  /// id): a decision looks at each that has something waiting.
  std::uint64_t client = 0;
  std::uint64_t accepted_ns = 0;
  std::uint64_t deadline_ns = 0;  ///< orders it in its class and ends it when passed; 0 = none
  std::uint64_t expires_ns = 0;   ///< ends it when passed, no matter for its order; 0 = none
  std::uint16_t capability = 0;
  std::uint16_t min_version = 0;
  CategoryId category = 0;
  Priority priority = Priority::normal;
  Resources resources;
};

struct CapabilityOffer {
  std::uint16_t capability = 0;
  std::uint16_t version = 1;
  std::uint16_t weight = 1;
};

struct Dependency {
  enum class State : std::uint8_t { live, succeeded, failed };
  TaskId task = 0;
  State state = State::live;
};

// ---- events ----
// A task's life, as the shell tells it, each after its store in the task's record:
//
//   TaskWaiting --(release)--+
//   TaskDelayed --(release)--+--> TaskReady --(dispatch)--> runs --> TaskEnded
//                            ^                               |
//                            +--(retry)-- AttemptFailed <----+----> TaskReady (its agent died)
//
// In parentheses: the action by which the scheduler asks for the next step. TaskEnded may come at
// any point.

/// Accepted, and depends on others. Pointed-to data is copied.
struct TaskWaiting {
  TaskId task = 0;
  const TaskSpec& spec;
  std::span<const Dependency> dependencies;
  OnDependencyFailure on_failure = OnDependencyFailure::fail;
};
/// Accepted, and not to be run before a time: an adopted backoff.
struct TaskDelayed {
  TaskId task = 0;
  const TaskSpec& spec;
  std::uint64_t not_before_ns = 0;
};
/// Waits for nothing but an agent; first time or again. A task that is known keeps its place, the
/// class it has risen to and its deadline, and `spec` is not looked at.
struct TaskReady {
  TaskId task = 0;
  const TaskSpec& spec;
  /// Agents that own or have mapped what it reads, or nullptr. Matters to this step only.
  const AgentSet* near = nullptr;
};
/// Runs already, as a new supervisor found it. Told again for a task known to run there: nothing.
struct TaskAdopted {
  TaskId task = 0;
  const TaskSpec& spec;
  PartyId agent = no_party;
};
/// The agent answered that the attempt failed and the task may be tried again.
struct AttemptFailed {
  TaskId task = 0;
  std::uint32_t failures = 1;    ///< this one included; agents' deaths are not among them
  std::uint32_t retries = 0;     ///< failures allowed before the task itself has failed
  std::uint64_t backoff_ns = 0;  ///< before the first retry; doubles
};
/// Terminal, wherever it stood.
struct TaskEnded {
  TaskId task = 0;
  bool succeeded = false;
  bool answered = false;  ///< by its agent: the time it took says something about the agent
};
/// Its tasks in flight stay as they are until the shell tells each. `offers` is copied.
struct AgentUp {
  PartyId agent = no_party;
  std::span<const CapabilityOffer> offers;
};
/// Gets no further work. What it had stays in flight until the shell tells TaskReady or TaskEnded.
struct AgentDown {
  PartyId agent = no_party;
};
/// What all tasks together may reserve is another from now on. What they have reserved stays.
struct PoolChanged {
  std::uint32_t regions;
  std::uint64_t bytes;
};
struct StrategyChanged {
  Strategy strategy{};
};
/// Time has passed.
struct Tick {};

using Event = std::variant<TaskWaiting, TaskDelayed, TaskReady, TaskAdopted, AttemptFailed,
                           TaskEnded, AgentUp, AgentDown, StrategyChanged, PoolChanged, Tick>;

// ---- actions ----

struct Action {
  enum class Kind : std::uint8_t {
    dispatch,           ///< task to agent; counts as in flight from now on
    time_out,           ///< task: its deadline has passed wherever it stands; told once
    release,            ///< task: waits for nothing any more; store ready, then TaskReady
    retry,              ///< task: store pending until at_ns; release follows then
    fail,               ///< task: its retries are used up; TaskEnded follows
    dependency_failed,  ///< task: `other` did not end well; TaskEnded follows, by `policy`
    refuse,             ///< task: asks what cannot be scheduled (a damaged record); end it
  };
  Kind kind{};
  OnDependencyFailure policy{};  ///< dependency_failed: fail or skip
  PartyId agent = no_party;
  TaskId task = 0;
  TaskId other = 0;
  std::uint64_t at_ns = 0;
};

// ---- answers ----

enum class Refusal : std::uint8_t {
  none,
  queue_full,        ///< no task record is free
  client_quota,      ///< too many of this client's wait
  category_quota,    ///< too many of this category wait
  unknown_category,  ///< never
  too_large,         ///< asks for more than there is, ever
  too_many_demands,  ///< too many different {capability, version, cpu_slots} wait at once
};

/// What comes in together with a task and before it: of its client, of its category.
struct Coming {
  std::uint32_t of_client = 0;
  std::uint32_t of_category = 0;
};

struct Admission {
  enum class Verdict : std::uint8_t {
    accept,
    refuse,  ///< `reason`, `retry_after_ms` (0 = trying again is useless)
    block,   ///< leave it where it is and ask again after some task has ended
    shed     ///< end `victim` first, then accept
  };
  Verdict verdict = Verdict::accept;
  Refusal reason = Refusal::none;
  std::uint32_t retry_after_ms = 0;
  TaskId victim = 0;
};

/// The one reason why a task is where it is.
enum class Reason : std::uint8_t {
  unknown,         ///< not a task the scheduler has
  dependencies,    ///< `waits_for`
  backoff,         ///< `until_ns`
  no_agent,        ///< no live agent has its capability in that version
  max_concurrent,  ///< the swarm runs as many as it may
  client_quota,    ///< its client runs as many as it may
  category_quota,  ///< its category runs as many as it may
  memory,          ///< the regions or bytes it reserves are not free
  queue,           ///< its turn: `position` of `priority`
  running,         ///< on `agent`
  handing_over,    ///< its next step is under way
};
inline constexpr unsigned reasons = 11;

struct Explanation {
  Reason reason = Reason::unknown;
  std::vector<TaskId> waits_for;
  std::uint64_t until_ns = 0;
  std::uint32_t position = 0;            ///< 1 = next of its class
  Priority priority = Priority::normal;  ///< the class it counts in now
  PartyId agent = no_party;
  std::uint64_t expected_start_ns = 0;  ///< 0 = nobody can say
};

}  // namespace scheduling

std::string_view name_of(scheduling::Reason reason);
std::string_view name_of(scheduling::Refusal refusal);

}  // namespace micro_swarm
