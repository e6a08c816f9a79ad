// Tasks with a journal: what it must know before they are accepted, when their ends may be told,
// and those that come out of it.

#define XXH_INLINE_ALL
#include <xxhash.h>

#include <algorithm>

#include "common/dependency_cycle.hpp"
#include "common/log.hpp"
#include "supervisor/durable_options.hpp"
#include "supervisor/tasks.hpp"

namespace micro_swarm {

namespace {
constexpr std::size_t hashed_at_once = 64u << 10;
}  // namespace

Durability::Hooks Tasks::durability_hooks() {
  Durability::Hooks hooks;
  hooks.settled = [this](std::uint32_t slot) { settled(slot); };
  hooks.repeated_ended = [this](TaskId repeat, const JournalRow& row) {
    return repeated_ended(repeat, row);
  };
  hooks.repeated_lost = [this](TaskId repeat) {
    end_unfinished(repeat, TaskState::failed, "its result is gone");
    run_actions();
  };
  hooks.restoration.accept = [this](const JournalRow& row, const std::vector<TaskId>& inputs,
                                    TaskId& task) { return restore(row, inputs, task); };
  hooks.restoration.put_back = [this](const JournalRow& row, TaskId& task) {
    return put_back(row, task);
  };
  hooks.restoration.unpin = [this](TaskId task) { unpin(task_slot(task)); };
  hooks.restoration.is_on_record = [this](TaskId task) { return find(task) != nullptr; };
  return hooks;
}

// ---- before acceptance ----

Tasks::Room Tasks::journal_room(std::uint64_t payload_bytes) const {
  if (durability_->is_opening()) return {Room::Kind::later, {}};
  if (payload_bytes > journal_blob_bytes_max)
    return {Room::Kind::refused, {ErrorCode::too_large, SubmitRefusal::too_large}};
  if (!durability_->is_written())
    return {Room::Kind::refused,
            {ErrorCode::refused, SubmitRefusal::journal_stuck, submit_retry_hint_ms}};
  if (durability_->has_room(payload_bytes)) return {};
  if (scheduler_.settings().when_full == WhenFull::block) return {Room::Kind::later, {}};
  return {Room::Kind::refused,
          {ErrorCode::refused, SubmitRefusal::journal_stuck, submit_retry_hint_ms}};
}

/// Of what must be equal for two requests to be the same: the capability and the payload.
std::optional<RequestHash> Tasks::hash_of(const BatchEntry& entry, Token token) const {
  XXH3_state_t state;
  XXH3_INITSTATE(&state);
  XXH3_128bits_reset(&state);
  const std::string_view capability = c_.tables().capabilities[entry.data.capability].text;
  XXH3_128bits_update(&state, capability.data(), capability.size());
  XXH3_128bits_update(&state, "", 1);
  XXH3_128bits_update(&state, entry.inline_payload.data(), entry.inline_payload.size());
  std::vector<std::byte> piece(std::min<std::size_t>(entry.data.payload_bytes, hashed_at_once));
  for (std::uint64_t at = 0; at < entry.data.payload_bytes; at += piece.size()) {
    piece.resize(std::min<std::uint64_t>(piece.size(), entry.data.payload_bytes - at));
    if (!banks_.read(token, entry.data.payload_offset + at, piece)) return std::nullopt;
    XXH3_128bits_update(&state, piece.data(), piece.size());
  }
  const XXH128_hash_t hash = XXH3_128bits_digest(&state);
  return RequestHash{hash.low64, hash.high64};
}

Tasks::Room Tasks::check_keys(const SlotBody& body) {
  using Kind = IdempotencyKeys::Answer::Kind;
  const auto refused = [](ErrorCode code, SubmitRefusal reason, std::uint32_t entry) {
    return Room{Room::Kind::refused, {code, reason, 0, entry}};
  };
  batch_keys_.clear();
  if (std::none_of(batch_entries_.begin(), batch_entries_.end(),
                   [](const BatchEntry& entry) { return !entry.key.empty(); }))
    return {};
  batch_keys_.resize(batch_entries_.size());
  std::unordered_map<std::string_view, std::uint32_t> in_batch;
  bool is_known = true, repeats_itself = false;
  for (std::uint32_t i = 0; i < batch_entries_.size(); ++i) {
    const std::string_view key = batch_entries_[i].key;
    if (key.empty()) continue;
    const auto hash = hash_of(batch_entries_[i], Token{body.token});
    if (!hash) return refused(ErrorCode::protocol, SubmitRefusal::malformed, i);
    batch_keys_[i].hash = *hash;
    if (const auto [at, is_first] = in_batch.emplace(key, i); !is_first) {
      if (batch_keys_[at->second].hash != *hash)
        return refused(ErrorCode::usage, SubmitRefusal::key_conflict, i);
      batch_keys_[i].same_entry = at->second + 1;
      repeats_itself = true;
      continue;
    }
    const auto answer = durability_->keys().look_up(key, *hash);
    if (answer.kind == Kind::asking) is_known = false;  // the others are asked for all the same
    if (answer.kind == Kind::other)
      return refused(ErrorCode::usage, SubmitRefusal::key_conflict, i);
    if (answer.kind == Kind::same) batch_keys_[i].repeats = answer.id;
  }
  if (!is_known) return {Room::Kind::later, {}};
  if (!repeats_itself || batch_named_.empty()) return {};
  // One that waits for its own repetition would wait for ever.
  std::vector<std::vector<std::uint32_t>> edges(batch_entries_.size());
  for (std::size_t i = 0; i < edges.size(); ++i) {
    if (batch_keys_[i].same_entry != 0) edges[i].push_back(batch_keys_[i].same_entry - 1);
    if (batch_keys_[i].is_repeat()) continue;
    for (const BatchNamed& named : batch_named_[i])
      if (named.task == 0) edges[i].push_back(named.entry);
  }
  if (const auto cycle = find_cycle(edges))
    return refused(ErrorCode::usage, SubmitRefusal::dependency_cycle, cycle->front());
  return {};
}

// ---- ends ----

void Tasks::settle(std::uint32_t slot) {
  if (durability_ != nullptr && is_repeat(slot))
    durability_->repeat_ended(slot);
  else if (durability_ != nullptr && !durability_->is_settled(slot))
    return durability_->ended(slot);
  settled(slot);
}

void Tasks::settled(std::uint32_t slot) {
  if (word_of(records_[slot]).state() == TaskState::dead_letter)
    keep_payload(slot);
  else
    release_payload(slot);
  notify(slot);
  if (!waiters_.empty()) wake_waiters(slot);
  dependencies_unnamed(slot);
}

bool Tasks::repeated_ended(TaskId repeat, const JournalRow& row) {
  TaskRecord* record = find(repeat);
  if (record == nullptr || is_terminal(word_of(*record).state())) return true;
  const std::uint32_t slot = task_slot(repeat);
  const TaskState before = word_of(*record).state();
  const auto token = hold_large(row.result, result_hold(slot));
  if (!token) {
    if (token.error().code == ErrorCode::refused) return false;
    log::warn("task {}: the result of the task it repeats: {}", repeat, token.error().message);
    end_unfinished(repeat, TaskState::failed, "its result does not fit");
  } else {
    end_with(*record, row.state, static_cast<std::uint8_t>(row.attempts), *token, row.result,
             now_ns());
    schedule(scheduling::TaskEnded{repeat, row.state == TaskState::done});
    ended(slot, before);
  }
  run_actions();
  return true;
}

// ---- tasks of an earlier run ----

Result<std::uint64_t> Tasks::hold_large(std::span<const std::byte> bytes, Hold& hold) {
  if (bytes.size() <= task_inline_bytes_max) return std::uint64_t{0};
  const auto token = banks_.hold_bytes(bytes, hold);
  if (!token) return token.error();
  return token->word;
}

bool Tasks::read_request(const JournalRow& row, std::uint32_t slot,
                         TaskRequestData& request) const {
  std::uint32_t capability = 0;
  const auto& names = c_.tables().capabilities;
  while (capability < capabilities_max && row.capability != names[capability].text) ++capability;
  request.client_key = restored_client_key;
  request.number = row.id;
  // From now on: the time in which there was no swarm does not count against its timeout.
  request.accepted_ns = now_ns();
  request.timeout_ms = row.timeout_ms;
  request.generation = next_generation(slot);
  request.capability = static_cast<std::uint16_t>(capability % capabilities_max);
  request.priority =
      static_cast<unsigned>(row.priority) < priorities ? row.priority : Priority::normal;
  request.is_detached = 1;
  return capability != capabilities_max && !row.capability.empty();
}

Restoration::Outcome Tasks::restore(const JournalRow& row, const std::vector<TaskId>& inputs,
                                    TaskId& task) {
  using Restored = Restoration::Outcome;
  const auto slot = slot_for_new();
  if (!slot) return Restored::no_room;
  TaskRequestData request;
  TaskOptionsRow options;
  std::uint16_t flags = 0;
  if (!read_request(row, *slot, request) || !read_durable_options(row.options, options, flags) ||
      inputs.size() > task_dependencies_max) {
    free_.push_back(*slot);
    return Restored::impossible;
  }
  const auto token = hold_large(row.payload, payload_hold(*slot));
  if (!token) {
    free_.push_back(*slot);
    if (token.error().code == ErrorCode::refused) return Restored::no_room;
    log::warn("journal: task {}: {}", row.id, token.error().message);
    return Restored::impossible;
  }
  request.payload_token = *token;
  if (*token != 0) {
    request.payload_bytes = static_cast<std::uint32_t>(row.payload.size());
  } else {
    request.inline_bytes = static_cast<std::uint8_t>(row.payload.size());
    std::copy(row.payload.begin(), row.payload.end(),
              reinterpret_cast<std::byte*>(request.inline_payload));
  }
  request.has_options = 1;
  request.is_payload_compressed = (flags & durable_payload_compressed) != 0 && *token != 0 ? 1 : 0;
  options.dependency_count = static_cast<std::uint8_t>(inputs.size());
  options.key_bytes =
      static_cast<std::uint8_t>(row.key.copy(options.idempotency_key, idempotency_key_bytes_max));
  // Accepts it: it belongs to no batch. Dying before leaves a right in the hold of a free record,
  // which adopt() gives up.
  prepare_task(records_[*slot], options_[*slot], dependencies_[*slot], request, options,
               inputs.data(), inputs.empty() ? TaskState::ready : TaskState::pending);
  durability_->restored(*slot);
  task = id_of(*slot);
  set_state_counts(TaskState::free, word_of(records_[*slot]).state());
  c_.count(Counter::tasks_accepted);
  tell_scheduler(*slot);
  run_actions();
  return Restored::done;
}

Restoration::Outcome Tasks::put_back(const JournalRow& row, TaskId& task) {
  using Restored = Restoration::Outcome;
  const auto slot = slot_for_new();
  if (!slot) return Restored::no_room;
  const auto token = hold_large(row.result, result_hold(*slot));
  if (!token) {
    free_.push_back(*slot);
    return token.error().code == ErrorCode::refused ? Restored::no_room : Restored::impossible;
  }
  TaskRequestData request;
  read_request(row, *slot, request);
  request.is_result_only = 1;
  restore_ended(records_[*slot], request, row.state, static_cast<std::uint8_t>(row.attempts),
                *token, row.result, now_ns());
  durability_->put_back(*slot);
  set_state_counts(TaskState::free, row.state);
  task = id_of(*slot);
  pin(*slot);
  over(*slot);
  return Restored::done;
}

}  // namespace micro_swarm
