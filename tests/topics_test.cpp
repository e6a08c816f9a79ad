// The names of topics, and their rows in the supervisor's tables.

#include <boost/test/unit_test.hpp>
#include <memory>
#include <thread>
#include <vector>

#include "shm/atomics.hpp"
#include "supervisor/topics.hpp"

namespace micro_swarm {
namespace {

TopicName named(std::string_view text) {
  const auto name = topic_name(text);
  BOOST_REQUIRE(name.has_value());
  return *name;
}

}  // namespace

BOOST_AUTO_TEST_SUITE(topics)

BOOST_AUTO_TEST_CASE(a_name_is_what_it_was_made_of) {
  for (const std::string text : {"a", "sensors/left_2.raw-X", "123456789012345678901234"})
    BOOST_TEST(text_of(named(text)) == text);
  BOOST_TEST(!(named("a") == named("b")));
  BOOST_TEST(!TopicName());
  for (const std::string text : {"", "a b", "a\n", "\xc3\xa4", "1234567890123456789012345"}) {
    const auto name = topic_name(text);
    BOOST_REQUIRE(!name.has_value());
    BOOST_TEST((name.error().code == ErrorCode::usage));
    BOOST_TEST(name.error().message.find("1 to 24") != std::string::npos);
  }
}

BOOST_AUTO_TEST_CASE(a_row_has_the_subscribers_that_were_set) {
  std::vector<TopicRow> rows(4);
  topic_rows::rename(rows[2], named("weather"));
  for (const PartyId party : std::vector<PartyId>{0, 63, 64, 255, 319})
    topic_rows::set(rows[2], party, true);
  topic_rows::set(rows[2], 63, false);
  const Subscribers found = subscribers_of(rows, named("weather"));
  BOOST_TEST(found.count() == 4u);
  std::vector<PartyId> parties;
  found.for_each([&](PartyId party) { parties.push_back(party); });
  const std::vector<PartyId> expected{0, 64, 255, 319};
  BOOST_TEST(parties == expected, boost::test_tools::per_element());
  BOOST_TEST(!found.has(63));
  BOOST_TEST(!found.has(no_party));
  BOOST_TEST(subscribers_of(rows, named("weathe")).count() == 0u);
  BOOST_TEST(subscribers_of(rows, named("weather-and-more")).count() == 0u);
}

BOOST_AUTO_TEST_CASE(who_died_changing_a_name_left_a_free_row) {
  std::vector<TopicRow> rows(1);
  topic_rows::rename(rows[0], named("old"));
  store(rows[0].changes, load(rows[0].changes) + 1);
  store(rows[0].name[0], named("new").words[0]);
  BOOST_TEST(subscribers_of(rows, named("new")).count() == 0u);
  topic_rows::repair(rows[0]);
  BOOST_TEST(!topic_rows::name(rows[0]));
  topic_rows::rename(rows[0], named("new"));
  topic_rows::set(rows[0], 7, true);
  BOOST_TEST(subscribers_of(rows, named("new")).has(7));
}

// One row goes from name to name; each has a subscriber of its own. With `changes` left out of the
// reader this finds the other's within milliseconds.
BOOST_AUTO_TEST_CASE(nobody_reads_the_subscribers_of_another_topic) {
  const auto row = std::make_unique<TopicRow>();
  const TopicName first = named("topic-number-one"), second = named("topic-number-two");
  std::atomic<bool> stop{false};
  std::jthread writer([&] {
    for (int i = 0; i < 200'000; ++i) {
      const PartyId party = i % 2 == 0 ? 1 : 2;
      topic_rows::rename(*row, i % 2 == 0 ? first : second);
      topic_rows::set(*row, party, true);
      topic_rows::set(*row, party, false);
    }
    stop = true;
  });
  std::size_t wrong = 0, found = 0;
  while (!stop) {
    const Subscribers of_first = subscribers_of({row.get(), 1}, first);
    found += of_first.count();
    wrong += of_first.has(2) ? 1 : 0;
    wrong += subscribers_of({row.get(), 1}, second).has(1) ? 1 : 0;
  }
  BOOST_TEST(wrong == 0u);
  BOOST_TEST_MESSAGE(found << " times it was there");
}

BOOST_AUTO_TEST_SUITE_END()

}  // namespace micro_swarm
