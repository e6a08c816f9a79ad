// The demo's bookkeeping notices what it claims to notice.

#include <boost/test/unit_test.hpp>
#include <stdexcept>
#include <vector>

#include "examples/digits/tally.hpp"

using namespace micro_swarm::digits;

namespace {

constexpr std::uint64_t us = 1000;

Scores scores_for(std::size_t digit) {
  Scores scores{};
  scores[digit] = 1.0f;
  return scores;
}

/// Two pictures: a 3 that the model takes for a 3, and a 5 that it takes for a 6.
Tally make_tally() { return Tally({scores_for(3), scores_for(6)}, {3, 5}); }

struct Answer {
  Scores scores;
  std::span<const std::byte> bytes() const { return std::as_bytes(std::span(scores)); }
};
const Answer three{scores_for(3)};
const Answer six{scores_for(6)};

}  // namespace

BOOST_AUTO_TEST_CASE(all_is_well) {
  Tally tally = make_tally();
  tally.submitted(7, 0, 1000 * us);
  tally.submitted(8, 1, 1010 * us);
  BOOST_TEST(tally.waiting() == 2u);
  tally.answered(8, true, 1, six.bytes(), 1110 * us);
  tally.answered(7, true, 1, three.bytes(), 2000 * us);
  const Tally::Figures f = tally.figures();
  BOOST_TEST(f.submitted == 2u);
  BOOST_TEST(f.answered == 2u);
  BOOST_TEST(f.lost == 0u);
  BOOST_TEST(f.counts.doubled == 0u);
  BOOST_TEST(f.counts.failed == 0u);
  BOOST_TEST(f.counts.different == 0u);
  BOOST_TEST(f.counts.run_again == 0u);
  BOOST_TEST(f.counts.right == 1u);
  BOOST_TEST(f.accuracy() == 0.5);
  BOOST_TEST(f.seconds == 0.001);
  BOOST_TEST(f.latency_p50_us == 100.0);
  BOOST_TEST(f.latency_p99_us == 1000.0);
}

BOOST_AUTO_TEST_CASE(a_task_without_a_result_is_lost) {
  Tally tally = make_tally();
  tally.submitted(1, 0, 0);
  tally.submitted(2, 1, 0);
  tally.answered(2, true, 1, six.bytes(), us);
  BOOST_TEST(tally.waiting() == 1u);
  BOOST_TEST(tally.figures().lost == 1u);
}

BOOST_AUTO_TEST_CASE(a_second_result_is_doubled_and_changes_nothing_else) {
  Tally tally = make_tally();
  tally.submitted(1, 0, 0);
  tally.submitted(2, 0, 0);
  tally.answered(1, true, 1, three.bytes(), us);
  tally.answered(1, true, 1, three.bytes(), us);
  const Tally::Figures f = tally.figures();
  BOOST_TEST(f.counts.doubled == 1u);
  BOOST_TEST(f.counts.right == 1u);
  BOOST_TEST(f.answered == 1u);
  BOOST_TEST(f.lost == 1u);
}

BOOST_AUTO_TEST_CASE(a_result_nobody_asked_for_is_doubled) {
  Tally tally = make_tally();
  tally.submitted(5, 0, 0);
  tally.answered(4, true, 1, three.bytes(), us);
  tally.answered(6, true, 1, three.bytes(), us);
  BOOST_TEST(tally.figures().counts.doubled == 2u);
  BOOST_TEST(tally.figures().lost == 1u);
}

BOOST_AUTO_TEST_CASE(an_answer_that_differs_in_one_bit_is_different) {
  Tally tally = make_tally();
  tally.submitted(1, 0, 0);
  Answer nearly = three;
  nearly.scores[0] = -0.0f;  // equal as a number
  tally.answered(1, true, 1, nearly.bytes(), us);
  BOOST_TEST(tally.figures().counts.different == 1u);
  BOOST_TEST(tally.figures().counts.right == 1u);
}

BOOST_AUTO_TEST_CASE(an_answer_of_the_wrong_size_is_different_and_not_right) {
  Tally tally = make_tally();
  tally.submitted(1, 0, 0);
  tally.submitted(2, 0, 0);
  tally.answered(1, true, 1, three.bytes().first(39), us);
  tally.answered(2, true, 1, {}, us);
  BOOST_TEST(tally.figures().counts.different == 2u);
  BOOST_TEST(tally.figures().counts.right == 0u);
}

BOOST_AUTO_TEST_CASE(a_task_that_ends_otherwise_than_done_has_failed) {
  Tally tally = make_tally();
  tally.submitted(1, 0, 0);
  tally.answered(1, false, 5, {}, us);
  const Tally::Figures f = tally.figures();
  BOOST_TEST(f.counts.failed == 1u);
  BOOST_TEST(f.counts.run_again == 1u);
  BOOST_TEST(f.counts.different == 0u);
  BOOST_TEST(f.lost == 0u);
  BOOST_TEST(f.accuracy() == 0.0);
}

BOOST_AUTO_TEST_CASE(numbers_that_do_not_grow_by_one_are_a_fault_of_the_demo) {
  Tally tally = make_tally();
  tally.submitted(1, 0, 0);
  BOOST_CHECK_THROW(tally.submitted(3, 0, 0), std::logic_error);
}
