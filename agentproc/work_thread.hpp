#pragma once

// The agent's work: takes dispatches off its ring, runs handlers, publishes completions.
//
// A dispatch is not replayed: its cursor moves when it has been read, and what became of the task
// is the supervisor's record. So a death here at any point costs one execution, never the task: the
// supervisor reads this agent's completions to their end, then decides what is unfinished.

#include <deque>
#include <limits>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "agentproc/control_thread.hpp"
#include "agentproc/handler.hpp"
#include "agentproc/mailbox.hpp"
#include "agentproc/task_in_hand.hpp"
#include "common/clock.hpp"
#include "ipc/party_link.hpp"

namespace micro_swarm {

/// A capability of this agent: its number in dispatches, and who does it. Null = nobody here does.
struct BoundHandler {
  std::uint16_t id = 0;
  std::string name;
  Handler* handler = nullptr;
};

class WorkThread final : public TaskServices, private WorkLoop {
 public:
  /// Everything outlives this object.
  WorkThread(PartyLink& link, Mailbox& mailbox, const CancelList& cancelled, ControlThread& control)
      : link_(link), mailbox_(mailbox), cancelled_(cancelled), control_(control) {}
  ~WorkThread() override { memory_->detach(); }

  /// Announces this life. Error: not_running.
  Result<void> announce();
  /// Waits until the roster names it. The control thread runs. Error: refused (with the
  /// supervisor's reason).
  Result<void> await_admission();

  /// Before the first task: tells the handlers who they are.
  void begin(std::vector<BoundHandler> capabilities);
  /// Works until told to drain and the ring is empty: next_task(), its handler, finish().
  void run();

  static constexpr std::uint64_t no_limit = std::numeric_limits<std::uint64_t>::max();
  /// The next task, begun: its payload lies ready, and it is this agent's to finish(). Waits up to
  /// `timeout_ns` (0 = only looks). Null: none came, or has_ended(). Several may be in hand at a
  /// time; of those a death is the fault of the one that was taken first.
  TaskInHand* next_task(std::uint64_t timeout_ns);
  /// What lies in the ring or has been taken off it and would be given out without waiting.
  bool has_work() noexcept {
    return !dispatches_.empty() || link_.data_in().ready() || link_.releases_ready() ||
           mailbox_.has_mail();
  }
  /// Publishes what became of it; `task` is the agent's no more.
  void finish(TaskInHand& task, Outcome outcome);
  /// It was told to drain, and nothing is left to be taken.
  bool has_ended() noexcept { return draining_ && dispatches_.empty() && !link_.data_in().ready(); }
  /// The name behind a dispatch's number, whether anybody here does it or not.
  std::string_view capability_name(std::uint16_t capability) const noexcept;

  // TaskServices:
  bool is_cancelled(TaskId task) const noexcept override { return cancelled_.contains(task); }
  void report_progress() noexcept override;
  void sleep_unless_cancelled(TaskId task, std::uint64_t timeout_ns) noexcept override;
  Result<Allocation> allocate_result(TaskId task, std::size_t size_bytes,
                                     std::uint64_t wait_ns) override;
  void release_result(const Allocation& allocation) noexcept override;
  AgentMemory& memory() noexcept override { return *memory_; }

 private:
  // WorkLoop:
  void look_around() override {
    housekeeping();
    take_messages();
  }
  void nap(std::uint64_t timeout_ns) override;
  bool is_task_cancelled() const noexcept override;

  void housekeeping();
  void read_mail();
  /// Nothing to do: idle banks go back, the state says idle.
  void before_rest();
  void park(std::uint64_t timeout_ns);
  /// Takes what lies in the data ring: regions into the inbox, dispatches to where they wait.
  void take_messages();
  /// Null: the dispatch that waited longest makes no sense, is not wanted any more, or has failed.
  TaskInHand* begin_next();
  std::optional<Dispatch> checked(const SlotBody& body) const;
  bool still_wanted(const Dispatch& dispatch) const noexcept;
  TaskInHand& take_in_hand(const Dispatch& dispatch);
  Result<std::span<const std::byte>> payload_of(TaskInHand& task,
                                                std::span<const std::byte> inline_payload);
  Result<std::span<const std::byte>> wait_for_memory(TaskId task, Token token, std::uint64_t offset,
                                                     std::size_t size_bytes);
  Result<void> gather_inputs(TaskInHand& task);
  Outcome call(TaskInHand& task) noexcept;
  /// `first` and those like it. Returns one that was taken and is of another kind, if there is one.
  TaskInHand* run_batch(TaskInHand& first, Handler& handler);
  void publish(const SlotBody& body, std::optional<Allocation> allocation);
  void complete(const Dispatch& dispatch, Outcome outcome, TaskContext& task,
                std::uint64_t started_ns);
  const BoundHandler* find(std::uint16_t capability) const noexcept;
  /// Returns the time it noted.
  std::uint64_t record(FlightCode code, std::uint64_t subject) noexcept {
    const std::uint64_t now = now_ns();
    record_at(now, code, subject);
    return now;
  }
  void record_at(std::uint64_t at_ns, FlightCode code, std::uint64_t subject) noexcept;
  void set_state(PartyState state) noexcept;

  PartyLink& link_;
  Mailbox& mailbox_;
  const CancelList& cancelled_;
  ControlThread& control_;
  boost::intrusive_ptr<AgentMemory> memory_{new AgentMemory(link_, static_cast<WorkLoop&>(*this))};
  std::deque<SlotBody> dispatches_;  ///< taken, not run yet; bounded by the agent's credit
  std::vector<BoundHandler> capabilities_;
  std::vector<std::unique_ptr<TaskInHand>> in_hand_;  ///< in the order in which they were taken
  std::vector<std::unique_ptr<TaskInHand>> unused_;
  std::optional<Error> refused_;
  bool draining_ = false;
  std::uint64_t progress_ = 0;
  std::uint64_t flight_events_ = 0;
};

}  // namespace micro_swarm
