#pragma once

// Durability of tasks: the loop's side of the journal. An accepted task is entered; its end is
// entered with its result, and only when that is synced is anybody told. What an earlier life of
// the swarm left unfinished is accepted anew (restoration.hpp).
//
// The records stay the truth of what this swarm does; the journal is the truth of what it has told.
// Deaths:
//  - the supervisor's: records that are not free and not told are entered again by the next one
//    (an entry that is there already changes nothing), so what the old one had queued is not
//    missed.
//  - everybody's: the next start reads what has no end and accepts it with the same durable id. An
//    end that was not synced was told to nobody; its task runs again.
// A durable id is first_id of the run + the task's place in the order of (generation, slot), or,
// for a task of an earlier run, the id it had: request.number of its record.
//
// A submission whose idempotency key is that of an earlier, equal one gets a record that repeats
// that task (TaskOptionsRow::repeats): it is not entered, never runs, and ends with what the
// journal says of the other once that has ended.

#include <functional>
#include <nlohmann/json.hpp>
#include <unordered_map>

#include "supervisor/banks.hpp"
#include "supervisor/idempotency_keys.hpp"
#include "supervisor/journal.hpp"
#include "supervisor/restoration.hpp"
#include "supervisor/task_steps.hpp"

namespace micro_swarm {

/// In place of a client's key in records of tasks of an earlier run: nobody's.
inline constexpr std::uint64_t restored_client_key = (std::uint64_t{no_party} << 16) | 1;

class Durability {
 public:
  struct Hooks {
    /// The record's end is synced: pass its payload on, tell whoever waits.
    std::function<void(std::uint32_t slot)> settled;
    Restoration::Hooks restoration;
    /// The task that `repeat` repeats has ended as `row` says. False = no room for its result now.
    std::function<bool(TaskId repeat, const JournalRow& row)> repeated_ended;
    /// That task is nowhere any more.
    std::function<void(TaskId repeat)> repeated_lost;
    /// The journal cannot be opened, at the very start: the swarm must not run.
    std::function<void(const Error& error)> fatal;
  };

  /// Opens the journal in `state_dir` in the background.
  Durability(SupervisorContext& context, Banks& banks, Hooks hooks);
  ~Durability();

  /// The journal is not open yet: leave submissions where they are for now.
  bool is_opening() const noexcept { return state_ == State::opening; }
  /// Acceptances are entered and, as far as is known, written. False: the disk refuses.
  bool is_written() const { return state_ == State::open && trouble_.empty(); }
  /// There is room for acceptances with so many bytes of payload.
  bool has_room(std::uint64_t payload_bytes) const { return journal_.has_room(payload_bytes); }

  IdempotencyKeys& keys() { return keys_; }
  /// The task with this record has this key, from now on.
  void take_key(std::uint32_t slot, std::string_view key, const RequestHash& hash);
  /// The id that a task gets whose record is this.
  DurableId id_for(std::uint32_t slot, std::uint32_t generation) const {
    return first_id_ + std::uint64_t{generation - 1} * capacity() + slot;
  }

  void accepted(std::uint32_t slot);
  /// The record is terminal. hooks.settled follows, never from in here.
  void ended(std::uint32_t slot);
  /// It had ended, and that was told; now it is to be run again. Its end is taken back.
  void revived(std::uint32_t slot);
  /// Accepted from a row that is there.
  void restored(std::uint32_t slot);
  /// Put on record from a row that has ended.
  void put_back(std::uint32_t slot);
  /// A record that repeats another task: hooks.repeated_* follows, never from in here.
  void repeats(std::uint32_t slot);
  /// It has ended; nothing is entered.
  void repeat_ended(std::uint32_t slot);

  /// Its acceptance is synced: it may be told.
  bool is_accepted(std::uint32_t slot) const { return (flags(slot) & accept_synced) != 0; }
  /// Its end is synced.
  bool is_settled(std::uint32_t slot) const { return (flags(slot) & end_synced) != 0; }
  /// Ends that are not synced yet.
  std::uint32_t unsettled() const noexcept { return unsettled_; }

  void flush() { journal_.flush(); }
  /// Now and then: what found no room is tried again.
  void tick();
  /// The task's, or that of the one it repeats.
  DurableId id_of(std::uint32_t slot) const;
  nlohmann::json status() const;

 private:
  static constexpr std::uint8_t accept_entered = 1, accept_synced = 2, end_wanted = 4,
                                end_entered = 8, end_synced = 16;
  enum class State : std::uint8_t { opening, open, failed };
  struct Slot {
    std::uint32_t generation = 0;
    std::uint8_t flags = 0;
  };

  static JournalOptions options(const SupervisorContext& context);
  std::uint8_t flags(std::uint32_t slot) const;
  Slot& slot_of(std::uint32_t slot);
  TaskRecord& record(std::uint32_t slot) const { return c_.segment.records()[slot]; }
  const TaskOptionsRow& options_of(std::uint32_t slot) const {
    return c_.segment.task_options()[slot];
  }
  std::uint32_t capacity() const { return c_.segment.header().task_capacity; }
  DurableId id_of_task(TaskId task) const;
  DurableId repeated_by(std::uint32_t slot) const;
  bool is_synced(TaskId task) const;
  bool is_on_record(DurableId id) const;
  void watch();
  void take_news();
  void note_trouble();
  void take_synced(const JournalSynced& synced);
  void take_row(DurableId id, std::optional<JournalRow> row);
  void opened();
  void enter_accept(std::uint32_t slot);
  bool enter_end(std::uint32_t slot);
  void work_off();
  void note_capabilities();

  SupervisorContext& c_;
  Banks& banks_;
  Hooks hooks_;
  Journal journal_;
  WatchedFd event_;
  State state_ = State::opening;
  DurableId first_id_ = 0;
  std::vector<Slot> slots_;
  std::vector<std::uint32_t> waiting_ends_;  ///< their results find no room in the queue
  std::uint32_t unsettled_ = 0;
  std::string trouble_;  ///< as last told; empty = none
  IdempotencyKeys keys_;
  std::unordered_multimap<DurableId, TaskId> repeats_;  ///< by what they repeat
  std::vector<DurableId> ask_again_;                    ///< their results found no room in the pool
  std::vector<DurableId> inputs_;                       // kept for its memory
  Restoration restoration_;
  std::uint32_t capabilities_ = 0;  ///< of the swarm, as last looked at
};

}  // namespace micro_swarm
