// Producer and consumer as threads on ONE mapping: what the thread sanitizer can judge. The counts
// are the test's work, not a measurement.

#include <array>
#include <atomic>
#include <boost/test/unit_test.hpp>
#include <cstdint>
#include <memory>
#include <thread>

#include "ipc/bell.hpp"
#include "ipc/ring.hpp"

using namespace micro_swarm;

namespace {

#if defined(MS_THREAD_SANITIZER)
constexpr std::uint64_t messages = 400'000;
#else
constexpr std::uint64_t messages = 2'000'000;
#endif
constexpr std::uint64_t parked_round_trips = 20'000;
constexpr std::uint32_t slot_count = 32;
constexpr Incarnation incarnation = 1;

SlotBody message(std::uint64_t value) {
  SlotBody body;
  body.kind = static_cast<std::uint16_t>(value);
  body.token = value;
  for (std::uint64_t i = 0; i < 5; ++i) body.inline_data[i] = value * 7 + i;
  return body;
}

/// A producer's slots, its consumer's cursor and bell.
struct Link {
  std::array<Slot, slot_count> slots{};
  alignas(64) Word cursor{Cursor::make(incarnation, 0).word};
  alignas(64) Word asleep{0};
  alignas(64) BellPage bell{};

  RingWriter writer() { return {slots.data(), slot_count, &cursor, incarnation}; }
  RingReader reader() { return {slots.data(), slot_count, &cursor}; }
};

/// Sends 1..count in order, `batch` at a time, spinning while the ring is full.
void produce(Link& link, std::uint64_t count, std::uint32_t batch) {
  RingWriter writer = link.writer();
  std::uint64_t next = 1;
  while (next <= count) {
    const auto left = static_cast<std::uint32_t>(std::min<std::uint64_t>(batch, count - next + 1));
    const std::uint32_t sent =
        writer.try_send_batch(left, [&](std::uint32_t i) { return message(next + i); });
    if (sent == 0) std::this_thread::yield();
    next += sent;
  }
}

/// Number of messages that were not the expected one, byte for byte.
std::uint64_t consume(Link& link, std::uint64_t count, std::uint32_t batch) {
  RingReader reader = link.reader();
  std::uint64_t taken = 0;
  std::uint64_t wrong = 0;
  while (taken < count) {
    const std::uint32_t got = reader.consume_batch(batch, [&](const SlotBody& body) {
      if (!(body == message(++taken))) ++wrong;
    });
    if (got == 0) std::this_thread::yield();
  }
  return wrong;
}

void one_way(std::uint32_t producer_batch, std::uint32_t consumer_batch) {
  const auto link = std::make_unique<Link>();
  std::thread producer([&] { produce(*link, messages, producer_batch); });
  const std::uint64_t wrong = consume(*link, messages, consumer_batch);
  producer.join();
  BOOST_TEST(wrong == 0u);
  BOOST_TEST(Cursor{load(link->cursor)}.consumed() == messages);
}

/// Waits on the own bell for the next message; parks at once when `spin_ns` is 0.
SlotBody wait_for_message(Link& link, RingReader& reader, std::uint64_t spin_ns) {
  // The timeout is far beyond what a test may take: a lost wake-up fails the test by its duration.
  while (!wait_on_bell(link.asleep, link.bell, spin_ns, 30 * ns_per_s,
                       [&] { return reader.ready(); })) {
  }
  const SlotBody body = reader.front();
  reader.advance();
  return body;
}

void round_trips(std::uint64_t spin_ns) {
  const auto ping = std::make_unique<Link>();
  const auto pong = std::make_unique<Link>();
  std::thread echo([&] {
    RingReader in = ping->reader();
    RingWriter out = pong->writer();
    for (std::uint64_t i = 0; i < parked_round_trips; ++i) {
      const SlotBody body = wait_for_message(*ping, in, spin_ns);
      out.try_send(body);
      ring_bell(pong->asleep, pong->bell);
    }
  });
  RingWriter out = ping->writer();
  RingReader in = pong->reader();
  std::uint64_t wrong = 0;
  for (std::uint64_t i = 1; i <= parked_round_trips; ++i) {
    out.try_send(message(i));
    ring_bell(ping->asleep, ping->bell);
    if (!(wait_for_message(*pong, in, spin_ns) == message(i))) ++wrong;
  }
  echo.join();
  BOOST_TEST(wrong == 0u);
}

}  // namespace

BOOST_AUTO_TEST_CASE(one_at_a_time) { one_way(1, 1); }

BOOST_AUTO_TEST_CASE(in_batches) { one_way(16, 32); }

BOOST_AUTO_TEST_CASE(a_fast_producer_and_a_slow_taker) { one_way(32, 1); }

BOOST_AUTO_TEST_CASE(round_trips_that_park_at_once) { round_trips(0); }

BOOST_AUTO_TEST_CASE(round_trips_that_spin_first) { round_trips(50'000); }

BOOST_AUTO_TEST_CASE(a_reader_moves_between_lives_of_its_producer_without_losing_a_message) {
  constexpr std::uint64_t lives = 200;
  constexpr std::uint64_t per_life = 100;
  struct Life {
    std::array<Slot, slot_count> slots{};
  };
  const auto memory = std::make_unique<std::array<Life, lives + 1>>();
  alignas(64) Word cursor{Cursor::make(1, 0).word};
  alignas(64) Word roster{RosterWord::make(RosterState::live, 1).word};

  std::thread producer([&] {
    for (Incarnation life = 1; life <= lives; ++life) {
      // A successor sends only after the roster names it.
      store(roster, RosterWord::make(RosterState::live, life).word);
      RingWriter writer((*memory)[life].slots.data(), slot_count, &cursor, life);
      for (std::uint64_t i = 0; i < per_life; ++i)
        while (!writer.try_send(message(life * per_life + i))) std::this_thread::yield();
    }
  });

  RingReader reader((*memory)[1].slots.data(), slot_count, &cursor);
  std::uint64_t wrong = 0;
  for (std::uint64_t expected = per_life; expected < (lives + 1) * per_life; ++expected) {
    for (;;) {
      if (reader.ready()) break;
      const RosterWord seen{load(roster)};  // roster first, then the slot once more
      if (reader.ready()) break;
      const Incarnation at = reader.at().incarnation();
      if (seen.incarnation() > at)
        reader.move_to((*memory)[at + 1].slots.data(), static_cast<Incarnation>(at + 1));
      else
        std::this_thread::yield();
    }
    if (!(reader.front() == message(expected))) ++wrong;
    reader.advance();
  }
  producer.join();
  BOOST_TEST(wrong == 0u);
}
