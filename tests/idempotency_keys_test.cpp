// Whose a key is, step by step.

#include "supervisor/idempotency_keys.hpp"

#include <boost/test/unit_test.hpp>
#include <vector>

namespace micro_swarm {
namespace {

using Kind = IdempotencyKeys::Answer::Kind;

struct Keys {
  std::vector<std::string> asked;
  IdempotencyKeys keys{[this](std::string_view key) { asked.emplace_back(key); }};
  RequestHash a{1, 2}, b{1, 3};
};

BOOST_FIXTURE_TEST_CASE(the_journal_is_asked_once_and_then_known, Keys) {
  BOOST_TEST((keys.look_up("k", a).kind == Kind::asking));
  BOOST_TEST((keys.look_up("k", b).kind == Kind::asking));
  BOOST_TEST(asked.size() == 1u);
  BOOST_TEST(keys.is_asking());
  keys.told("k", std::nullopt);
  BOOST_TEST(!keys.is_asking());
  BOOST_TEST((keys.look_up("k", a).kind == Kind::unused));
  keys.taken("k", 7, a, 70);
  BOOST_TEST((keys.look_up("k", a).kind == Kind::same));
  BOOST_TEST(keys.look_up("k", a).id == 7u);
  BOOST_TEST((keys.look_up("k", b).kind == Kind::other));
  BOOST_TEST(asked.size() == 1u);
}

BOOST_FIXTURE_TEST_CASE(what_the_journal_knows_is_told, Keys) {
  keys.look_up("k", a);
  keys.told("k", JournalKey{9, {1, 2}});
  BOOST_TEST((keys.look_up("k", a).kind == Kind::same));
  BOOST_TEST(keys.look_up("k", a).id == 9u);
  BOOST_TEST((keys.look_up("k", b).kind == Kind::other));
  keys.told("k", std::nullopt);  // an answer nobody waits for
  BOOST_TEST((keys.look_up("k", a).kind == Kind::same));
}

BOOST_FIXTURE_TEST_CASE(an_answer_that_was_overtaken_by_an_acceptance_changes_nothing, Keys) {
  keys.look_up("k", a);
  keys.taken("k", 7, a, 70);
  BOOST_TEST(!keys.is_asking());
  keys.told("k", std::nullopt);
  BOOST_TEST((keys.look_up("k", a).kind == Kind::same));
}

BOOST_FIXTURE_TEST_CASE(nothing_is_forgotten_that_the_journal_does_not_know, Keys) {
  keys.look_up("asked", a);
  keys.look_up("unused", a);
  keys.told("unused", std::nullopt);
  keys.taken("unsynced", 7, a, 70);
  keys.taken("synced", 8, a, 80);
  const auto is_synced = [](TaskId task) { return task == 80; };
  for (int i = 0; i < 9; ++i) keys.forget_old(is_synced);
  BOOST_TEST(keys.size() == 4u);
  keys.look_up("unused", a);  // young again
  for (int i = 0; i < 9; ++i) keys.forget_old(is_synced);
  BOOST_TEST(keys.size() == 3u);
  keys.forget_old(is_synced);
  BOOST_TEST(keys.size() == 2u);
  BOOST_TEST((keys.look_up("unsynced", a).kind == Kind::same));
  BOOST_TEST((keys.look_up("asked", a).kind == Kind::asking));
  BOOST_TEST((keys.look_up("synced", a).kind == Kind::asking));
}

}  // namespace
}  // namespace micro_swarm
