// An agent, whole but for its process: run_agent on a thread of this test, the supervisor's side
// played by hand. Here: handshake, dispatch, cancel, drain, what is malformed.

#include <array>
#include <boost/test/unit_test.hpp>

#include "test_agent.hpp"

using namespace micro_swarm;
using namespace micro_swarm::testing;

BOOST_AUTO_TEST_SUITE(agent_runtime)

BOOST_AUTO_TEST_CASE(registers_works_and_drains) {
  TestAgent agent(7);
  BOOST_CHECK_EQUAL(agent.supervisor.party().header().pid, ::getpid());
  agent.supervisor.dispatch(3, TestAgent::echo, "hello");
  const SlotBody body = agent.supervisor.next();
  BOOST_CHECK_EQUAL(body.kind, static_cast<std::uint16_t>(MessageKind::complete));
  BOOST_CHECK_EQUAL(body.inline_data[0], make_task_id(3, 1));
  BOOST_CHECK_EQUAL(attempt_of(body).incarnation(), 1);
  BOOST_CHECK_GT(attempt_of(body).worked_ns(), 0u);
  BOOST_CHECK_EQUAL(attempt_of(body).attempt(), 1);
  BOOST_CHECK(outcome_of(body) == Outcome::done);
  BOOST_CHECK_EQUAL(inline_text(body), "hello");
  BOOST_CHECK_EQUAL(body.token, 0u);

  agent.supervisor.send(PartyMessageKind::drain);
  agent.supervisor.expect(PartyMessageKind::leaving);
  BOOST_CHECK(agent.join().has_value());
  BOOST_CHECK(!agent.orphaned);
  const SegmentHeader& header = agent.supervisor.party().header();
  BOOST_CHECK_EQUAL(load(header.tasks_completed), 1u);
  BOOST_CHECK_EQUAL(load(header.task_in_hand), 0u);
  BOOST_CHECK_EQUAL(load(header.messages_malformed), 0u);
  BOOST_CHECK(load(header.progress) != 0);
}

BOOST_AUTO_TEST_CASE(what_is_in_the_ring_is_done_before_a_drain_ends) {
  TestAgent agent(7);
  agent.supervisor.dispatch(0, TestAgent::gate);
  for (std::uint32_t slot = 1; slot < 4; ++slot) agent.supervisor.dispatch(slot, TestAgent::noop);
  agent.wait_until_running(0);
  agent.supervisor.send(PartyMessageKind::drain);
  agent.open_gate();
  for (std::uint32_t slot = 0; slot < 4; ++slot)
    BOOST_CHECK_EQUAL(agent.supervisor.next().inline_data[0], make_task_id(slot, 1));
  agent.supervisor.expect(PartyMessageKind::leaving);
}

BOOST_AUTO_TEST_CASE(what_waits_together_is_done_together) {
  TestAgent agent(7);
  FakeSupervisor& supervisor = agent.supervisor;
  supervisor.dispatch(0, TestAgent::gate);
  agent.wait_until_running(0);
  const auto number = [](std::uint32_t slot) { return "task " + std::to_string(slot); };
  for (std::uint32_t slot = 1; slot <= 6; ++slot)
    supervisor.dispatch(slot, TestAgent::batch, number(slot));
  supervisor.dispatch(7, TestAgent::noop);  // of another kind: ends a batch, and is done after it
  supervisor.dispatch(8, TestAgent::batch, number(8));
  supervisor.dispatch(9, TestAgent::batch, "throw");
  agent.open_gate();
  supervisor.next();
  for (std::uint32_t slot = 1; slot <= 9; ++slot) {
    const SlotBody body = supervisor.next();
    BOOST_CHECK_EQUAL(body.inline_data[0], make_task_id(slot, 1));
    if (slot >= 8) {  // one that throws fails all that are with it
      BOOST_CHECK(outcome_of(body) == Outcome::failed);
      BOOST_CHECK_EQUAL(inline_text(body), "thrown");
    } else if (slot != 7) {
      BOOST_CHECK_EQUAL(inline_text(body), number(slot));
    }
  }
  agent.end_life();
  const std::vector<std::size_t> expected{4, 2, 2};
  BOOST_CHECK_EQUAL_COLLECTIONS(agent.batches.begin(), agent.batches.end(), expected.begin(),
                                expected.end());
}

// What may have crashed an agent is found by being alone.
BOOST_AUTO_TEST_CASE(what_was_tried_before_is_done_alone) {
  TestAgent agent(7);
  FakeSupervisor& supervisor = agent.supervisor;
  supervisor.dispatch(0, TestAgent::gate);
  agent.wait_until_running(0);
  for (std::uint32_t slot = 1; slot <= 5; ++slot)
    supervisor.publish(supervisor.dispatch_body(slot, TestAgent::batch, "text", slot == 3 ? 2 : 1));
  agent.open_gate();
  supervisor.next();
  for (std::uint32_t slot = 1; slot <= 5; ++slot)
    BOOST_CHECK_EQUAL(supervisor.next().inline_data[0], make_task_id(slot, 1));
  agent.end_life();
  const std::vector<std::size_t> expected{2, 1, 2};
  BOOST_CHECK_EQUAL_COLLECTIONS(agent.batches.begin(), agent.batches.end(), expected.begin(),
                                expected.end());
}

BOOST_AUTO_TEST_CASE(takes_no_dispatch_before_the_roster_names_it) {
  TestAgent agent(7, TestAgent::Start::registered);
  agent.supervisor.dispatch(0, TestAgent::noop);
  // A supervisor that died before it stored the roster word: the next one asks again.
  agent.supervisor.send(PartyMessageKind::new_supervisor, 2);
  agent.supervisor.take_registration();
  BOOST_CHECK(agent.supervisor.nothing_from_party());
  agent.supervisor.admit();
  BOOST_CHECK_EQUAL(agent.supervisor.next().inline_data[0], make_task_id(0, 1));
}

BOOST_AUTO_TEST_CASE(a_refusal_ends_it_with_the_reason) {
  TestAgent agent(7, TestAgent::Start::registered);
  PartyMessage refused;
  refused.kind = PartyMessageKind::refused;
  std::strcpy(refused.text, "wrong version");
  agent.supervisor.send(refused);
  const auto ended = agent.join();
  BOOST_REQUIRE(!ended.has_value());
  BOOST_CHECK(ended.error().code == ErrorCode::refused);
  BOOST_CHECK_EQUAL(ended.error().message, "wrong version");
}

BOOST_AUTO_TEST_CASE(skips_what_is_not_for_it_any_more) {
  TestAgent agent(7);
  FakeSupervisor& supervisor = agent.supervisor;
  SlotBody other_life = supervisor.dispatch_body(0, TestAgent::noop, {});
  other_life.inline_data[1] = AttemptWord::make(9, TestAgent::noop, 1, 0).word;
  supervisor.publish(other_life);
  SlotBody moved = supervisor.dispatch_body(1, TestAgent::noop, {});
  store(supervisor.view().records()[1].word, TaskWord::make(TaskState::cancelled, 1, 7, 1).word);
  supervisor.publish(moved);
  SlotBody old_attempt = supervisor.dispatch_body(2, TestAgent::noop, {}, 1);
  store(supervisor.view().records()[2].word, TaskWord::make(TaskState::running, 2, 7, 1).word);
  supervisor.publish(old_attempt);
  SlotBody elsewhere = supervisor.dispatch_body(3, TestAgent::noop, {}, 1);
  store(supervisor.view().records()[3].word, TaskWord::make(TaskState::running, 1, 8, 1).word);
  supervisor.publish(elsewhere);
  supervisor.dispatch(4, TestAgent::noop);
  BOOST_CHECK_EQUAL(supervisor.next().inline_data[0], make_task_id(4, 1));
  BOOST_CHECK_EQUAL(
      Cursor{load(supervisor.party().cursor(supervisor_party, Lane::data))}.consumed(), 5u);
  BOOST_CHECK_EQUAL(load(supervisor.party().header().messages_malformed), 0u);
}

BOOST_AUTO_TEST_CASE(counts_malformed_messages_and_goes_on) {
  TestAgent agent(7);
  FakeSupervisor& supervisor = agent.supervisor;
  SlotBody body = supervisor.dispatch_body(0, TestAgent::noop, {});
  body.kind = 77;
  supervisor.publish(body);
  body = supervisor.dispatch_body(0, TestAgent::noop, {});
  body.inline_bytes = 25;
  supervisor.publish(body);
  body = supervisor.dispatch_body(0, TestAgent::noop, {});
  body.inline_data[0] = make_task_id(fake_task_capacity, 1);
  supervisor.publish(body);
  body = supervisor.dispatch_body(0, TestAgent::noop, {});
  body.token = 12345;  // not present
  supervisor.publish(body);
  // On the socket: a short packet, an unknown kind, a descriptor nobody asked for, one too few.
  const std::array<std::byte, 3> half{};
  BOOST_REQUIRE_EQUAL(send_with_fds(supervisor.socket(), half, {}, true), 3);
  supervisor.send(static_cast<PartyMessageKind>(999));
  PartyMessage message;
  message.kind = PartyMessageKind::drain;
  supervisor.send(message, {supervisor.eventfd()});
  message.kind = PartyMessageKind::bank_mapped;
  supervisor.send(message);
  // bank_mapped with something that is no bank
  message.c = 1;
  message.d = fake_region_bytes;
  supervisor.send(message, {supervisor.eventfd()});
  supervisor.send(PartyMessageKind::probe, 5);
  BOOST_CHECK_EQUAL(supervisor.expect(PartyMessageKind::pong).message.a, 5u);
  supervisor.dispatch(1, TestAgent::noop);
  BOOST_CHECK_EQUAL(supervisor.next().inline_data[0], make_task_id(1, 1));
  // The socket's are counted with the next mail.
  supervisor.send(PartyMessageKind::drain);
  supervisor.expect(PartyMessageKind::leaving);
  BOOST_CHECK_EQUAL(load(supervisor.party().header().messages_malformed), 9u);
}

BOOST_AUTO_TEST_CASE(a_probe_is_answered_while_a_task_runs) {
  TestAgent agent(7);
  agent.supervisor.dispatch(0, TestAgent::gate);
  agent.wait_until_running(0);
  agent.supervisor.send(PartyMessageKind::probe, 42);
  BOOST_CHECK_EQUAL(agent.supervisor.expect(PartyMessageKind::pong).message.a, 42u);
  BOOST_CHECK_EQUAL(load(agent.supervisor.party().header().state),
                    static_cast<std::uint64_t>(PartyState::busy));
  agent.open_gate();
  agent.supervisor.next();
  FakeSupervisor::wait_until([&] {
    return load(agent.supervisor.party().header().state) ==
           static_cast<std::uint64_t>(PartyState::idle);
  });
}

BOOST_AUTO_TEST_CASE(cancel_stops_a_task_in_hand_and_one_in_the_ring) {
  TestAgent agent(7);
  agent.supervisor.dispatch(0, TestAgent::sleep, "3600000");
  agent.supervisor.dispatch(1, TestAgent::echo, "not run");
  agent.supervisor.dispatch(2, TestAgent::echo, "run");
  agent.wait_until_running(0);
  agent.supervisor.send(PartyMessageKind::cancel, make_task_id(1, 1));
  agent.supervisor.send(PartyMessageKind::cancel, make_task_id(0, 1));
  for (const std::uint32_t slot : {0u, 1u}) {
    const SlotBody body = agent.supervisor.next();
    BOOST_CHECK_EQUAL(body.inline_data[0], make_task_id(slot, 1));
    BOOST_CHECK(outcome_of(body) == Outcome::cancelled);
    BOOST_CHECK_EQUAL(body.inline_bytes, 0);
  }
  BOOST_CHECK_EQUAL(inline_text(agent.supervisor.next()), "run");
}

BOOST_AUTO_TEST_CASE(failures_come_back_as_text) {
  TestAgent agent(7);
  agent.supervisor.dispatch(0, TestAgent::fail, "no luck");
  SlotBody body = agent.supervisor.next();
  BOOST_CHECK(outcome_of(body) == Outcome::failed);
  BOOST_CHECK_EQUAL(inline_text(body), "no luck");
  agent.supervisor.dispatch(1, TestAgent::throws);
  body = agent.supervisor.next();
  BOOST_CHECK(outcome_of(body) == Outcome::failed);
  BOOST_CHECK_EQUAL(inline_text(body), "thrown");
  agent.supervisor.dispatch(2, TestAgent::unbound);
  agent.supervisor.grant_bank(9, 1);  // the text is longer than a message
  body = agent.supervisor.next();
  BOOST_CHECK(outcome_of(body) == Outcome::failed);
  BOOST_CHECK_EQUAL(agent.supervisor.bytes_of(Token{body.token}, body.region_bytes),
                    "no operation is called 'nobody' here");
  BOOST_CHECK_EQUAL(load(agent.supervisor.party().header().tasks_failed), 3u);
}

BOOST_AUTO_TEST_CASE(end_of_file_means_the_swarm_is_gone) {
  TestAgent agent(7);
  agent.supervisor.dispatch(0, TestAgent::gate);
  agent.wait_until_running(0);
  agent.supervisor.close_socket();  // in the middle of a task
  FakeSupervisor::wait_until([&] { return agent.orphaned.load(); });
  agent.open_gate();
  BOOST_CHECK(agent.join().has_value());
}

BOOST_AUTO_TEST_CASE(the_recorder_tells_what_happened_last) {
  TestAgent agent(7);
  agent.supervisor.dispatch(5, TestAgent::noop);
  agent.supervisor.next();
  agent.supervisor.send(PartyMessageKind::drain);
  agent.supervisor.expect(PartyMessageKind::leaving);
  agent.join();
  const FlightRecorder& recorder = agent.supervisor.party().recorder();
  std::vector<FlightCode> seen;
  for (std::uint64_t i = 0; i < load(recorder.count); ++i)
    if (recorder.events[i].code != FlightCode::parked) seen.push_back(recorder.events[i].code);
  const std::vector<FlightCode> expected{FlightCode::registered, FlightCode::live,
                                         FlightCode::handler_started, FlightCode::completed,
                                         FlightCode::drain_seen};
  BOOST_CHECK(seen == expected);
}

BOOST_AUTO_TEST_SUITE_END()
