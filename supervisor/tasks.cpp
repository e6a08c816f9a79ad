#include "supervisor/tasks.hpp"

#include <algorithm>
#include <array>
#include <random>

#include "common/compression.hpp"
#include "common/log.hpp"
#include "shm/recovery.hpp"

namespace micro_swarm {

namespace {
Counter counter_of(TaskState end) {
  switch (end) {
    case TaskState::failed: return Counter::tasks_failed;
    case TaskState::cancelled: return Counter::tasks_cancelled;
    case TaskState::timed_out: return Counter::tasks_timed_out;
    case TaskState::dead_letter: return Counter::tasks_dead_letter;
    default: return Counter::tasks_done;
  }
}

scheduling::Settings settings_of(const Config& config) {
  const SchedulerConfig& from = config.scheduler;
  scheduling::Settings settings;
  settings.strategy = from.strategy;
  settings.fair_share = from.fair_share;
  settings.when_full = from.when_full;
  settings.credit_per_agent = config.tasks.in_flight_per_agent;
  settings.cpu_slots_per_agent =
      from.cpu_slots_per_agent != 0 ? from.cpu_slots_per_agent : config.tasks.in_flight_per_agent;
  settings.max_concurrent = config.tasks.max_concurrent;
  settings.aging_ns = from.aging_ms * ns_per_ms;
  settings.deadline_slack_ns = from.deadline_slack_ms * ns_per_ms;
  settings.backoff_max_ns = from.retry_backoff_max_ms * ns_per_ms;
  settings.client_running_max = from.client_running_max;
  settings.client_queued_max = from.client_queued_max;
  settings.regions = config.memory.pool_size / config.memory.region_size;
  settings.bytes = config.memory.pool_size;
  for (const CategorySpec& category : config.categories)
    settings.categories.push_back({category.weight, category.running_max, category.queued_max});
  return settings;
}

std::uint64_t random_number() {
  thread_local std::mt19937_64 generator{std::random_device{}()};
  return generator();
}

}  // namespace

Tasks::Tasks(SupervisorContext& context, Banks& banks, Tokens& tokens)
    : c_(context),
      banks_(banks),
      tokens_(tokens),
      records_(context.segment.records()),
      options_(context.segment.task_options()),
      dependencies_(context.segment.task_dependencies()),
      capacity_(context.segment.header().task_capacity),
      scheduler_(capacity_, settings_of(context.config), random_number),
      statistics_(now_ns()),
      category_memory_(context.config.categories, capacity_) {
  free_.reserve(capacity_);
  is_in_over_.resize(capacity_);
  keeps_payload_.resize(capacity_);
}

void Tasks::set_state_counts(TaskState from, TaskState to) {
  --by_state_[static_cast<unsigned>(from)];
  ++by_state_[static_cast<unsigned>(to)];
}

// ---- submissions ----

bool Tasks::submitted(Peer& client, const SlotBody& body, MessageInHand in_hand) {
  const SubmitWord submit{body.inline_data[1]};
  const Token token{body.token};
  if (body.inline_bytes > task_inline_bytes_max || submit.priority() >= priorities ||
      (submit.flags() & ~(submit_detached | submit_compressed)) != 0 ||
      (!token && (submit.flags() & submit_compressed) != 0) || (token && body.inline_bytes != 0) ||
      (!token && body.region_bytes != 0) ||
      (token && (token.owner() != client.id || !banks_.outstanding(token) ||
                 body.region_bytes > banks_.region_bytes(token)))) {
    c_.count(Counter::messages_malformed);
    return refuse(client, body, in_hand, {ErrorCode::protocol, SubmitRefusal::malformed});
  }
  const std::uint64_t key = client_key(client.id, c_.row(client.id).incarnation);
  if (repeat_possible_.test(client.id)) {
    // The first message after an adoption may have been accepted just before the old supervisor
    // died. Later ones cannot: their cursor had not moved past this one.
    repeat_possible_.reset(client.id);
    if (was_refused(client, body)) return finish_refusal(client, body, in_hand);
    for (std::uint32_t slot = 0; slot < capacity_; ++slot) {
      TaskRecord& record = records_[slot];
      const TaskState state = word_of(record).state();
      if (state == TaskState::free || record.request.client_key != key ||
          record.request.number != body.inline_data[0])
        continue;
      accept_again(record, payload_hold(slot), token, in_hand);
      c_.count(Counter::tasks_duplicate);
      // Not of one whose end is not settled yet: the journal may have to read it.
      if (is_terminal(state) && (durability_ == nullptr || record.notified != 0))
        tokens_.release(payload_hold(slot));
      return true;
    }
  }
  if (c_.draining)
    return refuse(client, body, in_hand, {ErrorCode::not_running, SubmitRefusal::stopping});
  if (submit.capability() >= capabilities_max ||
      c_.tables().capabilities[submit.capability()].text[0] == '\0')
    return refuse(client, body, in_hand, {ErrorCode::not_found, SubmitRefusal::unknown_capability});
  if (durability_ != nullptr) {
    const Room room = journal_room(body.region_bytes);
    if (room.kind == Room::Kind::later) return false;
    if (room.kind == Room::Kind::refused) return refuse(client, body, in_hand, room.refused);
  }
  scheduling::TaskSpec spec;
  spec.client = client.id;
  spec.capability = submit.capability();
  spec.priority = static_cast<Priority>(submit.priority());
  const Room room = take_slots(std::span(&spec, 1));
  if (room.kind == Room::Kind::later) return false;
  if (room.kind == Room::Kind::refused) return refuse(client, body, in_hand, room.refused);

  const std::uint32_t slot = slots_.front();
  TaskRecord& record = records_[slot];
  TaskRequestData request;
  request.client_key = key;
  request.number = body.inline_data[0];
  request.payload_token = body.token;
  request.accepted_ns = now_ns();
  request.payload_bytes = body.region_bytes;
  request.timeout_ms = submit.timeout_ms() != 0 ? submit.timeout_ms() : c_.config.tasks.timeout_ms;
  request.generation = next_generation(slot);
  request.client = client.id;
  request.capability = submit.capability();
  request.priority = static_cast<Priority>(submit.priority());
  request.inline_bytes = static_cast<std::uint8_t>(body.inline_bytes);
  request.is_detached = (submit.flags() & submit_detached) != 0 ? 1 : 0;
  request.is_payload_compressed = (submit.flags() & submit_compressed) != 0 ? 1 : 0;
  if (request.is_payload_compressed != 0) count_compressed(token, 0, body.region_bytes);
  std::memcpy(request.inline_payload, &body.inline_data[2], task_inline_bytes_max);
  accept_task(record, payload_hold(slot), request, in_hand);
  if (durability_ != nullptr) durability_->accepted(slot);
  set_state_counts(TaskState::free, TaskState::ready);
  c_.count(Counter::tasks_accepted);
  make_ready(slot, request.accepted_ns);
  run_actions();
  return true;
}

/// What a block says of its own size is for the counters alone.
void Tasks::count_compressed(Token token, std::uint64_t offset, std::uint64_t bytes) {
  c_.count(Counter::payloads_compressed);
  c_.count(Counter::payload_bytes_after, bytes);
  std::array<std::byte, pack_header_bytes> header;
  if (bytes < header.size() || !banks_.read(token, offset, header)) return;
  if (const auto said = read_pack_header(header))
    c_.count(Counter::payload_bytes_before,
             std::min<std::uint64_t>(said->original_bytes, c_.pool_bytes()));
}

bool Tasks::refuse(Peer& client, const SlotBody& body, MessageInHand in_hand,
                   const Refused& refused) {
  const bool is_batch = body.kind == static_cast<std::uint16_t>(MessageKind::submit_batch);
  SlotBody answer;
  answer.kind = static_cast<std::uint16_t>(MessageKind::result);
  answer.inline_data[0] = body.inline_data[0];
  answer.inline_data[1] = ResultWord::make(TaskState::free, 0, 0).word;
  answer.inline_bytes = 24;
  answer.inline_data[2] = RefusalCode::make(refused.code, refused.reason).word;
  answer.inline_data[3] = refused.retry_after_ms;
  answer.inline_data[4] =
      RefusalScope::make(c_.row(client.id).incarnation, refused.entry,
                         is_batch ? static_cast<std::uint32_t>(body.inline_data[1]) : 1)
          .word;
  // Everything there is room for, or nothing. Somebody who is gone reads no answer.
  const Token token{body.token};
  if (!client.dead && !client.data_out.has_space(1)) return false;
  if (token && token.owner() == client.id && !tokens_.can_return(token)) return false;
  // The answer before the message is done with: the other order, and a client whose supervisor died
  // in between would wait for ever. Died after the answer, the message comes again, and what the
  // ring says last is found to be its answer (was_refused).
  if (!client.dead) client.data_out.try_send(answer);
  c_.count(Counter::tasks_refused);
  return finish_refusal(client, body, in_hand);
}

bool Tasks::finish_refusal(Peer& client, const SlotBody& body, MessageInHand in_hand) {
  const Token token{body.token};
  if (token && token.owner() == client.id && banks_.outstanding(token)) {
    // Not now: the caller comes again with this message, and must not be answered twice.
    if (!tokens_.return_to_sender(token, in_hand)) {
      last_refusals_[client.id] = body.inline_data[0];
      repeat_possible_.set(client.id);
      return false;
    }
  } else {
    in_hand.ring->advance();
  }
  last_refusals_.erase(client.id);
  c_.ring(client);
  return true;
}

bool Tasks::was_refused(const Peer& client, const SlotBody& body) const {
  const auto found = last_refusals_.find(client.id);
  return found != last_refusals_.end() && found->second == body.inline_data[0];
}

/// Before anything is sent to anybody: a refusal is the last message in its client's ring if the
/// supervisor died in the middle of it.
void Tasks::note_last_refusals() {
  for (PartyId p = first_client; p < parties_max; ++p) {
    const Peer& client = c_.peers[p];
    if (!client.linked || client.data_out.sent() == 0) continue;
    const SlotBody body =
        StdAtomics::read_body(slot_at(c_.segment.ring(supervisor_party, p, Lane::data),
                                      supervisor_party, p, client.data_out.sent())
                                  .body);
    if (body.kind == static_cast<std::uint16_t>(MessageKind::result) &&
        ResultWord{body.inline_data[1]}.state() == TaskState::free &&
        RefusalScope{body.inline_data[4]}.incarnation() == c_.row(p).incarnation)
      last_refusals_[p] = body.inline_data[0];
  }
}

// ---- answers ----

bool Tasks::answered(Peer& agent, const SlotBody& body, MessageInHand in_hand) {
  const TaskId id = body.inline_data[0];
  const AttemptWord attempt{body.inline_data[1]};
  const Token token{body.token};
  const bool token_right = !token || (token.owner() == agent.id && banks_.outstanding(token) &&
                                      body.region_bytes <= banks_.region_bytes(token));
  TaskRecord* record = find(id);
  const std::uint32_t slot = task_slot(id);
  if (record == nullptr || !token_right || body.inline_bytes > task_inline_bytes_max ||
      attempt.outcome() > static_cast<std::uint8_t>(Outcome::cancelled)) {
    c_.count(record == nullptr ? Counter::completions_stale : Counter::messages_malformed);
    if (token && token_right) return tokens_.return_to_sender(token, in_hand);
    in_hand.ring->advance();
    return true;
  }
  const TaskWord word = word_of(*record);
  const bool this_attempt = word.agent() == agent.id && word.attempt() == attempt.attempt() &&
                            record->dispatch_incarnation == attempt.incarnation();
  if (word.state() != TaskState::running || !this_attempt) {
    if (is_terminal(word.state()) && this_attempt &&
        complete_again(*record, result_hold(slot), body, in_hand)) {
      if (durability_ == nullptr && record->notified == 0) notify(slot);
      if (durability_ != nullptr && !is_over(slot)) settle(slot);
      return true;
    }
    c_.count(Counter::completions_stale);
    if (token) return tokens_.return_to_sender(token, in_hand);
    in_hand.ring->advance();
    return true;
  }
  const std::uint64_t now = now_ns();
  TaskState end = TaskState::done;
  if (attempt.outcome() == static_cast<std::uint8_t>(Outcome::failed)) end = TaskState::failed;
  if (attempt.outcome() == static_cast<std::uint8_t>(Outcome::cancelled))
    end = end_by(static_cast<CancelReason>(record->cancel_requested));
  round_trip_.record(now - record->dispatched_ns);
  statistics_.answered(record->request.priority, record->request.capability,
                       now - record->dispatched_ns, attempt.waited_ns(), attempt.worked_ns());
  const auto again_ns = end == TaskState::failed ? next_attempt_ns(slot) : std::nullopt;
  if (again_ns)
    delay_task(*record, *again_ns);
  else
    complete_task(*record, result_hold(slot), body, end, now, in_hand);
  auto& running = running_[agent.id];
  if (const auto at = std::find(running.begin(), running.end(), slot); at != running.end()) {
    *at = running.back();
    running.pop_back();
    if (running.empty()) statistics_.idle(agent.id, now);
  }
  if (again_ns) {
    set_state_counts(TaskState::running, TaskState::pending);
    c_.count(Counter::tasks_retried);
    run_actions();
    // Its answer is a stale one from now on.
    if (token) return tokens_.return_to_sender(token, in_hand);
    in_hand.ring->advance();
    return true;
  }
  // The next task first, so that the agent does not wait for our bookkeeping.
  schedule(scheduling::TaskEnded{id, end == TaskState::done, end != TaskState::cancelled}, now);
  run_actions();
  ended(slot, TaskState::running);
  return true;
}

void Tasks::ended(std::uint32_t slot, TaskState before) {
  TaskRecord& record = records_[slot];
  const TaskState end = word_of(record).state();
  set_state_counts(before, end);
  category_memory_.discharge(slot);
  c_.count(counter_of(end));
  accept_to_end_.record(record.finished_ns - record.request.accepted_ns);
  if (end == TaskState::dead_letter)
    c_.events.add("task_dead_letter", {{"task", make_task_id(slot, word_of(record).generation())},
                                       {"attempts", word_of(record).attempt()}});
  settle(slot);
}

void Tasks::wake_waiters(std::uint32_t slot) {
  const auto [first, last] = waiters_.equal_range(slot);
  std::vector<Waiter> calls;
  for (auto it = first; it != last; ++it) calls.push_back(std::move(it->second.call));
  waiters_.erase(first, last);
  for (const Waiter& call : calls) call(records_[slot]);
}

bool Tasks::client_waits(const TaskRecord& record) const {
  const PartyId client = record.request.client;
  return record.request.is_detached == 0 && record.revived_after_ms == 0 && is_client(client) &&
         c_.peers[client].linked && !c_.peers[client].dead &&
         client_key(client, c_.row(client).incarnation) == record.request.client_key &&
         c_.roster(client).state() == RosterState::live;
}

void Tasks::notify(std::uint32_t slot) {
  TaskRecord& record = records_[slot];
  if (is_withheld(slot)) return;  // dependencies_unnamed() comes back to it
  if (record.notified == 0 && client_waits(record)) {
    Peer& client = c_.peers[record.request.client];
    const Token token{load(result_hold(slot).token)};
    if (token) banks_.show_to(client, bank_of(token.region()));
    if (!notify_client(record, slot, result_hold(slot), client.data_out, client.id)) {
      notices_.push_back(slot);
      return;
    }
    c_.count(Counter::results_delivered);
    c_.ring(client);
  }
  record.notified = 1;
  over(slot);
}

void Tasks::cancel_ownerless() {
  if (c_.config.tasks.when_client_dies != WhenClientDies::cancel) return;
  for (std::uint32_t slot = 0; slot < capacity_; ++slot) {
    const TaskRecord& record = records_[slot];
    const TaskState state = word_of(record).state();
    if (state != TaskState::free && !is_terminal(state) && record.request.is_detached == 0 &&
        record.revived_after_ms == 0 && !client_waits(record))
      cancel(id_of(slot), CancelReason::asked);
  }
  run_actions();
}

void Tasks::client_gone(Peer& client) {
  cancel_ownerless();

  std::erase_if(notices_, [&](std::uint32_t slot) {
    if (records_[slot].request.client != client.id || client_waits(records_[slot])) return false;
    records_[slot].notified = 1;
    over(slot);
    return true;
  });
}

// ---- cancel, deadlines ----

Tasks::CancelAnswer Tasks::cancel(TaskId id, CancelReason reason) {
  TaskRecord* record = find(id);
  if (record == nullptr) return CancelAnswer::unknown;
  const TaskWord word = word_of(*record);
  if (is_terminal(word.state())) return CancelAnswer::already_over;
  if (word.state() == TaskState::running) {
    if (record->cancel_requested == 0) record->cancel_requested = static_cast<std::uint8_t>(reason);
    Peer& agent = c_.peers[word.agent()];
    PartyMessage message{PartyMessageKind::cancel, agent.id, c_.row(agent.id).incarnation};
    message.a = id;
    c_.send(agent, message);
    return CancelAnswer::asked;
  }
  end_task(*record, end_by(reason), now_ns());
  schedule(scheduling::TaskEnded{id});
  ended(task_slot(id), word.state());
  run_actions();
  return CancelAnswer::ended;
}

std::optional<Tasks::Unheeded> Tasks::unheeded_cancel(PartyId agent) const {
  // Our own records say what it works on: it takes dispatches in their order.
  const TaskRecord* first = nullptr;
  std::uint32_t first_slot = 0;
  for (const std::uint32_t slot : running_[agent])
    if (first == nullptr || records_[slot].dispatch_sequence < first->dispatch_sequence) {
      first = &records_[slot];
      first_slot = slot;
    }
  if (first == nullptr || first->cancel_requested == 0) return std::nullopt;
  return Unheeded{make_task_id(first_slot, word_of(*first).generation()),
                  static_cast<CancelReason>(first->cancel_requested)};
}

void Tasks::timed_out(TaskId id) {
  if (cancel(id, CancelReason::timed_out) == CancelAnswer::asked)
    log::info("task {:x} passed its deadline while it ran", id);
}

void Tasks::cancel_everything() {
  for (std::uint32_t slot = 0; slot < capacity_; ++slot) {
    const TaskWord word = word_of(records_[slot]);
    if (word.state() != TaskState::free && !is_terminal(word.state()))
      cancel(make_task_id(slot, word.generation()), CancelReason::asked);
  }
}

void Tasks::tick(std::uint64_t now) {
  statistics_.sample(now, ended_count());
  if (scheduler_.next_due_ns() <= now) schedule(scheduling::Tick{}, now);
  run_actions();
  expire_results(now);
}

std::uint64_t Tasks::ended_count() const {
  return c_.counter(Counter::tasks_done) + c_.counter(Counter::tasks_failed) +
         c_.counter(Counter::tasks_cancelled) + c_.counter(Counter::tasks_timed_out) +
         c_.counter(Counter::tasks_dead_letter);
}

void Tasks::retry() {
  std::vector<std::uint32_t> again;
  again.swap(notices_);
  for (const std::uint32_t slot : again) notify(slot);
}

// ---- adoption ----

void Tasks::adopt() {
  by_state_.fill(0);
  over_before_.reserve(capacity_);
  note_last_refusals();
  std::vector<std::pair<std::uint64_t, std::uint32_t>> ready;
  std::vector<std::uint32_t> with_payload;
  std::vector<std::uint32_t> running;
  for (std::uint32_t slot = capacity_; slot-- > 0;) {
    TaskRecord& record = records_[slot];
    TaskWord word = word_of(record);
    if (word.word != 0 && static_cast<unsigned>(word.state()) >= task_states) {
      move_to(record, TaskState::dead_letter, word.attempt(), no_party);
      word = word_of(record);
    }
    if (word.state() == TaskState::free) {
      // A restoration that was not finished had its payload or result already.
      for (Hold* hold : {&payload_hold(slot), &result_hold(slot)})
        if (load(hold->token) != 0) tokens_.release(*hold);
      ++by_state_[0];
      free_.push_back(slot);
      continue;
    }
    if (!is_terminal(word.state()) && record.checksum != checksum_of(slot)) {
      // One bad record must not loop supervisors: nothing in it is believed.
      record.notified = 1;
      end_task(record, TaskState::dead_letter, now_ns());
      c_.count(Counter::tasks_dead_letter);
      word = word_of(record);
    }
    if (!is_terminal(word.state()) && is_client(record.request.client) &&
        is_only_prepared(record, options_[slot],
                         Cursor{load(c_.segment.cursor(record.request.client, Lane::data))})) {
      recycle_record(record);  // its batch comes again, and settling has put the token back into it
      ++by_state_[0];
      free_.push_back(slot);
      continue;
    }
    ++by_state_[static_cast<unsigned>(word.state())];
    if (load(payload_hold(slot).token) != 0) with_payload.push_back(slot);
    switch (word.state()) {
      case TaskState::pending:
        // A repeat that was about to end had its result already.
        if (is_repeat(slot) && load(result_hold(slot).token) != 0)
          tokens_.release(result_hold(slot));
        [[fallthrough]];
      case TaskState::ready: ready.emplace_back(record.request.accepted_ns, slot); break;
      case TaskState::running: {
        if (!is_agent(word.agent())) {  // no honest supervisor wrote that
          requeue_task(record);
          set_state_counts(TaskState::running, TaskState::ready);
          ready.emplace_back(record.request.accepted_ns, slot);
          break;
        }
        Peer& agent = c_.peers[word.agent()];
        running_[agent.id].push_back(slot);
        statistics_.dispatched(agent.id, now_ns());
        running.push_back(slot);
        if (agent.linked && !agent.dead &&
            c_.row(agent.id).incarnation == record.dispatch_incarnation &&
            redo_dispatch(record, slot, options_[slot], agent.data_out)) {
          c_.count(Counter::dispatches_redone);
          c_.ring(agent);
        }
        break;
      }
      default: {
        if (record.notified == 0 && record.notice_sequence != 0 && client_waits(record) &&
            c_.peers[record.request.client].data_out.sent() >= record.notice_sequence)
          record.notified = 1;  // it was published; the store that says so was missing
        if (record.notified != 0) {
          over_before_.emplace_back(record.finished_ns, slot);
          is_in_over_[slot] = true;
          if (load(result_hold(slot).token) != 0) unfetched_.push_back(id_of(slot));
          break;
        }
        // Not published: its place in the ring may soon be another notice's, which must not pass
        // for this one when the next supervisor looks.
        record.notice_sequence = 0;
        // The right to a result that is not in its hold comes again with the answer in hand, and
        // the notice goes out then.
        if (record.result_token == 0 || load(result_hold(slot).token) != 0) {
          if (durability_ != nullptr && is_repeat(slot)) durability_->repeat_ended(slot);
          if (durability_ != nullptr && !is_repeat(slot))
            durability_->ended(slot);
          else
            notices_.push_back(slot);
        }
      }
    }
  }
  adopt_payloads(with_payload);
  std::make_heap(over_before_.begin(), over_before_.end(), std::greater<>());
  std::sort(unfetched_.begin(), unfetched_.end(), [this](TaskId a, TaskId b) {
    return records_[task_slot(a)].finished_ns < records_[task_slot(b)].finished_ns;
  });
  std::sort(ready.begin(), ready.end());
  for (const auto& [at, slot] : ready) tell_scheduler(slot);
  for (const std::uint32_t slot : running) tell_scheduler(slot);
  run_actions();
  cancel_ownerless();  // its predecessor may have died over it
}

void Tasks::client_adopted(Peer& client) {
  repeat_possible_.set(client.id);
  banks_.show_sent(client);
}

// ---- for the control socket ----

TaskRecord* Tasks::find(TaskId id) {
  const std::uint32_t slot = task_slot(id);
  if (slot >= capacity_) return nullptr;
  const TaskWord word = word_of(records_[slot]);
  if (word.state() == TaskState::free || word.generation() != task_generation(id)) return nullptr;
  return &records_[slot];
}

std::uint64_t Tasks::wait_for(std::uint32_t slot, Waiter waiter) {
  waiters_.emplace(slot, Waiting{next_waiter_, std::move(waiter)});
  return next_waiter_++;
}

void Tasks::stop_waiting(std::uint32_t slot, std::uint64_t id) {
  const auto [first, last] = waiters_.equal_range(slot);
  for (auto it = first; it != last; ++it)
    if (it->second.id == id) {
      waiters_.erase(it);
      return;
    }
}

}  // namespace micro_swarm
