// What of an agent's output reaches the log.

#include <boost/test/unit_test.hpp>
#include <string>
#include <vector>

#include "supervisor/log_lines.hpp"

namespace micro_swarm {
namespace {

constexpr std::uint64_t second_ns = 1'000'000'000;

struct Fixture {
  void take(std::string_view bytes) {
    lines.take(bytes, now_ns, [this](const std::string& line) { logged.push_back(line); });
  }
  /// So many lines of 1,000 bytes.
  void write(std::size_t count) {
    for (std::size_t i = 0; i < count; ++i) take(std::string(999, 'x') + "\n");
  }

  LogLines lines;
  std::uint64_t now_ns = 5 * second_ns;
  std::vector<std::string> logged;
};

using Lines = std::vector<std::string>;

BOOST_FIXTURE_TEST_CASE(bytes_become_lines_however_they_come, Fixture) {
  take("one\ntw");
  take("o\n\n\nthree");
  BOOST_TEST(logged == (Lines{"one", "two"}), boost::test_tools::per_element());
  lines.finish([this](const std::string& line) { logged.push_back(line); });
  BOOST_TEST(logged == (Lines{"one", "two", "three"}), boost::test_tools::per_element());
  BOOST_TEST(lines.take_last() == "three");
  BOOST_TEST(lines.take_last().empty());
}

BOOST_FIXTURE_TEST_CASE(long_lines_are_cut_and_lose_nothing, Fixture) {
  std::string text;
  for (int i = 0; text.size() < 2'500; ++i) text += std::to_string(i);
  take(text + "\n");
  BOOST_REQUIRE(logged.size() == 3u);
  BOOST_TEST(logged[0].size() == LogLines::line_bytes_max);
  BOOST_TEST(logged[0] + logged[1] + logged[2] == text);
}

BOOST_FIXTURE_TEST_CASE(a_burst_is_taken_and_a_flood_is_not, Fixture) {
  write(4'000);
  BOOST_TEST(logged.size() == 4'000u);
  BOOST_TEST(lines.dropped() == 0u);
  write(10'000);
  BOOST_TEST(logged.size() + lines.dropped() == 14'000u);
  BOOST_TEST(logged.size() <= LogLines::burst_bytes / 1'000);
}

BOOST_FIXTURE_TEST_CASE(it_is_taken_again_after_a_second_and_the_gap_is_told_once, Fixture) {
  write(10'000);
  const std::size_t before = logged.size();
  now_ns += second_ns / 2;
  write(10);  // half the rate is free again, and not used yet
  BOOST_TEST(logged.size() == before);
  now_ns += second_ns;
  take("back\n");
  BOOST_TEST(logged.back() == "back");
  BOOST_TEST(lines.take_unreported() == lines.dropped());
  BOOST_TEST(lines.take_unreported() == 0u);
}

BOOST_FIXTURE_TEST_CASE(the_last_words_are_known_though_they_were_dropped, Fixture) {
  write(10'000);
  take("out of memory\n");
  BOOST_TEST(logged.back() != "out of memory");
  BOOST_TEST(lines.take_last() == "out of memory");
}

BOOST_FIXTURE_TEST_CASE(a_clock_that_stands_still_or_goes_back_gives_nothing, Fixture) {
  write(10'000);
  const std::size_t before = logged.size();
  now_ns = 0;
  write(10);
  BOOST_TEST(logged.size() == before);
}

}  // namespace
}  // namespace micro_swarm
