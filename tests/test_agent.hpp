#pragma once

// run_agent on a thread, and the fake supervisor it is linked to.

#include <atomic>
#include <condition_variable>
#include <mutex>
#include <stdexcept>
#include <thread>
#include <vector>

#include "agentproc/agent_runtime.hpp"
#include "agentproc/generic_agent.hpp"
#include "fake_supervisor.hpp"

namespace micro_swarm::testing {

/// Echoes up to four at once, and notes how many there were.
class BatchHandler final : public Handler {
 public:
  explicit BatchHandler(std::vector<std::size_t>& batches) : batches_(batches) {}
  BatchLimits batch_limits() const override { return {4, 0}; }
  Outcome handle(TaskContext& task) override {
    batches_.push_back(1);
    return echo(task);
  }
  void handle_batch(std::span<TaskContext* const> tasks, std::span<Outcome> outcomes) override {
    batches_.push_back(tasks.size());
    for (std::size_t i = 0; i < tasks.size(); ++i) {
      if (tasks[i]->payload_text() == "throw") throw std::runtime_error("thrown");
      outcomes[i] = echo(*tasks[i]);
    }
  }

 private:
  static Outcome echo(TaskContext& task) {
    return task.set_result(task.payload()) ? Outcome::done : Outcome::failed;
  }
  std::vector<std::size_t>& batches_;
};

class TestAgent {
 public:
  enum Capability : std::uint16_t {
    noop,
    echo,
    sleep,
    hash,
    fill,
    fail,
    gate,
    throws,
    unbound,
    batch
  };
  enum class Start { live, registered };

  explicit TestAgent(PartyId party, Start start = Start::live) : supervisor(party) {
    begin_life(1, false, start);
  }
  ~TestAgent() {
    open_gate();
    end_life();
  }

  /// The thread becomes the party's life `incarnation`.
  void begin_life(Incarnation incarnation, bool with_predecessor, Start start = Start::live) {
    gate_open_ = false;
    AgentOptions options;
    options.socket = supervisor.begin_life(incarnation, with_predecessor);
    options.capabilities = {
        {"noop", noop}, {"echo", echo}, {"sleep", sleep},   {"hash", hash},      {"fill", fill},
        {"fail", fail}, {"gate", gate}, {"throws", throws}, {"nobody", unbound}, {"batch", batch}};
    options.on_orphaned = [this] { orphaned = true; };
    thread_ = std::thread([this, moved = std::make_shared<AgentOptions>(std::move(options))] {
      HandlerSet handlers;
      add_generic_operations(handlers);
      handlers.add("gate", [this](TaskContext&) {
        std::unique_lock lock(mutex_);
        gate_changed_.wait(lock, [this] { return gate_open_; });
        return Outcome::done;
      });
      handlers.add("batch", std::make_unique<BatchHandler>(batches));
      handlers.add("throws", [](TaskContext&) -> Outcome { throw std::runtime_error("thrown"); });
      ended_ = run_agent(std::move(*moved), handlers);
    });
    supervisor.take_registration();
    if (start == Start::live) supervisor.admit();
  }
  void end_life() {
    if (!thread_.joinable()) return;
    // Nothing happens to one that has left already.
    PartyMessage drain;
    drain.kind = PartyMessageKind::drain;
    static_cast<void>(send_with_fds(supervisor.socket(), std::as_bytes(std::span(&drain, 1)), {}));
    thread_.join();
  }
  Result<void> join() {
    thread_.join();
    return ended_;
  }

  void open_gate() {
    const std::lock_guard lock(mutex_);
    gate_open_ = true;
    gate_changed_.notify_all();
  }
  void wait_until_running(std::uint32_t slot) const {
    FakeSupervisor::wait_until(
        [&] { return load(supervisor.party().header().task_in_hand) == make_task_id(slot, 1); });
  }

  std::vector<std::size_t> batches;  ///< the handler's; to be read once it has ended
  FakeSupervisor supervisor;
  std::atomic<bool> orphaned{false};

 private:
  std::thread thread_;
  Result<void> ended_;
  std::mutex mutex_;
  std::condition_variable gate_changed_;
  bool gate_open_ = false;
};

}  // namespace micro_swarm::testing
