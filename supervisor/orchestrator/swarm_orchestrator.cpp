#include "supervisor/orchestrator/swarm_orchestrator.hpp"

#include <algorithm>
#include <nlohmann/json.hpp>
#include <unordered_map>
#include <unordered_set>

#include "common/clock.hpp"
#include "common/config_check.hpp"
#include "ipc/control_channel.hpp"
#include "ipc/control_client.hpp"
#include "ipc/control_protocol.hpp"
#include "supervisor/orchestrator/agent_factory.hpp"
#include "supervisor/orchestrator/swarm_launch.hpp"

namespace micro_swarm {

using nlohmann::json;

namespace {

constexpr std::uint32_t ask_timeout_ms = 10'000;
/// A model may take its time to load.
constexpr std::uint32_t register_timeout_ms = 120'000;
/// How long a swarm whose end was noticed may take until its exit code is there.
constexpr std::uint32_t exit_code_patience_ms = 5'000;

Error not_initialized() {
  return Error{ErrorCode::usage, "the swarm was not started: call initialize() first", 0};
}

/// Takes the region; points into `task` for the rest.
TaskRequest request_of(Task& task) {
  TaskRequest request;
  request.capability = task.capability;
  request.priority = task.priority;
  request.payload = task.payload;
  request.region = std::move(task.region);
  request.timeout_ms = task.timeout_ms;
  if (task.options) {
    task.options->category = task.category;
    task.options->idempotency_key = task.idempotency_key;
    request.options = &*task.options;
  }
  return request;
}

}  // namespace

class SwarmOrchestrator::Impl final : public MemoryBackend {
 public:
  explicit Impl(SwarmPlan plan) : plan_(std::move(plan)) {}

  bool is_running() const noexcept { return client_.has_value(); }

  // ---- the swarm ----

  Result<std::vector<PartyId>> register_agent(AgentSpec spec) {
    auto checked = check_agent(plan_.config, std::move(spec));
    if (!checked) return checked.error();
    if (agents_ + checked->count > plan_.max_agents)
      return Error{ErrorCode::refused,
                   "agent " + checked->name + ": with its " + std::to_string(checked->count) +
                       " there are " + std::to_string(agents_ + checked->count) +
                       " agents; max_agents is " + std::to_string(plan_.max_agents),
                   0};
    std::vector<PartyId> ids;
    if (is_running()) {
      auto answer = ask({{"verb", "agent.register"}, {"agent", agent_to_json(*checked)}},
                        register_timeout_ms);
      if (!answer) return answer.error();
      ids = answer->value("agents", ids);
    } else {
      for (std::uint32_t i = 0; i < checked->count; ++i)
        ids.push_back(static_cast<PartyId>(agents_ + i));
    }
    keep(std::move(*checked));
    return ids;
  }

  Result<void> initialize(std::uint32_t timeout_ms) {
    if (swarm_) return Error{ErrorCode::usage, "initialize() was called before", 0};
    auto joined = start_and_join(timeout_ms);
    if (!joined) abandon();
    return joined;
  }

  Result<void> shutdown(bool force) {
    if (!swarm_) return not_initialized();
    const auto asked =
        control_->request({{"verb", "stop"}, {"force", force}}, {.timeout_ms = ask_timeout_ms});
    client_.reset();
    control_.reset();
    swarm_->close_channel();  // asks once more, should the request not have arrived
    // What the swarm itself may take, and what root needs to end everybody.
    const auto code = swarm_->wait(plan_.config.supervision.drain_timeout_ms + 20'000);
    abandon();
    if (!code)
      return Error{ErrorCode::timed_out,
                   "swarm " + plan_.config.swarm.name + " did not stop in time and was killed", 0};
    if (*code <= 0) return {};  // -1: another part of this process reaped it
    if (!asked && asked.error().code != ErrorCode::not_running) return asked.error();
    return Error{
        ErrorCode::system,
        "swarm " + plan_.config.swarm.name + " ended with exit code " + std::to_string(*code), 0};
  }

  // ---- tasks ----

  Result<SubmissionId> submit(Task& task, std::uint32_t timeout_ms) {
    if (!client_) return not_initialized();
    TaskRequest request = request_of(task);
    auto number = client_->submit(std::move(request), timeout_ms);
    if (!number) {
      task.region = std::move(request.region);
      return why(number.error());
    }
    open_.insert(*number);
    task = {};
    return *number;
  }

  Result<SubmissionId> submit(std::span<Task> tasks, std::uint32_t timeout_ms) {
    if (!client_) return not_initialized();
    std::vector<TaskRequest> requests;
    requests.reserve(tasks.size());
    for (Task& task : tasks) requests.push_back(request_of(task));
    auto batch = client_->submit_batch(requests, timeout_ms);
    if (!batch) {
      for (std::size_t i = 0; i < tasks.size(); ++i)
        tasks[i].region = std::move(requests[i].region);
      return why(batch.error());
    }
    for (std::size_t i = 0; i < tasks.size(); ++i) open_.insert(batch->first_number + i);
    for (Task& task : tasks) task = {};
    return batch->first_number;
  }

  Result<Region> allocate(std::size_t size_bytes, std::uint32_t timeout_ms) {
    if (!client_) return not_initialized();
    auto region = client_->allocate(size_bytes, timeout_ms);
    if (!region) return why(region.error());
    return region;
  }

  Result<std::size_t> process_cycle() {
    std::size_t count = 0;
    for (;;) {
      auto taken = take_one(0);
      if (!taken && count == 0) return taken.error();
      if (!taken || !*taken) return count;
      ++count;
    }
  }

  Result<std::optional<TaskResult>> result(SubmissionId id, std::uint32_t timeout_ms) {
    using Found = std::optional<TaskResult>;
    const std::uint64_t deadline_ns =
        timeout_ms == Client::forever ? ~std::uint64_t{0} : now_ns() + timeout_ms * ns_per_ms;
    for (;;) {
      if (const auto ended = ended_.find(id); ended != ended_.end()) {
        Found found(std::move(ended->second));
        ended_.erase(ended);
        return found;
      }
      if (!client_) return not_initialized();
      if (!open_.contains(id))
        return Error{ErrorCode::not_found,
                     "no submission " + std::to_string(id) +
                         " is open: it was never handed in, or its result was taken before",
                     0};
      const std::uint64_t now = now_ns();
      const std::uint64_t left_ms = now < deadline_ns ? (deadline_ns - now) / ns_per_ms + 1 : 0;
      auto taken = take_one(static_cast<std::uint32_t>(
          std::min<std::uint64_t>(timeout_ms == 0 ? 0 : left_ms, Client::forever - 1)));
      if (!taken) return taken.error();
      if (!*taken && now_ns() >= deadline_ns) return Found();
    }
  }

  std::size_t in_flight() const noexcept { return open_.size(); }

  // ---- what it does ----

  Result<Client*> client() override {
    if (!client_) return not_initialized();
    return &*client_;
  }

  Result<json> ask(const json& request, std::uint32_t timeout_ms) override {
    if (!control_) return not_initialized();
    json whole = json::object();
    ControlRequestOptions options{.timeout_ms = timeout_ms};
    options.before_resend = [&whole](json&) { whole = json::object(); };
    auto done = control_->stream(
        request,
        [&whole](ControlLine& line) {
          merge_control_line(std::move(line.object), whole);
          return true;
        },
        options);
    if (!done) return why(done.error());
    return Result<json>(boost::system::in_place_value, std::move(whole));
  }

  /// "The swarm is gone" made into why it is: what it last said by its channel, or its exit code.
  Error why(Error error) override {
    if (end_) return *end_;
    if (error.code != ErrorCode::not_running) {
      // The control client hears the last words itself; only they are final.
      if (swarm_ && control_ && error.code != ErrorCode::timed_out && swarm_->wait(0)) end_ = error;
      return error;
    }
    if (!swarm_) return error;
    const auto code = swarm_->wait(exit_code_patience_ms);
    if (auto open = open_control_connection(swarm_->channel());
        !open && open.error().code != ErrorCode::not_running)
      error = open.error();
    else if (code)
      error.message = "swarm " + plan_.config.swarm.name + " has ended with exit code " +
                      std::to_string(*code) + "; its log says why";
    end_ = error;
    return error;
  }

 private:
  void keep(AgentSpec spec) {
    agents_ += spec.count;
    plan_.config.agents.push_back(std::move(spec));
    plan_.config.origins["agent"] = ConfigOrigin::file;
  }

  Result<void> start_and_join(std::uint32_t timeout_ms) {
    const std::uint64_t deadline_ns = now_ns() + timeout_ms * ns_per_ms;
    end_.reset();
    auto started = LaunchedSwarm::start(plan_);
    if (!started) return started.error();
    swarm_.emplace(std::move(*started));
    auto channel = duplicate(swarm_->channel());
    if (!channel) return channel.error();
    control_.emplace(ControlClient::through(std::move(*channel), plan_.config.swarm.name));
    auto reply = control_->request({{"verb", "attach"}}, {.timeout_ms = timeout_ms});
    if (!reply) return why(reply.error());
    if (reply->fds.size() != 1)
      return Error{ErrorCode::protocol, "the swarm's answer to `attach` brought no socket", 0};
    const std::uint64_t now = now_ns();
    auto client = Client::attach(
        std::move(reply->fds.front()),
        now < deadline_ns ? static_cast<std::uint32_t>((deadline_ns - now) / ns_per_ms + 1) : 1);
    if (!client) return why(client.error());
    client_.emplace(std::move(*client));
    return {};
  }

  /// As it was before initialize(). What still runs is killed.
  void abandon() {
    client_.reset();
    control_.reset();
    if (swarm_) swarm_->kill();
    swarm_.reset();
    open_.clear();
    ended_.clear();
  }

  /// True: one submission has ended and is in ended_.
  Result<bool> take_one(std::uint32_t timeout_ms) {
    if (!client_) return not_initialized();
    auto next = client_->next_result(timeout_ms);
    if (!next) return why(next.error());
    if (!*next) return false;
    const std::uint64_t number = (*next)->number();
    open_.erase(number);
    ended_.emplace(number, std::move(**next));
    return true;
  }

  SwarmPlan plan_;
  std::uint32_t agents_ = 0;
  std::optional<LaunchedSwarm> swarm_;
  // Below the swarm, so that they go before it: it ends when the last copy of its channel does.
  std::optional<ControlClient> control_;
  std::optional<Client> client_;
  std::optional<Error> end_;
  std::unordered_set<SubmissionId> open_;
  std::unordered_map<SubmissionId, TaskResult> ended_;
};

SwarmOrchestrator::SwarmOrchestrator(SwarmPlan plan)
    : impl_(std::make_unique<Impl>(std::move(plan))) {}
SwarmOrchestrator::SwarmOrchestrator(SwarmOrchestrator&&) noexcept = default;
SwarmOrchestrator& SwarmOrchestrator::operator=(SwarmOrchestrator&& other) noexcept {
  SwarmOrchestrator old(std::move(*this));
  impl_ = std::move(other.impl_);
  return *this;
}
SwarmOrchestrator::~SwarmOrchestrator() {
  if (impl_ != nullptr && impl_->is_running()) static_cast<void>(impl_->shutdown(false));
}

Result<std::vector<PartyId>> SwarmOrchestrator::register_agent(AgentSpec agent) {
  return impl_->register_agent(std::move(agent));
}
Result<std::vector<PartyId>> SwarmOrchestrator::bootstrap_default_agents(std::uint32_t count) {
  return impl_->register_agent(AgentFactory::create_generic("generic", count));
}
Result<void> SwarmOrchestrator::initialize(std::uint32_t timeout_ms) {
  return impl_->initialize(timeout_ms);
}
Result<void> SwarmOrchestrator::shutdown(bool force) { return impl_->shutdown(force); }
bool SwarmOrchestrator::is_running() const noexcept { return impl_->is_running(); }

Result<SubmissionId> SwarmOrchestrator::submit_task(Task&& task, std::uint32_t timeout_ms) {
  return impl_->submit(task, timeout_ms);
}
Result<SubmissionId> SwarmOrchestrator::submit_tasks(std::span<Task> tasks,
                                                     std::uint32_t timeout_ms) {
  return impl_->submit(tasks, timeout_ms);
}
Result<Region> SwarmOrchestrator::allocate(std::size_t size_bytes, std::uint32_t timeout_ms) {
  return impl_->allocate(size_bytes, timeout_ms);
}
Result<std::size_t> SwarmOrchestrator::process_cycle() { return impl_->process_cycle(); }
Result<std::optional<TaskResult>> SwarmOrchestrator::get_task_result(SubmissionId id) {
  return impl_->result(id, 0);
}
Result<std::optional<TaskResult>> SwarmOrchestrator::wait_task_result(SubmissionId id,
                                                                      std::uint32_t timeout_ms) {
  return impl_->result(id, timeout_ms);
}
std::size_t SwarmOrchestrator::tasks_in_flight() const noexcept { return impl_->in_flight(); }

MemoryManager SwarmOrchestrator::memory() noexcept { return MemoryManager(*impl_); }

Result<SwarmMetrics> SwarmOrchestrator::metrics() {
  auto status = impl_->ask({{"verb", "status"}}, ask_timeout_ms);
  if (!status) return status.error();
  return swarm_metrics_of(*status);
}
Result<SchedulerStats> SwarmOrchestrator::scheduler_stats() {
  auto status = impl_->ask({{"verb", "status"}}, ask_timeout_ms);
  if (!status) return status.error();
  return scheduler_stats_of(*status);
}
Result<MemoryStats> SwarmOrchestrator::memory_stats() {
  auto status = impl_->ask({{"verb", "status"}}, ask_timeout_ms);
  if (!status) return status.error();
  return memory_stats_of(*status);
}
Result<CoordinationStats> SwarmOrchestrator::coordination_stats() {
  auto status = impl_->ask({{"verb", "status"}}, ask_timeout_ms);
  if (!status) return status.error();
  return coordination_stats_of(*status);
}
Result<std::string> SwarmOrchestrator::export_status() {
  auto status = impl_->ask({{"verb", "status"}}, ask_timeout_ms);
  if (!status) return status.error();
  auto agents = impl_->ask({{"verb", "agent.list"}}, ask_timeout_ms);
  if (!agents) return agents.error();
  const json whole{{"schema", 1}, {"status", std::move(*status)}, {"agents", (*agents)["agents"]}};
  return whole.dump(2, ' ', false, json::error_handler_t::replace);
}
Result<json> SwarmOrchestrator::request(const json& request, std::uint32_t timeout_ms) {
  return impl_->ask(request, timeout_ms);
}

}  // namespace micro_swarm
