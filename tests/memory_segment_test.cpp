// What a receiver of a segment's descriptor accepts, and each thing it refuses.

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <boost/test/unit_test.hpp>
#include <functional>
#include <string>

#include "shm/memfd.hpp"
#include "shm/segment.hpp"

using namespace micro_swarm;

namespace {

constexpr PartyId party = 5;
constexpr Incarnation incarnation = 2;
constexpr unsigned all_seals = F_SEAL_FUTURE_WRITE | F_SEAL_GROW | F_SEAL_SHRINK | F_SEAL_SEAL;

template <class T>
T value_of(Result<T> result) {
  BOOST_REQUIRE_MESSAGE(result.has_value(), result.error().message);
  return std::move(*result);
}

Segment new_segment() { return value_of(Segment::create_party(party, incarnation)); }

UniqueFd copy_of(const Segment& segment) { return value_of(duplicate(segment.fd())); }

/// A memfd that is a perfect segment but for what `change` does to its header and which `seals`
/// it carries.
UniqueFd forged(const std::function<void(SegmentHeader&)>& change, unsigned seals = all_seals,
                std::uint64_t size_bytes = party_layout(party).size_bytes) {
  const Segment model = new_segment();
  UniqueFd fd = value_of(create_memfd("forged", size_bytes));
  const Mapping mapping = value_of(Mapping::map(fd.get(), size_bytes, Mapping::Access::read_write));
  auto& header = *reinterpret_cast<SegmentHeader*>(mapping.data());
  std::memcpy(mapping.data(), model.view().base(), 4096);
  if (change) change(header);
  BOOST_REQUIRE(::fcntl(fd.get(), F_ADD_SEALS, seals) == 0);
  return fd;
}

void refused(UniqueFd fd, const std::string& expected_text) {
  const auto attached = Segment::attach_party(std::move(fd), party, incarnation);
  BOOST_REQUIRE_MESSAGE(!attached.has_value(), "accepted; expected a refusal: " + expected_text);
  BOOST_TEST((attached.error().code == ErrorCode::protocol));
  BOOST_TEST(attached.error().message.find(expected_text) != std::string::npos,
             "'" << attached.error().message << "' does not say '" << expected_text << "'");
}

}  // namespace

BOOST_AUTO_TEST_CASE(a_created_segment_says_who_it_is) {
  const Segment segment = new_segment();
  const SegmentHeader& header = segment.view().header();
  BOOST_TEST(header.magic == segment_magic);
  BOOST_TEST(header.layout_version == layout_version);
  BOOST_TEST(header.party == party);
  BOOST_TEST(header.incarnation == incarnation);
  BOOST_TEST(header.pid == ::getpid());
  BOOST_TEST(header.start_time_ticks == process_start_ticks(::getpid()));
  BOOST_TEST(header.start_time_ticks != 0u);
  BOOST_TEST(header.hold_count == party_holds_max);
  const int seals = ::fcntl(segment.fd(), F_GET_SEALS);
  BOOST_TEST((static_cast<unsigned>(seals) & all_seals) == all_seals);
  struct stat st {};
  BOOST_REQUIRE(::fstat(segment.fd(), &st) == 0);
  BOOST_TEST((st.st_mode & 0777) == 0444u);
}

BOOST_AUTO_TEST_CASE(a_new_segment_costs_only_the_pages_it_touched) {
  const Segment segment = new_segment();
  struct stat st {};
  BOOST_REQUIRE(::fstat(segment.fd(), &st) == 0);
  BOOST_TEST(st.st_blocks * 512 <= 8192);
}

BOOST_AUTO_TEST_CASE(who_attaches_sees_what_the_owner_stores) {
  const Segment owner = new_segment();
  const Segment reader = value_of(Segment::attach_party(copy_of(owner), party, incarnation));
  store(owner.view().header().progress, 17);
  store(owner.view().holds()[3].token, 99);
  store(owner.view().region(regions_max - 1), 5);
  store(owner.view().cursor(parties_max - 1, Lane::control), 6);
  owner.view().ring(party, supervisor_party, Lane::release)[31].sequence.store(7);
  BOOST_TEST(load(reader.view().header().progress) == 17u);
  BOOST_TEST(load(reader.view().holds()[3].token) == 99u);
  BOOST_TEST(load(reader.view().region(regions_max - 1)) == 5u);
  BOOST_TEST(load(reader.view().cursor(parties_max - 1, Lane::control)) == 6u);
  BOOST_TEST(load(reader.view().ring(party, supervisor_party, Lane::release)[31].sequence) == 7u);
}

BOOST_AUTO_TEST_CASE(a_segment_reopened_read_only_can_be_attached) {
  const Segment owner = new_segment();
  UniqueFd fd = value_of(reopen_read_only(owner.fd()));
  BOOST_TEST((::fcntl(fd.get(), F_GETFL) & O_ACCMODE) == O_RDONLY);
  BOOST_TEST(Segment::attach_party(std::move(fd), party, incarnation).has_value());
}

BOOST_AUTO_TEST_CASE(the_supervisors_segment_carries_its_task_capacity) {
  const Segment owner = value_of(Segment::create_supervisor(100));
  const Segment reader = value_of(Segment::attach_supervisor(value_of(duplicate(owner.fd()))));
  BOOST_TEST(reader.view().header().task_capacity == 100u);
  BOOST_TEST(reader.view().layout().size_bytes == supervisor_layout(100).size_bytes);
  store(owner.view().records()[99].word, 1);
  BOOST_TEST(load(reader.view().records()[99].word) == 1u);
}

BOOST_AUTO_TEST_CASE(a_faithful_copy_is_accepted_so_that_each_refusal_below_has_one_reason) {
  BOOST_TEST(Segment::attach_party(forged({}), party, incarnation).has_value());
}

BOOST_AUTO_TEST_CASE(no_seals_are_refused) { refused(forged({}, 0), "seals are"); }

BOOST_AUTO_TEST_CASE(each_missing_seal_is_refused) {
  for (const unsigned missing : {F_SEAL_FUTURE_WRITE, F_SEAL_GROW, F_SEAL_SHRINK, F_SEAL_SEAL}) {
    BOOST_TEST_CONTEXT("without seal " << missing) {
      refused(forged({}, all_seals & ~missing), "seals are");
    }
  }
}

BOOST_AUTO_TEST_CASE(another_size_is_refused) {
  const std::uint64_t size_bytes = party_layout(party).size_bytes;
  refused(forged({}, all_seals, size_bytes + 4096), "size is");
  refused(forged({}, all_seals, size_bytes - 4096), "size is");
}

BOOST_AUTO_TEST_CASE(what_is_no_memfd_is_refused) {
  UniqueFd null(::open("/dev/null", O_RDWR | O_CLOEXEC));
  refused(std::move(null), "it takes no seals");  // devtmpfs is a tmpfs
  UniqueFd ends[2];
  int raw[2];
  BOOST_REQUIRE(::pipe2(raw, O_CLOEXEC) == 0);
  ends[0].reset(raw[0]);
  ends[1].reset(raw[1]);
  refused(std::move(ends[0]), "not a memfd");
  refused(UniqueFd(::open("/proc/self/exe", O_RDONLY | O_CLOEXEC)), "shared memory refused: ");
  refused(UniqueFd(), "not a memfd");
}

BOOST_AUTO_TEST_CASE(another_magic_is_refused) {
  refused(forged([](SegmentHeader& header) { header.magic ^= 1; }), "magic is");
}

BOOST_AUTO_TEST_CASE(another_layout_version_is_refused) {
  refused(forged([](SegmentHeader& header) { ++header.layout_version; }),
          "layout version is " + std::to_string(layout_version + 1));
}

BOOST_AUTO_TEST_CASE(another_kind_is_refused) {
  refused(forged([](SegmentHeader& header) { header.kind = SegmentKind::supervisor; }), "kind is");
}

BOOST_AUTO_TEST_CASE(another_party_is_refused) {
  refused(forged([](SegmentHeader& header) { header.party = party + 1; }), "party is 6");
}

BOOST_AUTO_TEST_CASE(another_incarnation_is_refused) {
  refused(forged([](SegmentHeader& header) { header.incarnation = incarnation - 1; }),
          "incarnation is 1");
}

BOOST_AUTO_TEST_CASE(a_header_that_contradicts_the_layout_is_refused) {
  refused(forged([](SegmentHeader& header) { header.size_bytes += 1; }), "size is");
  refused(forged([](SegmentHeader& header) { header.hold_count += 1; }), "hold count is");
}

BOOST_AUTO_TEST_CASE(a_supervisor_segment_whose_capacity_does_not_fit_its_size_is_refused) {
  UniqueFd fd = value_of(create_memfd("forged", supervisor_layout(10).size_bytes));
  {
    const Mapping mapping = value_of(Mapping::map(fd.get(), 4096, Mapping::Access::read_write));
    const Segment model = value_of(Segment::create_supervisor(10));
    std::memcpy(mapping.data(), model.view().base(), 4096);
    reinterpret_cast<SegmentHeader*>(mapping.data())->task_capacity = 1'000'000;
  }
  BOOST_REQUIRE(::fcntl(fd.get(), F_ADD_SEALS, all_seals) == 0);
  BOOST_TEST(!Segment::attach_supervisor(std::move(fd)).has_value());
  BOOST_TEST(!Segment::attach_supervisor(value_of(create_memfd("tiny", 64))).has_value());
  BOOST_TEST(!Segment::attach_supervisor(UniqueFd()).has_value());
}

BOOST_AUTO_TEST_CASE(a_bell_page_is_accepted_as_a_bell_and_not_as_a_segment) {
  const UniqueFd fd = value_of(create_memfd("bell", 4096));
  BOOST_REQUIRE(seal_size(fd.get()).has_value());
  BOOST_TEST(verify_memfd(fd.get(), 4096, SealKind::shared_bell).has_value());
  BOOST_TEST(!verify_memfd(fd.get(), 4096, SealKind::one_writer).has_value());
  BOOST_TEST(!verify_memfd(fd.get(), 8192, SealKind::shared_bell).has_value());
}

BOOST_AUTO_TEST_CASE(a_process_that_is_gone_has_no_start_time) {
  BOOST_TEST(process_start_ticks(0) == 0u);
  BOOST_TEST(process_start_ticks(1) != 0u);
}
