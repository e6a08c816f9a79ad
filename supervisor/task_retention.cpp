// How long ended tasks are kept: their records until new ones need them, results that nobody has
// fetched until somebody needs the room or they have lain for tasks.result_ttl_ms.

#include <algorithm>

#include "common/prefetch.hpp"
#include "supervisor/tasks.hpp"

namespace micro_swarm {

namespace {
constexpr int expired_at_once = 64;
}

void Tasks::over(std::uint32_t slot) {
  if (is_in_over_[slot] || scheduler_.graph().is_named(id_of(slot))) return;
  is_in_over_[slot] = true;
  over_.push_back(slot);
  if (load(result_hold(slot).token) != 0) unfetched_.push_back(id_of(slot));
}

std::optional<std::uint32_t> Tasks::slot_for_new() {
  if (free_.empty()) {
    // The oldest ended task whose tokens are all home gives its record up.
    for (std::size_t tries = std::min<std::size_t>(over_before_.size() + over_.size(), 64);
         tries != 0; --tries) {
      const std::uint32_t slot = take_oldest_over();
      TaskRecord& record = records_[slot];
      if (scheduler_.graph().is_named(id_of(slot)))
        continue;  // dependencies_unnamed() brings it back
      if (!pins_.contains(slot) && load(result_hold(slot).token) != 0 &&
          tokens_.release(result_hold(slot)))
        c_.count(Counter::results_evicted);
      if (!pins_.contains(slot)) give_up_kept_payload(slot);
      if (pins_.contains(slot) || load(result_hold(slot).token) != 0 ||
          load(payload_hold(slot).token) != 0) {
        over(slot);
        continue;
      }
      set_state_counts(word_of(record).state(), TaskState::free);
      recycle_record(record);
      free_.push_back(slot);
      break;
    }
    if (free_.empty()) return std::nullopt;
  }
  const std::uint32_t slot = free_.back();
  free_.pop_back();
  return slot;
}

/// Records are used in turn, so the next one is the one that was not looked at for longest: without
/// this a new task waits for memory four times, a third of what it costs the supervisor.
[[gnu::always_inline]] inline void Tasks::will_take(std::uint32_t slot) {
  prefetch_for_write(&records_[slot], sizeof records_[slot]);
  prefetch_for_write(&payload_hold(slot), sizeof(Hold));
  prefetch_for_write(&result_hold(slot), sizeof(Hold));
  scheduler_.will_track(slot);
}

std::uint32_t Tasks::take_oldest_over() {
  std::uint32_t slot = 0;
  if (!over_before_.empty()) {
    slot = over_before_.front().second;
    std::pop_heap(over_before_.begin(), over_before_.end(), std::greater<>());
    over_before_.pop_back();
  } else {
    slot = over_.front();
    over_.pop_front();
    if (over_.size() > slots_ahead) will_take(over_[slots_ahead]);
  }
  is_in_over_[slot] = false;
  return slot;
}

void Tasks::sort_over() {
  std::sort(over_before_.begin(), over_before_.end(), std::greater<>());
  for (const auto& [at, slot] : over_before_) over_.push_front(slot);
  over_before_.clear();
}

bool Tasks::evict_one_result() {
  sort_over();
  for (const std::uint32_t slot : over_) {
    if (keeps_payload_[slot]) {
      give_up_kept_payload(slot);
      return true;
    }
    if (load(result_hold(slot).token) == 0 || pins_.contains(slot) ||
        scheduler_.graph().is_named(id_of(slot)))
      continue;
    if (tokens_.release(result_hold(slot))) c_.count(Counter::results_evicted);
    return true;
  }
  return false;
}

/// A few at a time: the others are as old at the next tick.
void Tasks::expire_results(std::uint64_t now) {
  const std::uint64_t ttl_ns = c_.config.tasks.result_ttl_ms * ns_per_ms;
  if (ttl_ns == 0) return unfetched_.clear();
  std::vector<TaskId> later;
  for (int i = 0; i < expired_at_once && !unfetched_.empty(); ++i) {
    const TaskId id = unfetched_.front();
    const std::uint32_t slot = task_slot(id);
    const TaskRecord* record = find(id);
    if (record != nullptr && elapsed_ns(now, record->finished_ns) < ttl_ns) break;
    unfetched_.pop_front();
    if (record == nullptr || load(result_hold(slot).token) == 0) continue;  // fetched, or evicted
    if (pins_.contains(slot) || scheduler_.graph().is_named(id))
      later.push_back(id);  // somebody reads it
    else if (tokens_.release(result_hold(slot)))
      c_.count(Counter::results_expired);
  }
  unfetched_.insert(unfetched_.end(), later.begin(), later.end());
}

void Tasks::expire_results_now() {
  const std::uint64_t now = now_ns();
  for (std::size_t before = unfetched_.size() + 1; unfetched_.size() < before;) {
    before = unfetched_.size();
    expire_results(now);
  }
}

}  // namespace micro_swarm
