// A supervisor is killed at every instruction of what it does to the table of topics.

#include <sys/mman.h>

#include <boost/test/unit_test.hpp>

#include "shm/atomics.hpp"
#include "supervisor/topics.hpp"
#include "tests/sweep/stepper.hpp"

namespace micro_swarm::sweep {
namespace {

TopicName named(std::string_view text) { return *topic_name(text); }

/// A row in shared memory, alone.
class Row {
 public:
  Row()
      : row_(static_cast<TopicRow*>(::mmap(nullptr, sizeof(TopicRow), PROT_READ | PROT_WRITE,
                                           MAP_SHARED | MAP_ANONYMOUS, -1, 0))) {
    BOOST_REQUIRE(row_ != MAP_FAILED);
  }
  ~Row() { ::munmap(row_, sizeof *row_); }
  Row(const Row&) = delete;
  Row& operator=(const Row&) = delete;

  TopicRow& operator*() const { return *row_; }
  Subscribers of(const TopicName& name) const { return subscribers_of({row_, 1}, name); }
  SharedMemory memory() const {
    SharedMemory memory;
    memory.save = [this] {
      const auto* bytes = reinterpret_cast<const std::byte*>(row_);
      return Snapshot(bytes, bytes + sizeof *row_);
    };
    memory.load = [this](const Snapshot& copy) {
      std::memcpy(static_cast<void*>(row_), copy.data(), copy.size());
    };
    memory.watched = {std::as_bytes(std::span(row_, 1))};
    return memory;
  }

 private:
  TopicRow* row_;
};

/// What a publisher sees, before and after a new supervisor has looked at the row.
std::string check(const Row& row, const TopicName& before, const TopicName& after) {
  if (row.of(before).count() + row.of(after).count() != 0) return "somebody seems to subscribe";
  topic_rows::repair(*row);
  const TopicName name = topic_rows::name(*row);
  if (name && !(name == before) && !(name == after))
    return "a name of two halves: " + text_of(name);
  topic_rows::rename(*row, after);
  topic_rows::set(*row, 3, true);
  return row.of(after).has(3) ? "" : "the row cannot be used any more";
}

}  // namespace

BOOST_AUTO_TEST_SUITE(topic_sweep)

BOOST_AUTO_TEST_CASE(a_name_is_the_old_or_the_new_or_none) {
  pin_to_one_core();
  const Row row;
  const TopicName before = named("sixteen-letters-1"), after = named("sixteen-letters-2");
  topic_rows::rename(*row, before);
  const SweepCounts counts = kill_at_every_instruction(
      row.memory(), Depth::each_instruction, [&] { topic_rows::rename(*row, after); },
      [&] { return check(row, before, after); });
  BOOST_TEST(counts.violations == 0u, counts.first_violation);
  BOOST_TEST(counts.states >= 4u);  // the words that change
  BOOST_TEST(counts.kills > 10u);
}

BOOST_AUTO_TEST_CASE(a_repair_may_be_killed_too) {
  const Row row;
  const TopicName before = named("sixteen-letters-1"), after = named("sixteen-letters-2");
  topic_rows::rename(*row, before);
  const auto states = states_left_by(row.memory(), [&] { topic_rows::rename(*row, after); });
  SweepCounts counts;
  for (const Snapshot& state : states) {
    row.memory().load(state);
    counts += kill_at_every_instruction(
        row.memory(), Depth::each_instruction, [&] { topic_rows::repair(*row); },
        [&] { return check(row, before, after); });
  }
  BOOST_TEST(counts.violations == 0u, counts.first_violation);
}

/// As rename(), but whoever reads is not told.
void rename_untold(TopicRow& row, const TopicName& name) {
  for (std::size_t i = 0; i < std::size(name.words); ++i) store(row.name[i], name.words[i]);
}

BOOST_AUTO_TEST_CASE(a_planted_mistake_is_found) {
  const Row row;
  const TopicName before = named("sixteen-letters-1"), after = named("other-letters-222");
  topic_rows::rename(*row, before);
  const SweepCounts counts = kill_at_every_instruction(
      row.memory(), Depth::each_state, [&] { rename_untold(*row, after); },
      [&] { return check(row, before, after); });
  BOOST_TEST(counts.violations > 0u);
  BOOST_TEST(counts.first_violation.find("two halves") != std::string::npos);
}

BOOST_AUTO_TEST_SUITE_END()

}  // namespace micro_swarm::sweep
