// ring: the product's ring between two processes.

#include <algorithm>
#include <array>
#include <stdexcept>

#include "common/clock.hpp"
#include "ipc/ring.hpp"
#include "tests/bench/references.hpp"
#include "tests/bench/windows.hpp"

namespace micro_swarm::bench {

namespace {

constexpr std::uint32_t slots = 1024;  // as between a client and the supervisor
constexpr std::uint32_t batch = 32;
constexpr Incarnation incarnation = 1;

/// Two rings as they lie in two segments; each side makes its ends on its own side of the fork.
struct Lane {
  std::array<Slot, slots> there{}, back{};
  alignas(128) Word there_cursor{Cursor::make(incarnation, 0).word};
  alignas(128) Word back_cursor{Cursor::make(incarnation, 0).word};
};

void write_message(SlotBody& body, std::uint64_t number) {
  body.kind = 1;
  body.inline_bytes = 40;
  body.region_bytes = 0;
  body.token = 0;
  for (std::uint64_t& word : body.inline_data) word = number;
}
SlotBody message(std::uint64_t number) {
  SlotBody body;
  write_message(body, number);
  return body;
}
bool is_message(const SlotBody& body, std::uint64_t number) {
  return body.kind == 1 && body.inline_data[0] == number && body.inline_data[4] == number;
}

class RingPair {
 public:
  explicit RingPair(Lane& lane)
      : writer_(lane.there.data(), slots, &lane.there_cursor, incarnation),
        reply_reader_(lane.back.data(), slots, &lane.back_cursor),
        reader_(lane.there.data(), slots, &lane.there_cursor),
        reply_writer_(lane.back.data(), slots, &lane.back_cursor, incarnation) {}

  double ask(Partner& partner, std::uint32_t what, std::uint64_t round_trips) {
    std::uint64_t wrong = 0;
    partner.begin(what, round_trips);
    const std::uint64_t start_ns = now_ns();
    for (std::uint64_t i = 0; i < round_trips; ++i) {
      writer_.try_send(message(i));
      while (!reply_reader_.ready()) {
      }
      wrong += !is_message(reply_reader_.front(), ~i);
      reply_reader_.advance();
    }
    const std::uint64_t end_ns = now_ns();
    partner.finish();
    if (wrong != 0) throw std::runtime_error("a ring returned a wrong message");
    return static_cast<double>(end_ns - start_ns) / static_cast<double>(round_trips);
  }
  std::uint64_t serve(std::uint64_t round_trips) {
    std::uint64_t wrong = 0;
    for (std::uint64_t i = 0; i < round_trips; ++i) {
      while (!reader_.ready()) {
      }
      const SlotBody body = reader_.front();
      reader_.advance();
      wrong += !is_message(body, i);
      reply_writer_.try_send(message(~body.inline_data[0]));
    }
    return wrong == 0 ? 0 : Partner::failure;
  }

  /// Nanoseconds for all, until the last was consumed.
  double send(Partner& partner, std::uint32_t what, std::uint64_t messages) {
    partner.begin(what, messages);
    const std::uint64_t start_ns = now_ns();
    for (std::uint64_t sent = 0; sent < messages;) {
      const auto count =
          static_cast<std::uint32_t>(std::min<std::uint64_t>(batch, messages - sent));
      sent += writer_.try_send_batch(
          count, [&](std::uint32_t i, SlotBody& body) { write_message(body, sent + i); });
    }
    while (writer_.consumed() != writer_.sent()) {
    }
    const std::uint64_t end_ns = now_ns();
    partner.finish();
    return static_cast<double>(end_ns - start_ns);
  }
  std::uint64_t receive(std::uint64_t messages) {
    std::uint64_t wrong = 0;
    for (std::uint64_t taken = 0; taken < messages;)
      reader_.consume_batch(batch, [&](const SlotBody& body) {
        wrong += !is_message(body, taken);
        ++taken;
      });
    return wrong == 0 ? 0 : Partner::failure;
  }

 private:
  RingWriter writer_;
  RingReader reply_reader_;
  RingReader reader_;
  RingWriter reply_writer_;
};

enum What : std::uint32_t { cache_line, ring_round_trip, minimal_ring, ring_one_way };

void measure(const Options& options, const Tell& tell, bool pinned) {
  CacheLine line;
  MinimalRing minimal(slots, batch);
  const Shared<Lane> round_trip_lane, one_way_lane;
  RingPair round_trip(*round_trip_lane), one_way(*one_way_lane);
  pin(0, pinned ? 0 : any_core);
  Partner partner(pinned ? 1 : any_core, [&](std::uint32_t what, std::uint64_t count) {
    switch (what) {
      case cache_line: return line.serve(count);
      case ring_round_trip: return round_trip.serve(count);
      case minimal_ring: return minimal.serve(count);
      default: return one_way.receive(count);
    }
  });
  const std::string how = pinned ? "" : "_unpinned";
  const unsigned windows = options.quick ? 2 : pinned ? 101 : 15;
  // Two that spin on one core get on once a time slice: a window does not wait for that.
  const auto within = [&](double cost_ns, double time_ns, std::uint64_t most) {
    return std::clamp<std::uint64_t>(static_cast<std::uint64_t>(time_ns / cost_ns), 8, most);
  };
  const std::uint64_t round_trips =
      within(line.ask(partner, cache_line, 8), 5e6, options.quick ? 500 : 5'000);
  const std::uint64_t messages = within(minimal.ask(partner, minimal_ring, 1'000) / 1'000, 5e6,
                                        options.quick ? 10'000 : 100'000);

  tell(alternate(
           windows, [&] { return line.ask(partner, cache_line, round_trips); },
           [&] { return round_trip.ask(partner, ring_round_trip, round_trips); })
           .figure("ring.round_trip" + how, "ns", 1,
                   pinned ? std::optional(ratio_at_most(1.6)) : std::nullopt,
                   "cache-line ping-pong"));
  const auto rate = [&](double time_ns) { return static_cast<double>(messages) / time_ns; };
  tell(alternate(
           windows, [&] { return rate(minimal.ask(partner, minimal_ring, messages)); },
           [&] { return rate(one_way.send(partner, ring_one_way, messages)); })
           .figure("ring.one_way" + how, "M/s", 1000,
                   pinned ? std::optional(ratio_at_least(0.8)) : std::nullopt,
                   "minimal SPSC ring, batches of 32"));
  pin(0, any_core);
}

}  // namespace

Group ring_group() {
  return {"ring",
          {"ring.round_trip", "ring.one_way", "ring.round_trip_unpinned", "ring.one_way_unpinned"},
          [](const Options& options, const Tell& tell) {
            if (cores() >= 2) measure(options, tell, true);
            measure(options, tell, false);
          }};
}

}  // namespace micro_swarm::bench
