#include "supervisor/durability.hpp"

#include <algorithm>
#include <fstream>
#include <utility>

#include "common/log.hpp"
#include "supervisor/durable_options.hpp"
#include "supervisor/journal_store.hpp"

namespace micro_swarm {

namespace {

/// One life of the swarm, the same for all its supervisors: the boot, root, and when it started.
std::string name_of_run(const SupervisorContext& context) {
  std::string boot;
  std::ifstream("/proc/sys/kernel/random/boot_id") >> boot;
  return boot + "/" + std::to_string(context.root_pid) + "/" +
         std::to_string(load(context.tables().started_ns));
}

}  // namespace

JournalOptions Durability::options(const SupervisorContext& context) {
  JournalOptions options;
  options.path = context.config.swarm.state_dir + "/journal.db";
  options.run = name_of_run(context);
  options.ended_kept =
      std::max<std::uint64_t>(options.ended_kept, 2ull * context.segment.header().task_capacity);
  // Once a start: a new supervisor must be at work soon, and its predecessor has looked.
  options.check_all = context.epoch == 1;
  return options;
}

Durability::Durability(SupervisorContext& context, Banks& banks, Hooks hooks)
    : c_(context),
      banks_(banks),
      hooks_(std::move(hooks)),
      journal_(options(context)),
      event_(context.io, journal_.event_fd()),
      slots_(capacity()),
      keys_([this](std::string_view key) {
        journal_.flush();  // what was accepted with it is known to the answer
        journal_.ask_key(key);
      }),
      restoration_(journal_, hooks_.restoration) {
  watch();
}

Durability::~Durability() { event_.release(); }

void Durability::watch() {
  event_.async_wait(WatchedFd::wait_read, [this](boost::system::error_code ec) {
    if (ec) return;
    take_news();
    watch();
  });
}

// ---- what is known of a record ----

std::uint8_t Durability::flags(std::uint32_t slot) const {
  const Slot& known = slots_[slot];
  return known.generation == word_of(record(slot)).generation() ? known.flags : std::uint8_t{0};
}

Durability::Slot& Durability::slot_of(std::uint32_t slot) {
  Slot& known = slots_[slot];
  const std::uint32_t generation = word_of(record(slot)).generation();
  if (known.generation != generation) known = {generation, 0};
  return known;
}

DurableId Durability::repeated_by(std::uint32_t slot) const {
  return record(slot).request.has_options == 0 ? 0 : options_of(slot).repeats;
}

DurableId Durability::id_of(std::uint32_t slot) const {
  const TaskRecord& task = record(slot);
  if (task.request.client_key == restored_client_key) return task.request.number;
  if (const DurableId other = repeated_by(slot); other != 0) return other;
  return id_for(slot, word_of(task).generation());
}

/// Also of one whose record is used again: that was of this run, or nobody depends on it any more.
DurableId Durability::id_of_task(TaskId task) const {
  const std::uint32_t slot = task_slot(task);
  if (word_of(record(slot)).generation() == task_generation(task)) return id_of(slot);
  return id_for(slot, task_generation(task));
}

bool Durability::is_synced(TaskId task) const {
  const std::uint32_t slot = task_slot(task);
  return word_of(record(slot)).generation() != task_generation(task) || is_accepted(slot);
}

bool Durability::is_on_record(DurableId id) const {
  if (id < first_id_) return !restoration_.is_over();
  const std::uint64_t place = id - first_id_;
  const TaskWord word = word_of(record(static_cast<std::uint32_t>(place % capacity())));
  return word.state() != TaskState::free && word.generation() == place / capacity() + 1;
}

// ---- entering ----

void Durability::take_key(std::uint32_t slot, std::string_view key, const RequestHash& hash) {
  keys_.taken(key, id_of(slot), hash, make_task_id(slot, word_of(record(slot)).generation()));
}

void Durability::accepted(std::uint32_t slot) {
  if (state_ == State::open) enter_accept(slot);
}

void Durability::revived(std::uint32_t slot) {
  slot_of(slot).flags = 0;
  accepted(slot);
}

void Durability::restored(std::uint32_t slot) {
  slot_of(slot).flags |= accept_entered | accept_synced;
}

void Durability::put_back(std::uint32_t slot) {
  slot_of(slot).flags |= accept_entered | accept_synced | end_wanted | end_entered | end_synced;
}

void Durability::repeats(std::uint32_t slot) {
  const DurableId id = repeated_by(slot);
  repeats_.emplace(id, make_task_id(slot, word_of(record(slot)).generation()));
  if (state_ != State::open) return;  // opened() asks
  journal_.flush();
  journal_.ask(id, id);
}

void Durability::repeat_ended(std::uint32_t slot) {
  slot_of(slot).flags |= accept_synced | end_wanted | end_synced;
  const auto [first, last] = repeats_.equal_range(repeated_by(slot));
  const auto at =
      std::find_if(first, last, [slot](const auto& one) { return task_slot(one.second) == slot; });
  if (at != last) repeats_.erase(at);
}

void Durability::enter_accept(std::uint32_t slot) {
  Slot& known = slot_of(slot);
  if ((known.flags & accept_entered) != 0) return;
  known.flags |= accept_entered;
  const TaskRecord& task = record(slot);
  const TaskRequestData& request = task.request;
  const TaskOptionsRow& row = options_of(slot);
  const TaskWord word = word_of(task);
  JournalAccept accept;
  accept.id = id_of(slot);
  accept.task = make_task_id(slot, word.generation());
  accept.capability = c_.tables().capabilities[request.capability].text;
  accept.priority = request.priority;
  accept.timeout_ms = request.timeout_ms;
  accept.accepted_us = wall_clock_us();
  accept.is_again = task.revived_after_ms != 0;
  DurableOptions options;
  inputs_.clear();
  if (request.has_options != 0) {
    options = durable_options(row);
    accept.options = std::as_bytes(std::span(&options, 1));
    for (std::uint32_t i = 0; i < row.dependency_count; ++i)
      inputs_.push_back(id_of_task(c_.segment.task_dependencies()[slot].ids[i]));
    accept.inputs = inputs_;
    accept.key = {row.idempotency_key, row.key_bytes};
    accept.request_hash[0] = row.request_hash[0];
    accept.request_hash[1] = row.request_hash[1];
  }
  if (request.is_payload_compressed != 0) {
    options.version = durable_options_version;
    options.flags = durable_payload_compressed;
    accept.options = std::as_bytes(std::span(&options, 1));
  }
  // Until its end is settled the payload is there. After that the entry is there as well, and what
  // is read here goes nowhere.
  const bool in_region = request.payload_token != 0;
  const std::uint64_t offset = request.has_options != 0 ? row.payload_offset : 0;
  journal_.accept(accept, in_region ? request.payload_bytes : request.inline_bytes,
                  [&](std::span<std::byte> to) {
                    if (!in_region)
                      std::memcpy(to.data(), request.inline_payload, to.size());
                    else if (!banks_.read(Token{request.payload_token}, offset, to) &&
                             !is_terminal(word.state()))
                      log::error("task {}: its payload cannot be read for the journal", accept.id);
                  });
}

void Durability::ended(std::uint32_t slot) {
  Slot& known = slot_of(slot);
  if ((known.flags & end_wanted) != 0) return;
  known.flags |= end_wanted;
  ++unsettled_;
  if (state_ == State::open && !enter_end(slot)) waiting_ends_.push_back(slot);
}

bool Durability::enter_end(std::uint32_t slot) {
  const TaskRecord& task = record(slot);
  std::uint64_t bytes = task.result_token != 0 ? task.result_bytes : task.result_inline_bytes;
  if (bytes > task_inline_bytes_max && !journal_.has_room_for(bytes)) return false;
  const TaskWord word = word_of(task);
  const TaskId id = make_task_id(slot, word.generation());
  if (bytes > journal_blob_bytes_max) {
    log::warn("task {}: a result of {} bytes is too large for the journal; only its end is kept",
              id, bytes);
    bytes = 0;
  }
  slot_of(slot).flags |= end_entered;
  JournalEnd end{id_of(slot), id, word.state(), word.attempt(), wall_clock_us(), false};
  end.has_inputs = task.request.has_options != 0 && options_of(slot).dependency_count != 0;
  journal_.end(end, bytes, [&](std::span<std::byte> to) {
    if (task.result_token == 0)
      std::memcpy(to.data(), task.result_inline, to.size());
    else if (!banks_.read(Token{task.result_token}, 0, to))
      log::error("task {}: its result cannot be read for the journal", id);
  });
  return true;
}

// ---- what the journal says ----

void Durability::take_news() {
  JournalNews news = journal_.take();
  if (news.opened) {
    first_id_ = news.opened->first_id;
    opened();
  }
  note_trouble();
  for (const JournalSynced& synced : news.synced) take_synced(synced);
  for (const JournalNews::Key& key : news.keys) keys_.told(key.key, key.known);
  for (JournalNews::Found& found : news.found) take_row(found.question, std::move(found.row));
  if (news.unfinished) restoration_.told(std::move(*news.unfinished));
  work_off();
}

void Durability::note_trouble() {
  const auto trouble = journal_.trouble();
  const std::string text = trouble ? trouble->message : std::string();
  if (text == trouble_) return;
  trouble_ = text;
  if (!trouble) {
    log::info("the journal is written again");
    c_.events.add("journal_recovered", nlohmann::json::object());
    return;
  }
  // At the very start nothing is lost by not starting.
  if (state_ == State::opening && c_.epoch == 1) return hooks_.fatal(*trouble);
  log::error("{}; submissions are refused meanwhile, ends are kept", text);
  c_.events.add("journal_trouble", {{"error", text}});
  if (state_ == State::opening) state_ = State::failed;
}

void Durability::take_synced(const JournalSynced& synced) {
  const std::uint32_t slot = task_slot(synced.task);
  if (synced.task == 0 || word_of(record(slot)).generation() != task_generation(synced.task))
    return;
  Slot& known = slot_of(slot);
  if (synced.what != JournalSynced::What::ended) {
    if (synced.what != JournalSynced::What::accepted)
      log::error("journal: task {} has the idempotency key of task {}; it is not kept", synced.id,
                 synced.other);
    known.flags |= accept_synced;
    return;
  }
  if ((known.flags & end_synced) != 0) return;
  known.flags |= end_synced;
  --unsettled_;
  if (repeats_.contains(synced.id)) journal_.ask(synced.id, synced.id);
  hooks_.settled(slot);
}

void Durability::take_row(DurableId id, std::optional<JournalRow> row) {
  std::vector<TaskId> repeats;
  const auto [first, last] = repeats_.equal_range(id);
  for (auto at = first; at != last; ++at) repeats.push_back(at->second);
  for (const TaskId task : repeats) {
    if (row) slot_of(task_slot(task)).flags |= accept_synced;
    if (row && row->state != TaskState::free) {
      if (!hooks_.repeated_ended(task, *row)) ask_again_.push_back(id);
    } else if (!row && !is_on_record(id)) {
      hooks_.repeated_lost(task);
    }
  }
  restoration_.told(id, std::move(row));
}

/// From here on entries have their ids. What adoption found on record, and what has ended since,
/// is entered now; most of it is there already.
void Durability::opened() {
  state_ = State::open;
  for (std::uint32_t slot = 0; slot < capacity(); ++slot) {
    const TaskRecord& task = record(slot);
    const TaskWord word = word_of(task);
    if (word.state() == TaskState::free || repeated_by(slot) != 0) continue;
    Slot& known = slot_of(slot);
    if ((known.flags & end_wanted) == 0 &&
        task.checksum !=
            record_checksum(task, options_of(slot), c_.segment.task_dependencies()[slot])) {
      // It says nothing but that it is over.
      journal_.end({id_of(slot), 0, word.state(), word.attempt(), wall_clock_us(), true}, 0, {});
      known.flags |= accept_entered | accept_synced | end_wanted | end_synced;
      continue;
    }
    if (task.request.client_key == restored_client_key) {
      restoration_.found_on_record(task.request.number, make_task_id(slot, word.generation()));
      if (task.revived_after_ms == 0) known.flags |= accept_entered | accept_synced;
    }
    if (is_terminal(word.state()) && task.notified != 0) {
      // Told by a predecessor, so it is there.
      known.flags |= accept_entered | accept_synced | end_wanted | end_synced;
      continue;
    }
    enter_accept(slot);
    if ((known.flags & end_wanted) != 0 && !enter_end(slot)) waiting_ends_.push_back(slot);
  }
  journal_.flush();
  DurableId last = 0;
  for (const auto& [id, task] : repeats_)
    if (std::exchange(last, id) != id) journal_.ask(id, id);
}

void Durability::work_off() {
  if (state_ != State::open) return;
  std::erase_if(waiting_ends_, [this](std::uint32_t slot) { return enter_end(slot); });
  if (!c_.draining) restoration_.step(first_id_);
  journal_.flush();
}

void Durability::tick() {
  if (state_ != State::open) return;
  note_capabilities();
  work_off();
  for (const DurableId id : ask_again_) journal_.ask(id, id);
  ask_again_.clear();
  keys_.forget_old([this](TaskId task) { return is_synced(task); });
}

/// Tasks that were left because nobody could run them may be run by agents that came later.
void Durability::note_capabilities() {
  std::uint32_t count = 0;
  while (count < capabilities_max && c_.tables().capabilities[count].text[0] != '\0') ++count;
  if (std::exchange(capabilities_, count) != count && restoration_.is_over() &&
      restoration_.left() != 0)
    restoration_.start_over();
}

nlohmann::json Durability::status() const {
  const Journal::Figures figures = journal_.figures();
  nlohmann::json answer = {{"path", c_.config.swarm.state_dir + "/journal.db"},
                           {"open", state_ == State::open},
                           {"commits", figures.commits},
                           {"entries", figures.entries},
                           {"entries_in_a_commit_max", figures.entries_in_a_commit_max},
                           {"last_commit_us", figures.last_commit_us},
                           {"failed_writes", figures.failed_writes},
                           {"waiting", figures.waiting},
                           {"unsettled", unsettled_},
                           {"restoring", !restoration_.is_over()},
                           {"restored", restoration_.restored()},
                           {"left", restoration_.left()}};
  if (!trouble_.empty()) answer["trouble"] = trouble_;
  return answer;
}

}  // namespace micro_swarm
