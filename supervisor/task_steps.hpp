#pragma once

// The steps of a task's life, store by store, on the memory of its record. The supervisor may die
// between any two stores; the comment on a line says why it may not move. What each death leaves
// is found and finished by adopt_record() and by receiving the message in hand again. No heap, no
// system call, no clock in here: tests/sweep/ kills these functions at every instruction.
//
//   free --accept--> ready --dispatch--> running --complete--> done | failed | cancelled
//                      ^                    |
//                      +-----requeue--------+   (its agent died)   any of them --end--> terminal
//   terminal --notify--> client has it;  terminal --recycle--> free
//   dead_letter --revive--> ready (somebody asked for it)

#include <algorithm>
#include <atomic>
#include <cstring>
#include <span>
#include <string_view>

#include "ipc/party_protocol.hpp"
#include "ipc/transfer.hpp"
#include "shm/task_record_data.hpp"

namespace micro_swarm {

/// XXH3 of the request.
std::uint64_t request_checksum(const TaskRequestData& request) noexcept;
/// The same of a request that has options.
std::uint64_t request_checksum(const TaskRequestData& request, const TaskOptionsRow& options,
                               const TaskDependencies& dependencies) noexcept;

inline TaskWord word_of(const TaskRecord& record) noexcept {
  TaskWord word;
  word.word = load(record.word);
  return word;
}

inline void move_to(TaskRecord& record, TaskState state, std::uint8_t attempt,
                    PartyId agent) noexcept {
  store(record.word, TaskWord::make(state, attempt, agent, word_of(record).generation()).word);
}

/// Of a record that is not free; `options` and `dependencies` are its rows.
inline std::uint64_t record_checksum(const TaskRecord& record, const TaskOptionsRow& options,
                                     const TaskDependencies& dependencies) noexcept {
  return record.request.has_options == 0 ? request_checksum(record.request)
                                         : request_checksum(record.request, options, dependencies);
}

/// Everything of a free record but its word.
inline void write_request(TaskRecord& record, const TaskRequestData& request,
                          std::uint64_t checksum) noexcept {
  record.request = request;
  record.checksum = checksum;
  record.dispatch_sequence = 0;
  record.dispatched_ns = 0;
  record.finished_ns = 0;
  record.notice_sequence = 0;
  record.result_token = 0;
  record.result_bytes = 0;
  record.dispatch_incarnation = 0;
  record.result_inline_bytes = 0;
  record.crash = 0;
  record.notified = 0;
  record.cancel_requested = 0;
  record.failure = 0;
  record.not_before_ns = 0;
  record.revived_after_ms = 0;
}

/// free -> ready. `request.generation` is the record's new generation. `in_hand` is the SUBMIT
/// message; its token, if any, goes to `payload_hold` (empty).
inline void accept_task(TaskRecord& record, Hold& payload_hold, const TaskRequestData& request,
                        MessageInHand in_hand) noexcept {
  // The right to the payload first: an accepted task without it could not run.
  if (request.payload_token != 0) take_token(payload_hold, Token{request.payload_token});
  write_request(record, request, request_checksum(request));
  // Acceptance. Everything above is complete; nobody looked at it while the word said free.
  store(record.word, TaskWord::make(TaskState::ready, 0, no_party, request.generation).word);
  // Last: until here the message comes again, and is recognised by {client_key, number}.
  if (in_hand.ring != nullptr) keep(in_hand);
}

/// free -> ready or pending, of one task of a batch: prepared, not accepted. The caller has taken
/// the batch's token into the hold of one of the records before the first of these stores, and
/// moves the cursor of the message in hand after the last: that one store accepts all of them.
///
/// A supervisor that dies before it leaves records that say ready or pending and that a batch
/// beyond the cursor made. The next one frees them (is_only_prepared) and receives the batch again
/// as if nothing had been: nobody but this thread can have seen them, for nothing is dispatched
/// before the cursor.
inline void prepare_task(TaskRecord& record, TaskOptionsRow& options_row,
                         TaskDependencies& dependencies_row, const TaskRequestData& request,
                         const TaskOptionsRow& options, const TaskId* dependencies,
                         TaskState state) noexcept {
  options_row = options;
  for (std::uint32_t i = 0; i < options.dependency_count; ++i)
    dependencies_row.ids[i] = dependencies[i];
  write_request(record, request, request_checksum(request, options, dependencies_row));
  store(record.word, TaskWord::make(state, 0, no_party, request.generation).word);
}

/// The record belongs to a batch whose message has not been consumed: `client_cursor` is ours on
/// the data ring of the client that sent it.
inline bool is_only_prepared(const TaskRecord& record, const TaskOptionsRow& options,
                             Cursor client_cursor) noexcept {
  const TaskWord word = word_of(record);
  return record.request.has_options != 0 && word.attempt() == 0 &&
         (word.state() == TaskState::ready || word.state() == TaskState::pending) &&
         client_cursor.incarnation() ==
             static_cast<Incarnation>(record.request.client_key & 0xffff) &&
         client_cursor.consumed() < options.batch_sequence;
}

/// The same submission, received again (the supervisor died before it moved the cursor, or the
/// client repeated it). Takes the right again where settling the holds had put it back.
inline void accept_again(const TaskRecord& record, Hold& payload_hold, Token token,
                         MessageInHand in_hand) noexcept {
  if (token && token.word == record.request.payload_token && load(payload_hold.token) == 0)
    take_token(payload_hold, token);
  if (in_hand.ring != nullptr) keep(in_hand);
}

/// What the dispatch of the record's current attempt says. The payload's token is lent. `options`
/// is the record's row; looked at only if the request says that it has options.
inline SlotBody dispatch_body(const TaskRecord& record, std::uint32_t slot,
                              const TaskOptionsRow& options) noexcept {
  const TaskWord word = word_of(record);
  const TaskRequestData& request = record.request;
  SlotBody body;
  body.kind = static_cast<std::uint16_t>(MessageKind::dispatch);
  body.inline_bytes = request.inline_bytes;
  body.region_bytes = request.payload_bytes;
  body.token = request.payload_token;
  body.inline_data[0] = make_task_id(slot, word.generation());
  const bool has_inputs = request.has_options != 0 && options.dependency_count != 0;
  unsigned flags = has_inputs ? dispatch_has_inputs : 0;
  if (request.is_payload_compressed != 0) flags |= dispatch_payload_compressed;
  body.inline_data[1] = AttemptWord::make(record.dispatch_incarnation, request.capability,
                                          word.attempt(), 0, static_cast<std::uint16_t>(flags))
                            .word;
  std::memcpy(&body.inline_data[2], request.inline_payload, task_inline_bytes_max);
  if (request.payload_token != 0)
    body.inline_data[2] = request.has_options != 0 ? options.payload_offset : 0;
  return body;
}

/// ready -> running. False = the agent's ring is full, nothing changed.
inline bool dispatch_task(TaskRecord& record, std::uint32_t slot, const TaskOptionsRow& options,
                          RingWriter& ring, PartyId agent, Incarnation incarnation,
                          std::uint64_t now) noexcept {
  const std::uint64_t sequence = ring.claim();
  if (sequence == 0) return false;
  record.dispatch_sequence = sequence;
  record.dispatch_incarnation = incarnation;
  record.dispatched_ns = now;
  // Intent before effect: a running record without its message is published again by the next
  // supervisor; a message without its record would run a task nobody waits for.
  move_to(record, TaskState::running, static_cast<std::uint8_t>(word_of(record).attempt() + 1),
          agent);
  ring.write(sequence, dispatch_body(record, slot, options));
  ring.publish(sequence);
  return true;
}

/// A running record whose dispatch was not published before the supervisor died: `ring.sent()` is
/// the tail found by scanning. Returns true when it published.
inline bool redo_dispatch(const TaskRecord& record, std::uint32_t slot,
                          const TaskOptionsRow& options, RingWriter& ring) noexcept {
  if (ring.sent() >= record.dispatch_sequence) return false;
  const std::uint64_t sequence = ring.sent() + 1;
  ring.write(sequence, dispatch_body(record, slot, options));
  ring.publish(sequence);
  return true;
}

/// running -> done | failed | cancelled. `body` is the COMPLETE in hand, checked by the caller
/// against the record's attempt. Its token, if any, goes to `result_hold` (empty).
inline void complete_task(TaskRecord& record, Hold& result_hold, const SlotBody& body,
                          TaskState end, std::uint64_t now, MessageInHand in_hand) noexcept {
  const TaskWord word = word_of(record);
  if (body.token != 0) take_token(result_hold, Token{body.token});
  record.result_token = body.token;
  record.result_bytes = body.region_bytes;
  record.result_inline_bytes = static_cast<std::uint8_t>(body.inline_bytes);
  std::memcpy(record.result_inline, &body.inline_data[2], task_inline_bytes_max);
  record.finished_ns = now;
  move_to(record, end, word.attempt(), word.agent());  // the one terminal state
  if (in_hand.ring != nullptr) keep(in_hand);
}

/// The same COMPLETE, received again after the supervisor died before it moved the cursor.
/// Returns false when it is another one (an agent that answers twice): then the token in it is the
/// caller's to send home.
inline bool complete_again(const TaskRecord& record, Hold& result_hold, const SlotBody& body,
                           MessageInHand in_hand) noexcept {
  if (body.token != record.result_token) return false;
  if (body.token != 0) {
    // Only where the right has not been handed on since.
    if (record.notified != 0 || load(result_hold.token) != 0) return false;
    take_token(result_hold, Token{body.token});
  }
  if (in_hand.ring != nullptr) keep(in_hand);
  return true;
}

/// running -> ready: its agent died. The attempt number grows with the next dispatch.
inline void requeue_task(TaskRecord& record) noexcept {
  move_to(record, TaskState::ready, word_of(record).attempt(), no_party);
}

/// Counts the death of {agent, incarnation} with this task in hand; returns how many so far.
inline std::uint8_t count_crash(TaskRecord& record, PartyId agent,
                                Incarnation incarnation) noexcept {
  const std::uint64_t who = (std::uint64_t{agent} << 16) | incarnation;
  const auto crashes = static_cast<std::uint8_t>(record.crash >> 32);
  if ((record.crash & 0xffffffff) == who && crashes != 0) return crashes;
  const auto next = static_cast<std::uint8_t>(crashes + 1);
  record.crash = (std::uint64_t{next} << 32) | who;
  return next;
}

/// An attempt was answered as failed; returns how many so far. Before the step that follows.
inline std::uint32_t count_failure(TaskRecord& record) noexcept {
  const std::uint8_t attempt = word_of(record).attempt();
  const auto failures = static_cast<std::uint32_t>(record.failure >> 8);
  if (failures != 0 && static_cast<std::uint8_t>(record.failure) == attempt) return failures;
  const std::uint32_t next = std::min(failures + 1, 255u);
  record.failure = static_cast<std::uint16_t>((next << 8) | attempt);
  return next;
}

/// running -> pending: its attempt failed and it is to be tried again, at `not_before_ns` (not 0).
/// Its agent's answer is stale from now on.
inline void delay_task(TaskRecord& record, std::uint64_t not_before_ns) noexcept {
  record.not_before_ns = not_before_ns;
  move_to(record, TaskState::pending, word_of(record).attempt(), no_party);
}

/// When the task's timeout and deadline begin to count.
inline std::uint64_t counts_from_ns(const TaskRecord& record) noexcept {
  return record.request.accepted_ns + std::uint64_t{record.revived_after_ms} * 1'000'000;
}

/// dead_letter -> ready: somebody wants it tried again, with nothing held against it. Its client
/// has been told (`notified`), its payload is still in its hold. `after_ms` (not 0): since its
/// acceptance.
///
/// A supervisor that dies in here leaves, before the word, a dead letter that nobody waits for: it
/// is not requeued, and may be asked for again. Before `notified` is 0 that is a dead letter like
/// any other; from then on one whose notice is due to nobody (revived_after_ms says so), which the
/// next supervisor only marks. After the word it is ready, like any other ready task.
inline void revive_task(TaskRecord& record, std::uint32_t after_ms) noexcept {
  record.crash = 0;
  record.failure = 0;
  record.not_before_ns = 0;
  record.cancel_requested = 0;
  record.notice_sequence = 0;  // before `notified`: it must not pass for the notice of the next end
  record.revived_after_ms = after_ms;  // before `notified`: the client is not told again
  std::atomic_signal_fence(std::memory_order_release);  // plain stores: the compiler keeps to it
  // Before the word: an answer received again after a death takes its right only while the end has
  // not been told (complete_again).
  record.notified = 0;
  // Attempts go on being numbered, so that no effect is taken for one of another; far up they begin
  // anew, for want of numbers.
  const std::uint8_t attempts = word_of(record).attempt();
  move_to(record, TaskState::ready, attempts < 128 ? attempts : std::uint8_t{0}, no_party);
}

/// pending -> ready: what it waited for is over.
inline void release_task(TaskRecord& record) noexcept {
  move_to(record, TaskState::ready, word_of(record).attempt(), no_party);
}

/// Any live state -> a terminal one without an answer. `why` is its result, cut to what fits
/// inline.
inline void end_task(TaskRecord& record, TaskState end, std::uint64_t now,
                     std::string_view why = {}) noexcept {
  const TaskWord word = word_of(record);
  record.result_token = 0;
  record.result_bytes = 0;
  record.result_inline_bytes = static_cast<std::uint8_t>(
      why.copy(reinterpret_cast<char*>(record.result_inline), task_inline_bytes_max));
  record.finished_ns = now;
  move_to(record, end, word.attempt(), word.agent());
}

/// In a region (`token`), or inline where it is 0.
inline void write_result(TaskRecord& record, std::uint64_t token, std::span<const std::byte> result,
                         std::uint64_t now) noexcept {
  record.result_token = token;
  record.result_bytes = token != 0 ? static_cast<std::uint32_t>(result.size()) : 0;
  record.result_inline_bytes = token != 0 ? 0 : static_cast<std::uint8_t>(result.size());
  if (token == 0 && !result.empty())
    std::memcpy(record.result_inline, result.data(), result.size());
  record.finished_ns = now;
}

/// Any live state -> `end`, with a result that is another task's: in a region that `result_hold`
/// has already, or inline (`token` is 0 then). Dying before the word leaves a live record with a
/// right in its result hold, which adoption gives up.
inline void end_with(TaskRecord& record, TaskState end, std::uint8_t attempts, std::uint64_t token,
                     std::span<const std::byte> result, std::uint64_t now) noexcept {
  write_result(record, token, result, now);
  move_to(record, end, attempts, no_party);
}

/// free -> terminal: a task that an earlier run ended, on record again because others read its
/// result. Told already. Dying before the word leaves a free record with a right in its result
/// hold, which adoption gives up.
inline void restore_ended(TaskRecord& record, const TaskRequestData& request, TaskState end,
                          std::uint8_t attempts, std::uint64_t token,
                          std::span<const std::byte> result, std::uint64_t now) noexcept {
  write_request(record, request, request_checksum(request));
  record.notified = 1;
  write_result(record, token, result, now);
  store(record.word, TaskWord::make(end, attempts, no_party, request.generation).word);
}

inline SlotBody result_body(const TaskRecord& record, std::uint32_t slot) noexcept {
  const TaskWord word = word_of(record);
  SlotBody body;
  body.kind = static_cast<std::uint16_t>(MessageKind::result);
  body.inline_bytes = record.result_inline_bytes;
  body.region_bytes = record.result_bytes;
  body.inline_data[0] = record.request.number;
  body.inline_data[1] =
      ResultWord::make(word.state(), word.attempt(), make_task_id(slot, word.generation())).word;
  std::memcpy(&body.inline_data[2], record.result_inline, task_inline_bytes_max);
  return body;
}

/// Tells the client, handing the right to the result over. False = its ring is full.
inline bool notify_client(TaskRecord& record, std::uint32_t slot, Hold& result_hold,
                          RingWriter& ring, PartyId client) noexcept {
  const std::uint64_t sequence = ring.claim();
  if (sequence == 0) return false;
  // Before the publication: the next supervisor compares it with the ring's tail, so the client
  // is told once.
  record.notice_sequence = sequence;
  const SlotBody body = result_body(record, slot);
  if (load(result_hold.token) != 0) {
    pass(ring, result_hold, Lane::data, client, body);
  } else {
    ring.write(sequence, body);
    ring.publish(sequence);
  }
  record.notified = 1;
  return true;
}

/// terminal -> free. The caller has seen both holds empty.
inline void recycle_record(TaskRecord& record) noexcept {
  move_to(record, TaskState::free, 0, no_party);
}

}  // namespace micro_swarm
