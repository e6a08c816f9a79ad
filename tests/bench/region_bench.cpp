#include "tests/bench/region_bench.hpp"

#include <poll.h>

#include <cstdlib>
#include <deque>
#include <stdexcept>

#include "common/clock.hpp"
#include "ipc/transfer.hpp"
#include "tests/bench/process_cost.hpp"
#include "tests/bench/references.hpp"
#include "tests/bench/swarm.hpp"
#include "tests/bench/windows.hpp"

namespace micro_swarm::bench {

namespace {

struct Size {
  const char* name;
  std::size_t bytes;
};

Region allocated(Client& client, std::size_t size_bytes) {
  auto region = client.allocate(size_bytes);
  if (!region) throw std::runtime_error(region.error().message);
  return std::move(*region);
}

/// The compiler must not see that nobody reads it.
void touch(void* memory) {
  *static_cast<volatile char*>(memory) = 1;
  asm volatile("" : : "r"(memory) : "memory");
}

template <class Body>
double time_each(std::uint64_t count, Body&& body) {
  const std::uint64_t start_ns = now_ns();
  for (std::uint64_t i = 0; i < count; ++i) body();
  return static_cast<double>(now_ns() - start_ns) / static_cast<double>(count);
}

/// A token there and home again between two processes that are linked, nothing read: what handing
/// over costs at the least.
class TokenRoundTrip {
 public:
  double ask(Partner& partner, std::uint32_t what, std::uint64_t count) {
    partner.begin(what, count);
    std::uint64_t wrong = 0;
    const std::uint64_t start_ns = now_ns();
    for (std::uint64_t i = 0; i < count; ++i) {
      allocate(memory_->owner_hold, memory_->word, owner, 0, 0);
      pass(there_, memory_->owner_hold, Lane::data, reader, SlotBody{});
      while (!home_in_.ready()) {
      }
      wrong += !receive_release(home_in_, memory_->word, Token{home_in_.front().token});
    }
    const std::uint64_t end_ns = now_ns();
    partner.finish();
    if (wrong != 0) throw std::runtime_error("a token did not come home");
    return static_cast<double>(end_ns - start_ns) / static_cast<double>(count);
  }
  std::uint64_t serve(std::uint64_t count) {
    for (std::uint64_t i = 0; i < count; ++i) {
      while (!in_.ready()) {
      }
      const MessageInHand in_hand = take_in_hand(in_, memory_->in_hand, Lane::data, owner);
      take_token(memory_->reader_hold, Token{in_.front().token});
      pass(home_, memory_->reader_hold, Lane::release, owner, SlotBody{}, in_hand);
    }
    return 0;
  }

 private:
  static constexpr PartyId owner = first_client, reader = 0;
  static constexpr std::uint32_t slot_count = 32;
  static constexpr Incarnation incarnation = 1;
  struct Ring {
    std::array<Slot, slot_count> slots{};
    alignas(128) Word cursor{Cursor::make(incarnation, 0).word};
  };
  struct Memory {
    Ring there, home;
    alignas(128) Hold owner_hold{};
    alignas(128) Word word{0};
    alignas(128) Hold reader_hold{};
    alignas(128) Word in_hand{0};
  };
  static RingWriter writer(Ring& ring) {
    return RingWriter(ring.slots.data(), slot_count, &ring.cursor, incarnation);
  }
  static RingReader reader_of(Ring& ring) {
    return RingReader(ring.slots.data(), slot_count, &ring.cursor);
  }
  Shared<Memory> memory_;
  RingWriter there_ = writer(memory_->there), home_ = writer(memory_->home);
  RingReader in_ = reader_of(memory_->there), home_in_ = reader_of(memory_->home);
};

}  // namespace

void allocation(const Options& options, const Tell& tell) {
  SwarmProcess swarm(swarm_toml("[swarm]\nagents = 1\n"));
  Client client = join(swarm, 1);
  const std::uint64_t count = options.quick ? 1'000 : 200'000;
  for (const auto& [name, bytes, goal] :
       std::initializer_list<std::tuple<const char*, std::size_t, std::optional<Goal>>>{
           {"memory.allocate_64b", 64, ratio_at_most(3)},
           {"memory.allocate_1k", 1000, ratio_at_most(3)},
           {"memory.allocate_4k", 4096, std::nullopt},
           {"memory.allocate_64k", 65536, ratio_at_most(1)}}) {
    allocated(client, bytes);  // leased from here on
    tell(alternate(
             options.quick ? 2 : 25,
             [&, bytes = bytes] {
               return time_each(count, [&] {
                 void* memory = std::malloc(bytes);
                 touch(memory);
                 std::free(memory);
               });
             },
             [&, bytes = bytes] {
               return time_each(count, [&] { touch(allocated(client, bytes).bytes().data()); });
             })
             .figure(name, "ns", 1, goal, "malloc and free; each time one byte is written"));
  }
}

void transfer_round_trip(const Options& options, const Tell& tell) {
  CacheLine line;
  TokenRoundTrip token;
  enum What : std::uint32_t { bare, passed };
  pin(0, 0);
  Partner partner(1, [&](std::uint32_t what, std::uint64_t count) {
    return what == bare ? line.serve(count) : token.serve(count);
  });
  const std::uint64_t count = options.quick ? 1'000 : 20'000;
  tell(alternate(
           options.quick ? 2 : 51, [&] { return line.ask(partner, bare, count); },
           [&] { return token.ask(partner, passed, count); })
           .figure("memory.transfer_round_trip", "ns", 1, ratio_at_most(1.8),
                   "cache-line ping-pong; a token there and home between two linked processes"));
  pin(0, any_core);
}

void transfer_sizes(const Options& options, const Tell& tell) {
  // Room for several of the largest: one is on its way home while the next is filled.
  SwarmProcess swarm(swarm_toml("[swarm]\nagents = 1\n[memory]\npool_size = \"256MiB\"\n"));
  Client from = join(swarm, 1);
  Client to = join(swarm, 1);
  const std::uint64_t count = options.quick ? 50 : 1'000;
  const auto once = [&](std::size_t bytes) {
    auto sent = from.transfer(allocated(from, bytes), to.party());
    if (!sent) throw std::runtime_error(sent.error().message);
    auto region = to.receive(20'000);
    if (!region || !*region) throw std::runtime_error("a region did not arrive");
    if ((*region)->size_bytes() != bytes || !(*region)->view())
      throw std::runtime_error("another region arrived");
  };
  // Sixteen regions of a size may be out before the first is home again.
  const auto time_of = [&](std::size_t bytes) { return time_each(count, [&] { once(bytes); }); };
  const Size sizes[] = {{"memory.transfer_64k", 64 << 10},
                        {"memory.transfer_1m", 1 << 20},
                        {"memory.transfer_16m", 16 << 20}};
  Windows first;
  for (const auto& [name, bytes] : sizes) {
    // The first of a size: its bank is asked for, made, handed out and mapped.
    first.values.push_back(time_each(1, [&, bytes = bytes] { once(bytes); }));
    tell(alternate(
             options.quick ? 2 : 25, [&] { return time_of(64); },
             [&, bytes = bytes] { return time_of(bytes); })
             .figure(name, "us", 1e-3, ratio_at_most(1.1),
                     "a region of 64 bytes; allocated, handed over by the supervisor, released"));
  }
  tell(first.figure("memory.transfer_first", "us", 1e-3, std::nullopt,
                    "the first of each size: its bank is made, handed out and mapped"));
}

void garbage(const Options& options, const Tell& tell) {
  SwarmProcess swarm(swarm_toml("[swarm]\nagents = 1\n[memory]\npool_size = \"64MiB\"\n"));
  Client reader = join(swarm, 1);
  std::deque<ReceivedRegion> held;
  {
    // What a dead client wrote and another reads: banks that are looked at again and again.
    Client writer = join(swarm, 1);
    for (int i = 0; i < 400; ++i) {
      auto sent = writer.transfer(allocated(writer, 60'000), reader.party());
      if (!sent) throw std::runtime_error(sent.error().message);
      auto region = reader.receive(20'000);
      if (!region || !*region) throw std::runtime_error("a region did not arrive");
      held.push_back(std::move(**region));
    }
  }
  // A task that runs: ticks are ten times as frequent as in an idle swarm.
  const std::string sleep = "600000";
  TaskRequest request;
  request.capability = "sleep";
  request.payload = std::as_bytes(std::span(sleep));
  if (auto number = reader.submit(std::move(request)); !number)
    throw std::runtime_error(number.error().message);
  const pid_t supervisor = swarm.supervisor();
  ::poll(nullptr, 0, options.quick ? 50 : 1'000);
  Windows cpu;
  for (unsigned i = 0; i <= (options.quick ? 1u : 8u); ++i) {
    const std::uint64_t ran_before = cpu_time_ns(supervisor);
    const std::uint64_t before = now_ns();
    ::poll(nullptr, 0, options.quick ? 100 : 1'000);
    cpu.values.push_back(100 * static_cast<double>(cpu_time_ns(supervisor) - ran_before) /
                         static_cast<double>(now_ns() - before));
  }
  cpu.drop_first();
  tell(cpu.figure("memory.gc_cpu", "%", 1, value_at_most(1),
                  "of a core, the supervisor's: 400 regions of a dead client read by another, one "
                  "task runs"));
}

}  // namespace micro_swarm::bench
