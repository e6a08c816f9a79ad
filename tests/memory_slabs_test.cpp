// Size classes: what a bank may look like, what it costs of the budget, and how its owner takes
// regions from slabs, falls back, asks ahead and gives back. The supervisor is played by the test.

#include <boost/test/unit_test.hpp>
#include <cstdint>
#include <set>
#include <vector>

#include "fake_supervisor.hpp"
#include "ipc/party_link.hpp"
#include "shm/size_classes.hpp"

using namespace micro_swarm;
using namespace micro_swarm::testing;

namespace {

constexpr std::uint64_t kib = 1024;
constexpr std::uint64_t pool = fake_region_bytes;

/// An agent's link, driven by hand in one thread.
struct Owner {
  Owner() : supervisor(7) {
    auto opened = PartyLink::open(supervisor.begin_life(1), patience_ms);
    require_ok(opened);
    link = std::move(*opened);
    require_ok(link->announce());
    supervisor.take_registration();
    supervisor.admit();
    link->begin();
  }
  BankOwner& banks() const { return link->banks(); }
  /// Takes what lies in the socket.
  void read() const {
    for (ReceivedPartyMessage received;
         receive_party_message(link->socket(), received, false) == PartySocketRead::message;)
      BOOST_REQUIRE(link->take(received));
  }
  /// Grants what was asked for, if something was; leased bytes by the supervisor's rule.
  bool grant() {
    if (!supervisor.has_message()) return false;
    auto received = supervisor.expect(PartyMessageKind::bank_request);
    const PartyMessage& asked = received.message;
    ahead += asked.d;
    BOOST_REQUIRE(is_bank_shape(pool, asked.b, asked.c == 0 ? pool : asked.c));
    const std::uint32_t number = next_bank++;
    PartyMessage granted;
    granted.kind = PartyMessageKind::bank_granted;
    granted.a = asked.a;
    granted.b = number;
    granted.c = asked.b;
    granted.d = asked.c == 0 ? pool : asked.c;
    granted.e = serial;
    BankRow& row = supervisor.tables().banks[number];
    row.slots = static_cast<std::uint32_t>(granted.c);
    row.serial = serial;
    row.region_bytes = granted.d;
    store(row.word, BankWord::make(BankState::reserved, 7, 1).word);
    leased += pool_regions_of(pool, row.slots, row.region_bytes);
    supervisor.send(granted);
    read();
    supervisor.take_bank(number);
    read();
    return true;
  }
  void refuse(std::uint64_t for_good = 0, const char* why = "pool full") {
    auto received = supervisor.expect(PartyMessageKind::bank_request);
    PartyMessage refused;
    refused.kind = PartyMessageKind::bank_refused;
    refused.a = received.message.a;
    refused.b = for_good;
    std::strcpy(refused.text, why);
    banks().refused(refused, now);
  }
  std::optional<Allocation> attempt(std::size_t size_bytes) const {
    auto allocation = banks().try_allocate(size_bytes, now);
    require_ok(allocation);
    return *allocation;
  }
  Allocation allocate(std::size_t size_bytes) {
    for (;;) {
      if (auto allocation = attempt(size_bytes)) return *allocation;
      BOOST_REQUIRE(grant());
    }
  }

  FakeSupervisor supervisor;
  std::unique_ptr<PartyLink> link;
  std::uint32_t next_bank = 20;
  std::uint32_t serial = 1;
  std::uint64_t leased = 0;
  std::uint64_t ahead = 0;
  std::uint64_t now = now_ns();
};

std::uint64_t region_size(const Owner& owner, const Allocation& allocation) {
  return owner.supervisor.tables().banks[bank_of(allocation.token.region())].region_bytes;
}

}  // namespace

BOOST_AUTO_TEST_CASE(the_shape_and_the_price_of_a_bank) {
  for (const std::uint64_t region : {4 * kib, 64 * kib, 16 * kib * kib}) {
    for (unsigned k = 0; k < size_classes; ++k) {
      BOOST_TEST(is_bank_shape(region, slab_slots(k), class_region_bytes(region, k)));
      BOOST_TEST(pool_regions_of(region, slab_slots(k), class_region_bytes(region, k)) == 1u);
      BOOST_TEST(class_region_bytes(region, k) % region_alignment_bytes == 0u);
      BOOST_TEST(class_for(region, class_region_bytes(region, k)) == k);
      BOOST_TEST(class_for(region, class_region_bytes(region, k) + 1) == k + 1);
    }
    BOOST_TEST(class_for(region, 0) == 0u);
  }
  BOOST_TEST(is_bank_shape(pool, 1, 200 * kib));
  BOOST_TEST(pool_regions_of(pool, 1, 200 * kib) == 4u);
  BOOST_TEST(pool_regions_of(pool, 3, 100 * kib) == 5u);  // rounded up once, not per region
  BOOST_TEST(is_bank_shape(pool, 1, 4 * kib));            // pages of a slab that has fewer regions
  const std::pair<std::uint64_t, std::uint64_t> wrong[] = {
      {0, pool},       {65, 1 * kib},     {1, 0},        {64, 1000},       {64, 512},
      {1, 1 * kib},    {3, 1 * kib},      {5, 16 * kib}, {64, 4 * kib},    {1, 12 * kib},
      {1, pool + 1},   {1, 100'000},      {2, 48 * kib}, {~0ull, 1 * kib}, {64, ~0ull},
      {1, 1ull << 63}, {1ull << 32, pool}};
  for (const auto& [slots, bytes] : wrong) {
    if (bytes == 1ull << 63) continue;  // a shape, far over any budget
    BOOST_TEST(!is_bank_shape(pool, slots, bytes), slots << " x " << bytes);
  }
}

BOOST_AUTO_TEST_CASE(a_thousand_pages_take_no_more_than_their_slabs) {
  Owner owner;
  std::vector<Allocation> held;
  std::set<std::byte*> places;
  for (int i = 0; i < 1000; ++i) {
    held.push_back(owner.allocate(4 * kib));
    BOOST_REQUIRE(places.insert(held.back().memory.data()).second);
    BOOST_REQUIRE_EQUAL(region_size(owner, held.back()), 4 * kib);
    while (owner.grant()) {  // what was asked ahead
    }
  }
  BOOST_TEST(owner.leased <= 1000 / 16 + 3);
  BOOST_TEST(owner.ahead >= owner.leased - 2);  // after the first nobody had to wait
  for (const Allocation& allocation : held) owner.banks().release(allocation);
  owner.banks().pool_is_short(owner.now);
  for (std::uint64_t n = 0; n < owner.leased; ++n)
    owner.supervisor.expect(PartyMessageKind::bank_returned);
  BOOST_TEST(!owner.supervisor.has_message());
}

BOOST_AUTO_TEST_CASE(each_size_lies_in_the_smallest_class_that_fits_aligned_and_apart) {
  Owner owner;
  const std::pair<std::size_t, std::uint64_t> sizes[] = {{1, kib},
                                                         {kib, kib},
                                                         {kib + 1, 4 * kib},
                                                         {4 * kib + 1, 16 * kib},
                                                         {16 * kib + 1, pool},
                                                         {pool, pool},
                                                         {pool + 1, 68 * kib}};
  std::vector<Allocation> held;
  for (int round = 0; round < 3; ++round)
    for (const auto& [bytes, region] : sizes) {
      held.push_back(owner.allocate(bytes));
      BOOST_TEST(region_size(owner, held.back()) == region);
      BOOST_TEST(held.back().memory.size() == bytes);
      BOOST_TEST(owner.banks().whole_region(held.back().hold).size() == region);
      BOOST_TEST(reinterpret_cast<std::uintptr_t>(held.back().memory.data()) %
                     region_alignment_bytes ==
                 0u);
      std::memset(held.back().memory.data(), static_cast<int>(held.size()), bytes);
    }
  for (std::size_t i = 0; i < held.size(); ++i) {
    BOOST_TEST((held[i].memory.front() == std::byte(i + 1)));
    BOOST_TEST((held[i].memory.back() == std::byte(i + 1)));
  }
}

BOOST_AUTO_TEST_CASE(a_refused_slab_is_taken_from_a_larger_class) {
  Owner owner;
  const Allocation large = owner.allocate(pool);  // leaves a bank of one pool region
  BOOST_REQUIRE(!owner.attempt(100));
  owner.banks().release(large);
  owner.refuse();  // idle memory goes back, though it would have served
  owner.supervisor.expect(PartyMessageKind::bank_returned);
  BOOST_REQUIRE(!owner.attempt(100));

  Owner other;
  std::vector<Allocation> held;
  for (int i = 0; i < 2; ++i) held.push_back(other.allocate(pool));  // banks of 1 and 2
  BOOST_REQUIRE(!other.attempt(100));
  other.refuse();
  const auto small = other.attempt(100);
  BOOST_REQUIRE(small.has_value());
  BOOST_TEST(region_size(other, *small) == pool);
  BOOST_TEST(small->memory.size() == 100u);
  other.banks().release(*small);
  // Later there is room again, and a slab is asked for.
  other.now += 3'000'000'000;
  BOOST_REQUIRE(!other.attempt(100));
  BOOST_REQUIRE(other.grant());
  BOOST_TEST(region_size(other, other.attempt(100).value()) == kib);
}

BOOST_AUTO_TEST_CASE(what_is_refused_for_good_keeps_its_reason) {
  Owner owner;
  const auto why_not = [&](std::size_t bytes) {
    const auto never = owner.banks().try_allocate(bytes, owner.now);
    BOOST_REQUIRE(!never);
    BOOST_TEST((never.error().code == ErrorCode::too_large));
    return never.error().message;
  };
  BOOST_REQUIRE(!owner.attempt(300 * kib));
  owner.refuse(1, "never so much");
  BOOST_TEST(why_not(300 * kib) == "never so much");
  // Neither a refusal for now nor a grant changes that.
  BOOST_REQUIRE(!owner.attempt(pool));
  owner.refuse(0, "not now");
  BOOST_TEST(owner.banks().refusal() == "not now");
  BOOST_TEST(why_not(300 * kib) == "never so much");
  owner.now += 3'000'000'000;
  owner.allocate(pool);
  BOOST_TEST(owner.banks().refusal().empty());
  BOOST_TEST(why_not(300 * kib) == "never so much");
  BOOST_REQUIRE(!owner.attempt(200 * kib));
  owner.refuse(1, "nor that");
  BOOST_TEST(why_not(300 * kib) == "nor that");
}

BOOST_AUTO_TEST_CASE(nothing_is_asked_ahead_while_the_pool_is_short) {
  Owner owner;
  std::vector<Allocation> held;
  for (int i = 0; i < 12; ++i) held.push_back(owner.allocate(4 * kib));
  BOOST_TEST(!owner.supervisor.has_message());
  owner.banks().pool_is_short(owner.now);
  held.push_back(owner.allocate(4 * kib));  // 3 of 16 left: under the mark
  BOOST_TEST(!owner.supervisor.has_message());
  owner.now += 3'000'000'000;
  held.push_back(owner.allocate(4 * kib));
  owner.refuse();
  held.push_back(owner.allocate(4 * kib));
  BOOST_TEST(!owner.supervisor.has_message());  // refused ahead: nobody waits, nobody insists
  BOOST_TEST(owner.banks().refusal().empty());
  held.push_back(owner.allocate(4 * kib));
  BOOST_TEST(owner.leased == 1u);
  BOOST_REQUIRE(!owner.attempt(4 * kib));  // now somebody waits
  BOOST_REQUIRE(owner.grant());
  BOOST_TEST(owner.attempt(4 * kib).has_value());
}

BOOST_AUTO_TEST_CASE(banks_above_the_high_mark_go_back_sooner_and_the_fullest_is_used) {
  Owner owner;
  std::vector<Allocation> held;
  for (int i = 0; i < 64; ++i) {
    held.push_back(owner.allocate(4 * kib));
    while (owner.grant()) {
    }
  }
  const std::uint64_t banks = owner.leased;
  BOOST_TEST(banks == 5u);  // one asked ahead
  // Leave one region out in each of the first two, none elsewhere.
  std::vector<Allocation> left;
  std::set<std::uint32_t> seen;
  for (const Allocation& allocation : held)
    if (seen.size() < 2 && seen.insert(bank_of(allocation.token.region())).second)
      left.push_back(allocation);
    else
      owner.banks().release(allocation);
  constexpr std::uint64_t idle_ns = 2'000'000'000;
  owner.banks().trim(owner.now, idle_ns);
  BOOST_TEST(!owner.supervisor.has_message());
  owner.banks().trim(owner.now + idle_ns / 8, idle_ns);
  for (int i = 0; i < 3; ++i) owner.supervisor.expect(PartyMessageKind::bank_returned);
  BOOST_TEST(!owner.supervisor.has_message());
  // What is left is used before anything is asked for.
  for (int i = 0; i < 20; ++i)
    BOOST_TEST(seen.contains(bank_of(owner.attempt(4 * kib).value().token.region())));
}

BOOST_AUTO_TEST_CASE(a_row_used_again_with_other_regions_knows_its_old_tokens_for_stale) {
  Owner owner;
  const Allocation first = owner.allocate(pool);
  owner.banks().release(first);
  owner.banks().pool_is_short(owner.now);
  owner.supervisor.expect(PartyMessageKind::bank_returned);
  owner.next_bank = bank_of(first.token.region());
  owner.serial = 2;
  owner.now += 3'000'000'000;
  const Allocation second = owner.allocate(100);  // the same row, 64 regions now
  BOOST_REQUIRE_EQUAL(second.token.region(), first.token.region());
  BOOST_TEST(second.token.generation() > first.token.generation());
  // The old token comes home once more: counted, and the region is not taken for free.
  owner.supervisor.release_home(first.token);
  owner.link->drain_releases();
  BOOST_TEST(load(owner.link->own().header().messages_malformed) == 1u);
  const RegionWord word{load(owner.link->own().region(second.token.region()))};
  BOOST_TEST(word.names(second.token));
  // Slots beyond the bank's, of this size and of the one before.
  const Allocation large = owner.allocate(pool);
  const std::uint32_t bank = bank_of(large.token.region());
  for (const std::uint32_t slot : {1u, 15u, 63u}) {
    const Token forged = Token::make(7, region_index(bank, slot), 0, large.token.generation());
    BOOST_TEST(owner.banks().memory_of(forged, 1).data() == nullptr);
    owner.banks().came_home(forged.region());  // no bit is set, none is freed
  }
  BOOST_TEST(!owner.attempt(pool).has_value());
}
