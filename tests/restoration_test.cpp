// What an earlier run left, accepted again in an order in which everything finds what it reads.

#include "supervisor/restoration.hpp"

#include "tests/journal_fixture.hpp"

namespace micro_swarm {
namespace {

using testing::JournalUnderTest;
using Restored = Restoration::Outcome;

/// Records without a limit, or with one.
struct Records {
  Records() {
    JournalOptions options;
    options.path = (directory.path() / "journal.db").string();
    options.run = "first";
    first.emplace(options);
    BOOST_REQUIRE(first->wait_open());
  }
  void task(DurableId id, std::vector<DurableId> inputs = {},
            std::string_view capability = "echo") {
    JournalAccept accept;
    accept.id = id;
    accept.capability = capability;
    accept.inputs = inputs;
    first->journal.accept(accept, 0, {});
  }
  void end(DurableId id) {
    first->journal.end({id, 0, TaskState::done, 1, 1, false}, 1,
                       testing::filled_with(std::string("r")));
  }
  /// A later run of the swarm restores.
  void restore() {
    first.reset();
    JournalOptions options;
    options.path = (directory.path() / "journal.db").string();
    options.run = "second";
    second.emplace(options);
    BOOST_REQUIRE(second->wait_open());
    restoration.emplace(
        second->journal,
        Restoration::Hooks{[this](const JournalRow& row, const auto& inputs, TaskId& task) {
                             if (row.capability == "nobody's") return Restored::impossible;
                             if (room == 0) return Restored::no_room;
                             --room;
                             for (const TaskId input : inputs)
                               BOOST_TEST(on_record.contains(input));
                             BOOST_TEST(inputs.size() == row.inputs.size());
                             order.push_back(row.id);
                             task = row.id + 1'000;
                             on_record.insert(task);
                             return Restored::done;
                           },
                           [this](const JournalRow& row, TaskId& task) {
                             BOOST_TEST(testing::text(row.result) == "r");
                             put_back.push_back(row.id);
                             task = row.id + 1'000;
                             on_record.insert(task);
                             ++pins;
                             return Restored::done;
                           },
                           [this](TaskId) { --pins; },
                           [this](TaskId task) { return on_record.contains(task); }});
    go_on();
  }
  void go_on() {
    second->wait([this] {
      for (auto& [id, row] : second->found) restoration->told(id, std::move(row));
      second->found.clear();
      if (second->unfinished) {
        restoration->told(std::move(*second->unfinished));
        second->unfinished.reset();
      }
      restoration->step(*second->first_id);
      return restoration->is_over() || room == 0;
    });
  }

  TemporaryDirectory directory;
  std::optional<JournalUnderTest> first, second;
  std::optional<Restoration> restoration;
  std::vector<DurableId> order, put_back;
  std::unordered_set<TaskId> on_record;
  std::size_t room = 1'000'000;
  int pins = 0;
};

using Ids = std::vector<DurableId>;

BOOST_FIXTURE_TEST_CASE(unfinished_tasks_come_in_order_and_only_they, Records) {
  for (DurableId id = 1; id <= 1'000; ++id) task(id);
  for (DurableId id = 1; id <= 1'000; ++id)
    if (id % 10 != 0) end(id);
  restore();
  BOOST_TEST(order.size() == 100u);
  BOOST_TEST(std::is_sorted(order.begin(), order.end()));
  BOOST_TEST(restoration->restored() == 100u);
  BOOST_TEST(put_back.empty());
}

BOOST_FIXTURE_TEST_CASE(what_a_task_reads_comes_first_whether_it_has_ended_or_not, Records) {
  task(1, {2, 3});
  task(2, {4});
  task(3);
  task(4);
  task(5, {3});
  end(3);
  restore();
  BOOST_TEST(order == (Ids{4, 2, 1, 5}), boost::test_tools::per_element());
  BOOST_TEST(put_back == (Ids{3}), boost::test_tools::per_element());
  BOOST_TEST(pins == 0);
}

BOOST_FIXTURE_TEST_CASE(a_chain_that_goes_backwards_through_all_of_them, Records) {
  constexpr DurableId count = 700;  // more than come at once
  for (DurableId id = 1; id < count; ++id) task(id, {id + 1});
  task(count);
  restore();
  BOOST_TEST(order.size() == count);
  BOOST_TEST(order.front() == count);
  BOOST_TEST(order.back() == 1u);
}

BOOST_FIXTURE_TEST_CASE(what_nobody_can_run_is_left_and_what_reads_it_too, Records) {
  task(1, {2});
  task(2, {}, "nobody's");
  task(3);
  restore();
  BOOST_TEST(order == (Ids{3}), boost::test_tools::per_element());
  BOOST_TEST(restoration->left() == 2u);
  BOOST_TEST((second->row(2)->state == TaskState::free));  // for a later start
}

BOOST_FIXTURE_TEST_CASE(without_room_it_waits_and_goes_on, Records) {
  for (DurableId id = 1; id <= 10; ++id) task(id);
  room = 4;
  restore();
  BOOST_TEST(order.size() == 4u);
  room = 100;
  go_on();
  BOOST_TEST(order.size() == 10u);
  BOOST_TEST(restoration->is_over());
}

BOOST_FIXTURE_TEST_CASE(a_result_whose_record_is_gone_again_is_fetched_again, Records) {
  task(1);
  task(2, {1});
  task(3);
  task(4, {1});
  end(1);
  room = 2;
  restore();
  BOOST_TEST(order == (Ids{2, 3}), boost::test_tools::per_element());
  on_record.erase(1'001);
  room = 10;
  go_on();
  BOOST_TEST(order == (Ids{2, 3, 4}), boost::test_tools::per_element());
  BOOST_TEST(put_back == (Ids{1, 1}), boost::test_tools::per_element());
}

}  // namespace
}  // namespace micro_swarm
