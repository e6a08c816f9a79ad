// Submissions with options: batches, and the payloads their tasks share.

#include <algorithm>

#include "supervisor/tasks.hpp"

namespace micro_swarm {

namespace {
std::uint32_t batch_size_of(const SlotBody& body) {
  return static_cast<std::uint32_t>(body.inline_data[1]);
}

/// What records and wire have room for and no scheduler acts on yet: refused, not ignored.
bool asks_too_much(const BatchEntry& entry) {
  const BatchEntryData& data = entry.data;
  return data.dependency_count != 0 || data.retries != 0 || data.retry_backoff_ms != 0 ||
         data.min_version != 0 || data.cpu_slots != 0 || data.resource_regions != 0 ||
         data.resource_bytes != 0 || (data.flags & submit_keeps_result) != 0 ||
         !entry.category.empty() || !entry.key.empty();
}
}  // namespace

std::uint64_t Tasks::checksum_of(std::uint32_t slot) const {
  const TaskRequestData& request = records_[slot].request;
  return request.has_options == 0 ? request_checksum(request)
                                  : request_checksum(request, options_[slot], dependencies_[slot]);
}

std::uint64_t Tasks::deadline_of(std::uint32_t slot) const {
  const TaskRequestData& request = records_[slot].request;
  std::uint64_t ms = request.timeout_ms;
  if (request.has_options != 0 && options_[slot].deadline_ms != 0 &&
      (ms == 0 || options_[slot].deadline_ms < ms))
    ms = options_[slot].deadline_ms;
  return ms == 0 ? 0 : request.accepted_ns + ms * ns_per_ms;
}

/// Copies the batch and says what is wrong with it. Stores nothing.
std::optional<Tasks::Refused> Tasks::check_batch(const Peer& client, const SlotBody& body) {
  const Refused malformed{ErrorCode::protocol, SubmitRefusal::malformed};
  const Token token{body.token};
  const std::uint64_t at = body.inline_data[2];
  const std::uint64_t count = body.inline_data[1];
  if (!token || token.owner() != client.id || !banks_.outstanding(token) ||
      body.region_bytes > banks_.region_bytes(token) || body.inline_bytes != 8 || at % 8 != 0 ||
      at > body.region_bytes || body.region_bytes - at < sizeof(BatchHeader) || count == 0)
    return malformed;
  if (count > capacity_)  // never
    return Refused{ErrorCode::too_large, SubmitRefusal::queue_full};
  BatchHeader header;
  const auto bytes_of = [](auto& value) { return std::as_writable_bytes(std::span(&value, 1)); };
  if (!banks_.read(token, at, bytes_of(header)) || header.bytes < sizeof header ||
      header.bytes > body.region_bytes - at ||
      header.bytes > sizeof header + count * batch_entry_bytes_max)
    return malformed;
  batch_words_.resize((header.bytes + 7) / 8);
  if (!banks_.read(token, at, std::as_writable_bytes(std::span(batch_words_)).first(header.bytes)))
    return malformed;
  if (const auto refused =
          parse_batch(batch_words_, batch_size_of(body), body.region_bytes, batch_entries_))
    return Refused{refused->code, refused->reason, 0, refused->entry};
  for (std::uint32_t i = 0; i < batch_entries_.size(); ++i) {
    const BatchEntryData& data = batch_entries_[i].data;
    if (data.capability >= capabilities_max ||
        c_.tables().capabilities[data.capability].text[0] == '\0')
      return Refused{ErrorCode::not_found, SubmitRefusal::unknown_capability, 0, i};
    if (asks_too_much(batch_entries_[i]))
      return Refused{ErrorCode::usage, SubmitRefusal::option_unsupported, 0, i};
  }
  return std::nullopt;
}

bool Tasks::batch_submitted(Peer& client, const SlotBody& body, MessageInHand in_hand) {
  if (repeat_possible_.test(client.id)) {
    repeat_possible_.reset(client.id);
    if (was_refused(client, body)) return finish_refusal(client, body, in_hand);
    // It cannot be on record: what accepts a batch is that its message is gone.
  }
  if (c_.draining)
    return refuse(client, body, in_hand, {ErrorCode::not_running, SubmitRefusal::stopping});
  if (const auto refused = check_batch(client, body)) {
    if (refused->code == ErrorCode::protocol) c_.count(Counter::messages_malformed);
    return refuse(client, body, in_hand, *refused);
  }
  batch_slots_.clear();
  while (batch_slots_.size() < batch_entries_.size()) {
    const auto slot = slot_for_new();
    if (!slot) {
      free_.insert(free_.end(), batch_slots_.rbegin(), batch_slots_.rend());
      return refuse(client, body, in_hand,
                    {ErrorCode::refused, SubmitRefusal::queue_full, submit_retry_hint_ms});
    }
    batch_slots_.push_back(*slot);
  }
  accept_batch(client, body, in_hand);
  return true;
}

void Tasks::accept_batch(Peer& client, const SlotBody& body, MessageInHand in_hand) {
  const std::uint64_t now = now_ns();
  const auto reads_region = [](const BatchEntry& entry) { return entry.data.payload_bytes != 0; };
  const auto first = std::find_if(batch_entries_.begin(), batch_entries_.end(), reads_region);
  const auto readers = static_cast<std::uint32_t>(
      std::count_if(batch_entries_.begin(), batch_entries_.end(), reads_region));
  // One hold has the token: that of the first task that reads the region. Its record is not used
  // again before the hold is empty.
  const std::uint32_t holder =
      batch_slots_[first == batch_entries_.end()
                       ? 0
                       : static_cast<std::size_t>(first - batch_entries_.begin())];
  take_token(payload_hold(holder), Token{body.token});

  for (std::size_t i = 0; i < batch_entries_.size(); ++i) {
    const BatchEntry& entry = batch_entries_[i];
    const BatchEntryData& data = entry.data;
    const std::uint32_t slot = batch_slots_[i];
    TaskRequestData request;
    request.client_key = client_key(client.id, c_.row(client.id).incarnation);
    request.number = body.inline_data[0] + i;
    request.payload_token = data.payload_bytes != 0 ? body.token : 0;
    request.accepted_ns = now;
    request.payload_bytes = data.payload_bytes;
    request.timeout_ms = data.timeout_ms != 0 ? data.timeout_ms : c_.config.tasks.timeout_ms;
    request.generation = next_generation(slot);
    request.client = client.id;
    request.capability = data.capability;
    request.priority = static_cast<Priority>(data.priority);
    request.inline_bytes = data.inline_bytes;
    request.is_detached = (data.flags & submit_detached) != 0 ? 1 : 0;
    request.has_options = 1;
    std::copy(entry.inline_payload.begin(), entry.inline_payload.end(),
              reinterpret_cast<std::byte*>(request.inline_payload));
    TaskOptionsRow options;
    options.batch_sequence = in_hand.ring->at().consumed() + 1;
    options.payload_offset = data.payload_offset;
    options.resource_bytes = data.resource_bytes;
    options.resource_regions = data.resource_regions;
    options.deadline_ms = data.deadline_ms;
    options.retry_backoff_ms = data.retry_backoff_ms;
    options.retries = data.retries;
    options.cpu_slots = data.cpu_slots;
    options.min_version = data.min_version;
    options.on_dependency_failure = static_cast<OnDependencyFailure>(data.on_dependency_failure);
    options.keeps_result = (data.flags & submit_keeps_result) != 0 ? 1 : 0;
    options.category_bytes = data.category_bytes;
    entry.category.copy(options.category, sizeof options.category);
    options.key_bytes = data.key_bytes;
    entry.key.copy(options.idempotency_key, sizeof options.idempotency_key);
    prepare_task(records_[slot], options_[slot], dependencies_[slot], request, options, nullptr,
                 TaskState::ready);
  }
  keep(in_hand);  // accepted, all of them

  if (readers == 0) tokens_.release(payload_hold(holder));
  if (readers > 1) shared_payloads_[body.token] = {holder, readers};
  c_.count(Counter::tasks_accepted, batch_slots_.size());
  for (const std::uint32_t slot : batch_slots_) {
    set_state_counts(TaskState::free, TaskState::ready);
    make_ready(slot);
  }
  run_actions();
}

void Tasks::release_payload(std::uint32_t slot) {
  const auto shared = shared_payloads_.find(records_[slot].request.payload_token);
  if (shared == shared_payloads_.end()) {
    tokens_.release(payload_hold(slot));
    return;
  }
  if (--shared->second.unfinished != 0) return;
  const std::uint32_t holder = shared->second.slot;
  shared_payloads_.erase(shared);
  tokens_.release(payload_hold(holder));
}

/// Who still reads what the payload holds have, from the records.
void Tasks::adopt_payloads(const std::vector<std::uint32_t>& holders) {
  if (holders.empty()) return;
  std::unordered_map<std::uint64_t, std::uint32_t> readers;
  for (std::uint32_t slot = 0; slot < capacity_; ++slot) {
    const TaskState state = word_of(records_[slot]).state();
    if (state != TaskState::free && !is_terminal(state) &&
        records_[slot].request.payload_token != 0)
      ++readers[records_[slot].request.payload_token];
  }
  for (const std::uint32_t slot : holders) {
    const std::uint64_t token = load(payload_hold(slot).token);
    const auto found = readers.find(token);
    if (found == readers.end())
      tokens_.release(payload_hold(slot));
    else if (found->second > 1 || is_terminal(word_of(records_[slot]).state()))
      shared_payloads_[token] = {slot, found->second};
  }
}

}  // namespace micro_swarm
