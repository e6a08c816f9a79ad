#pragma once

// The orchestrator: a swarm as an object of a program.
//
//   auto swarm = SwarmBuilder().name("images").build();
//   swarm->register_agent(AgentFactory::create_neural("digits", "digits.onnx", 4));
//   swarm->initialize();
//   auto task = TaskBuilder().requires_capability("digits").payload(bytes).build();
//   const auto id = swarm->submit_task(std::move(*task));
//   auto result = swarm->wait_task_result(*id, 1'000);
//
// It is a client of the swarm it starts: `microswarm run` as a child process, talked to by an
// inherited channel and by a ring of its own. When this process ends, however it ends, the swarm
// drains and stops. A supervisor that dies is replaced under its feet; calls then take a few
// milliseconds longer. One thread at a time; makes no thread and no fork.

#include <cstdint>
#include <memory>
#include <nlohmann/json_fwd.hpp>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "common/config.hpp"
#include "common/ids.hpp"
#include "common/result.hpp"
#include "ipc/client.hpp"
#include "supervisor/orchestrator/memory_manager.hpp"
#include "supervisor/orchestrator/statistics.hpp"
#include "supervisor/orchestrator/swarm_plan.hpp"
#include "supervisor/orchestrator/task_builder.hpp"

namespace micro_swarm {

class SwarmOrchestrator {
 public:
  SwarmOrchestrator(SwarmOrchestrator&&) noexcept;
  SwarmOrchestrator& operator=(SwarmOrchestrator&&) noexcept;
  /// shutdown(), if it has not been called; what it says is lost.
  ~SwarmOrchestrator();

  // ---- the swarm ----

  /// One kind of agents, as AgentFactory makes it; checked here. Returns the ids of its agents.
  /// After initialize() the running swarm gets it, for good, once its model has loaded. Errors:
  /// config (what is wrong with it), refused (max_agents, no room, stopping), model (it does not
  /// load), timed_out, not_running.
  Result<std::vector<PartyId>> register_agent(AgentSpec agent);
  /// `count` built-in generic agents, under the name "generic".
  Result<std::vector<PartyId>> bootstrap_default_agents(std::uint32_t count = 4);
  /// Starts the swarm and joins it: afterwards tasks may be submitted; agents may still be loading.
  /// Errors: system (no executable; what this machine lacks), refused (name in use), config,
  /// timed_out, usage (called twice). After an error nothing runs, and it may be called again.
  Result<void> initialize(std::uint32_t timeout_ms = 30'000);
  /// Drains the swarm (`force`: cancels its tasks), ends it and waits until it is gone. Results
  /// not taken are lost; those taken stay readable. Error: how it ended, unless in order.
  Result<void> shutdown(bool force = false);
  bool is_running() const noexcept;

  // ---- tasks ----

  /// Hands a task in. Waits up to `timeout_ms` while ring or pool is full; nothing is lost on an
  /// error, `task` stays as it was. Errors: not_found (no agent kind has the capability), refused,
  /// too_large, timed_out, not_running, or the error the swarm ended of; usage (not initialized).
  Result<SubmissionId> submit_task(Task&& task, std::uint32_t timeout_ms = 10'000);
  /// Hands in all of `tasks` at once: all are accepted, or each has a result that says why not.
  /// Returns the first's id; the others follow one by one. Payloads as bytes only, unless it is one
  /// task. Errors: as submit_task(); usage (a ring of dependencies, naming its members).
  Result<SubmissionId> submit_tasks(std::span<Task> tasks, std::uint32_t timeout_ms = 10'000);
  /// Memory for a payload that submit_task() hands over without copying it.
  Result<Region> allocate(std::size_t size_bytes, std::uint32_t timeout_ms = 10'000);
  /// Takes in what has arrived, and never waits. Returns how many submissions ended. Error: refused
  /// (so many results are held that there is no room for more: take some), or why the swarm is
  /// gone.
  Result<std::size_t> process_cycle();
  /// How a submission ended, once; nothing while it has not. process_cycle() is included. Errors:
  /// not_found (never submitted, or taken before), else as process_cycle().
  Result<std::optional<TaskResult>> get_task_result(SubmissionId id);
  /// The same, waiting up to `timeout_ms` (Client::forever: as long as it takes).
  Result<std::optional<TaskResult>> wait_task_result(SubmissionId id, std::uint32_t timeout_ms);
  /// Submissions that have not ended.
  std::size_t tasks_in_flight() const noexcept;

  // ---- memory ----

  /// The pool: regions of this program's own, to agents and from them. Before initialize() and
  /// after shutdown() its calls say so.
  MemoryManager memory() noexcept;

  // ---- what it does ----
  // Each asks the supervisor; errors as process_cycle(), timed_out.

  Result<SwarmMetrics> metrics();
  Result<SchedulerStats> scheduler_stats();
  Result<MemoryStats> memory_stats();
  Result<CoordinationStats> coordination_stats();
  /// All of it and the agents, as JSON text: {"schema":1,"status":{...},"agents":[...]}.
  Result<std::string> export_status();

  /// The control socket's verbs (docs/control-protocol.md), for what has no function here.
  Result<nlohmann::json> request(const nlohmann::json& request, std::uint32_t timeout_ms = 10'000);

 private:
  friend class SwarmBuilder;
  class Impl;
  explicit SwarmOrchestrator(SwarmPlan plan);
  std::unique_ptr<Impl> impl_;
};

}  // namespace micro_swarm
