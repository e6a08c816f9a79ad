// fault.cache_sweep: the supervisor killed at every state of what it does with the cache: put, get,
// a reader's release, erase, eviction by dropping, compressing and spilling, bringing back, expiry,
// and adoption itself. After each death a new supervisor adopts the memory; what was stored must be
// there and whole, readers must find their bytes, and in the end everything must be free.

#include <boost/test/unit_test.hpp>
#include <cstdio>

#include "common/log.hpp"
#include "tests/sweep/cache_world.hpp"

using namespace micro_swarm;
using namespace micro_swarm::sweep;

namespace {

struct OneCore {
  OneCore() { pin_to_one_core(); }
};

using OnEviction = caching::OnEviction;

/// One step of a supervisor's loop, from a state the swarm gets to by itself.
struct CacheScenario {
  std::string name;
  OnEviction on_eviction = OnEviction::drop;
  std::function<void(CacheWorld&, CacheBrain&)> prepare;
  std::function<void(CacheBrain&)> step;
};

void serve(CacheBrain& brain) { brain.serve(); }
void hear_worker(CacheBrain& brain) { brain.hear_worker(); }

void put_all(CacheWorld& world, CacheBrain& brain, std::initializer_list<const char*> names) {
  for (const char* name : names) {
    world.put(name);
    BOOST_REQUIRE(world.run_to_quiet(brain));
  }
}
/// So many that the next one makes the first give way.
void fill(CacheWorld& world, CacheBrain& brain) {
  put_all(world, brain, {"a", "b", "c", "d", "e", "f", "g", "h"});
}
/// The loop has served, and the worker has done what came of it.
void serve_and_work(CacheBrain& brain) {
  brain.serve();
  brain.wait_for_worker();
}
/// "a" has been made to give way: it is compressed or in its file.
void fill_and_displace(CacheWorld& world, CacheBrain& brain) {
  fill(world, brain);
  put_all(world, brain, {"i"});
}
constexpr std::uint64_t an_hour_ns = 3'600 * ns_per_s;

std::vector<CacheScenario> scenarios() {
  return {
      {"take a put", OnEviction::drop,
       [](CacheWorld& w, CacheBrain& b) {
         put_all(w, b, {"x"});
         w.put("y");
       },
       serve},
      {"a put is copied", OnEviction::drop,
       [](CacheWorld& w, CacheBrain& b) {
         put_all(w, b, {"x"});
         w.put("y");
         serve_and_work(b);
       },
       hear_worker},
      {"a put that is read before it is copied", OnEviction::drop,
       [](CacheWorld& w, CacheBrain& b) {
         put_all(w, b, {"x"});
         w.put("y");
         w.get("y");
         serve_and_work(b);
       },
       hear_worker},
      {"refuse a put of a name that is there", OnEviction::drop,
       [](CacheWorld& w, CacheBrain& b) {
         put_all(w, b, {"x"});
         w.put("x");
       },
       serve},
      {"get", OnEviction::drop,
       [](CacheWorld& w, CacheBrain& b) {
         put_all(w, b, {"x", "y"});
         w.get("x");
       },
       serve},
      {"get twice", OnEviction::drop,
       [](CacheWorld& w, CacheBrain& b) {
         put_all(w, b, {"x"});
         w.get("x");
         w.get("x");
       },
       serve},
      {"miss", OnEviction::drop,
       [](CacheWorld& w, CacheBrain& b) {
         put_all(w, b, {"x"});
         w.get("z");
       },
       serve},
      {"a reader gives it back", OnEviction::drop,
       [](CacheWorld& w, CacheBrain& b) {
         put_all(w, b, {"x"});
         w.get("x");
         w.get("x");
         BOOST_REQUIRE(w.run_to_quiet(b));
         w.release("x");
       },
       serve},
      {"erase", OnEviction::drop,
       [](CacheWorld& w, CacheBrain& b) {
         put_all(w, b, {"x", "y"});
         w.erase("x");
       },
       serve},
      {"erase what is read", OnEviction::drop,
       [](CacheWorld& w, CacheBrain& b) {
         put_all(w, b, {"x", "y"});
         w.get("x");
         BOOST_REQUIRE(w.run_to_quiet(b));
         w.erase("x");
       },
       serve},
      {"the last reader of what was erased gives it back", OnEviction::drop,
       [](CacheWorld& w, CacheBrain& b) {
         put_all(w, b, {"x", "y"});
         w.get("x");
         BOOST_REQUIRE(w.run_to_quiet(b));
         w.erase("x");
         BOOST_REQUIRE(w.run_to_quiet(b));
         w.release("x");
       },
       serve},
      {"drop one for another", OnEviction::drop,
       [](CacheWorld& w, CacheBrain& b) {
         fill(w, b);
         w.may_go("a");
         w.put("i");
       },
       serve},
      {"begin to compress one for another", OnEviction::compress,
       [](CacheWorld& w, CacheBrain& b) {
         fill(w, b);
         w.put("i");
       },
       serve},
      {"one is packed", OnEviction::compress,
       [](CacheWorld& w, CacheBrain& b) {
         fill(w, b);
         w.put("i");
         serve_and_work(b);
       },
       hear_worker},
      {"one is compressed", OnEviction::compress,
       [](CacheWorld& w, CacheBrain& b) {
         fill(w, b);
         w.put("i");
         serve_and_work(b);
         b.hear_worker();
         b.wait_for_worker();
       },
       hear_worker},
      {"take what made another be compressed", OnEviction::compress,
       [](CacheWorld& w, CacheBrain& b) {
         fill(w, b);
         w.put("i");
         for (int i = 0; i < 2; ++i) {
           serve_and_work(b);
           b.hear_worker();
         }
       },
       serve},
      {"get what is compressed", OnEviction::compress,
       [](CacheWorld& w, CacheBrain& b) {
         fill_and_displace(w, b);
         w.get("a");
       },
       serve},
      {"what was compressed is back", OnEviction::compress,
       [](CacheWorld& w, CacheBrain& b) {
         fill_and_displace(w, b);
         w.get("a");
         serve_and_work(b);
       },
       hear_worker},
      {"erase what is compressed", OnEviction::compress,
       [](CacheWorld& w, CacheBrain& b) {
         fill_and_displace(w, b);
         w.erase("a");
       },
       serve},
      {"one is spilled", OnEviction::spill,
       [](CacheWorld& w, CacheBrain& b) {
         fill(w, b);
         w.put("i");
         serve_and_work(b);
       },
       hear_worker},
      {"get what is spilled", OnEviction::spill,
       [](CacheWorld& w, CacheBrain& b) {
         fill_and_displace(w, b);
         w.erase("c");
         BOOST_REQUIRE(w.run_to_quiet(b));
         w.get("a");
       },
       serve},
      {"what was spilled is back", OnEviction::spill,
       [](CacheWorld& w, CacheBrain& b) {
         fill_and_displace(w, b);
         w.erase("c");
         BOOST_REQUIRE(w.run_to_quiet(b));
         w.get("a");
         serve_and_work(b);
       },
       hear_worker},
      {"erase what is spilled", OnEviction::spill,
       [](CacheWorld& w, CacheBrain& b) {
         fill_and_displace(w, b);
         w.erase("a");
       },
       serve},
      {"one expires", OnEviction::drop,
       [](CacheWorld& w, CacheBrain& b) {
         put_all(w, b, {"x"});
         w.put("y", 1'000'000);
         BOOST_REQUIRE(w.run_to_quiet(b));
         w.may_go("y");
       },
       [](CacheBrain& b) { b.tick(now_ns() + an_hour_ns); }},
      {"others need the memory", OnEviction::drop,
       [](CacheWorld& w, CacheBrain& b) {
         put_all(w, b, {"x", "y"});
         w.may_go("x");
       },
       [](CacheBrain& b) { b.store().give_way(1); }},
      {"others need the memory, and it is spilled", OnEviction::spill,
       [](CacheWorld& w, CacheBrain& b) {
         put_all(w, b, {"x", "y"});
         b.store().give_way(1);
         b.wait_for_worker();
       },
       hear_worker},
  };
}

/// The next supervisor, as the memory stands; everything it is told by others comes back.
std::string adopt_and_check(CacheWorld& world) {
  const CacheWorld::Outside before = world.outside();
  std::string wrong;
  {
    CacheBrain next(world);
    next.adopt();
    wrong = world.check(next);
  }
  world.put_back(before);
  return wrong;
}

struct Prepared {
  std::unique_ptr<CacheWorld> world;
  std::unique_ptr<CacheBrain> brain;
};
Prepared prepare(const CacheScenario& scenario) {
  Prepared made;
  made.world = std::make_unique<CacheWorld>(scenario.on_eviction);
  made.brain = made.world->running_supervisor();
  // Of each class a slab with room, so that the step makes no bank: a bank made by who dies in the
  // middle is root's affair.
  scenario.prepare(*made.world, *made.brain);
  made.world->keep_banks(*made.brain);
  return made;
}

SweepCounts kill_step(const CacheScenario& scenario, Depth depth) {
  const Prepared made = prepare(scenario);
  return kill_at_every_instruction(
      made.world->memory(), depth, [&] { scenario.step(*made.brain); },
      [&] { return adopt_and_check(*made.world); });
}

/// From every `stride`-th state that a step can leave.
SweepCounts kill_adoptions(std::size_t stride) {
  SweepCounts total;
  std::size_t at = 0;
  for (const CacheScenario& scenario : scenarios()) {
    const Prepared made = prepare(scenario);
    const SharedMemory memory = made.world->memory();
    const std::vector<Snapshot> states =
        states_left_by(memory, [&] { scenario.step(*made.brain); });
    const CacheWorld::Outside outside = made.world->outside();
    for (const Snapshot& state : states) {
      if (at++ % stride != 0) continue;
      memory.load(state);
      CacheBrain next(*made.world);
      total += kill_at_every_instruction(
          memory, Depth::each_state, [&] { next.adopt(); },
          [&] { return adopt_and_check(*made.world); });
      made.world->put_back(outside);
    }
  }
  return total;
}

// ---- planted mistakes ----

struct Planted {
  std::string name;
  OnEviction on_eviction = OnEviction::drop;
  std::function<void(CacheWorld&, CacheBrain&)> prepare;
  std::function<void(CacheWorld&, CacheBrain&)> step;
};

std::uint32_t row_of(const CacheWorld& world, std::string_view name) {
  std::uint32_t slot = 0;
  while (std::string_view(world.segment().cache_rows()[slot].name, name.size()) != name) ++slot;
  return slot;
}
CacheRow& row(const CacheWorld& world, std::string_view name) {
  return world.segment().cache_rows()[row_of(world, name)];
}
Hold& hold(const CacheWorld& world, std::string_view name, unsigned which) {
  return world.segment().holds()[first_cache_hold(world.segment().header().task_capacity) + 1 +
                                 2 * row_of(world, name) + which];
}
Word& region_of(const CacheWorld& world, Hold& held) {
  return world.segment().tables().heir_regions[Token{load(held.token)}.region()];
}

std::vector<Planted> planted() {
  const auto put_x = [](CacheWorld& w, CacheBrain& b) { put_all(w, b, {"x", "y"}); };
  return {
      {"an entry counts before its bytes are there", OnEviction::drop,
       [](CacheWorld& w, CacheBrain& b) {
         put_all(w, b, {"x"});
         w.put("y");
       },
       [](CacheWorld& w, CacheBrain& b) {
         b.serve();
         row(w, "y").stored_bytes[0] = row(w, "y").bytes;
         commit(row(w, "y"), CacheRowState::plain, 0);
       }},
      {"the message is done with before its region is held", OnEviction::drop,
       [](CacheWorld& w, CacheBrain& b) {
         put_all(w, b, {"x"});
         w.put("y");
       },
       [](CacheWorld& w, CacheBrain&) {
         Word& cursor = w.segment().cursor(CacheWorld::client_party, Lane::data);
         const Cursor now{load(cursor)};
         store(cursor, Cursor::make(now.incarnation(), now.consumed() + 1).word);
       }},
      {"a right goes before its row is forgotten", OnEviction::drop, put_x,
       [](CacheWorld& w, CacheBrain&) {
         Hold& held = hold(w, "x", 0);
         release_own(held, region_of(w, held));
         forget(row(w, "x"));
       }},
      {"a reader's right is sent before it is minted", OnEviction::drop,
       [](CacheWorld& w, CacheBrain& b) {
         put_all(w, b, {"x", "y"});
         w.get("x");
       },
       [](CacheWorld& w, CacheBrain&) {
         SlotBody body;
         body.kind = static_cast<std::uint16_t>(MessageKind::cache_answer);
         const Token own{load(hold(w, "x", 0).token)};
         body.token =
             Token::make(supervisor_party, own.region(), own.number() + 1, own.generation()).word;
         body.region_bytes = CacheWorld::entry_bytes;
         body.inline_data[0] = 3;  // the third request
         body.inline_data[1] =
             CacheAnswerWord::make(CacheAnswer::found, CacheRefusal::none, 1).word;
         Slot* slots = w.segment().ring(supervisor_party, CacheWorld::client_party, Lane::data);
         const std::uint32_t count = ring_slots(supervisor_party, CacheWorld::client_party);
         RingWriter ring(slots, count, &w.client_segment().cursor(supervisor_party, Lane::data), 1,
                         find_tail(slots, count));
         ring.try_send(body);
         Word& cursor = w.segment().cursor(CacheWorld::client_party, Lane::data);
         const Cursor now{load(cursor)};
         store(cursor, Cursor::make(now.incarnation(), now.consumed() + 1).word);
       }},
      {"an entry is in its file before the file is", OnEviction::spill, put_x,
       [](CacheWorld& w, CacheBrain&) {
         row(w, "x").file_bytes = 100;
         commit(row(w, "x"), CacheRowState::spilled, 0);
         Hold& held = hold(w, "x", 0);
         release_own(held, region_of(w, held));
       }},
      {"the old bytes go before the new ones count", OnEviction::compress,
       [](CacheWorld& w, CacheBrain& b) {
         fill_and_displace(w, b);
         w.get("a");
         serve_and_work(b);
       },
       [](CacheWorld& w, CacheBrain&) {
         const unsigned current = word_of(row(w, "a")).current();
         Hold& held = hold(w, "a", current);
         release_own(held, region_of(w, held));
         row(w, "a").stored_bytes[current ^ 1] = row(w, "a").bytes;
         commit(row(w, "a"), CacheRowState::plain, current ^ 1);
       }},
  };
}

void report(const std::string& what, const SweepCounts& counts) {
  std::printf("%-60s %8lu instructions %5lu states %6lu kills\n", what.c_str(),
              static_cast<unsigned long>(counts.instructions),
              static_cast<unsigned long>(counts.states), static_cast<unsigned long>(counts.kills));
  BOOST_TEST(counts.violations == 0u, what << ": " << counts.first_violation);
}

}  // namespace

BOOST_TEST_GLOBAL_FIXTURE(OneCore);

BOOST_AUTO_TEST_SUITE(cache_sweep)

BOOST_AUTO_TEST_CASE(no_state_of_a_step_loses_an_entry_or_a_region) {
  SweepCounts total;
  for (const CacheScenario& scenario : scenarios()) {
    const SweepCounts counts = kill_step(scenario, Depth::each_state);
    report(scenario.name, counts);
    total += counts;
  }
  report("in all", total);
}

BOOST_AUTO_TEST_CASE(no_instruction_of_a_step_loses_an_entry_or_a_region,
                     *boost::unit_test::disabled()) {
  SweepCounts total;
  for (const CacheScenario& scenario : scenarios()) {
    const SweepCounts counts = kill_step(scenario, Depth::each_instruction);
    report(scenario.name, counts);
    total += counts;
  }
  report("in all", total);
}

BOOST_AUTO_TEST_CASE(adoption_may_be_killed_too) {
  report("adoption, killed at every state", kill_adoptions(20));
}

BOOST_AUTO_TEST_CASE(adoption_from_every_death_may_be_killed_at_any_state,
                     *boost::unit_test::disabled()) {
  report("adoption, from every state", kill_adoptions(1));
}

BOOST_AUTO_TEST_CASE(planted_mistakes_are_found) {
  for (const Planted& mistake : planted()) {
    CacheWorld world(mistake.on_eviction);
    const auto brain = world.running_supervisor();
    mistake.prepare(world, *brain);
    world.keep_banks(*brain);
    const SweepCounts counts = kill_at_every_instruction(
        world.memory(), Depth::each_state, [&] { mistake.step(world, *brain); },
        [&] { return adopt_and_check(world); });
    std::printf("planted: %-50s %3lu of %3lu kills: %s\n", mistake.name.c_str(),
                static_cast<unsigned long>(counts.violations),
                static_cast<unsigned long>(counts.kills), counts.first_violation.c_str());
    BOOST_TEST(counts.violations != 0u, mistake.name);
  }
}

BOOST_AUTO_TEST_SUITE_END()
