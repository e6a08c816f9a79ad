// fault.cache_sweep: the supervisor killed at every state of what it does with the cache: put, get,
// a reader's release, erase, eviction by dropping, compressing and spilling, bringing back, expiry,
// and adoption itself; with what the worker writes to memory and files, and with banks that are
// made and go back. After each death a new supervisor adopts the memory; what was stored must be
// there and whole, readers must find their bytes, and in the end everything must be free.

#include <fcntl.h>

#include <boost/test/unit_test.hpp>
#include <cstdio>
#include <set>

#include "common/compression.hpp"
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
constexpr std::uint32_t short_ttl_ms = 1'000'000;

/// What the loop has just begun is done, and it hears of that.
void work(CacheBrain& brain) {
  brain.work_here();
  brain.hear_worker();
}
void serve_work(CacheBrain& brain) {
  brain.serve();
  work(brain);
}
/// A put that waits until another has been compressed: packed, written, taken, copied.
void serve_work_for_room(CacheBrain& brain) {
  serve_work(brain);
  work(brain);
  serve_work(brain);
}

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
         serve_and_work(b);
         b.hear_worker();
         b.wait_for_worker();
         b.hear_worker();
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

/// With all that comes of them, the worker's part among it.
std::vector<CacheScenario> whole_scenarios() {
  return {
      {"the first put, in a new bank", OnEviction::drop,
       [](CacheWorld& w, CacheBrain& b) {
         b.store().begin_worker();
         w.put("x");
       },
       serve_work},
      {"put", OnEviction::drop,
       [](CacheWorld& w, CacheBrain& b) {
         put_all(w, b, {"x"});
         w.put("y");
         w.get("y");
       },
       serve_work},
      {"two puts and an erase at once", OnEviction::drop,
       [](CacheWorld& w, CacheBrain& b) {
         put_all(w, b, {"x"});
         w.put("y");
         w.put("z");
         w.erase("y");
       },
       serve_work},
      {"the last entry goes, and its bank", OnEviction::drop,
       [](CacheWorld& w, CacheBrain& b) {
         put_all(w, b, {"x"});
         w.erase("x");
       },
       [](CacheBrain& b) {
         b.serve();
         b.banks().return_idle();
       }},
      {"put beside a reader of what was erased", OnEviction::drop,
       [](CacheWorld& w, CacheBrain& b) {
         put_all(w, b, {"x"});
         w.get("x");
         BOOST_REQUIRE(w.run_to_quiet(b));
         w.erase("x");
         BOOST_REQUIRE(w.run_to_quiet(b));
         w.put("x");
         w.may_go("x");
       },
       serve_work},
      {"put, and another is compressed for it", OnEviction::compress,
       [](CacheWorld& w, CacheBrain& b) {
         fill(w, b);
         w.put("i");
       },
       serve_work_for_room},
      {"what is compressed is brought back, another goes", OnEviction::compress,
       [](CacheWorld& w, CacheBrain& b) {
         fill_and_displace(w, b);
         w.get("a");
       },
       serve_work_for_room},
      {"put, and another is spilled for it", OnEviction::spill,
       [](CacheWorld& w, CacheBrain& b) {
         fill(w, b);
         w.put("i");
       },
       serve_work_for_room},
      {"what is spilled is brought back, another goes", OnEviction::spill,
       [](CacheWorld& w, CacheBrain& b) {
         fill_and_displace(w, b);
         w.get("a");
       },
       serve_work_for_room},
      {"erase what is spilled, and its file", OnEviction::spill,
       [](CacheWorld& w, CacheBrain& b) {
         fill_and_displace(w, b);
         w.erase("a");
       },
       serve_work},
      {"erase what is being spilled", OnEviction::spill,
       [](CacheWorld& w, CacheBrain& b) {
         fill(w, b);
         w.put("i");
         b.serve();
         b.wait_for_worker();
         w.erase("a");
       },
       [](CacheBrain& b) {
         serve_work(b);
         b.work_here();
       }},
      {"one expires in its file", OnEviction::spill,
       [](CacheWorld& w, CacheBrain& b) {
         w.put("a", short_ttl_ms);
         BOOST_REQUIRE(w.run_to_quiet(b));
         put_all(w, b, {"b", "c", "d", "e", "f", "g", "h", "i"});
         w.may_go("a");
       },
       [](CacheBrain& b) {
         b.tick(now_ns() + an_hour_ns);
         b.work_here();
       }},
      {"room for less, and two are spilled", OnEviction::spill,
       [](CacheWorld& w, CacheBrain& b) {
         put_all(w, b, {"x", "y", "z"});
       },
       [](CacheBrain& b) {
         CacheChoice choice = b.store().choice();
         choice.capacity_bytes = CacheWorld::entry_bytes + 100;
         (void)b.store().choose(choice);
         work(b);
       }},
  };
}

struct Prepared {
  std::unique_ptr<CacheWorld> world;
  std::unique_ptr<CacheBrain> brain;
};
Prepared prepare(const CacheScenario& scenario) {
  Prepared made;
  made.world = std::make_unique<CacheWorld>(scenario.on_eviction);
  made.brain = made.world->running_supervisor();
  scenario.prepare(*made.world, *made.brain);
  made.world->hear_root(*made.brain);
  made.brain->wait_for_worker();
  CacheWorld::give_banks_to_children();
  return made;
}

std::size_t unfinished_files = 0;  ///< left by all the dead

SweepCounts kill_step(const CacheScenario& scenario, Depth depth) {
  const Prepared made = prepare(scenario);
  const SweepCounts counts = kill_at_every_instruction(
      made.world->memory(*made.brain), depth,
      CacheWorld::with_calls_as_states([&] { scenario.step(*made.brain); }),
      [&] { return made.world->adopt_and_check(*made.brain); });
  unfinished_files += made.world->unfinished_files_seen();
  return counts;
}

/// From every `stride`-th state that a step can leave.
SweepCounts kill_adoptions(const std::vector<CacheScenario>& all, std::size_t stride,
                           bool with_work) {
  SweepCounts total;
  std::size_t at = 0;
  for (const CacheScenario& scenario : all) {
    const Prepared made = prepare(scenario);
    const std::vector<Snapshot> states =
        states_left_by(made.world->memory(*made.brain),
                       CacheWorld::with_calls_as_states([&] { scenario.step(*made.brain); }));
    for (const Snapshot& state : states) {
      if (at++ % stride != 0) continue;
      made.world->memory(*made.brain).load(state);
      CacheBrain next(*made.world);
      next.store().begin_worker();
      total += kill_at_every_instruction(made.world->memory(next), Depth::each_state,
                                         CacheWorld::with_calls_as_states([&] {
                                           next.adopt();
                                           if (with_work) serve_work(next);
                                         }),
                                         [&] { return made.world->adopt_and_check(next); });
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
/// To its client, about its request of that number.
void answer(const CacheWorld& world, std::uint64_t number, CacheAnswer what, Token token = {}) {
  SlotBody body;
  body.kind = static_cast<std::uint16_t>(MessageKind::cache_answer);
  body.token = token.word;
  body.region_bytes = token ? CacheWorld::entry_bytes : 0;
  body.inline_data[0] = number;
  body.inline_data[1] = CacheAnswerWord::make(what, CacheRefusal::none, 1).word;
  Slot* slots = world.segment().ring(supervisor_party, CacheWorld::client_party, Lane::data);
  const std::uint32_t count = ring_slots(supervisor_party, CacheWorld::client_party);
  RingWriter ring(slots, count, &world.client_segment().cursor(supervisor_party, Lane::data), 1,
                  find_tail(slots, count));
  ring.try_send(body);
}
void move_cursor(const CacheWorld& world) {
  Word& cursor = world.segment().cursor(CacheWorld::client_party, Lane::data);
  const Cursor now{load(cursor)};
  store(cursor, Cursor::make(now.incarnation(), now.consumed() + 1).word);
}

/// Half of a file, its row, and the other half.
void spill_in_two(const CacheWorld& world, std::string_view name) {
  CacheRow& of = row(world, name);
  std::vector<std::byte> block(packed_bytes_max(of.bytes));
  block.resize(pack(Codec::lz4, bytes_of(std::string(name)), block)->bytes);
  char file_name[24];
  std::snprintf(file_name, sizeof file_name, "%016llx",
                static_cast<unsigned long long>(
                    caching::make_entry_id(row_of(world, name), word_of(of).serial())));
  std::filesystem::create_directory(world.spill_directory());
  const UniqueFd file(
      ::open((world.spill_directory() / file_name).c_str(), O_WRONLY | O_CREAT | O_CLOEXEC, 0600));
  const std::size_t half = block.size() / 2;
  BOOST_REQUIRE(::pwrite(file.get(), block.data(), half, 0) > 0);
  of.file_bytes = block.size();
  commit(of, CacheRowState::spilled, 0);
  Hold& held = hold(world, name, 0);
  release_own(held, region_of(world, held));
  BOOST_REQUIRE(
      ::pwrite(file.get(), block.data() + half, block.size() - half, static_cast<off_t>(half)) > 0);
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
       [](CacheWorld& w, CacheBrain&) { move_cursor(w); }},
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
         const Token own{load(hold(w, "x", 0).token)};
         answer(w, 3, CacheAnswer::found,
                Token::make(supervisor_party, own.region(), own.number() + 1, own.generation()));
         move_cursor(w);
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
      {"an entry is in its file before all of the file is", OnEviction::spill, put_x,
       [](CacheWorld& w, CacheBrain&) { spill_in_two(w, "x"); }},
      {"its giver is told, and its bytes go home, before it counts", OnEviction::drop,
       [](CacheWorld& w, CacheBrain& b) {
         put_all(w, b, {"x"});
         w.put("y");
       },
       [](CacheWorld& w, CacheBrain& b) {
         b.serve();
         b.work_here();
         answer(w, 2, CacheAnswer::stored);
         b.tokens().release(hold(w, "y", 1));
         b.hear_worker();
       }},
      {"a region is filled again while it is read", OnEviction::drop,
       [](CacheWorld& w, CacheBrain& b) {
         put_all(w, b, {"x"});
         w.get("x");
         BOOST_REQUIRE(w.run_to_quiet(b));
         w.erase("x");
         BOOST_REQUIRE(w.run_to_quiet(b));
         w.put("y");
       },
       [](CacheWorld& w, CacheBrain& b) {
         Word& word = region_of(w, hold(w, "x", 0));
         store(word, RegionWord::make(RegionWord{load(word)}.generation(), 0).word);
         serve_work(b);
       }},
      {"a bank goes from root before its rights have", OnEviction::drop, put_x,
       [](CacheWorld& w, CacheBrain& b) {
         Hold& held = hold(w, "y", 0);
         b.root().drop(fd_key::bank + bank_of(Token{load(held.token)}.region()));
         forget(row(w, "y"));
         release_own(held, region_of(w, held));
       }},
  };
}

void report(const std::string& what, const SweepCounts& counts) {
  std::printf("%-60s %8lu instructions %5lu states %6lu kills\n", what.c_str(),
              static_cast<unsigned long>(counts.instructions),
              static_cast<unsigned long>(counts.states), static_cast<unsigned long>(counts.kills));
  BOOST_TEST(counts.violations == 0u, what << ": " << counts.first_violation);
}

void sweep_steps(const std::vector<CacheScenario>& all, Depth depth) {
  SweepCounts total;
  for (const CacheScenario& scenario : all) {
    const SweepCounts counts = kill_step(scenario, depth);
    report(scenario.name, counts);
    total += counts;
  }
  report("in all", total);
}

}  // namespace

BOOST_TEST_GLOBAL_FIXTURE(OneCore);

BOOST_AUTO_TEST_SUITE(cache_sweep)

BOOST_AUTO_TEST_CASE(no_state_of_a_step_loses_an_entry_or_a_region) {
  sweep_steps(scenarios(), Depth::each_state);
}

BOOST_AUTO_TEST_CASE(no_state_of_what_the_worker_writes_loses_an_entry_or_a_region) {
  sweep_steps(whole_scenarios(), Depth::each_state);
  BOOST_TEST(unfinished_files != 0u, "nobody died with half a file written");
}

/// All would take a quarter of an hour: one step of each kind.
BOOST_AUTO_TEST_CASE(no_instruction_of_a_step_loses_an_entry_or_a_region,
                     *boost::unit_test::disabled()) {
  const std::set<std::string> kinds{"take a put",
                                    "a put is copied",
                                    "get",
                                    "a reader gives it back",
                                    "erase",
                                    "one is spilled",
                                    "one expires",
                                    "what was spilled is back",
                                    "one is compressed"};
  std::vector<CacheScenario> chosen = scenarios();
  std::erase_if(chosen, [&](const CacheScenario& one) { return !kinds.contains(one.name); });
  BOOST_REQUIRE_EQUAL(chosen.size(), kinds.size());
  sweep_steps(chosen, Depth::each_instruction);
}

BOOST_AUTO_TEST_CASE(adoption_may_be_killed_too) {
  report("adoption, killed at every state", kill_adoptions(scenarios(), 30, false));
  report("adoption after the worker's part", kill_adoptions(whole_scenarios(), 75, true));
}

BOOST_AUTO_TEST_CASE(adoption_from_every_death_may_be_killed_at_any_state,
                     *boost::unit_test::disabled()) {
  report("adoption, from every state", kill_adoptions(scenarios(), 1, false));
  report("adoption after the worker's part", kill_adoptions(whole_scenarios(), 8, true));
}

BOOST_AUTO_TEST_CASE(planted_mistakes_are_found) {
  for (const Planted& mistake : planted()) {
    CacheWorld world(mistake.on_eviction);
    const auto brain = world.running_supervisor();
    mistake.prepare(world, *brain);
    world.hear_root(*brain);
    brain->wait_for_worker();
    CacheWorld::give_banks_to_children();
    const SweepCounts counts = kill_at_every_instruction(
        world.memory(*brain), Depth::each_state,
        CacheWorld::with_calls_as_states([&] { mistake.step(world, *brain); }),
        [&] { return world.adopt_and_check(*brain); });
    std::printf("planted: %-50s %3lu of %3lu kills: %s\n", mistake.name.c_str(),
                static_cast<unsigned long>(counts.violations),
                static_cast<unsigned long>(counts.kills), counts.first_violation.c_str());
    BOOST_TEST(counts.violations != 0u, mistake.name);
  }
}

BOOST_AUTO_TEST_SUITE_END()
