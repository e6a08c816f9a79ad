// memory: data handed over, not copied.

#include <stdexcept>

#include "common/clock.hpp"
#include "ipc/transfer.hpp"
#include "tests/bench/references.hpp"
#include "tests/bench/region_bench.hpp"
#include "tests/bench/region_pattern.hpp"
#include "tests/bench/swarm.hpp"
#include "tests/bench/windows.hpp"

namespace micro_swarm::bench {

namespace {

constexpr std::uint64_t regions = RegionPattern::patterns;

/// Without any runtime: buffers both processes share, a word that says how far the writer is, a
/// word that says how far the reader is. Up to `in_flight` buffers are with the reader.
class BareHandOver {
 public:
  double ask(Partner& partner, std::uint32_t what, std::uint64_t count, std::uint64_t in_flight) {
    partner.begin(what, count);
    std::uint64_t wrong = 0, checked = at_;
    const std::uint64_t end = at_ + count;
    const auto check_until = [&](std::uint64_t number) {
      while (checked < number) {
        while (memory_->read.load(std::memory_order_acquire) <= checked) {
        }
        wrong += !pattern_.is(memory_->checksums[checked % regions], checked);
        ++checked;
      }
    };
    const std::uint64_t start_ns = now_ns();
    for (; at_ < end; memory_->written.store(++at_, std::memory_order_release)) {
      if (at_ - checked >= in_flight) check_until(at_ + 1 - in_flight);
      RegionPattern::write(memory_->buffers[at_ % regions], at_);
    }
    check_until(end);
    const std::uint64_t end_ns = now_ns();
    partner.finish();
    if (wrong != 0) throw std::runtime_error("a buffer was read wrong");
    return static_cast<double>(end_ns - start_ns) / static_cast<double>(count);
  }
  std::uint64_t serve(std::uint64_t count) {
    for (const std::uint64_t end = at_ + count; at_ < end;) {
      while (memory_->written.load(std::memory_order_acquire) <= at_) {
      }
      memory_->checksums[at_ % regions] = RegionPattern::read(memory_->buffers[at_ % regions]);
      memory_->read.store(++at_, std::memory_order_release);
    }
    return 0;
  }

 private:
  struct Memory {
    alignas(4096) std::array<std::array<std::byte, RegionPattern::size_bytes>, regions> buffers;
    alignas(128) std::atomic<std::uint64_t> written{0};
    alignas(128) std::atomic<std::uint64_t> read{0};
    std::array<std::uint64_t, regions> checksums{};
  };
  RegionPattern pattern_;
  Shared<Memory> memory_;
  std::uint64_t at_ = 0;
};

/// The product's hand-over between two processes that are linked: the token passed through a ring,
/// written down by its receiver, passed home when the region was read.
class TokenHandOver {
 public:
  double ask(Partner& partner, std::uint32_t what, std::uint64_t count) {
    partner.begin(what, count);
    std::uint64_t wrong = 0;
    const std::uint64_t start_ns = now_ns();
    for (std::uint64_t i = 0; i < count; ++i) {
      const auto region = static_cast<RegionIndex>(i % regions);
      allocate(memory_->owner_hold, memory_->words[region], owner, region, 0);
      RegionPattern::write(memory_->buffers[region], i);
      SlotBody body;
      body.region_bytes = RegionPattern::size_bytes;
      pass(there_, memory_->owner_hold, Lane::data, reader, body);
      while (!answers_.ready()) {
      }
      wrong += !pattern_.is(answers_.front().inline_data[0], i);
      answers_.advance();
      while (!home_in_.ready()) {
      }
      const Token token{home_in_.front().token};
      wrong +=
          token.region() != region || !receive_release(home_in_, memory_->words[region], token);
    }
    const std::uint64_t end_ns = now_ns();
    partner.finish();
    if (wrong != 0) throw std::runtime_error("a region was handed over wrong");
    return static_cast<double>(end_ns - start_ns) / static_cast<double>(count);
  }
  std::uint64_t serve(std::uint64_t count) {
    for (std::uint64_t i = 0; i < count; ++i) {
      while (!in_.ready()) {
      }
      const MessageInHand in_hand = take_in_hand(in_, memory_->in_hand, Lane::data, owner);
      const SlotBody body = in_.front();
      const Token token{body.token};
      if (token.region() >= regions || body.region_bytes > RegionPattern::size_bytes)
        return Partner::failure;
      take_token(memory_->reader_hold, token);
      keep(in_hand);
      SlotBody answer;
      answer.inline_data[0] = RegionPattern::read(
          std::span<const std::byte>(memory_->buffers[token.region()]).first(body.region_bytes));
      answer_.try_send(answer);
      pass(home_, memory_->reader_hold, Lane::release, owner, SlotBody{});
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
    alignas(4096) std::array<std::array<std::byte, RegionPattern::size_bytes>, regions> buffers;
    Ring there, answer, home;
    alignas(128) Hold owner_hold{};
    std::array<Word, regions> words{};
    alignas(128) Hold reader_hold{};
    Word in_hand{0};
  };
  static RingWriter writer(Ring& ring) {
    return RingWriter(ring.slots.data(), slot_count, &ring.cursor, incarnation);
  }
  static RingReader reader_of(Ring& ring) {
    return RingReader(ring.slots.data(), slot_count, &ring.cursor);
  }

  RegionPattern pattern_;
  Shared<Memory> memory_;
  RingWriter there_ = writer(memory_->there), answer_ = writer(memory_->answer),
             home_ = writer(memory_->home);
  RingReader in_ = reader_of(memory_->there), answers_ = reader_of(memory_->answer),
             home_in_ = reader_of(memory_->home);
};

enum What : std::uint32_t { bare, token };

void linked(const Options& options, const Tell& tell) {
  BareHandOver bare_hand_over;
  TokenHandOver token_hand_over;
  pin(0, 0);
  Partner partner(1, [&](std::uint32_t what, std::uint64_t count) {
    return what == bare ? bare_hand_over.serve(count) : token_hand_over.serve(count);
  });
  const std::uint64_t count = options.quick ? 100 : 400;
  tell(alternate(
           options.quick ? 2 : 101, [&] { return bare_hand_over.ask(partner, bare, count, 1); },
           [&] { return token_hand_over.ask(partner, token, count); })
           .figure("memory.hand_over_64k", "us", 1e-3, ratio_at_most(1.05),
                   "64 KiB written, handed over and read through bare shared memory"));
  pin(0, any_core);
}

TaskRequest region_task(Client& client, std::string_view capability, std::size_t size_bytes) {
  auto region = client.allocate(size_bytes);
  if (!region) throw std::runtime_error(region.error().message);
  TaskRequest request;
  request.capability = capability;
  request.region = std::move(*region);
  return request;
}

// The same by way of the supervisor to an agent, several under way on both sides.
void through_the_swarm(const Options& options, const Tell& tell) {
  BareHandOver bare_hand_over;
  const RegionPattern pattern;
  Partner partner(any_core,
                  [&](std::uint32_t, std::uint64_t count) { return bare_hand_over.serve(count); });
  SwarmProcess swarm(swarm_toml("[swarm]\nagents = 1\n[tasks]\nin_flight_per_agent = 16\n"));
  Client client = join(swarm, 1);
  const std::uint64_t count = options.quick ? 100 : 2'000;
  tell(alternate(
           options.quick ? 2 : 25,
           [&] { return bare_hand_over.ask(partner, bare, count, regions); },
           [&] {
             const std::uint64_t start_ns = now_ns();
             run_many(
                 client, {count, regions, 0},
                 [&](std::uint64_t i) {
                   TaskRequest request = region_task(client, "hash", RegionPattern::size_bytes);
                   RegionPattern::write(request.region.bytes(), i);
                   return request;
                 },
                 [&](std::uint64_t i, const TaskResult& result) {
                   return result.text() == pattern.text(i);
                 });
             return static_cast<double>(now_ns() - start_ns) / static_cast<double>(count);
           })
           .figure("memory.task_64k", "us", 1e-3, ratio_at_most(1.05),
                   "the same two processes' worth of bare work; 8 under way, client to agent"));
}

void untouched(const Options& options, const Tell& tell) {
  SwarmProcess swarm(swarm_toml("[swarm]\nagents = 1\n[tasks]\nin_flight_per_agent = 16\n"));
  Client client = join(swarm, 1);
  const std::uint64_t count = options.quick ? 200 : 4'000;
  const auto time_of = [&](const std::function<TaskRequest(std::uint64_t)>& make) {
    const std::uint64_t start_ns = now_ns();
    run_many(client, {count, 8, 0}, make);
    return static_cast<double>(now_ns() - start_ns) / static_cast<double>(count);
  };
  const std::array<std::byte, 24> small{};
  const auto message = [&](std::uint64_t) {
    TaskRequest request = noop();
    request.payload = small;
    return request;
  };
  const std::pair<const char*, std::size_t> sizes[] = {{"memory.untouched_64b", 64},
                                                       {"memory.untouched_64k", 64 << 10},
                                                       {"memory.untouched_1m", 1 << 20}};
  for (const auto& [name, size_bytes] : sizes)
    tell(alternate(
             options.quick ? 2 : 25, [&] { return time_of(message); },
             [&, size = size_bytes] {
               return time_of([&](std::uint64_t) { return region_task(client, "noop", size); });
             })
             .figure(name, "us", 1e-3, ratio_at_most(1.1),
                     "a task whose 24 bytes are in the message; 8 under way"));
}

}  // namespace

Group memory_group() {
  return {
      "memory",
      {"memory.hand_over_64k", "memory.task_64k", "memory.untouched_64b", "memory.untouched_64k",
       "memory.untouched_1m", "memory.allocate_64b", "memory.allocate_1k", "memory.allocate_4k",
       "memory.allocate_64k", "memory.transfer_round_trip", "memory.transfer_64k",
       "memory.transfer_1m", "memory.transfer_16m", "memory.transfer_first", "memory.gc_cpu"},
      [](const Options& options, const Tell& tell) {
        if (cores() >= 2) linked(options, tell);
        through_the_swarm(options, tell);
        untouched(options, tell);
        allocation(options, tell);
        if (cores() >= 2) transfer_round_trip(options, tell);
        transfer_sizes(options, tell);
        garbage(options, tell);
      }};
}

}  // namespace micro_swarm::bench
