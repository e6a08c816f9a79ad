// Submissions with options: batches, and the payloads their tasks share.

#include <algorithm>
#include <array>

#include "common/dependency_cycle.hpp"
#include "supervisor/tasks.hpp"

namespace micro_swarm {

namespace {
std::uint32_t batch_size_of(const SlotBody& body) {
  return static_cast<std::uint32_t>(body.inline_data[1]);
}

}  // namespace

std::uint64_t Tasks::checksum_of(std::uint32_t slot) const {
  return record_checksum(records_[slot], options_[slot], dependencies_[slot]);
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
    if (!batch_entries_[i].key.empty() && durability_ == nullptr)
      return Refused{ErrorCode::usage, SubmitRefusal::no_state_dir, 0, i};
    if (!category_of(batch_entries_[i].category))
      return Refused{ErrorCode::not_found, SubmitRefusal::unknown_category, 0, i};
    if (data.cpu_slots > scheduler_.settings().cpu_slots_per_agent ||
        data.resource_regions > scheduler_.settings().regions ||
        data.resource_bytes > scheduler_.settings().bytes)
      return Refused{ErrorCode::too_large, SubmitRefusal::too_large, 0, i};
  }
  return resolve_dependencies(client, body);
}

/// Which tasks the entries depend on, into batch_named_. A task that is over is as good as a live
/// one as long as its result can be read.
std::optional<Tasks::Refused> Tasks::resolve_dependencies(const Peer& client,
                                                          const SlotBody& body) {
  const std::uint64_t first = body.inline_data[0];
  const std::size_t count = batch_entries_.size();
  const auto is_in_batch = [&](const BatchDependency& dependency) {
    return dependency.kind == BatchDependency::Kind::number && dependency.value >= first &&
           dependency.value - first < count;
  };
  // Own earlier numbers are looked up together: one pass over the records for a whole batch.
  std::unordered_map<std::uint64_t, TaskId> by_number;
  bool has_dependencies = false;
  bool looks_ahead = false;
  for (std::size_t i = 0; i < count; ++i)
    for (const BatchDependency& dependency : batch_entries_[i].dependencies) {
      has_dependencies = true;
      if (is_in_batch(dependency))
        looks_ahead |= dependency.value - first >= i;
      else if (dependency.kind == BatchDependency::Kind::number)
        by_number.emplace(dependency.value, 0);
    }
  batch_named_.clear();
  if (!has_dependencies) return std::nullopt;
  batch_named_.resize(count);
  if (!by_number.empty()) {
    const std::uint64_t key = client_key(client.id, c_.row(client.id).incarnation);
    for (std::uint32_t slot = 0; slot < capacity_; ++slot) {
      const TaskRequestData& request = records_[slot].request;
      if (request.client_key != key || word_of(records_[slot]).state() == TaskState::free) continue;
      if (const auto wanted = by_number.find(request.number); wanted != by_number.end())
        wanted->second = id_of(slot);
    }
  }
  for (std::uint32_t i = 0; i < count; ++i)
    for (const BatchDependency& dependency : batch_entries_[i].dependencies) {
      if (is_in_batch(dependency)) {
        batch_named_[i].push_back({0, static_cast<std::uint32_t>(dependency.value - first)});
        continue;
      }
      const TaskId id = dependency.kind == BatchDependency::Kind::task
                            ? dependency.value
                            : by_number.at(dependency.value);
      const TaskRecord* record = find(id);
      if (record == nullptr)
        return Refused{ErrorCode::not_found, SubmitRefusal::unknown_dependency, 0, i};
      const std::uint32_t slot = task_slot(id);
      // One that waits to be handed over waits until its dependents are over, too (is_withheld).
      if (is_terminal(word_of(*record).state()) && record->result_token != 0 &&
          record->notified != 0 && load(result_hold(slot).token) == 0)
        return Refused{ErrorCode::refused, SubmitRefusal::result_not_kept, 0, i};
      batch_named_[i].push_back({id, 0});
    }
  if (!looks_ahead) return std::nullopt;  // who only looks back is in no ring
  std::vector<std::vector<std::uint32_t>> edges(count);
  for (std::size_t i = 0; i < count; ++i)
    for (const BatchNamed& named : batch_named_[i])
      if (named.task == 0) edges[i].push_back(named.entry);
  const auto cycle = find_cycle(edges);
  if (!cycle) return std::nullopt;
  nlohmann::json members = nlohmann::json::array();
  for (const std::uint32_t member : *cycle) members.push_back(first + member);
  c_.events.add("dependency_cycle_refused", {{"client", client.id}, {"numbers", members}});
  return Refused{ErrorCode::usage, SubmitRefusal::dependency_cycle, 0, cycle->front()};
}

bool Tasks::batch_submitted(Peer& client, const SlotBody& body, MessageInHand in_hand) {
  if (repeat_possible_.test(client.id)) {
    repeat_possible_.reset(client.id);
    if (was_refused(client, body)) return finish_refusal(client, body, in_hand);
    // It cannot be on record: what accepts a batch is that its message is gone.
  }
  if (c_.draining)
    return refuse(client, body, in_hand, {ErrorCode::not_running, SubmitRefusal::stopping});
  // Nothing has come that could answer it: do not read the whole batch again.
  if (waits_for_keys_.test(client.id) && durability_->keys().is_asking()) return false;
  waits_for_keys_.reset(client.id);
  if (const auto refused = check_batch(client, body)) {
    if (refused->code == ErrorCode::protocol) c_.count(Counter::messages_malformed);
    return refuse(client, body, in_hand, *refused);
  }
  Room room;
  if (durability_ != nullptr) {
    room = journal_room(body.region_bytes);
    if (room.kind == Room::Kind::found) room = check_keys(body);
    waits_for_keys_.set(client.id, room.kind == Room::Kind::later);
  }
  if (room.kind == Room::Kind::found) room = take_batch_slots(client);
  if (room.kind == Room::Kind::later) return false;
  if (room.kind == Room::Kind::refused) return refuse(client, body, in_hand, room.refused);
  accept_batch(client, body, in_hand);
  return true;
}

Tasks::Room Tasks::take_batch_slots(const Peer& client) {
  batch_specs_.clear();
  for (const BatchEntry& entry : batch_entries_) {
    scheduling::TaskSpec& spec = batch_specs_.emplace_back();
    spec.client = client.id;
    spec.capability = entry.data.capability;
    spec.min_version = entry.data.min_version;
    spec.category = category_of(entry.category).value_or(0);
    spec.priority = static_cast<Priority>(entry.data.priority);
    spec.resources = {std::max<std::uint32_t>(entry.data.cpu_slots, 1), entry.data.resource_regions,
                      entry.data.resource_bytes};
  }
  if (const Room room = category_room(); room.kind != Room::Kind::found) return room;
  // What the batch depends on and is over must not be what makes room for it.
  const auto for_each_dependency = [this](auto&& visit) {
    for (const auto& named_by_one : batch_named_)
      for (const BatchNamed& named : named_by_one)
        if (named.task != 0) visit(task_slot(named.task));
  };
  for_each_dependency([this](std::uint32_t slot) { pin(slot); });
  const Room room = take_slots(batch_specs_);
  for_each_dependency([this](std::uint32_t slot) { unpin(slot); });
  return room;
}

void Tasks::accept_batch(Peer& client, const SlotBody& body, MessageInHand in_hand) {
  const std::uint64_t now = now_ns();
  const auto is_repeat_at = [this](std::size_t i) {
    return !batch_keys_.empty() && batch_keys_[i].is_repeat();
  };
  std::uint32_t readers = 0;
  std::uint32_t holder = slots_.front();
  for (std::size_t i = batch_entries_.size(); i-- > 0;)
    if (batch_entries_[i].data.payload_bytes != 0 && !is_repeat_at(i)) {
      ++readers;
      holder = slots_[i];
    }
  // One hold has the token: that of the first task that reads the region. Its record is not used
  // again before the hold is empty.
  take_token(payload_hold(holder), Token{body.token});
  const auto id_at = [this](std::uint32_t entry) {
    return make_task_id(slots_[entry], next_generation(slots_[entry]));
  };
  std::vector<TaskId> ids;  // before the first record changes its generation
  if (!batch_named_.empty())
    for (std::uint32_t i = 0; i < slots_.size(); ++i) ids.push_back(id_at(i));
  std::array<TaskId, task_dependencies_max> dependencies{};

  for (std::size_t i = 0; i < batch_entries_.size(); ++i) {
    const BatchEntry& entry = batch_entries_[i];
    const BatchEntryData& data = entry.data;
    const std::uint32_t slot = slots_[i];
    TaskRequestData request;
    request.client_key = client_key(client.id, c_.row(client.id).incarnation);
    request.number = body.inline_data[0] + i;
    const bool is_repeat = is_repeat_at(i);
    request.payload_token = data.payload_bytes != 0 && !is_repeat ? body.token : 0;
    request.accepted_ns = now;
    request.payload_bytes = is_repeat ? 0 : data.payload_bytes;
    request.timeout_ms = data.timeout_ms != 0 ? data.timeout_ms : c_.config.tasks.timeout_ms;
    request.generation = next_generation(slot);
    request.client = client.id;
    request.capability = data.capability;
    request.priority = static_cast<Priority>(data.priority);
    request.inline_bytes = data.inline_bytes;
    request.is_detached = (data.flags & submit_detached) != 0 ? 1 : 0;
    request.is_payload_compressed =
        (data.flags & submit_compressed) != 0 && request.payload_token != 0 ? 1 : 0;
    if (request.is_payload_compressed != 0)
      count_compressed(Token{body.token}, data.payload_offset, data.payload_bytes);
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
    options.category_bytes = data.category_bytes;
    entry.category.copy(options.category, sizeof options.category);
    options.key_bytes = data.key_bytes;
    entry.key.copy(options.idempotency_key, sizeof options.idempotency_key);
    if (!batch_keys_.empty()) {
      const BatchKey& key = batch_keys_[i];
      options.request_hash[0] = key.hash[0];
      options.request_hash[1] = key.hash[1];
      // Where an earlier entry has the same key, that one's task; its record is prepared by now.
      options.repeats =
          key.same_entry == 0 ? key.repeats : durability_->id_of(slots_[key.same_entry - 1]);
    }
    if (!batch_named_.empty() && !is_repeat)
      for (const BatchNamed& named : batch_named_[i])
        dependencies[options.dependency_count++] = named.task != 0 ? named.task : ids[named.entry];
    prepare_task(
        records_[slot], options_[slot], dependencies_[slot], request, options, dependencies.data(),
        options.dependency_count != 0 || is_repeat ? TaskState::pending : TaskState::ready);
  }
  keep(in_hand);  // accepted, all of them

  if (readers == 0) tokens_.release(payload_hold(holder));
  if (readers > 1) shared_payloads_[body.token] = {holder, readers};
  c_.count(Counter::tasks_accepted, slots_.size());
  if (durability_ != nullptr) {
    // Entered one behind the other, so they share a transaction: all are in the journal, or none.
    for (std::size_t i = 0; i < slots_.size(); ++i) {
      if (is_repeat_at(i)) {
        c_.count(Counter::tasks_repeated);
        continue;
      }
      if (const std::string_view key = batch_entries_[i].key; !key.empty())
        durability_->take_key(slots_[i], key, batch_keys_[i].hash);
      durability_->accepted(slots_[i]);
    }
  }
  for (const std::uint32_t slot : slots_) {
    set_state_counts(TaskState::free, word_of(records_[slot]).state());
    tell_scheduler(slot);
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
    // With a journal a payload is kept until the end is settled, which none is that is not told.
    const bool is_unsettled = durability_ != nullptr && records_[slot].notified == 0 &&
                              records_[slot].request.payload_token != 0 &&
                              is_terminal(word_of(records_[slot]).state());
    const bool may_be_read = may_read_payload(slot);
    if (!may_be_read && !is_unsettled) continue;
    ++readers[records_[slot].request.payload_token];
    keeps_payload_[slot] = may_be_read && is_terminal(word_of(records_[slot]).state());
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
