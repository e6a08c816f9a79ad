#pragma once

// A start on a journal that an earlier run of the swarm has left: what has no end in it is accepted
// again, oldest first, a few at a time. What a task depends on comes before it: accepted again like
// the task, or, where it had ended, put on record again with its result.
//
// Holds nothing that a new supervisor could not find out: it starts over, and skips what is on
// record already.

#include <deque>
#include <functional>
#include <unordered_map>
#include <unordered_set>
#include <vector>

#include "supervisor/journal.hpp"

namespace micro_swarm {

class Restoration {
 public:
  enum class Outcome {
    done,
    no_room,    ///< not now: try again
    impossible  ///< never, in this swarm as it is: it stays as it is in the journal
  };
  struct Hooks {
    /// Accepts the row anew; `inputs`: the tasks it depends on. done: `task` is its new id.
    std::function<Outcome(const JournalRow& row, const std::vector<TaskId>& inputs, TaskId& task)>
        accept;
    /// Puts an ended task on record, for those that read its result. It stays until unpin().
    std::function<Outcome(const JournalRow& row, TaskId& task)> put_back;
    std::function<void(TaskId task)> unpin;
    std::function<bool(TaskId task)> is_on_record;
  };

  Restoration(Journal& journal, Hooks hooks) : journal_(journal), hooks_(std::move(hooks)) {}

  /// What a supervisor before us has accepted again.
  void found_on_record(DurableId id, TaskId task);
  /// Call it when there may be room. `first_id`: where this run's ids start.
  void step(DurableId first_id);
  void told(JournalNews::Unfinished rows);
  /// The answer to a question about a task that another depends on.
  void told(DurableId id, std::optional<JournalRow> row);
  /// What was impossible may be possible now.
  void start_over();

  bool is_over() const { return is_over_; }
  std::uint64_t restored() const { return restored_count_; }
  std::uint64_t left() const { return left_.size(); }

 private:
  /// The tasks that `row` depends on; nothing = some of them must come first.
  std::optional<std::vector<TaskId>> inputs_of(const JournalRow& row);
  bool bring_forward(DurableId id);
  void leave(DurableId id);
  void unpin_all();
  void finish();

  Journal& journal_;
  Hooks hooks_;
  bool is_over_ = false;
  bool asked_ = false;
  DurableId up_to_ = 0;
  std::deque<JournalRow> rows_;                  ///< to be restored, in this order
  std::unordered_set<DurableId> wanted_;         ///< asked for
  std::unordered_map<DurableId, TaskId> tasks_;  ///< where they are on record, if they still are
  std::unordered_set<DurableId> restored_;
  std::unordered_set<DurableId> left_;
  std::vector<TaskId> pinned_;
  std::uint64_t restored_count_ = 0;
};

}  // namespace micro_swarm
