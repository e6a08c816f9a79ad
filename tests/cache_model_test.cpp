// Any history of events beside the naive model. RapidCheck prints the seed of a failure and
// RC_PARAMS="seed=..." replays it.

#include <rapidcheck.h>

#include <boost/test/unit_test.hpp>
#include <random>

#include "tests/cache_history.hpp"

namespace micro_swarm::caching::test {
namespace {

Settings small(std::uint64_t bits) {
  Settings settings;
  settings.policy = static_cast<Policy>(bits % 4);
  settings.on_eviction = static_cast<OnEviction>(bits / 4 % 3);
  settings.spill_compressed = bits / 16 % 2 != 0;
  settings.capacity_bytes = 60 + bits / 32 % 64;
  settings.spill_bytes_max = bits / 2048 % 128;
  settings.entries_max = 4 + static_cast<std::uint32_t>(bits / 262'144 % 8);
  settings.compressed_percent_max = static_cast<std::uint8_t>(bits / 4'194'304 % 101);
  return settings;
}

BOOST_AUTO_TEST_CASE(any_history_agrees_with_the_model) {
  using Numbers = std::tuple<std::uint8_t, std::uint8_t, std::uint8_t, std::uint8_t>;
  const bool holds = rc::check("the cache is the model", [] {
    Both both(small(*rc::gen::arbitrary<std::uint64_t>()));
    const auto history = *rc::gen::scale(6.0, rc::gen::arbitrary<std::vector<Numbers>>());
    for (const auto& [op, a, b, c] : history)
      if (!both.apply({op, a, b, c})) break;
    both.drain();
    if (!both.why().empty()) RC_FAIL(both.why());
  });
  BOOST_TEST(holds);
}

/// What the two differ in after so many long histories; empty = in nothing.
std::string first_difference(Plant plant, unsigned histories, Counters* seen = nullptr) {
  std::mt19937_64 random(2024);
  for (unsigned i = 0; i < histories; ++i) {
    Both both(small(random()), plant);
    for (unsigned step = 0; step < 400; ++step) {
      const std::uint64_t bits = random();
      const auto byte = [bits](unsigned n) { return static_cast<std::uint8_t>(bits >> 8 * n); };
      if (!both.apply({byte(0), byte(1), byte(2), byte(3)})) break;
    }
    both.drain();
    if (!both.why().empty()) return both.why();
    for (unsigned policy = 0; seen != nullptr && policy < policies; ++policy) {
      const Counters& c = both.cache().counters(static_cast<Policy>(policy));
      seen->hits += c.hits;
      seen->misses += c.misses;
      seen->insertions += c.insertions;
      seen->refusals += c.refusals;
      seen->evictions += c.evictions;
      seen->expirations += c.expirations;
      seen->erasures += c.erasures;
      seen->losses += c.losses;
      seen->compressed += c.compressed;
      seen->incompressible += c.incompressible;
      seen->spilled += c.spilled;
      seen->restored += c.restored;
    }
  }
  return {};
}

BOOST_AUTO_TEST_CASE(long_histories_agree_with_the_model) {
  Counters seen;
  BOOST_TEST(first_difference(Plant::none, 2'000, &seen) == "");
  // Else they agree about nothing.
  for (const std::uint64_t count :
       {seen.hits, seen.misses, seen.insertions, seen.refusals, seen.evictions, seen.expirations,
        seen.erasures, seen.losses, seen.compressed, seen.incompressible, seen.spilled,
        seen.restored}) {
    BOOST_TEST_MESSAGE(count);
    BOOST_TEST(count > 200u);
  }
}

BOOST_AUTO_TEST_CASE(planted_mistakes_are_seen) {
  for (const Plant plant : {Plant::evicts_pinned, Plant::wrong_end, Plant::forgets_priority,
                            Plant::forgets_uses, Plant::expires_pinned, Plant::compresses_again,
                            Plant::keeps_unwanted_copy, Plant::forgets_debt}) {
    BOOST_TEST_CONTEXT("planted " << static_cast<int>(plant))
    BOOST_TEST(first_difference(plant, 2'000) != "");
  }
}

}  // namespace
}  // namespace micro_swarm::caching::test
