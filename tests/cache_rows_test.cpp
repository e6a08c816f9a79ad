// What a new supervisor makes of the cache's table, whatever moment the old one died at.

#include <boost/test/unit_test.hpp>
#include <map>

#include "supervisor/cache_rows.hpp"

namespace micro_swarm {
namespace {

using Kind = CacheRowFound::Kind;

/// Three rows and their holds; rights that are out are listed, so a row may name one that is not.
struct Table {
  std::vector<CacheRow> rows = std::vector<CacheRow>(3);
  std::vector<Hold> holds = std::vector<Hold>(cache_holds(3));
  std::map<std::uint64_t, std::uint64_t> cached;   ///< rights to the cache's regions: their bytes
  std::map<std::uint64_t, std::uint64_t> foreign;  ///< of parties

  static Token own(unsigned n) { return Token::make(supervisor_party, n, 0, 1); }
  static Token source(unsigned n) { return Token::make(first_client, n, 0, 1); }
  Hold& hold(unsigned slot, unsigned which) { return holds[1 + 2 * slot + which]; }
  void give(unsigned slot, unsigned which, Token token, std::uint64_t bytes) {
    store(hold(slot, which).token, token.word);
    (token.owner() == supervisor_party ? cached : foreign)[token.word] = bytes;
  }
  void fill(unsigned slot, std::string_view name) {
    give(slot, 0, own(slot), 4096);
    foreign[source(slot).word] = 4096;
    CacheRowFacts facts;
    facts.serial = 5 + slot;
    facts.name = name;
    facts.bytes = 4000;
    facts.put_key = 1;
    facts.put_number = slot;
    facts.stored_ns = 7;
    begin_fill(rows[slot], hold(slot, 1), facts, source(slot), {});
  }
  std::vector<CacheRowFound> found() const {
    const auto knows = [](const auto& rights, Token token, std::uint64_t bytes) {
      const auto at = rights.find(token.word);
      return at != rights.end() && bytes <= at->second;
    };
    return survey(
        rows, holds.data(),
        [&](Token token, std::uint64_t bytes) { return knows(cached, token, bytes); },
        [&](Token token, std::uint64_t bytes) { return knows(foreign, token, bytes); });
  }
  void is(std::initializer_list<std::pair<unsigned, Kind>> expected) const {
    const auto all = found();
    BOOST_REQUIRE_EQUAL(all.size(), expected.size());
    std::size_t i = 0;
    for (const auto& [slot, kind] : expected) {
      BOOST_TEST(all[i].slot == slot);
      BOOST_TEST((all[i].kind == kind), "row " << slot);
      ++i;
    }
  }
};

BOOST_AUTO_TEST_CASE(every_step_of_a_fill) {
  Table table;
  table.is({});
  table.give(0, 0, Table::own(0), 4096);  // allocated, and nothing written
  table.is({{0, Kind::remains}});
  table.fill(0, "a");
  table.is({{0, Kind::interrupted}});
  store(table.hold(0, 1).token, 0);  // the message will bring it again
  table.is({{0, Kind::remains}});
  table.fill(0, "a");
  commit(table.rows[0], CacheRowState::plain, 0);  // the source is still to go home
  table.is({{0, Kind::entry}});
  store(table.hold(0, 1).token, 0);
  table.is({{0, Kind::entry}});
  table.fill(1, "b");
  table.is({{0, Kind::entry}, {1, Kind::interrupted}});
  forget(table.rows[0]);
  table.is({{0, Kind::remains}, {1, Kind::interrupted}});
  store(table.hold(0, 0).token, 0);
  table.is({{1, Kind::interrupted}});
  BOOST_TEST(used_rows(table.rows) == 2u);
  BOOST_TEST(word_of(table.rows[0]).serial() == 5u);
}

BOOST_AUTO_TEST_CASE(every_step_of_a_replacement) {
  Table table;
  table.fill(0, "a");
  commit(table.rows[0], CacheRowState::plain, 0);
  store(table.hold(0, 1).token, 0);
  table.give(0, 1, Table::own(9), 1024);  // being compressed
  BOOST_TEST(table.found().at(0).word.current() == 0u);
  table.rows[0].stored_bytes[1] = 900;
  table.is({{0, Kind::entry}});
  commit(table.rows[0], CacheRowState::compressed, 1);
  BOOST_TEST(table.found().at(0).word.current() == 1u);
  table.is({{0, Kind::entry}});
  store(table.hold(0, 0).token, 0);
  table.is({{0, Kind::entry}});
  table.rows[0].file_bytes = 900;
  commit(table.rows[0], CacheRowState::spilled, 1);
  table.is({{0, Kind::entry}});
  store(table.hold(0, 1).token, 0);
  table.is({{0, Kind::entry}});
  table.give(0, 0, Table::own(10), 4096);  // being brought back
  table.is({{0, Kind::entry}});
  commit(table.rows[0], CacheRowState::plain, 0);
  table.is({{0, Kind::entry}});
}

/// Planted: the word first and the right after it. A death in between is seen for what it is.
BOOST_AUTO_TEST_CASE(a_row_that_is_committed_before_its_right_is_there_is_no_entry) {
  Table table;
  table.fill(0, "a");
  commit(table.rows[0], CacheRowState::plain, 0);
  table.rows[0].stored_bytes[1] = 4000;
  store(table.hold(0, 1).token, 0);
  commit(table.rows[0], CacheRowState::plain, 1);
  table.is({{0, Kind::damaged}});
}

BOOST_AUTO_TEST_CASE(rows_that_make_no_sense_are_given_up) {
  const auto damaged = [](const std::function<void(Table&)>& damage) {
    Table table;
    table.fill(0, "a");
    commit(table.rows[0], CacheRowState::plain, 0);
    damage(table);
    table.is({{0, Kind::damaged}});
  };
  damaged([](Table& t) { t.rows[0].name[0] = 'b'; });
  damaged([](Table& t) { t.rows[0].name_bytes = 65; });
  damaged([](Table& t) { t.rows[0].name_bytes = 0; });
  damaged([](Table& t) { t.rows[0].bytes = 1ull << 60; });
  damaged([](Table& t) { t.rows[0].priority = static_cast<Priority>(9); });
  damaged([](Table& t) { t.rows[0].expires_ns = 1; });
  damaged([](Table& t) { t.rows[0].stored_bytes[0] = 3999; });
  damaged([](Table& t) { t.cached.clear(); });
  damaged([](Table& t) { store(t.hold(0, 0).token, 0); });
  damaged(
      [](Table& t) { store(t.rows[0].word, CacheWord::make(6, CacheRowState::plain, 0).word); });
  damaged([](Table& t) {
    store(t.rows[0].word, CacheWord::make(5, static_cast<CacheRowState>(77), 0).word);
  });
  damaged([](Table& t) { commit(t.rows[0], CacheRowState::spilled, 0); });     // no file
  damaged([](Table& t) { commit(t.rows[0], CacheRowState::compressed, 0); });  // not smaller
}

}  // namespace
}  // namespace micro_swarm
