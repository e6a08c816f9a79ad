#include "ipc/ring.hpp"

#include <array>
#include <boost/test/unit_test.hpp>
#include <cstdint>
#include <vector>

using namespace micro_swarm;

namespace {

constexpr std::uint32_t slot_count = 4;
constexpr Incarnation incarnation = 3;

SlotBody message(std::uint64_t value) {
  SlotBody body;
  body.kind = 7;
  body.inline_bytes = 8;
  body.inline_data[0] = value;
  body.inline_data[4] = ~value;
  return body;
}

/// A ring in ordinary memory: slots of the producer, cursor of the consumer.
struct Ring {
  std::array<Slot, slot_count> slots{};
  Word cursor{Cursor::make(incarnation, 0).word};
  RingWriter writer{slots.data(), slot_count, &cursor, incarnation};
  RingReader reader{slots.data(), slot_count, &cursor};

  Cursor stored_cursor() const { return Cursor{load(cursor)}; }
  /// Consumes one message and returns the value it carries.
  std::uint64_t take() {
    BOOST_REQUIRE(reader.ready());
    const SlotBody body = reader.front();
    BOOST_TEST(body.inline_data[4] == ~body.inline_data[0]);
    reader.advance();
    return body.inline_data[0];
  }
};

}  // namespace

BOOST_AUTO_TEST_CASE(a_new_ring_is_empty_and_has_all_its_space) {
  Ring ring;
  BOOST_TEST(!ring.reader.ready());
  BOOST_TEST(ring.writer.space() == slot_count);
  BOOST_TEST(ring.writer.claim() == 1u);
  BOOST_TEST(find_tail(ring.slots.data(), slot_count) == 0u);
}

BOOST_AUTO_TEST_CASE(messages_come_out_in_order_and_whole_over_many_rounds) {
  Ring ring;
  std::uint64_t sent = 0;
  std::uint64_t taken = 0;
  // Runs of every length from 1 to the ring's size, so that each start slot meets each length.
  for (std::uint32_t run = 1; run <= slot_count; ++run)
    for (int round = 0; round < 9; ++round) {
      for (std::uint32_t i = 0; i < run; ++i) BOOST_REQUIRE(ring.writer.try_send(message(++sent)));
      for (std::uint32_t i = 0; i < run; ++i) BOOST_TEST(ring.take() == ++taken);
      BOOST_TEST(!ring.reader.ready());
    }
  BOOST_TEST(ring.stored_cursor().consumed() == sent);
}

BOOST_AUTO_TEST_CASE(a_full_ring_refuses_and_changes_nothing) {
  Ring ring;
  for (std::uint64_t i = 1; i <= slot_count; ++i) BOOST_REQUIRE(ring.writer.try_send(message(i)));
  const auto before = ring.slots[0].body;
  BOOST_TEST(ring.writer.claim() == 0u);
  BOOST_TEST(!ring.writer.has_space(1));
  BOOST_TEST(ring.writer.space() == 0u);
  BOOST_TEST(!ring.writer.try_send(message(99)));
  BOOST_TEST((ring.slots[0].body == before));
  BOOST_TEST(load(ring.slots[0].sequence) == 1u);
  BOOST_TEST(ring.take() == 1u);
  BOOST_TEST(ring.writer.claim() == slot_count + 1);
  BOOST_TEST(ring.writer.has_space(1));
  BOOST_TEST(!ring.writer.has_space(2));
}

BOOST_AUTO_TEST_CASE(nothing_is_there_before_the_sequence_is_stored) {
  Ring ring;
  const std::uint64_t sequence = ring.writer.claim();
  ring.writer.write(sequence, message(5));
  BOOST_TEST(!ring.reader.ready());
  BOOST_TEST(find_tail(ring.slots.data(), slot_count) == 0u);
  ring.writer.publish(sequence);
  BOOST_TEST(ring.take() == 5u);
}

BOOST_AUTO_TEST_CASE(a_half_written_slot_still_has_its_old_sequence) {
  Ring ring;
  for (std::uint64_t i = 1; i <= slot_count; ++i) ring.writer.try_send(message(i));
  for (std::uint64_t i = 1; i <= slot_count; ++i) ring.take();
  ring.writer.write(ring.writer.claim(), message(77));
  BOOST_TEST(!ring.reader.ready());
  BOOST_TEST(find_tail(ring.slots.data(), slot_count) == slot_count);
}

BOOST_AUTO_TEST_CASE(a_batch_is_cut_to_the_space_there_is) {
  Ring ring;
  BOOST_REQUIRE(ring.writer.try_send(message(1)));
  const auto make = [](std::uint32_t i) { return message(2 + i); };
  BOOST_TEST(ring.writer.try_send_batch(10, make) == slot_count - 1);
  BOOST_TEST(ring.writer.try_send_batch(10, make) == 0u);

  std::vector<std::uint64_t> got;
  const auto keep = [&](const SlotBody& body) { got.push_back(body.inline_data[0]); };
  BOOST_TEST(ring.reader.consume_batch(3, keep) == 3u);
  BOOST_TEST(ring.stored_cursor().consumed() == 3u);
  BOOST_TEST(ring.reader.consume_batch(100, keep) == slot_count - 3);
  BOOST_TEST(ring.reader.consume_batch(100, keep) == 0u);
  BOOST_TEST(got == (std::vector<std::uint64_t>{1, 2, 3, 4}), boost::test_tools::per_element());
}

BOOST_AUTO_TEST_CASE(a_batch_moves_the_cursor_once_after_the_last_message) {
  Ring ring;
  for (std::uint64_t i = 1; i <= 3; ++i) ring.writer.try_send(message(i));
  ring.reader.consume_batch(
      3, [&](const SlotBody&) { BOOST_TEST(ring.stored_cursor().consumed() == 0u); });
  BOOST_TEST(ring.stored_cursor().consumed() == 3u);
}

BOOST_AUTO_TEST_CASE(messages_ahead_can_be_seen_without_consuming) {
  Ring ring;
  for (std::uint64_t i = 1; i <= 3; ++i) ring.writer.try_send(message(i));
  for (std::uint32_t ahead = 0; ahead < 3; ++ahead) {
    BOOST_TEST(ring.reader.ready(ahead));
    BOOST_TEST(ring.reader.front(ahead).inline_data[0] == ahead + 1);
  }
  BOOST_TEST(!ring.reader.ready(3));
  // One whole ring ahead lies the same slot: its sequence is the wrong one.
  BOOST_TEST(!ring.reader.ready(slot_count));
}

BOOST_AUTO_TEST_CASE(the_tail_is_found_at_every_fill) {
  for (std::uint64_t total = 0; total <= 3 * slot_count; ++total) {
    Ring ring;
    for (std::uint64_t i = 1; i <= total; ++i) {
      BOOST_REQUIRE(ring.writer.try_send(message(i)));
      ring.take();
    }
    BOOST_TEST(find_tail(ring.slots.data(), slot_count) == total);
  }
}

BOOST_AUTO_TEST_CASE(a_new_writer_of_the_same_memory_goes_on_at_the_tail) {
  Ring ring;
  for (std::uint64_t i = 1; i <= 6; ++i) {
    ring.writer.try_send(message(i));
    if (i <= 4) ring.take();
  }
  RingWriter next(ring.slots.data(), slot_count, &ring.cursor, incarnation,
                  find_tail(ring.slots.data(), slot_count));
  BOOST_TEST(next.consumed() == 4u);
  BOOST_TEST(!next.lying());
  BOOST_TEST(next.space() == 2u);
  BOOST_TEST(next.try_send(message(7)));
  BOOST_TEST(next.try_send(message(8)));
  BOOST_TEST(!next.try_send(message(9)));
  for (std::uint64_t i = 5; i <= 8; ++i) BOOST_TEST(ring.take() == i);
}

BOOST_AUTO_TEST_CASE(a_new_reader_goes_on_at_the_cursor) {
  Ring ring;
  for (std::uint64_t i = 1; i <= 3; ++i) ring.writer.try_send(message(i));
  ring.take();
  Word inherited{load(ring.cursor)};
  RingReader next(ring.slots.data(), slot_count, &inherited);
  BOOST_REQUIRE(next.ready());
  BOOST_TEST(next.front().inline_data[0] == 2u);
  BOOST_TEST((next.at() == Cursor::make(incarnation, 1)));
}

BOOST_AUTO_TEST_CASE(moving_to_the_next_incarnation_is_one_store_and_starts_at_its_first_message) {
  Ring ring;
  ring.writer.try_send(message(1));
  ring.take();
  std::array<Slot, slot_count> successor_slots{};
  RingWriter successor(successor_slots.data(), slot_count, &ring.cursor, incarnation + 1);
  BOOST_TEST(successor.try_send(message(100)));
  BOOST_TEST(!ring.reader.ready());
  // The cursor still names the predecessor: the successor counts none of its messages consumed.
  BOOST_TEST(successor.consumed() == 0u);
  BOOST_TEST(!successor.lying());

  ring.reader.move_to(successor_slots.data(), incarnation + 1);
  BOOST_TEST((ring.stored_cursor() == Cursor::make(incarnation + 1, 0)));
  BOOST_TEST(ring.take() == 100u);
  BOOST_TEST(successor.consumed() == 1u);
}

BOOST_AUTO_TEST_CASE(a_cursor_ahead_of_what_was_sent_is_a_lie_and_gives_no_space) {
  Ring ring;
  for (std::uint64_t i = 1; i <= slot_count; ++i) ring.writer.try_send(message(i));
  store(ring.cursor, Cursor::make(incarnation, slot_count + 1).word);
  BOOST_TEST(ring.writer.claim() == 0u);
  BOOST_TEST(ring.writer.lying());
}

BOOST_AUTO_TEST_CASE(a_cursor_that_goes_back_is_a_lie) {
  Ring ring;
  for (std::uint64_t i = 1; i <= 3; ++i) ring.writer.try_send(message(i));
  store(ring.cursor, Cursor::make(incarnation, 2).word);
  BOOST_TEST(ring.writer.consumed() == 2u);
  BOOST_TEST(!ring.writer.lying());
  store(ring.cursor, Cursor::make(incarnation, 1).word);
  BOOST_TEST(ring.writer.consumed() == 2u);
  BOOST_TEST(ring.writer.lying());
}

BOOST_AUTO_TEST_CASE(the_producer_looks_at_the_cursor_only_when_it_must) {
  Ring ring;
  ring.writer.try_send(message(1));
  store(ring.cursor,
        Cursor::make(incarnation, 3).word);  // a lie, but there is space without asking
  BOOST_TEST(ring.writer.claim() == 2u);
  BOOST_TEST(!ring.writer.lying());
}
