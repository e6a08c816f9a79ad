// The power goes while the journal writes: what it has told is there, as it was told. Usage:
// test -- ROUNDS SEED [planted]; with `planted` (the journal was compiled so that it does not wait
// for its syncs) losses must be found.

#include <random>
#include <string_view>

#include "tests/journal_fault_vfs.hpp"
#include "tests/journal_fixture.hpp"

namespace micro_swarm {
namespace {

using testing::FaultVfs;
using testing::JournalUnderTest;
using testing::text;

std::string argument(int index, const std::string& otherwise) {
  const auto& suite = boost::unit_test::framework::master_test_suite();
  return index < suite.argc ? suite.argv[index] : otherwise;
}

std::string content_of(DurableId id, const char* what) {
  return what + std::to_string(id) + std::string(id * 37 % 200, 'x') +
         (id % 61 == 0 ? std::string(20'000, 'y') : "");
}

/// One life of the journal up to a power cut; returns how much of what was told is missing.
std::size_t lost_in_one_round(std::uint64_t seed) {
  std::mt19937_64 random(seed);
  const TemporaryDirectory before, after;
  FaultVfs disk("power");
  std::map<DurableId, JournalSynced> accepted, ended;
  {
    JournalOptions options;
    options.path = (before.path() / "journal.db").string();
    options.run = "run";
    options.vfs = disk.name();
    JournalUnderTest j(options, {.linger_us = 0});
    BOOST_REQUIRE(j.wait_open());
    const std::size_t entries = 1 + random() % 1'500;
    std::vector<DurableId> open;
    DurableId next = 1;
    for (std::size_t i = 0; i < entries; ++i) {
      if (open.empty() || random() % 2 == 0) {
        j.accept(next, content_of(next, "payload"));
        open.push_back(next++);
      } else {
        const std::size_t at = random() % open.size();
        std::swap(open[at], open.back());
        j.end(open.back(), content_of(open.back(), "result"));
        open.pop_back();
      }
      if (random() % 8 == 0) j.journal.flush();
      if (random() % 64 == 0) {  // let it get somewhere
        j.journal.flush();
        const std::size_t told = j.synced.size();
        if (j.journal.figures().waiting != 0) j.wait([&] { return j.synced.size() > told; });
      }
      j.take();
    }
    j.journal.flush();
    if (random() % 2 == 0) j.wait([&] { return j.synced.size() >= entries / 2; });
    // Told by now; the journal may be in the middle of the next commit.
    accepted = j.accepted;
    ended = j.ended;
    disk.lose_power(after.path(), seed, random() % 3 == 0 ? 0.0 : 0.5);
  }
  JournalOptions options;
  options.path = (after.path() / "journal.db").string();
  options.run = "next run";
  auto found = JournalStore::open(options);
  if (found.has_error()) {
    BOOST_TEST_MESSAGE(found.error().message);
    return 1 + accepted.size();
  }
  std::size_t lost = 0;
  for (const auto& [id, told] : accepted) {
    const auto row = (*found)->find(id);
    BOOST_REQUIRE(row.has_value());
    const bool is_right = row->has_value() && ((*row)->state != TaskState::free ||
                                               text((*row)->payload) == content_of(id, "payload"));
    if (!is_right) ++lost;
  }
  for (const auto& [id, told] : ended) {
    const auto row = (*found)->find(id);
    BOOST_REQUIRE(row.has_value());
    const bool is_right = row->has_value() && (*row)->state == TaskState::done &&
                          text((*row)->result) == content_of(id, "result");
    if (!is_right) ++lost;
  }
  return lost;
}

BOOST_AUTO_TEST_CASE(what_was_told_survives_a_power_cut) {
  const std::uint64_t rounds = std::stoull(argument(1, "60"));
  const std::uint64_t seed = std::stoull(argument(2, std::to_string(std::random_device{}())));
  const bool is_planted = argument(3, "") == "planted";
  BOOST_TEST_MESSAGE("seed " << seed);
  std::size_t lost = 0;
  for (std::uint64_t round = 0; round < rounds; ++round) {
    const std::size_t here = lost_in_one_round(seed + round);
    if (here != 0 && !is_planted)
      BOOST_ERROR("seed " << seed + round << ": " << here << " entries that were told are missing");
    lost += here;
    if (is_planted && lost != 0) break;
  }
  if (is_planted) BOOST_TEST(lost != 0u, "the planted mistake was not found");
}

}  // namespace
}  // namespace micro_swarm
