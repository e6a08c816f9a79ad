#include "agentproc/work_thread.hpp"

#include <algorithm>
#include <cassert>
#include <cstring>
#include <exception>

#include "common/clock.hpp"
#include "ipc/transfer.hpp"

namespace micro_swarm {

namespace {
// How long an agent sleeps at most when nothing happens, and when it has memory to give back.
constexpr std::uint64_t park_ns = 5 * ns_per_s;
constexpr std::uint64_t park_with_idle_banks_ns = 2 * ns_per_s;
constexpr std::uint64_t bank_idle_ns = 2 * ns_per_s;
// The supervisor sends a payload's bank before the dispatch; it may be replaced in between.
constexpr std::uint64_t payload_wait_ns = 5 * ns_per_s;
constexpr std::uint64_t look_again_ns = 20 * ns_per_ms;
constexpr std::uint64_t ring_full_nap_ns = ns_per_ms;
}  // namespace

void WorkThread::record_at(std::uint64_t at_ns, FlightCode code, std::uint64_t subject) noexcept {
  FlightRecorder& recorder = link_.own().recorder();
  recorder.events[flight_events_ % flight_events_max] = FlightEvent{at_ns, code, subject};
  store(recorder.count, ++flight_events_);  // after the entry: a torn one is not counted
}

void WorkThread::set_state(PartyState state) noexcept {
  store(link_.own().header().state, static_cast<std::uint64_t>(state));
}

void WorkThread::report_progress() noexcept { store(link_.own().header().progress, ++progress_); }

Result<void> WorkThread::announce() {
  set_state(PartyState::starting);
  if (auto sent = link_.announce(); !sent) return sent.error();
  record(FlightCode::registered, link_.inherited());
  return {};
}

Result<void> WorkThread::await_admission() {
  while (!link_.admitted()) {
    link_.wait(ns_per_s, [this] { return link_.admitted() || mailbox_.has_mail(); });
    read_mail();
    if (refused_) return *refused_;
  }
  link_.begin();
  if (link_.has_waiting_releases() || link_.inherited() != 0) link_.ring_supervisor();
  record(FlightCode::live, link_.incarnation());
  return {};
}

void WorkThread::begin(std::vector<BoundHandler> capabilities) {
  capabilities_ = std::move(capabilities);
  const SegmentView& supervisor = link_.supervisor();
  const AgentEnvironment environment{link_.party(), link_.incarnation(),
                                     std::span(supervisor.base(), supervisor.layout().size_bytes)};
  std::vector<Handler*> started;
  for (const BoundHandler& capability : capabilities_) {
    if (capability.handler == nullptr ||
        std::find(started.begin(), started.end(), capability.handler) != started.end())
      continue;
    started.push_back(capability.handler);
    capability.handler->started(environment);
  }
}

void WorkThread::run() {
  TaskInHand* task = next_task(no_limit);
  while (task != nullptr) {
    const BoundHandler* bound = find(task->dispatch_.attempt.capability());
    Handler* handler = bound != nullptr ? bound->handler : nullptr;
    TaskInHand* left_over = nullptr;
    if (handler != nullptr && handler->batch_limits().tasks_max > 1 &&
        task->context().attempt() == 1)
      left_over = run_batch(*task, *handler);
    else
      finish(*task, call(*task));
    task = left_over != nullptr ? left_over : next_task(no_limit);
  }
}

TaskInHand* WorkThread::run_batch(TaskInHand& first, Handler& handler) {
  const BatchLimits limits = handler.batch_limits();
  std::vector<TaskInHand*> batch{&first};
  TaskInHand* left_over = nullptr;
  const std::uint64_t deadline_ns = limits.delay_ns == 0 ? 0 : now_ns() + limits.delay_ns;
  while (batch.size() < limits.tasks_max) {
    const std::uint64_t now = deadline_ns == 0 ? 0 : now_ns();
    TaskInHand* next = next_task(now < deadline_ns ? deadline_ns - now : 0);
    if (next == nullptr) break;
    const BoundHandler* bound = find(next->dispatch_.attempt.capability());
    if (bound == nullptr || bound->handler != &handler || next->context().attempt() != 1) {
      left_over = next;
      break;
    }
    batch.push_back(next);
  }
  std::vector<TaskContext*> tasks;
  for (TaskInHand* task : batch) tasks.push_back(&task->context());
  std::vector<Outcome> outcomes(batch.size(), Outcome::failed);
  const auto fail_all = [&](std::string_view why) {
    for (std::size_t i = 0; i < tasks.size(); ++i) outcomes[i] = tasks[i]->fail(why);
  };
  try {
    handler.handle_batch(tasks, outcomes);
  } catch (const std::exception& e) {
    fail_all(e.what());
  } catch (...) {
    fail_all("the handler threw something unknown");
  }
  for (std::size_t i = 0; i < batch.size(); ++i) finish(*batch[i], outcomes[i]);
  return left_over;
}

TaskInHand* WorkThread::next_task(std::uint64_t timeout_ns) {
  for (std::uint64_t deadline_ns = 0;;) {
    look_around();
    while (!dispatches_.empty())
      if (TaskInHand* task = begin_next()) return task;
    if (has_ended()) return nullptr;
    if (timeout_ns == 0) {
      before_rest();
      return nullptr;
    }
    std::uint64_t left_ns = no_limit;
    if (timeout_ns != no_limit) {
      const std::uint64_t now = now_ns();
      if (deadline_ns == 0) deadline_ns = now + timeout_ns;
      if (now >= deadline_ns) return nullptr;
      left_ns = deadline_ns - now;
    }
    if (link_.data_in().ready())
      nap(std::min(ring_full_nap_ns, left_ns));  // a region there is no room for just now
    else
      park(left_ns);
  }
}

void WorkThread::housekeeping() {
  if (mailbox_.has_mail()) read_mail();
  if (link_.releases_ready()) link_.drain_releases();
  if (link_.has_waiting_releases()) {
    link_.retry_releases();
    link_.ring_supervisor();
  }
}

void WorkThread::read_mail() {
  for (ReceivedPartyMessage& received : mailbox_.take_all()) {
    const PartyMessage& message = received.message;
    switch (message.kind) {
      case PartyMessageKind::drain:
        draining_ = true;
        set_state(PartyState::draining);
        record(FlightCode::drain_seen, 0);
        break;
      case PartyMessageKind::refused: refused_ = Error{ErrorCode::refused, message.text, 0}; break;
      case PartyMessageKind::bank_mapped:
        record(FlightCode::bank_mapped, message.a);
        [[fallthrough]];
      default:
        if (!link_.take(received)) link_.count_malformed();
    }
  }
  if (const std::uint32_t malformed = control_.take_malformed(); malformed != 0)
    link_.count_malformed(malformed);
}

void WorkThread::before_rest() {
  BankOwner& banks = link_.banks();
  if (banks.has_idle()) banks.trim(now_ns(), bank_idle_ns);
  if (in_hand_.empty() &&
      load(link_.own().header().state) != static_cast<std::uint64_t>(PartyState::idle)) {
    record(FlightCode::parked, 0);
    set_state(PartyState::idle);
  }
}

void WorkThread::park(std::uint64_t timeout_ns) {
  before_rest();
  const bool is_soon = link_.banks().has_idle() || link_.has_waiting_releases();
  link_.wait(std::min(is_soon ? park_with_idle_banks_ns : park_ns, timeout_ns),
             [this] { return has_work(); });
}

void WorkThread::take_messages() {
  RingReader& ring = link_.data_in();
  while (ring.ready()) {
    const SlotBody body = ring.front();
    if (body.kind == static_cast<std::uint16_t>(MessageKind::transfer)) {
      if (!memory_->party().take_next()) return;
      continue;
    }
    if (PartyCache::is_answer(body)) {
      if (memory_->cache().take() != PartyCache::Taken::done) return;
      continue;
    }
    // Before the task runs: a dispatch that kills its agent must not kill the successor too.
    ring.advance();
    dispatches_.push_back(body);
  }
}

TaskInHand* WorkThread::begin_next() {
  const SlotBody body = dispatches_.front();
  dispatches_.pop_front();
  const auto dispatch = checked(body);
  if (!dispatch) {
    link_.count_malformed();
    return nullptr;
  }
  if (!still_wanted(*dispatch)) {
    record(FlightCode::dispatch_skipped, dispatch->task);
    return nullptr;
  }
  TaskInHand& task = take_in_hand(*dispatch);
  const auto payload =
      payload_of(task, std::as_bytes(std::span(body.inline_data)).subspan(16, body.inline_bytes));
  task.context_.emplace(*this, dispatch->task, dispatch->attempt.attempt(),
                        capability_name(dispatch->attempt.capability()),
                        payload ? *payload : std::span<const std::byte>(), task.inputs_);
  if (is_cancelled(dispatch->task)) {
    record(FlightCode::cancel_seen, dispatch->task);
    finish(task, Outcome::cancelled);
  } else if (!payload) {
    finish(task, task.context().fail(payload.error()));
  } else {
    return &task;
  }
  return nullptr;
}

void WorkThread::nap(std::uint64_t timeout_ns) {
  report_progress();
  RingReader& ring = link_.data_in();
  // What lies there already and could not be taken wakes nobody.
  const bool was_ready = ring.ready();
  link_.wait(timeout_ns, [&] {
    return (!was_ready && ring.ready()) || is_task_cancelled() || link_.releases_ready() ||
           mailbox_.has_mail();
  });
}

bool WorkThread::is_task_cancelled() const noexcept {
  const TaskId task = load(link_.own().header().task_in_hand);
  return task != 0 && is_cancelled(task);
}

std::optional<Dispatch> WorkThread::checked(const SlotBody& body) const {
  Dispatch dispatch;
  dispatch.task = body.inline_data[0];
  dispatch.attempt.word = body.inline_data[1];
  dispatch.token = Token{body.token};
  dispatch.payload_bytes = body.token != 0 ? body.region_bytes : body.inline_bytes;
  dispatch.payload_offset = body.token != 0 ? body.inline_data[2] : 0;
  if (body.kind != static_cast<std::uint16_t>(MessageKind::dispatch) ||
      body.inline_bytes > task_inline_bytes_max ||
      task_slot(dispatch.task) >= link_.supervisor().header().task_capacity ||
      (dispatch.token && (!dispatch.token.well_formed() || body.inline_bytes != 0 ||
                          dispatch.payload_offset > 0xffffffffu)))
    return std::nullopt;
  return dispatch;
}

bool WorkThread::still_wanted(const Dispatch& dispatch) const noexcept {
  if (dispatch.attempt.incarnation() != link_.incarnation()) return false;  // a predecessor's
  // The supervisor's record is the truth: it may have cancelled or moved the task since.
  const TaskRecord& record = link_.supervisor().records()[task_slot(dispatch.task)];
  return load(record.word) == TaskWord::make(TaskState::running, dispatch.attempt.attempt(),
                                             link_.party(), task_generation(dispatch.task))
                                  .word;
}

TaskInHand& WorkThread::take_in_hand(const Dispatch& dispatch) {
  if (unused_.empty()) unused_.push_back(std::make_unique<TaskInHand>());
  in_hand_.push_back(std::move(unused_.back()));
  unused_.pop_back();
  TaskInHand& task = *in_hand_.back();
  task.dispatch_ = dispatch;
  if (in_hand_.size() == 1) store(link_.own().header().task_in_hand, dispatch.task);
  if (!draining_) set_state(PartyState::busy);
  report_progress();
  task.started_ns_ = record(FlightCode::handler_started, dispatch.task);
  return task;
}

Result<std::span<const std::byte>> WorkThread::payload_of(
    TaskInHand& task, std::span<const std::byte> inline_payload) {
  const Dispatch& dispatch = task.dispatch_;
  std::span<const std::byte> payload = std::span(task.inline_payload_).first(inline_payload.size());
  task.inputs_.clear();
  if (dispatch.token) {
    auto bytes = wait_for_memory(dispatch.task, dispatch.token, dispatch.payload_offset,
                                 dispatch.payload_bytes);
    if (!bytes) return bytes.error();
    payload = *bytes;
  } else {
    std::copy(inline_payload.begin(), inline_payload.end(), task.inline_payload_.begin());
  }
  if ((dispatch.attempt.flags() & dispatch_payload_compressed) != 0) {
    const std::uint64_t began_ns = now_ns();
    auto unpacked = task.packed_payload_.unpack(
        payload, load(link_.tables().pool_regions) * load(link_.tables().region_bytes));
    Word& codec_ns = link_.own().header().codec_ns;
    store(codec_ns, load(codec_ns) + (now_ns() - began_ns));
    if (!unpacked) return unpacked.error();
    payload = *unpacked;
  }
  if ((dispatch.attempt.flags() & dispatch_has_inputs) != 0)
    if (auto gathered = gather_inputs(task); !gathered) return gathered.error();
  return payload;
}

void WorkThread::finish(TaskInHand& task, Outcome outcome) {
  const auto found = std::find_if(in_hand_.begin(), in_hand_.end(),
                                  [&](const auto& taken) { return taken.get() == &task; });
  assert(found != in_hand_.end());
  complete(task.dispatch_, outcome, task.context(), task.started_ns_);
  task.context_.reset();
  unused_.push_back(std::move(*found));
  in_hand_.erase(found);
  store(link_.own().header().task_in_hand, in_hand_.empty() ? 0 : in_hand_.front()->dispatch_.task);
  report_progress();
}

Result<std::span<const std::byte>> WorkThread::wait_for_memory(TaskId task, Token token,
                                                               std::uint64_t offset,
                                                               std::size_t size_bytes) {
  for (std::uint64_t deadline_ns = 0;;) {
    auto found = link_.memory_of(token, offset + size_bytes);
    if (!found) return found.error();
    if (*found) return (*found)->subspan(offset);
    const std::uint64_t now = now_ns();
    if (deadline_ns == 0) deadline_ns = now + payload_wait_ns;
    if (now >= deadline_ns)
      return Error{ErrorCode::timed_out, "the memory it reads was not handed out in time", 0};
    if (is_cancelled(task)) return Error{ErrorCode::cancelled, "cancelled", 0};
    report_progress();
    link_.wait(look_again_ns, [&] { return mailbox_.has_mail() || is_cancelled(task); });
    housekeeping();
  }
}

/// The supervisor's tables are read where they lie. They stand still for a task that is not over;
/// once it is (cancelled, or we are taken for dead), whatever is read here is for nobody.
Result<void> WorkThread::gather_inputs(TaskInHand& task) {
  const Dispatch& dispatch = task.dispatch_;
  const SegmentView& supervisor = link_.supervisor();
  const std::uint32_t slot = task_slot(dispatch.task);
  const std::uint32_t count = supervisor.task_options()[slot].dependency_count;
  if (count > task_dependencies_max)
    return Error{ErrorCode::protocol, "a task with more dependencies than there can be", 0};
  for (std::uint32_t i = 0; i < count; ++i) {
    TaskInput input;
    input.task = supervisor.task_dependencies()[slot].ids[i];
    const Error gone{ErrorCode::protocol, "what it depends on is not on record any more", 0};
    if (task_slot(input.task) >= supervisor.header().task_capacity) return gone;
    const TaskRecord& record = supervisor.records()[task_slot(input.task)];
    const TaskWord word{load(record.word)};
    if (word.generation() != task_generation(input.task) || !is_terminal(word.state())) return gone;
    input.state = word.state();
    if (record.result_token != 0) {
      auto bytes =
          wait_for_memory(dispatch.task, Token{record.result_token}, 0, record.result_bytes);
      if (!bytes) return bytes.error();
      input.bytes = *bytes;
    } else {
      const std::size_t size_bytes =
          std::min<std::size_t>(record.result_inline_bytes, task_inline_bytes_max);
      std::memcpy(task.inline_inputs_[i].data(), record.result_inline, size_bytes);
      input.bytes = std::span(task.inline_inputs_[i]).first(size_bytes);
    }
    if (load(record.word) != word.word) return gone;
    task.inputs_.push_back(input);
  }
  return {};
}

const BoundHandler* WorkThread::find(std::uint16_t capability) const noexcept {
  for (const BoundHandler& bound : capabilities_)
    if (bound.id == capability) return &bound;
  return nullptr;
}

std::string_view WorkThread::capability_name(std::uint16_t capability) const noexcept {
  if (const BoundHandler* bound = find(capability)) return bound->name;
  if (capability >= capabilities_max) return {};
  const char* text = link_.tables().capabilities[capability].text;
  return {text, ::strnlen(text, sizeof link_.tables().capabilities[capability].text)};
}

Outcome WorkThread::call(TaskInHand& in_hand) noexcept {
  TaskContext& task = in_hand.context();
  const BoundHandler* capability = find(in_hand.dispatch_.attempt.capability());
  if (capability == nullptr) return task.fail("this agent has no such capability");
  if (capability->handler == nullptr)
    return task.fail("no operation is called '" + capability->name + "' here");
  try {
    return capability->handler->handle(task);
  } catch (const std::exception& e) {
    return task.fail(e.what());
  } catch (...) {
    return task.fail("the handler threw something unknown");
  }
}

void WorkThread::complete(const Dispatch& dispatch, Outcome outcome, TaskContext& task,
                          std::uint64_t started_ns) {
  const std::uint64_t completed_ns = now_ns();
  const std::uint64_t dispatched_ns =
      link_.supervisor().records()[task_slot(dispatch.task)].dispatched_ns;
  SlotBody body;
  body.kind = static_cast<std::uint16_t>(MessageKind::complete);
  body.inline_data[0] = dispatch.task;
  body.inline_data[1] = AttemptWord::completed(link_.incarnation(), dispatch.attempt.attempt(),
                                               static_cast<std::uint8_t>(outcome),
                                               elapsed_ns(started_ns, dispatched_ns),
                                               elapsed_ns(completed_ns, started_ns))
                            .word;
  SegmentHeader& header = link_.own().header();
  Word& count = outcome == Outcome::failed ? header.tasks_failed : header.tasks_completed;
  store(count, load(count) + 1);
  const std::span<const std::byte> result =
      outcome == Outcome::cancelled ? std::span<const std::byte>() : task.result();
  if (result.size() <= task_inline_bytes_max) {
    body.inline_bytes = static_cast<std::uint16_t>(result.size());
    if (!result.empty()) std::memcpy(&body.inline_data[2], result.data(), result.size());
    if (auto unused = task.take_allocation()) release_result(*unused);
    publish(body, std::nullopt);
  } else {
    body.region_bytes = static_cast<std::uint32_t>(result.size());
    publish(body, task.take_allocation());
  }
  record_at(completed_ns, FlightCode::completed, dispatch.task);
}

void WorkThread::publish(const SlotBody& body, std::optional<Allocation> allocation) {
  RingWriter& ring = link_.data_out();
  while (!ring.has_space(1)) {
    // The supervisor reads it or is replaced by one that does.
    link_.ring_supervisor();
    link_.wait(ring_full_nap_ns, [&ring] { return ring.has_space(1); });
    report_progress();
    housekeeping();
  }
  if (allocation) {
    link_.banks().leaving(allocation->hold);
    pass(ring, link_.holds()[allocation->hold], Lane::data, supervisor_party, body);
    link_.banks().passed(allocation->hold);
  } else {
    ring.try_send(body);
  }
  link_.ring_supervisor();
}

void WorkThread::sleep_unless_cancelled(TaskId task, std::uint64_t timeout_ns) noexcept {
  link_.wait(timeout_ns,
             [&] { return is_cancelled(task) || link_.releases_ready() || mailbox_.has_mail(); });
  housekeeping();
}

Result<Allocation> WorkThread::allocate_result(TaskId task, std::size_t size_bytes,
                                               std::uint64_t wait_ns) {
  if (size_bytes > 0xffffffffu) return Error{ErrorCode::too_large, "a result has at most 4 GiB", 0};
  for (std::uint64_t deadline_ns = 0;;) {
    const std::uint64_t now = now_ns();
    auto allocation = link_.banks().try_allocate(size_bytes, now);
    if (!allocation) return allocation.error();
    if (*allocation) return **allocation;
    if (deadline_ns == 0) deadline_ns = now + wait_ns;
    if (is_cancelled(task)) return Error{ErrorCode::cancelled, "cancelled", 0};
    if (now >= deadline_ns)
      return Error{ErrorCode::timed_out,
                   "no memory for the result: " + (link_.banks().refusal().empty()
                                                       ? "the supervisor granted none"
                                                       : link_.banks().refusal()),
                   0};
    report_progress();
    link_.wait(look_again_ns,
               [&] { return is_cancelled(task) || link_.releases_ready() || mailbox_.has_mail(); });
    housekeeping();
  }
}

void WorkThread::release_result(const Allocation& allocation) noexcept {
  link_.banks().release(allocation);
}

}  // namespace micro_swarm
