#pragma once

// The shell around the task records and the scheduler: what submissions, answers, deaths and
// cancels do. The records are the truth; everything else here is made anew from them.

#include <bitset>
#include <deque>
#include <functional>
#include <nlohmann/json.hpp>
#include <optional>
#include <unordered_map>

#include "ipc/batch_protocol.hpp"
#include "ipc/task_names.hpp"
#include "supervisor/category_memory.hpp"
#include "supervisor/durability.hpp"
#include "supervisor/latency_histogram.hpp"
#include "supervisor/scheduling/scheduler.hpp"
#include "supervisor/task_statistics.hpp"
#include "supervisor/task_steps.hpp"
#include "supervisor/tokens.hpp"

namespace micro_swarm {

class Tasks {
 public:
  Tasks(SupervisorContext& context, Banks& banks, Tokens& tokens);

  // Messages, each the next one of `in_hand.ring`. False = it stays there for now (no space for
  // what would have to be sent); the caller serves others and comes back.
  bool submitted(Peer& client, const SlotBody& body, MessageInHand in_hand);
  bool batch_submitted(Peer& client, const SlotBody& body, MessageInHand in_hand);
  bool answered(Peer& agent, const SlotBody& body, MessageInHand in_hand);

  // Agents.
  void agent_up(Peer& agent, const CapabilitySet& capabilities);
  /// The agent's life is over and its rings are drained: what it had is decided.
  void agent_died(Peer& agent, Incarnation incarnation, TaskId in_hand);
  void agent_resting(Peer& agent);  ///< no further work for it, what runs goes on

  /// The client's life is over: its results stay with us.
  void client_gone(Peer& client);

  enum class CancelAnswer { ended, asked, already_over, unknown };
  CancelAnswer cancel(TaskId id, CancelReason reason);

  /// Dead letters. The payload of a task that ended as one stays in its hold, and its share in a
  /// batch's region stays counted, until somebody requeues the task, its record is used again or
  /// the pool needs the room. Which of them still have theirs is recomputed from records and holds
  /// by a new supervisor (adopt_payloads); dying anywhere in between leaves a payload kept a
  /// little longer, or one that goes home as any unread one does.
  enum class RequeueAnswer { requeued, already };
  /// A dead letter is ready again, under its old id; nobody waits for its end, its result stays
  /// here. `already`: it was requeued before and is no dead letter (any more). One step
  /// (revive_task): died before, and it is a dead letter still, died after, and it is adopted like
  /// any ready task. Errors: refused, saying why it cannot be run again.
  Result<RequeueAnswer> requeue(TaskId id);
  /// The task that `agent` works on although it was asked to stop it. One that only waits in its
  /// ring does not count: it ends when its turn comes, and what runs before it is innocent. Read
  /// from the records, so a new supervisor carries through what its predecessor asked for.
  struct Unheeded {
    TaskId task;
    CancelReason reason;
  };
  std::optional<Unheeded> unheeded_cancel(PartyId agent) const;

  /// Deadlines that have passed, notices and releases that found no space.
  void tick(std::uint64_t now);
  void retry();
  bool has_retry() const { return !notices_.empty(); }
  std::uint64_t next_deadline_ns() const { return scheduler_.next_due_ns(); }

  // With a state directory.
  /// Before adopt() or the first submission.
  void set_durability(Durability* durability) { durability_ = durability; }
  /// What the journal has to say to the tasks.
  Durability::Hooks durability_hooks();
  const Durability* durability() const { return durability_; }
  /// Its acceptance may be told.
  bool is_accepted(std::uint32_t slot) const {
    return durability_ == nullptr || durability_->is_accepted(slot);
  }
  /// It has ended, and that may be told.
  bool is_over(std::uint32_t slot) const {
    return is_terminal(word_of(records_[slot]).state()) &&
           (durability_ == nullptr || records_[slot].notified != 0 ||
            durability_->is_settled(slot));
  }
  /// Ends that may not be told yet.
  std::uint32_t unsettled() const { return durability_ == nullptr ? 0 : durability_->unsettled(); }
  /// It never runs: it ends as the task does that had its idempotency key first.
  bool is_repeat(std::uint32_t slot) const {
    return records_[slot].request.has_options != 0 && options_[slot].repeats != 0;
  }

  // New supervisor.
  void adopt();
  /// This client's next message, and no other, can be one that is on record already; and it may
  /// lack the memory of results it has not read yet.
  void client_adopted(Peer& client);

  // For the control socket.
  TaskRecord* find(TaskId id);
  std::uint32_t capacity() const { return capacity_; }
  TaskRecord& record(std::uint32_t slot) { return records_[slot]; }
  TaskId id_of(std::uint32_t slot) const {
    return make_task_id(slot, word_of(records_[slot]).generation());
  }
  TaskOptionsRow& options(std::uint32_t slot) { return options_[slot]; }
  TaskDependencies& dependencies(std::uint32_t slot) { return dependencies_[slot]; }
  Hold& payload_hold(std::uint32_t slot) { return c_.segment.holds()[slot]; }
  Hold& result_hold(std::uint32_t slot) { return c_.segment.holds()[capacity_ + slot]; }
  std::uint32_t count_in(TaskState state) const { return by_state_[static_cast<unsigned>(state)]; }
  std::uint32_t unfinished() const {
    return count_in(TaskState::pending) + count_in(TaskState::ready) + count_in(TaskState::running);
  }
  void pin(std::uint32_t slot) { ++pins_[slot]; }
  void unpin(std::uint32_t slot) {
    if (--pins_[slot] == 0) pins_.erase(slot);
  }
  using Waiter = std::function<void(TaskRecord&)>;
  std::uint64_t wait_for(std::uint32_t slot, Waiter waiter);
  void stop_waiting(std::uint32_t slot, std::uint64_t id);
  const LatencyHistogram& dispatch_round_trip() const { return round_trip_; }
  const LatencyHistogram& accept_to_end() const { return accept_to_end_; }
  const TaskStatistics& statistics() const { return statistics_; }
  const CategoryMemory& category_memory() const { return category_memory_; }
  /// Tasks that have ended since the swarm started.
  std::uint64_t ended_count() const;
  const scheduling::Scheduler& scheduler() const { return scheduler_; }
  /// From the next choice on.
  void set_strategy(Strategy strategy);
  /// The pool's budget is another than it was: what tasks may ask for is measured by it.
  void pool_changed();
  const std::vector<std::uint32_t>& running_on(PartyId agent) const { return running_[agent]; }
  /// Frees results that nobody has fetched, oldest first, because the pool needs room.
  bool evict_one_result();
  /// All that have lain for tasks.result_ttl_ms, not only the next few.
  void expire_results_now();
  void cancel_everything();

  struct Refused {
    ErrorCode code = ErrorCode::refused;
    SubmitRefusal reason = SubmitRefusal::none;
    std::uint32_t retry_after_ms = 0;
    std::uint32_t entry = 0;  ///< of a batch: which one is the cause
  };

 private:
  /// Answers, gives a token back, and is done with the message.
  bool refuse(Peer& client, const SlotBody& body, MessageInHand in_hand, const Refused& refused);
  /// The predecessor's answer is in the client's ring already: only the rest is left to do.
  bool was_refused(const Peer& client, const SlotBody& body) const;
  bool finish_refusal(Peer& client, const SlotBody& body, MessageInHand in_hand);
  void note_last_refusals();
  std::optional<Refused> check_batch(const Peer& client, const SlotBody& body);
  std::optional<Refused> resolve_dependencies(const Peer& client, const SlotBody& body);
  /// Whether there is room for a submission.
  struct Room {
    enum class Kind : std::uint8_t { found, later, refused } kind = Kind::found;
    Refused refused;
  };
  /// Records for all of them, into slots_, or for none.
  Room take_slots(std::span<const scheduling::TaskSpec> specs);
  bool fits_when_empty(std::span<const scheduling::TaskSpec> specs) const;
  /// Nothing = the configuration has no such category.
  std::optional<CategoryId> category_of(std::string_view name) const;
  Room take_batch_slots(const Peer& client);
  /// The batch's payloads are within the quotas of their categories.
  Room category_room() const;
  void charge_category(std::uint32_t slot, const scheduling::TaskSpec& spec);
  /// The journal takes so much more now.
  Room journal_room(std::uint64_t payload_bytes) const;
  /// Whose the keys of the batch are, into batch_keys_.
  Room check_keys(const SlotBody& body);
  void count_compressed(Token token, std::uint64_t offset, std::uint64_t bytes);
  std::optional<RequestHash> hash_of(const BatchEntry& entry, Token token) const;
  /// The record is terminal: settled() now, or when the journal has it.
  void settle(std::uint32_t slot);
  /// The end may be told: its payload goes home, its client and whoever waits hear of it.
  void settled(std::uint32_t slot);
  Restoration::Outcome restore(const JournalRow& row, const std::vector<TaskId>& inputs,
                               TaskId& task);
  Restoration::Outcome put_back(const JournalRow& row, TaskId& task);
  /// A request of a row, for the record `slot`, without its payload. False: nobody can run it.
  bool read_request(const JournalRow& row, std::uint32_t slot, TaskRequestData& request) const;
  bool repeated_ended(TaskId repeat, const JournalRow& row);
  /// A right to these bytes into `hold`, unless they fit inline: then 0.
  Result<std::uint64_t> hold_large(std::span<const std::byte> bytes, Hold& hold);
  void accept_batch(Peer& client, const SlotBody& body, MessageInHand in_hand);
  /// The payload is not read any more for this task.
  void release_payload(std::uint32_t slot);
  /// It ended as a dead letter.
  void keep_payload(std::uint32_t slot);
  void give_up_kept_payload(std::uint32_t slot);
  /// The task reads a payload in a region, now or if it is requeued.
  bool may_read_payload(std::uint32_t slot) const;
  bool payload_is_there(std::uint32_t slot);
  /// Why a dead letter cannot be run again; nothing = it can.
  std::optional<Error> obstacle_to_requeue(std::uint32_t slot);
  /// `holders`: those whose payload hold has a token.
  void adopt_payloads(const std::vector<std::uint32_t>& holders);
  std::uint64_t checksum_of(std::uint32_t slot) const;
  std::optional<std::uint32_t> slot_for_new();
  std::uint32_t take_oldest_over();
  static constexpr std::size_t slots_ahead = 3;
  void will_take(std::uint32_t slot);
  void sort_over();
  void expire_results(std::uint64_t now);
  std::uint32_t next_generation(std::uint32_t slot) const {
    const std::uint32_t next = word_of(records_[slot]).generation() + 1;
    return next == 0 ? 1 : next;  // 0 is no generation: a TaskId is never 0
  }
  void set_state_counts(TaskState from, TaskState to);
  void schedule(const scheduling::Event& event, std::uint64_t now = now_ns()) {
    scheduler_.step(event, now, actions_);
  }
  scheduling::TaskSpec spec_of(std::uint32_t slot) const;
  /// What it depends on, with the states that the records say.
  std::vector<scheduling::Dependency> dependencies_of(std::uint32_t slot);
  /// A live task that the scheduler does not know yet: just accepted or adopted.
  void tell_scheduler(std::uint32_t slot);
  void release_task(TaskId id);
  /// The payload's and those of the results it depends on.
  template <class F>
  void for_each_token_read(std::uint32_t slot, F&& f);
  void show_what_it_reads(Peer& agent, std::uint32_t slot);
  void dependency_failed(const scheduling::Action& action);
  /// Ends a task that no agent answers for any more, if it is live.
  void end_unfinished(TaskId id, TaskState end, std::string_view why = {});
  /// Its agent answered that it failed: is it tried again, and when? Nothing = no.
  std::optional<std::uint64_t> next_attempt_ns(std::uint32_t slot);
  /// The task is over: what only it depended on need not stay any longer.
  void dependencies_unnamed(std::uint32_t slot);
  /// Its result lies in a region and live tasks depend on it: its client gets it when they are
  /// over.
  bool is_withheld(std::uint32_t slot) const;
  /// Terminal and told: its record may be used again unless live tasks depend on it.
  void over(std::uint32_t slot);
  void wake_waiters(std::uint32_t slot);
  void run_actions();
  void dispatch(TaskId id, PartyId agent);
  void make_ready(std::uint32_t slot, std::uint64_t now = now_ns());
  void ended(std::uint32_t slot, TaskState before);
  void notify(std::uint32_t slot);
  bool client_waits(const TaskRecord& record) const;
  /// Those whose client is gone, if that is what the configuration wants.
  void cancel_ownerless();
  void timed_out(TaskId id);

  SupervisorContext& c_;
  Banks& banks_;
  Tokens& tokens_;
  Durability* durability_ = nullptr;
  TaskRecord* records_;
  TaskOptionsRow* options_;
  TaskDependencies* dependencies_;
  std::uint32_t capacity_;
  scheduling::Scheduler scheduler_;
  std::vector<scheduling::Action> actions_;
  bool running_actions_ = false;
  std::vector<std::uint32_t> free_;
  std::deque<std::uint32_t> over_;  ///< terminal and notified, oldest first: what may be recycled
  /// Those that were so when we took over, none younger than any in over_: a heap, the oldest on
  /// top, because sorting thousands would stand between a supervisor's death and the next work.
  std::vector<std::pair<std::uint64_t, std::uint32_t>> over_before_;
  std::deque<TaskId> unfetched_;        ///< over, and the result was here then; oldest first
  std::vector<bool> is_in_over_;        ///< by slot: at most once in there
  std::vector<bool> keeps_payload_;     ///< by slot: dead letters that count as its readers
  std::vector<std::uint32_t> notices_;  ///< terminal, their client's ring was full
  std::array<std::vector<std::uint32_t>, agents_max> running_;
  std::array<std::uint32_t, task_states> by_state_{};
  std::bitset<parties_max> repeat_possible_;
  /// By client: the number that its ring's last message refuses, as a new supervisor finds it.
  std::unordered_map<PartyId, std::uint64_t> last_refusals_;
  /// Regions with payloads of several tasks: whose payload hold has the token, and how many of them
  /// have not ended.
  struct SharedPayload {
    std::uint32_t slot;
    std::uint32_t unfinished;
  };
  std::unordered_map<std::uint64_t, SharedPayload> shared_payloads_;
  // A batch being looked at; kept for their memory.
  std::vector<std::uint64_t> batch_words_;
  std::vector<BatchEntry> batch_entries_;
  /// By entry and dependency: a TaskId, or the index of an entry of the same batch.
  struct BatchNamed {
    TaskId task = 0;
    std::uint32_t entry = 0;  ///< where task is 0
  };
  std::vector<std::vector<BatchNamed>> batch_named_;
  struct BatchKey {
    RequestHash hash{};
    DurableId repeats = 0;
    std::uint32_t same_entry = 0;  ///< 1 + the earlier entry with this key; 0 = none
    bool is_repeat() const { return repeats != 0 || same_entry != 0; }
  };
  std::vector<BatchKey> batch_keys_;  ///< by entry; empty when no entry has a key
  std::bitset<parties_max> waits_for_keys_;
  std::vector<scheduling::TaskSpec> batch_specs_;
  std::vector<std::uint32_t> slots_;  ///< for a submission that is being accepted
  std::unordered_map<CategoryId, std::uint32_t> coming_;
  std::unordered_map<std::uint32_t, std::uint32_t> pins_;
  struct Waiting {
    std::uint64_t id;
    Waiter call;
  };
  std::unordered_multimap<std::uint32_t, Waiting> waiters_;
  std::uint64_t next_waiter_ = 1;
  LatencyHistogram round_trip_;
  LatencyHistogram accept_to_end_;
  TaskStatistics statistics_;
  CategoryMemory category_memory_;
};

/// When a submission that found the queue full may find room.
inline constexpr std::uint32_t submit_retry_hint_ms = 50;

constexpr TaskState end_by(CancelReason reason) {
  return reason == CancelReason::timed_out ? TaskState::timed_out : TaskState::cancelled;
}

}  // namespace micro_swarm
