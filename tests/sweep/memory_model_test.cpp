// memory.model: an owner of banks, a reader and a supervisor, all production code
// (memory_world.hpp), against a model that only counts: who has a right to which region, and which
// bytes are in it. Commands at random, deaths of the owner and of the supervisor among them. After
// each: every region has its writer's bytes and exactly the rights that the model knows, no region
// is given to a writer while anybody has a right to it, old tokens stay stale, and the leases add
// up.
//
//   test_memory_model -- [histories]      each has 200 commands; RC_PARAMS="seed=..." replays

#include <rapidcheck.h>

#include <boost/test/unit_test.hpp>
#include <cstring>

#include "shm/size_classes.hpp"
#include "tests/sweep/memory_world.hpp"

using namespace micro_swarm;
using namespace micro_swarm::sweep;

namespace {

constexpr std::size_t commands_max = 200;
constexpr std::size_t rights_of_reader_max = 24;  // it holds them all at once

/// What, and of or to which: one number, so that a history is cheap to make and to shrink.
using Command = std::uint32_t;
constexpr std::uint32_t commands = 16;
constexpr std::uint32_t command_end = commands * 1'000'000;

struct Known {
  Token token;  ///< the first of its generation
  std::uint32_t hold = 0;
  std::size_t size_bytes = 0;
  std::byte tag{};
  bool owner_has = true;
  unsigned reader_has = 0;
};

class History {
 public:
  void run(Command command) {
    now_ += 1'000'000'000;
    const std::uint32_t value = command / commands;
    switch (command % commands) {
      case 0:
      case 1:
      case 2:
      case 3: return allocate(1 + value % 200);
      case 4: return allocate(1 + value % 4096);
      case 5: return allocate(1 + value % 16'000);
      case 6:
      case 7: return release(value);
      case 8:
      case 9: return transfer(value);
      case 10: return share(value);
      case 11:
      case 12: return reader_lets_go();
      case 13: banks().trim(now(), 0); return world_.settle();
      case 14: return owner_dies(value % 2 == 0);
      case 15: return world_.replace_supervisor();
    }
  }

  void check() {
    unsigned rights = 0;
    std::vector<std::byte> bytes;
    Banks& kept = world_.supervisor().banks();
    for (const Known& known : known_) {
      const Word* at =
          kept.region_word(bank_of(known.token.region()), slot_of(known.token.region()));
      RC_ASSERT(at != nullptr);
      const RegionWord word{load(*at)};
      RC_ASSERT(word.generation() == known.token.generation());
      const auto out = static_cast<unsigned>(__builtin_popcount(word.outstanding()));
      RC_ASSERT(out == known.reader_has + (known.owner_has ? 1 : 0));
      rights += out;
      bytes.resize(known.size_bytes);
      RC_ASSERT(kept.read(known.token, 0, bytes));
      for (const std::byte byte : bytes) RC_ASSERT(byte == known.tag);
    }
    RC_ASSERT(kept.tokens_out() == rights);
    for (const Token token : stale_) RC_ASSERT(!kept.outstanding(token));
    std::uint64_t leased = 0;
    kept.for_each([&](std::uint32_t, const BankRow& row, BankWord) {
      leased += pool_regions_of(world_.config().memory.region_size, row.slots, row.region_bytes);
    });
    RC_ASSERT(kept.leased() == leased);
    RC_ASSERT(leased <= world_.config().memory.pool_size / world_.config().memory.region_size);
  }

  /// Everybody lets go; `has_owner`: or it is dead, and the supervisor its heir.
  void end(bool has_owner) {
    if (has_owner) {
      while (!known_.empty() && any_owned()) release(0);
      RC_ASSERT(world_.run_to_quiet(world_.supervisor(), &world_.owner()) == "");
    } else {
      world_.supervisor().inherit_all();
      RC_ASSERT(world_.run_to_quiet(world_.supervisor(), nullptr) == "");
    }
  }

 private:
  BankOwner& banks() { return world_.owner().link->banks(); }
  std::uint64_t now() const { return now_ns() + now_; }
  bool any_owned() const {
    return std::any_of(known_.begin(), known_.end(), [](const Known& k) { return k.owner_has; });
  }
  /// One that the owner has, by turns.
  Known* owned(std::uint32_t which) {
    std::vector<Known*> all;
    for (Known& known : known_)
      if (known.owner_has) all.push_back(&known);
    return all.empty() ? nullptr : all[which % all.size()];
  }
  unsigned rights_of_reader() const {
    unsigned rights = 0;
    for (const Known& known : known_) rights += known.reader_has;
    return rights;
  }
  void forget_those_nobody_has() {
    for (const Known& known : known_)
      if (!known.owner_has && known.reader_has == 0) stale_.push_back(known.token);
    std::erase_if(known_, [](const Known& k) { return !k.owner_has && k.reader_has == 0; });
  }

  void allocate(std::size_t size_bytes) {
    auto allocation = banks().try_allocate(size_bytes, now());
    world_.settle();
    if (allocation && !*allocation) {
      allocation = banks().try_allocate(size_bytes, now());
      world_.settle();
    }
    if (!allocation) {
      RC_ASSERT(allocation.error().code == ErrorCode::refused ||
                allocation.error().code == ErrorCode::too_large);
      return;
    }
    if (!*allocation) return;
    Known known;
    known.token = (*allocation)->token;
    known.hold = (*allocation)->hold;
    known.size_bytes = size_bytes;
    known.tag = static_cast<std::byte>(++tags_);
    for (const Known& other : known_)
      RC_ASSERT(other.token.region() != known.token.region());  // in use by somebody
    RC_ASSERT((*allocation)->memory.size() == size_bytes);
    std::memset((*allocation)->memory.data(), std::to_integer<int>(known.tag), size_bytes);
    known_.push_back(known);
  }
  Region region_of(Known& known) {
    Allocation allocation;
    allocation.hold = known.hold;
    allocation.memory = std::span<std::byte>(static_cast<std::byte*>(nullptr), 0);
    return world_.region(allocation);
  }
  void release(std::uint32_t which) {
    Known* known = owned(which);
    if (known == nullptr) return;
    banks().release(known->hold);
    known->owner_has = false;
    forget_those_nobody_has();
    world_.settle();
  }
  void transfer(std::uint32_t which) {
    Known* known = owned(which);
    if (known == nullptr || rights_of_reader() >= rights_of_reader_max) return;
    Region region = region_of(*known);
    auto sent = world_.owner().memory->try_transfer(*world_.keeper(), region, reader_party, 1);
    RC_ASSERT(sent.has_value() && *sent);
    known->owner_has = false;
    ++known->reader_has;
    world_.settle();
  }
  void share(std::uint32_t which) {
    Known* known = owned(which);
    if (known == nullptr || rights_of_reader() >= rights_of_reader_max) return;
    Region region = region_of(*known);
    auto sent = world_.owner().memory->try_share(*world_.keeper(), region, reader_party, 1);
    RC_ASSERT(sent.has_value() && *sent);
    ++known->reader_has;
    world_.settle();
  }
  void reader_lets_go() {
    world_.reader_releases();
    world_.settle();
    world_.owner().link->drain_releases();
    for (Known& known : known_) known.reader_has = 0;
    forget_those_nobody_has();
    world_.settle();
  }
  void owner_dies(bool is_heard) {
    world_.replace_owner(is_heard);
    for (Known& known : known_) known.owner_has = false;
    forget_those_nobody_has();
  }

  MemoryWorld world_;
  std::vector<Known> known_;
  std::vector<Token> stale_;
  std::uint64_t now_ = 0;
  unsigned tags_ = 0;
};

}  // namespace

BOOST_AUTO_TEST_CASE(the_pool_is_what_a_model_that_only_counts_says_it_is) {
  const auto& suite = boost::unit_test::framework::master_test_suite();
  const int histories = suite.argc > 1 ? std::stoi(suite.argv[1]) : 100;
  std::uint64_t ran = 0;
  const auto one_history = rc::gen::container<std::vector<Command>>(
      commands_max, rc::gen::inRange<Command>(0, command_end));
  const bool holds = [&] {
    rc::detail::TestParams params = rc::detail::configuration().testParams;
    params.maxSuccess = histories;
    rc::detail::TestMetadata metadata;
    metadata.id = "memory";
    const auto result = rc::detail::checkTestable(
        [&] {
          const auto all = *one_history;
          History history;
          for (const Command command : all) {
            history.run(command);
            history.check();
            ++ran;
          }
          history.end(all.back() % 4 != 0);
        },
        metadata, params);
    rc::detail::printResultMessage(result, std::cout);
    return result.template is<rc::detail::SuccessResult>();
  }();
  BOOST_TEST(holds);
  std::printf("%llu commands\n", static_cast<unsigned long long>(ran));
}
