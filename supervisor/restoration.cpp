#include "supervisor/restoration.hpp"

#include <algorithm>

#include "common/log.hpp"

namespace micro_swarm {

namespace {
constexpr std::size_t rows_at_once = 256;
constexpr std::uint64_t row_bytes_at_once = 8u << 20;
}  // namespace

void Restoration::found_on_record(DurableId id, TaskId task) {
  restored_.insert(id);
  tasks_[id] = task;
}

void Restoration::start_over() {
  is_over_ = false;
  up_to_ = 0;
  left_.clear();
}

bool Restoration::bring_forward(DurableId id) {
  const auto at = std::find_if(rows_.begin(), rows_.end(),
                               [id](const JournalRow& row) { return row.id == id; });
  if (at == rows_.end()) return false;
  JournalRow row = std::move(*at);
  rows_.erase(at);
  rows_.push_front(std::move(row));
  return true;
}

void Restoration::leave(DurableId id) {
  if (left_.insert(id).second)
    log::warn("journal: task {} cannot be accepted again by this swarm as it is; it is left", id);
}

std::optional<std::vector<TaskId>> Restoration::inputs_of(const JournalRow& row) {
  std::vector<TaskId> tasks;
  std::vector<DurableId> missing;
  for (const DurableId id : row.inputs) {
    if (const auto at = tasks_.find(id); at != tasks_.end() && hooks_.is_on_record(at->second))
      tasks.push_back(at->second);
    else
      missing.push_back(id);
  }
  if (missing.empty()) return tasks;
  for (const DurableId id : missing)
    if (left_.contains(id)) {  // then so is this one
      leave(row.id);
      rows_.pop_front();
      return std::nullopt;
    }
  for (const DurableId id : missing)
    if (!wanted_.contains(id) && bring_forward(id)) return std::nullopt;
  for (const DurableId id : missing)
    if (wanted_.insert(id).second) journal_.ask(id, id);
  return std::nullopt;
}

void Restoration::step(DurableId first_id) {
  while (!is_over_ && !rows_.empty()) {
    const JournalRow& row = rows_.front();
    const DurableId id = row.id;
    TaskId task = 0;
    if (row.state != TaskState::free) {
      const Outcome outcome = hooks_.put_back(row, task);
      if (outcome == Outcome::no_room) return;
      if (outcome == Outcome::done) {
        tasks_[id] = task;
        pinned_.push_back(task);
      } else {
        leave(id);
      }
      rows_.pop_front();
      continue;
    }
    if (id >= first_id) return finish();  // this run's, and so are all behind it
    if (restored_.contains(id) || left_.contains(id)) {
      rows_.pop_front();
      continue;
    }
    const std::size_t rows_before = rows_.size();
    const auto inputs = inputs_of(row);
    if (!inputs) {
      if (rows_.size() != rows_before || rows_.front().id != id) continue;
      return;  // told() comes back
    }
    const Outcome outcome = hooks_.accept(row, *inputs, task);
    if (outcome == Outcome::no_room) return;
    if (outcome == Outcome::done) {
      ++restored_count_;
      found_on_record(id, task);
    } else {
      leave(id);
    }
    rows_.pop_front();
    // Those it reads are held by its being on record; others that read them too ask again.
    unpin_all();
  }
  if (is_over_ || std::exchange(asked_, true)) return;
  journal_.ask_unfinished(up_to_, rows_at_once, row_bytes_at_once);
}

void Restoration::unpin_all() {
  for (const TaskId task : pinned_) hooks_.unpin(task);
  pinned_.clear();
}

void Restoration::finish() {
  is_over_ = true;
  rows_.clear();
  unpin_all();
  if (restored_count_ != 0 || !left_.empty())
    log::info("{} unfinished tasks of earlier runs were accepted again, {} are left",
              restored_count_, left_.size());
}

void Restoration::told(JournalNews::Unfinished unfinished) {
  asked_ = false;
  if (unfinished.rows.empty()) return finish();
  up_to_ = unfinished.rows.back().id;
  for (JournalRow& row : unfinished.rows) rows_.push_back(std::move(row));
}

void Restoration::told(DurableId id, std::optional<JournalRow> row) {
  if (wanted_.erase(id) == 0) return;
  // Unfinished and accepted again, and yet not on record: its record was damaged.
  if (row && !(row->state == TaskState::free && restored_.contains(id)))
    rows_.push_front(std::move(*row));
  else
    leave(id);
}

}  // namespace micro_swarm
