// The steps of a task's life on plain memory: what each leaves in the record, in the holds and in
// the rings. Death in the middle of them is tests/sweep/'s.

#include "supervisor/task_steps.hpp"

#include <array>
#include <boost/test/unit_test.hpp>
#include <cstring>
#include <memory>
#include <string_view>

namespace micro_swarm {
namespace {

constexpr std::uint32_t slot = 5;
constexpr PartyId agent = 3;
constexpr PartyId client = first_client;
constexpr std::uint32_t ring_size = 4;
const Token payload = Token::make(client, 17, 0, 1);
const Token result = Token::make(agent, 18, 0, 1);

struct TestRing {
  std::array<Slot, ring_size> slots{};
  Word cursor{};
  RingWriter writer{slots.data(), ring_size, &cursor, 1};

  TestRing() { store(cursor, Cursor::make(1, 0).word); }
  SlotBody last() {
    Word own{};
    store(own, Cursor::make(1, writer.sent() - 1).word);
    RingReader reader(slots.data(), ring_size, &own);
    BOOST_REQUIRE(reader.ready());
    return reader.front();
  }
  void fill() {
    while (writer.try_send({})) {
    }
  }
};

struct World {
  std::unique_ptr<TaskRecord> record = std::make_unique<TaskRecord>();
  TaskOptionsRow options;
  Hold payload_hold{};
  Hold result_hold{};
  TestRing to_agent;
  TestRing to_client;

  TaskRequestData request(std::uint32_t generation = 1) const {
    TaskRequestData data;
    data.client_key = 77;
    data.number = 42;
    data.payload_token = payload.word;
    data.payload_bytes = 1'000;
    data.generation = generation;
    data.client = client;
    data.capability = 9;
    data.priority = Priority::high;
    return data;
  }
  void accept(std::uint32_t generation = 1) {
    accept_task(*record, payload_hold, request(generation), {});
  }
  bool dispatch(Incarnation incarnation = 2) {
    return dispatch_task(*record, slot, options, to_agent.writer, agent, incarnation, 1'000);
  }
  SlotBody answer() const {
    SlotBody body;
    body.kind = static_cast<std::uint16_t>(MessageKind::complete);
    body.token = result.word;
    body.region_bytes = 500;
    return body;
  }
  TaskWord word() const { return word_of(*record); }
};

BOOST_AUTO_TEST_CASE(acceptance) {
  World w;
  w.record->crash = 99;
  w.record->notified = 1;
  w.record->cancel_requested = 1;
  w.accept(3);
  BOOST_TEST((w.word() == TaskWord::make(TaskState::ready, 0, no_party, 3)));
  BOOST_TEST(load(w.payload_hold.token) == payload.word);
  BOOST_TEST(w.record->checksum == request_checksum(w.record->request));
  BOOST_TEST(w.record->crash == 0u);
  BOOST_TEST(w.record->notified == 0);
  BOOST_TEST(w.record->cancel_requested == 0);
  w.record->request.number += 1;
  BOOST_TEST(w.record->checksum != request_checksum(w.record->request));
}

BOOST_AUTO_TEST_CASE(the_same_submission_again_takes_its_token_once) {
  World w;
  w.accept();
  accept_again(*w.record, w.payload_hold, payload, {});
  BOOST_TEST(load(w.payload_hold.token) == payload.word);
  store(w.payload_hold.token, 0);  // settling put the right back into the message
  accept_again(*w.record, w.payload_hold, payload, {});
  BOOST_TEST(load(w.payload_hold.token) == payload.word);
  store(w.payload_hold.token, 0);
  accept_again(*w.record, w.payload_hold, result, {});  // another's
  BOOST_TEST(load(w.payload_hold.token) == 0u);
}

BOOST_AUTO_TEST_CASE(dispatch_writes_intent_and_message) {
  World w;
  w.accept();
  BOOST_TEST(w.dispatch());
  BOOST_TEST((w.word() == TaskWord::make(TaskState::running, 1, agent, 1)));
  BOOST_TEST(w.record->dispatch_sequence == 1u);
  BOOST_TEST(w.record->dispatch_incarnation == 2);
  const SlotBody body = w.to_agent.last();
  BOOST_TEST(body.kind == static_cast<std::uint16_t>(MessageKind::dispatch));
  BOOST_TEST(body.token == payload.word);
  BOOST_TEST(body.region_bytes == 1'000u);
  BOOST_TEST(body.inline_data[0] == make_task_id(slot, 1));
  const AttemptWord attempt{body.inline_data[1]};
  BOOST_TEST(attempt.incarnation() == 2);
  BOOST_TEST(attempt.capability() == 9);
  BOOST_TEST(attempt.attempt() == 1);
  BOOST_TEST(load(w.payload_hold.token) == payload.word);  // lent, not given
}

BOOST_AUTO_TEST_CASE(a_full_ring_changes_nothing) {
  World w;
  w.accept();
  w.to_agent.fill();
  const TaskWord before = w.word();
  BOOST_TEST(!w.dispatch());
  BOOST_TEST((w.word() == before));
  BOOST_TEST(w.record->dispatch_sequence == 0u);
}

BOOST_AUTO_TEST_CASE(a_dispatch_is_redone_only_if_it_is_missing) {
  World w;
  w.accept();
  BOOST_TEST(w.dispatch());
  BOOST_TEST(!redo_dispatch(*w.record, slot, w.options, w.to_agent.writer));
  BOOST_TEST(w.to_agent.writer.sent() == 1u);
  const SlotBody original = w.to_agent.last();
  TestRing unpublished;  // the supervisor died between intent and effect
  BOOST_TEST(redo_dispatch(*w.record, slot, w.options, unpublished.writer));
  const SlotBody again = unpublished.last();
  BOOST_TEST(std::memcmp(&again, &original, sizeof again) == 0);
}

BOOST_AUTO_TEST_CASE(completion_is_the_one_terminal_state) {
  World w;
  w.accept();
  w.dispatch();
  complete_task(*w.record, w.result_hold, w.answer(), TaskState::done, 2'000, {});
  BOOST_TEST((w.word() == TaskWord::make(TaskState::done, 1, agent, 1)));
  BOOST_TEST(load(w.result_hold.token) == result.word);
  BOOST_TEST(w.record->result_bytes == 500u);
  BOOST_TEST(w.record->finished_ns == 2'000u);
}

BOOST_AUTO_TEST_CASE(the_same_answer_again_is_known) {
  World w;
  w.accept();
  w.dispatch();
  complete_task(*w.record, w.result_hold, w.answer(), TaskState::done, 2'000, {});
  // Held already: a second token of that name cannot be right.
  BOOST_TEST(!complete_again(*w.record, w.result_hold, w.answer(), {}));
  store(w.result_hold.token, 0);  // settling put the right back into the message
  BOOST_TEST(complete_again(*w.record, w.result_hold, w.answer(), {}));
  BOOST_TEST(load(w.result_hold.token) == result.word);
  SlotBody other = w.answer();
  other.token = Token::make(agent, 19, 0, 1).word;
  BOOST_TEST(!complete_again(*w.record, w.result_hold, other, {}));
  store(w.result_hold.token, 0);
  w.record->notified = 1;  // the client has it
  BOOST_TEST(!complete_again(*w.record, w.result_hold, w.answer(), {}));
}

BOOST_AUTO_TEST_CASE(attempts_grow_with_each_execution) {
  World w;
  w.accept();
  for (std::uint8_t attempt = 1; attempt <= 3; ++attempt) {
    BOOST_TEST(w.dispatch());
    BOOST_TEST(w.word().attempt() == attempt);
    requeue_task(*w.record);
    BOOST_TEST((w.word() == TaskWord::make(TaskState::ready, attempt, no_party, 1)));
  }
}

BOOST_AUTO_TEST_CASE(each_life_counts_as_one_crash) {
  World w;
  w.accept();
  BOOST_TEST(count_crash(*w.record, agent, 1) == 1);
  BOOST_TEST(count_crash(*w.record, agent, 1) == 1);  // a new supervisor looks again
  BOOST_TEST(count_crash(*w.record, agent, 2) == 2);
  BOOST_TEST(count_crash(*w.record, agent + 1, 2) == 3);
}

BOOST_AUTO_TEST_CASE(an_end_without_an_answer_has_no_result) {
  World w;
  w.accept();
  w.dispatch();
  end_task(*w.record, TaskState::timed_out, 3'000);
  BOOST_TEST((w.word() == TaskWord::make(TaskState::timed_out, 1, agent, 1)));
  const SlotBody body = result_body(*w.record, slot);
  BOOST_TEST(body.region_bytes == 0u);
  BOOST_TEST(body.inline_bytes == 0);
  const ResultWord said{body.inline_data[1]};
  BOOST_TEST((said.state() == TaskState::timed_out));
  BOOST_TEST(said.attempts() == 1);
  BOOST_TEST(said.id() == make_task_id(slot, 1));
}

BOOST_AUTO_TEST_CASE(the_client_is_told_and_given_the_result) {
  World w;
  w.accept();
  w.dispatch();
  complete_task(*w.record, w.result_hold, w.answer(), TaskState::done, 2'000, {});
  w.to_client.fill();
  BOOST_TEST(!notify_client(*w.record, slot, w.result_hold, w.to_client.writer, client));
  BOOST_TEST(w.record->notified == 0);
  BOOST_TEST(load(w.result_hold.token) == result.word);
  store(w.to_client.cursor, Cursor::make(1, ring_size).word);
  BOOST_TEST(notify_client(*w.record, slot, w.result_hold, w.to_client.writer, client));
  BOOST_TEST(w.record->notified == 1);
  BOOST_TEST(w.record->notice_sequence == ring_size + 1u);
  BOOST_TEST(load(w.result_hold.token) == 0u);
  const SlotBody body = w.to_client.last();
  BOOST_TEST(body.token == result.word);
  BOOST_TEST(body.region_bytes == 500u);
  BOOST_TEST(body.inline_data[0] == 42u);
}

BOOST_AUTO_TEST_CASE(a_revived_task_has_nothing_against_it_and_nobody_waiting) {
  World w;
  w.accept();
  w.dispatch();
  count_crash(*w.record, agent, 1);
  w.record->cancel_requested = 1;
  end_task(*w.record, TaskState::dead_letter, 3'000);
  BOOST_TEST(notify_client(*w.record, slot, w.result_hold, w.to_client.writer, client));
  revive_task(*w.record, 5);
  BOOST_TEST((w.word() == TaskWord::make(TaskState::ready, 1, no_party, 1)));
  BOOST_TEST(w.record->crash == 0u);
  BOOST_TEST(w.record->cancel_requested == 0);
  BOOST_TEST(w.record->notified == 0);
  BOOST_TEST(w.record->notice_sequence == 0u);
  BOOST_TEST(counts_from_ns(*w.record) == w.record->request.accepted_ns + 5'000'000);
  BOOST_TEST(w.record->checksum == request_checksum(w.record->request));
  BOOST_TEST(w.dispatch());
  BOOST_TEST(w.word().attempt() == 2);
  // Its result, received again after a death, takes its right again: nobody was told.
  complete_task(*w.record, w.result_hold, w.answer(), TaskState::done, 4'000, {});
  store(w.result_hold.token, 0);
  BOOST_TEST(complete_again(*w.record, w.result_hold, w.answer(), {}));
  BOOST_TEST(load(w.result_hold.token) == result.word);
}

BOOST_AUTO_TEST_CASE(a_record_used_again_is_another_task) {
  World w;
  w.accept(1);
  end_task(*w.record, TaskState::cancelled, 1);
  recycle_record(*w.record);
  BOOST_TEST((w.word().state() == TaskState::free));
  BOOST_TEST(w.word().generation() == 1u);  // what the next one counts from
  store(w.payload_hold.token, 0);
  w.accept(2);
  BOOST_TEST((w.word() == TaskWord::make(TaskState::ready, 0, no_party, 2)));
}

}  // namespace
}  // namespace micro_swarm
