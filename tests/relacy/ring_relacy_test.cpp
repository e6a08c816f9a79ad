// Memory orders of ring and bell, explored by relacy on the production templates.
//
// ring.relacy: no execution fails. ring.relacy_planted: each weakened order is found.

#include <boost/test/unit_test.hpp>
#include <iostream>
#include <streambuf>
#include <string>

#include "ipc/bell.hpp"
#include "ipc/ring.hpp"
#include "tests/relacy/relacy_atomics.hpp"

using namespace micro_swarm;
using namespace micro_swarm::checked;

namespace {

constexpr Incarnation incarnation = 1;

SlotBody message(std::uint64_t value) {
  SlotBody body;
  body.token = value;
  body.inline_data[0] = value * 3;
  return body;
}
bool is_message(const SlotBody& body, std::uint64_t value) {
  return body.token == value && body.inline_data[0] == value * 3;
}

/// What producer and consumer share.
template <class Atomics, std::uint32_t slot_count>
struct Shared {
  BasicSlot<Atomics> slots[slot_count];
  typename Atomics::Word cursor;

  void initialise() {
    for (auto& slot : slots) Atomics::store_relaxed(slot.sequence, 0);
    Atomics::store_relaxed(cursor, Cursor::make(incarnation, 0).word);
  }
  BasicRingWriter<Atomics> writer() { return {slots, slot_count, &cursor, incarnation}; }
  BasicRingReader<Atomics> reader() { return {slots, slot_count, &cursor}; }
};

/// More messages than slots: the cursor gives space back, and a slot is written again.
template <class Atomics, std::uint32_t slot_count, std::uint64_t messages>
struct OneWay : rl::test_suite<OneWay<Atomics, slot_count, messages>, 2> {
  Shared<Atomics, slot_count> ring;

  void before() { ring.initialise(); }
  void thread(unsigned index) {
    if (index == 0) {
      auto writer = ring.writer();
      for (std::uint64_t i = 1; i <= messages; ++i) {
        rl::linear_backoff backoff;
        while (!writer.try_send(message(i))) backoff.yield(RL_INFO);
        RL_ASSERT(!writer.lying());
      }
    } else {
      auto reader = ring.reader();
      for (std::uint64_t i = 1; i <= messages; ++i) {
        rl::linear_backoff backoff;
        while (!reader.ready()) backoff.yield(RL_INFO);
        RL_ASSERT(is_message(reader.front(), i));
        reader.advance();
      }
    }
  }
};

/// Both directions of a batch.
template <class Atomics>
struct Batches : rl::test_suite<Batches<Atomics>, 2> {
  static constexpr std::uint32_t slot_count = 4;
  static constexpr std::uint64_t messages = 6;
  Shared<Atomics, slot_count> ring;

  void before() { ring.initialise(); }
  void thread(unsigned index) {
    rl::linear_backoff backoff;
    if (index == 0) {
      auto writer = ring.writer();
      std::uint64_t next = 1;
      while (next <= messages) {
        const auto left = static_cast<std::uint32_t>(messages - next + 1);
        const std::uint32_t sent = writer.try_send_batch(
            left < 3 ? left : 3, [&](std::uint32_t i) { return message(next + i); });
        if (sent == 0) backoff.yield(RL_INFO);
        next += sent;
      }
    } else {
      auto reader = ring.reader();
      std::uint64_t taken = 0;
      while (taken < messages) {
        const std::uint32_t got = reader.consume_batch(
            4, [&](const SlotBody& body) { RL_ASSERT(is_message(body, ++taken)); });
        if (got == 0) backoff.yield(RL_INFO);
      }
    }
  }
};

/// FUTEX_WAIT and FUTEX_WAKE as the kernel does them: value check and sleep are one step under the
/// bucket's lock. No timeout: a lost wake-up is a deadlock, which relacy reports.
struct Futex {
  rl::atomic<std::uint32_t> rings;
  rl::mutex bucket;
  rl::condition_variable sleeper;

  void ring() {
    rings(RL_INFO).fetch_add(1, rl::mo_release);
    bucket.lock(RL_INFO);
    sleeper.notify_one(RL_INFO);
    bucket.unlock(RL_INFO);
  }
  void wait(std::uint32_t seen) {
    bucket.lock(RL_INFO);
    if (rings(RL_INFO).load(rl::mo_relaxed) == seen) sleeper.wait(bucket, RL_INFO);
    bucket.unlock(RL_INFO);
  }
};

/// The steps of wait_on_bell() and ring_bell(): the receiver parks whenever it finds nothing.
template <class Atomics>
struct RingAndBell : rl::test_suite<RingAndBell<Atomics>, 2> {
  static constexpr std::uint32_t slot_count = 2;
  static constexpr std::uint64_t messages = 2;
  using Bell = BasicBellProtocol<Atomics>;
  Shared<Atomics, slot_count> ring;
  typename Atomics::Word asleep;
  Futex futex;

  void before() {
    ring.initialise();
    Atomics::store_relaxed(asleep, 0);
    futex.rings(RL_INFO).store(0, rl::mo_relaxed);
  }
  void thread(unsigned index) {
    if (index == 0) {
      auto writer = ring.writer();
      for (std::uint64_t i = 1; i <= messages; ++i) {
        RL_ASSERT(writer.try_send(message(i)));
        if (Bell::must_ring(asleep)) futex.ring();
      }
    } else {
      auto reader = ring.reader();
      for (std::uint64_t i = 1; i <= messages; ++i) {
        while (!reader.ready()) {
          const std::uint32_t seen = futex.rings(RL_INFO).load(rl::mo_acquire);
          Bell::about_to_sleep(asleep);
          if (!reader.ready()) futex.wait(seen);
          Bell::awake(asleep);
        }
        RL_ASSERT(is_message(reader.front(), i));
        reader.advance();
      }
    }
  }
};

/// Two lives of a producer: the reader moves on only after it has read the roster and then found
/// nothing in the old ring once more.
template <class Atomics, bool roster_first>
struct NextLife : rl::test_suite<NextLife<Atomics, roster_first>, 2> {
  static constexpr std::uint32_t slot_count = 2;
  BasicSlot<Atomics> old_slots[slot_count];
  BasicSlot<Atomics> new_slots[slot_count];
  typename Atomics::Word cursor;
  typename Atomics::Word roster;

  void before() {
    for (auto& slot : old_slots) Atomics::store_relaxed(slot.sequence, 0);
    for (auto& slot : new_slots) Atomics::store_relaxed(slot.sequence, 0);
    Atomics::store_relaxed(cursor, Cursor::make(1, 0).word);
    Atomics::store_relaxed(roster, RosterWord::make(RosterState::live, 1).word);
  }
  void thread(unsigned index) {
    if (index == 0) {
      BasicRingWriter<Atomics> first(old_slots, slot_count, &cursor, 1);
      RL_ASSERT(first.try_send(message(1)));
      // The old life has ended and been reaped; S publishes the next.
      Atomics::store_release(roster, RosterWord::make(RosterState::live, 2).word);
      BasicRingWriter<Atomics> second(new_slots, slot_count, &cursor, 2);
      RL_ASSERT(second.try_send(message(2)));
    } else {
      BasicRingReader<Atomics> reader(old_slots, slot_count, &cursor);
      for (std::uint64_t expected = 1; expected <= 2; ++expected) {
        rl::linear_backoff backoff;
        for (;;) {
          bool found = reader.ready();
          const RosterWord seen{Atomics::load_acquire(roster)};
          if (roster_first) found = reader.ready();
          if (found) break;
          if (seen.incarnation() == 2 && reader.at().incarnation() == 1)
            reader.move_to(new_slots, 2);
          backoff.yield(RL_INFO);
        }
        RL_ASSERT(is_message(reader.front(), expected));
        reader.advance();
      }
    }
  }
};

/// Takes what relacy says without allocating: inside an execution its operator new is in force.
class FixedBuffer : public std::streambuf {
 public:
  FixedBuffer() { setp(text_, text_ + sizeof text_); }
  std::string text() const { return {pbase(), pptr()}; }

 protected:
  int overflow(int c) override { return c == EOF ? 0 : c; }  // what does not fit is dropped

 private:
  char text_[16384];
};

struct Outcome {
  bool passed;
  rl::test_result_e result;
  std::uint64_t executions;
  std::string report;
};

template <class Suite>
Outcome explore(rl::scheduler_type_e how, std::uint64_t executions) {
  FixedBuffer text;
  std::ostream report(&text);
  rl::test_params params;
  params.search_type = how;
  params.iteration_count = executions;
  params.context_bound = 3;
  params.output_stream = &report;
  params.progress_stream = &report;
  params.execution_depth_limit = 5000;
  const bool passed = rl::simulate<Suite>(params);
  std::cout << (passed ? "no error in " : rl::test_result_str(params.test_result))
            << (passed ? "" : " at ") << params.stop_iteration << " executions\n";
  return {passed, params.test_result, params.stop_iteration, text.text()};
}

/// No error: every execution with up to three preemptions, and many random ones.
template <class Suite>
void must_pass(std::uint64_t random_executions) {
  const Outcome bounded = explore<Suite>(rl::sched_bound, 400'000);
  BOOST_TEST(bounded.passed, bounded.report);
  const Outcome random = explore<Suite>(rl::sched_random, random_executions);
  BOOST_TEST(random.passed, random.report);
}

template <class Suite>
void must_be_found(rl::test_result_e expected) {
  const Outcome found = explore<Suite>(rl::sched_random, 200'000);
  BOOST_TEST(!found.passed, "the planted mistake was not found");
  BOOST_TEST(found.result == expected, rl::test_result_str(found.result) << "\n" << found.report);
}

}  // namespace

BOOST_AUTO_TEST_SUITE(correct)

BOOST_AUTO_TEST_CASE(ring_of_one_slot) { must_pass<OneWay<RelacyAtomics, 1, 3>>(100'000); }
BOOST_AUTO_TEST_CASE(ring_of_two_slots) { must_pass<OneWay<RelacyAtomics, 2, 4>>(100'000); }
BOOST_AUTO_TEST_CASE(batches) { must_pass<Batches<RelacyAtomics>>(100'000); }
BOOST_AUTO_TEST_CASE(bell_loses_no_wake_up) { must_pass<RingAndBell<RelacyAtomics>>(200'000); }
BOOST_AUTO_TEST_CASE(next_life_loses_no_message) {
  must_pass<NextLife<RelacyAtomics, true>>(100'000);
}

BOOST_AUTO_TEST_SUITE_END()

BOOST_AUTO_TEST_SUITE(planted)

BOOST_AUTO_TEST_CASE(relaxed_publish) {
  must_be_found<OneWay<RelaxedPublish, 2, 4>>(rl::test_result_data_race);
}
BOOST_AUTO_TEST_CASE(relaxed_look) {
  must_be_found<OneWay<RelaxedLook, 2, 4>>(rl::test_result_data_race);
}
BOOST_AUTO_TEST_CASE(bell_without_fence) {
  must_be_found<RingAndBell<NoFence>>(rl::test_result_deadlock);
}
BOOST_AUTO_TEST_CASE(bell_with_a_weaker_fence) {
  must_be_found<RingAndBell<AcquireReleaseFence>>(rl::test_result_deadlock);
}
BOOST_AUTO_TEST_CASE(next_life_looked_up_after_the_slot) {
  const Outcome found = explore<NextLife<RelacyAtomics, false>>(rl::sched_random, 200'000);
  BOOST_TEST(!found.passed, "the planted mistake was not found");
}

BOOST_AUTO_TEST_SUITE_END()
