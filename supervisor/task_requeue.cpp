// Dead letters: what is kept of them, and how one is tried again.

#include <algorithm>

#include "supervisor/tasks.hpp"

namespace micro_swarm {

namespace {

Error refused(std::string text) { return Error{ErrorCode::refused, std::move(text), 0}; }

}  // namespace

bool Tasks::may_read_payload(std::uint32_t slot) const {
  const TaskRecord& record = records_[slot];
  const TaskState state = word_of(record).state();
  if (state == TaskState::free || record.request.payload_token == 0) return false;
  if (!is_terminal(state)) return true;
  // Of a damaged record nothing is believed.
  return state == TaskState::dead_letter && record.checksum == checksum_of(slot);
}

bool Tasks::payload_is_there(std::uint32_t slot) {
  const std::uint64_t token = records_[slot].request.payload_token;
  return token == 0 || load(payload_hold(slot).token) == token || shared_payloads_.contains(token);
}

void Tasks::keep_payload(std::uint32_t slot) {
  if (may_read_payload(slot))
    keeps_payload_[slot] = true;
  else
    release_payload(slot);
}

void Tasks::give_up_kept_payload(std::uint32_t slot) {
  if (!keeps_payload_[slot]) return;
  keeps_payload_[slot] = false;
  release_payload(slot);
}

std::optional<Error> Tasks::obstacle_to_requeue(std::uint32_t slot) {
  TaskRecord& record = records_[slot];
  const std::string which = "task " + std::to_string(id_of(slot));
  if (c_.draining) return refused("the swarm is stopping");
  if (record.checksum != checksum_of(slot))
    return refused(which + " is a dead letter because its record was damaged: submit it anew");
  if (is_repeat(slot) || record.request.is_result_only != 0)
    return refused("only the result of " + which +
                   " is here, not what it is to do: submit it anew");
  if (durability_ != nullptr && !durability_->is_opening() && !durability_->is_written())
    return refused("the journal cannot be written now (`microswarm status` says why)");
  // Its notice waits for room in the client's ring, and would be told of a task that is alive.
  if (record.notified == 0)
    return refused(which + " has just ended and its client is not told yet: try again");
  if (record.request.payload_token != 0 && (!keeps_payload_[slot] || !payload_is_there(slot)))
    return refused("the payload of " + which +
                   " is not here any more: the pool needed the room; submit it anew");
  for (const scheduling::Dependency& dependency : dependencies_of(slot)) {
    const TaskRecord* input = find(dependency.task);
    if (input == nullptr || !is_terminal(word_of(*input).state()) ||
        (input->result_token != 0 && load(result_hold(task_slot(dependency.task)).token) == 0))
      return refused("the result of task " + std::to_string(dependency.task) + ", which " + which +
                     " reads, is not here any more: submit both anew");
  }
  const auto admission = scheduler_.admit(spec_of(slot), true);
  if (admission.verdict == scheduling::Admission::Verdict::accept) return std::nullopt;
  return refused("there is no room for " + which + " (" +
                 std::string(micro_swarm::name_of(admission.reason)) + "): try again in " +
                 std::to_string(std::max(admission.retry_after_ms, submit_retry_hint_ms)) + " ms");
}

Result<Tasks::RequeueAnswer> Tasks::requeue(TaskId id) {
  TaskRecord* record = find(id);
  if (record == nullptr) return Error{ErrorCode::not_found, "no task " + std::to_string(id), 0};
  const std::uint32_t slot = task_slot(id);
  const TaskState state = word_of(*record).state();
  if (state != TaskState::dead_letter) {
    // Somebody asks again who has lost the answer.
    if (record->revived_after_ms != 0) return RequeueAnswer::already;
    return refused("task " + std::to_string(id) + " is no dead letter but " +
                   std::string(micro_swarm::name_of(state)));
  }
  if (record->notified == 0)
    retry();  // also what a death in revive_task() left to be told to nobody
  if (auto obstacle = obstacle_to_requeue(slot)) return std::move(*obstacle);
  // Not to be recycled while it lives.
  sort_over();
  std::erase(over_, slot);
  is_in_over_[slot] = false;
  keeps_payload_[slot] = false;  // it reads its payload as a live task does

  const std::uint64_t after_ms = elapsed_ns(now_ns(), record->request.accepted_ns) / ns_per_ms;
  revive_task(*record,
              static_cast<std::uint32_t>(std::clamp<std::uint64_t>(after_ms, 1, 0xffffffff)));
  if (durability_ != nullptr) durability_->revived(slot);
  set_state_counts(TaskState::dead_letter, TaskState::ready);
  c_.count(Counter::tasks_requeued);
  c_.events.add("task_requeued", {{"task", id}});
  tell_scheduler(slot);
  run_actions();
  return RequeueAnswer::requeued;
}

}  // namespace micro_swarm
