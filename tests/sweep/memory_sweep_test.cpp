// fault.memory_sweep: what an owner of slab banks does, killed at every instruction in the
// production code (BankOwner, PartyMemory, PartyLink); then a successor, or the supervisor as heir,
// takes over, and is killed too. Nothing leaks, and nothing is written that somebody still reads.
//
// The last case takes minutes; it runs when asked for by name (fault.memory_sweep_whole).

#include <boost/test/unit_test.hpp>
#include <cstdio>

#include "tests/sweep/memory_world.hpp"

using namespace micro_swarm;
using namespace micro_swarm::sweep;

namespace {

struct OneCore {
  OneCore() { pin_to_one_core(); }
};

using Operation = std::function<void()>;

struct Scenario {
  std::string name;
  /// Brings the world to the moment before, and returns what is killed.
  std::function<Operation(MemoryWorld&)> begin;
};

/// In all of them the reader holds a right to a small region of the owner's from the start.
void share_with_reader(MemoryWorld& world, std::size_t size_bytes) {
  Region region = world.region(world.allocate(size_bytes));
  BOOST_REQUIRE(world.owner().memory->try_transfer(*world.keeper(), region, reader_party, 1));
  world.settle();
}

BankOwner& banks(MemoryWorld& world) { return world.owner().link->banks(); }

/// What lies in the owner's socket, one message.
std::shared_ptr<ReceivedPartyMessage> next_message(MemoryWorld& world) {
  auto received = std::make_shared<ReceivedPartyMessage>();
  BOOST_REQUIRE(receive_party_message(world.owner().link->socket(), *received, false) ==
                PartySocketRead::message);
  return received;
}

/// The supervisor hears what the owner has said so far, and answers.
void hear(MemoryWorld& world) {
  std::vector<SentMessage> sent;
  world.collect(world.owner(), sent);
  BOOST_REQUIRE_EQUAL(sent.size(), 1u);
  world.supervisor().hear(sent.front());
  if (sent.front().message.kind == PartyMessageKind::bank_memory)
    world.kept[static_cast<std::uint32_t>(sent.front().message.a)] = std::move(sent.front().fd);
}

Scenario allocate_small() {
  return {"allocate from a slab", [](MemoryWorld& world) -> Operation {
            share_with_reader(world, small_bytes);
            return [&world] { (void)banks(world).try_allocate(small_bytes, 1); };
          }};
}

std::vector<Scenario> all_scenarios() {
  std::vector<Scenario> all;
  all.push_back(allocate_small());
  all.push_back({"free into a slab", [](MemoryWorld& world) -> Operation {
                   share_with_reader(world, small_bytes);
                   const Allocation allocation = world.allocate(small_bytes);
                   return [&world, allocation] { banks(world).release(allocation); };
                 }});
  all.push_back({"the last free, and the bank goes back", [](MemoryWorld& world) -> Operation {
                   share_with_reader(world, small_bytes);
                   const Allocation allocation = world.allocate(quarter_bytes);
                   return [&world, allocation] {
                     banks(world).release(allocation);
                     banks(world).trim(1, 0);
                   };
                 }});
  all.push_back({"the pool is short, two banks go back", [](MemoryWorld& world) -> Operation {
                   share_with_reader(world, small_bytes);
                   const Allocation first = world.allocate(quarter_bytes);
                   const Allocation second = world.allocate(4096);
                   banks(world).release(first);
                   banks(world).release(second);
                   return [&world] { banks(world).pool_is_short(1); };
                 }});
  all.push_back(
      {"transfer", [](MemoryWorld& world) -> Operation {
         share_with_reader(world, small_bytes);
         auto region = std::make_shared<Region>(world.region(world.allocate(small_bytes)));
         return [&world, region] {
           (void)world.owner().memory->try_transfer(*world.keeper(), *region, reader_party, 2);
         };
       }});
  all.push_back({"share, and transfer", [](MemoryWorld& world) -> Operation {
                   share_with_reader(world, small_bytes);
                   auto region =
                       std::make_shared<Region>(world.region(world.allocate(small_bytes)));
                   return [&world, region] {
                     PartyMemory& memory = *world.owner().memory;
                     (void)memory.try_share(*world.keeper(), *region, reader_party, 2);
                     (void)memory.try_transfer(*world.keeper(), *region, reader_party, 3);
                   };
                 }});
  all.push_back({"receive and keep", [](MemoryWorld& world) -> Operation {
                   share_with_reader(world, small_bytes);
                   world.reader_transfers();
                   return [&world] { (void)world.owner().memory->take_next(); };
                 }});
  all.push_back({"receive and hand on", [](MemoryWorld& world) -> Operation {
                   share_with_reader(world, small_bytes);
                   world.reader_transfers();
                   return [&world] {
                     PartyMemory& memory = *world.owner().memory;
                     (void)memory.take_next();
                     auto region = memory.next(world.keeper());
                     (void)memory.try_transfer(*world.keeper(), *region, reader_party, 2);
                   };
                 }});
  all.push_back({"rights come home, the bank goes back", [](MemoryWorld& world) -> Operation {
                   share_with_reader(world, quarter_bytes);
                   share_with_reader(world, small_bytes);
                   world.reader_releases();
                   share_with_reader(world, small_bytes);
                   return [&world] {
                     world.owner().link->drain_releases();
                     banks(world).trim(1, 0);
                   };
                 }});
  all.push_back({"a grant: memory made, sealed, sent", [](MemoryWorld& world) -> Operation {
                   share_with_reader(world, small_bytes);
                   BOOST_REQUIRE(!*banks(world).try_allocate(quarter_bytes, now_ns()));
                   hear(world);
                   return [&world, granted = next_message(world)] {
                     world.owner().link->take(*granted);
                   };
                 }});
  all.push_back({"a bank is live, its first region", [](MemoryWorld& world) -> Operation {
                   share_with_reader(world, small_bytes);
                   BOOST_REQUIRE(!*banks(world).try_allocate(quarter_bytes, now_ns()));
                   hear(world);
                   world.owner().link->take(*next_message(world));
                   hear(world);
                   return [&world, live = next_message(world)] {
                     world.owner().link->take(*live);
                     (void)banks(world).try_allocate(quarter_bytes, 1);
                   };
                 }});
  return all;
}

// ---- wrong orders: the sweep must catch every one ----

RegionWord word_of(MemoryWorld& world, RegionIndex region) {
  return RegionWord{load(world.owner().link->own().region(region))};
}
Word& word_at(MemoryWorld& world, RegionIndex region) {
  return world.owner().link->own().region(region);
}

std::vector<Scenario> all_planted() {
  std::vector<Scenario> all;
  all.push_back({"allocate: the bit before the hold", [](MemoryWorld& world) -> Operation {
                   share_with_reader(world, small_bytes);
                   const auto slot = world.allocate(small_bytes);
                   const RegionIndex region = slot.token.region();
                   banks(world).release(slot);
                   return [&world, region] {
                     const RegionWord next =
                         RegionWord::make(word_of(world, region).generation() + 1, 1);
                     Hold& hold = world.owner().link->holds()[8];
                     store(word_at(world, region), next.word);
                     store(hold.token, Token::make(owner_party, region, 0, next.generation()).word);
                   };
                 }});
  all.push_back({"free: the hold before the bit", [](MemoryWorld& world) -> Operation {
                   share_with_reader(world, small_bytes);
                   const Allocation allocation = world.allocate(small_bytes);
                   return [&world, allocation] {
                     const RegionIndex region = allocation.token.region();
                     store(world.owner().link->holds()[allocation.hold].token, 0);
                     store(word_at(world, region), word_of(world, region).without(0).word);
                   };
                 }});
  all.push_back({"reuse: free before the last right is home", [](MemoryWorld& world) -> Operation {
                   const Allocation allocation = world.allocate(small_bytes);
                   Region region = world.region(allocation);
                   BOOST_REQUIRE(world.owner().memory->try_transfer(*world.keeper(), region,
                                                                    reader_party, 1));
                   world.settle();
                   return [&world, allocation] {
                     auto& link = *world.owner().link;
                     const RegionIndex at = allocation.token.region();
                     micro_swarm::allocate(link.holds()[8], link.own().region(at), owner_party, at,
                                           0);
                   };
                 }});
  all.push_back({"return: a bank of which a right is out", [](MemoryWorld& world) -> Operation {
                   const Allocation allocation = world.allocate(small_bytes);
                   Region region = world.region(allocation);
                   BOOST_REQUIRE(world.owner().memory->try_transfer(*world.keeper(), region,
                                                                    reader_party, 1));
                   world.settle();
                   return [&world, allocation] {
                     const RegionIndex at = allocation.token.region();
                     store(word_at(world, at), word_of(world, at).without(0).word);
                     PartyMessage message;
                     message.kind = PartyMessageKind::bank_returned;
                     message.a = bank_of(at);
                     message.e = world.tables_view().tables().banks[bank_of(at)].serial;
                     (void)world.owner().link->send(message);
                   };
                 }});
  return all;
}

/// `dead` is, and this is what it left. Both ways to go on; what it said on its socket was read by
/// a supervisor, or by one that died of it.
std::string recover_and_check(const MemoryWorld& world, OwnerLife& dead,
                              const std::vector<SentMessage>& sent) {
  const SharedMemory memory = world.memory(dead);
  const Snapshot left = memory.save();
  for (const bool is_heard : {true, false}) {
    if (!is_heard && sent.empty()) continue;
    for (const bool has_successor : {true, false}) {
      memory.load(left);
      MemorySupervisor supervisor(world, dead);
      if (is_heard)
        for (const SentMessage& message : sent) supervisor.hear(message);
      OwnerLife next;
      if (has_successor) {
        supervisor.start_successor(dead, next);
        next.link->begin();
      } else {
        supervisor.inherit_all();
      }
      std::string wrong = world.run_to_quiet(supervisor, has_successor ? &next : nullptr);
      if (!wrong.empty())
        return wrong + (has_successor ? " (with a successor)" : " (the supervisor is heir)") +
               (is_heard ? "" : " (its last messages were lost)");
    }
  }
  return {};
}

SweepCounts sweep_operation(const Scenario& scenario, Depth depth) {
  MemoryWorld world;
  const Operation operation = scenario.begin(world);
  OwnerLife& owner = world.owner();
  std::vector<SentMessage> sent;
  world.collect(owner, sent);
  BOOST_REQUIRE(sent.empty());
  return kill_at_every_instruction(world.memory(owner), depth, operation, [&] {
    world.collect(owner, sent);
    return recover_and_check(world, owner, sent);
  });
}

/// The recovery from every `stride`-th state that the operation can leave, killed in its turn. What
/// the dead said on its socket is lost.
SweepCounts sweep_recovery(const Scenario& scenario, Depth depth, std::size_t stride) {
  SweepCounts counts;
  MemoryWorld world;
  const Operation operation = scenario.begin(world);
  OwnerLife& owner = world.owner();
  const SharedMemory memory = world.memory(owner);
  const std::vector<Snapshot> states = states_left_by(memory, operation);
  std::vector<SentMessage> sent;
  world.collect(owner, sent);
  for (std::size_t i = 0; i < states.size(); i += stride) {
    {  // the heir: the supervisor's death, and the next one begins anew
      memory.load(states[i]);
      MemorySupervisor supervisor(world, owner);
      counts += kill_at_every_instruction(
          memory, depth, [&] { supervisor.inherit_all(); },
          [&]() -> std::string {
            MemorySupervisor again(world, owner);
            again.inherit_all();
            return world.run_to_quiet(again, nullptr);
          });
    }
    memory.load(states[i]);
    MemorySupervisor supervisor(world, owner);
    OwnerLife next;
    supervisor.start_successor(owner, next);
    sent.clear();
    counts += kill_at_every_instruction(
        world.memory(next), depth, [&] { next.link->begin(); },
        [&] {
          world.collect(next, sent);
          return recover_and_check(world, next, sent);
        });
  }
  return counts;
}

void report(const char* what, const std::string& name, const SweepCounts& counts) {
  std::printf("%-10s %-44s %7llu instructions %5llu states %7llu kills\n", what, name.c_str(),
              static_cast<unsigned long long>(counts.instructions),
              static_cast<unsigned long long>(counts.states),
              static_cast<unsigned long long>(counts.kills));
  std::fflush(stdout);
}

void sweep_operations() {
  SweepCounts total;
  for (const Scenario& scenario : all_scenarios()) {
    const SweepCounts counts = sweep_operation(scenario, Depth::each_instruction);
    report("operation", scenario.name, counts);
    BOOST_TEST(counts.violations == 0u, scenario.name << ": " << counts.first_violation);
    total += counts;
  }
  report("all", "operations", total);
}

void sweep_recoveries(std::size_t stride) {
  SweepCounts total;
  for (const Scenario& scenario : all_scenarios()) {
    const SweepCounts counts = sweep_recovery(scenario, Depth::each_state, stride);
    report("recovery", scenario.name, counts);
    BOOST_TEST(counts.violations == 0u, scenario.name << ": " << counts.first_violation);
    total += counts;
  }
  report("all", "recoveries", total);
}

}  // namespace

BOOST_TEST_GLOBAL_FIXTURE(OneCore);

BOOST_AUTO_TEST_CASE(no_instruction_of_an_owner_leaks_or_is_reused) { sweep_operations(); }

BOOST_AUTO_TEST_CASE(every_planted_mistake_is_caught) {
  for (const Scenario& planted : all_planted()) {
    const SweepCounts counts = sweep_operation(planted, Depth::each_state);
    std::printf("planted    %-44s %s\n", planted.name.c_str(), counts.first_violation.c_str());
    BOOST_TEST(counts.violations != 0u, planted.name << " was not caught");
  }
}

BOOST_AUTO_TEST_CASE(recovery_may_be_killed_at_any_state_and_begin_again) { sweep_recoveries(4); }

BOOST_AUTO_TEST_CASE(recovery_from_every_state_may_be_killed_at_any_state,
                     *boost::unit_test::disabled()) {
  sweep_recoveries(1);
}
