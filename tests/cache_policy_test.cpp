// The policies on traces whose outcome is known: a real program's, and the shapes of the
// literature.

#include <algorithm>
#include <boost/test/unit_test.hpp>
#include <cmath>
#include <fstream>
#include <functional>
#include <iterator>
#include <map>
#include <random>
#include <sstream>
#include <string>

#include "supervisor/caching/cache.hpp"

namespace micro_swarm::caching {
namespace {

struct Trace {
  std::vector<std::uint64_t> sizes;  // by item
  std::vector<std::uint32_t> accesses;
  std::uint64_t bytes() const {
    std::uint64_t all = 0;
    for (const std::uint64_t size : sizes) all += size;
    return all;
  }
};

Settings with(Policy policy, std::uint64_t capacity) {
  Settings settings;
  settings.policy = policy;
  settings.capacity_bytes = capacity;
  settings.entries_max = 1u << 20;
  return settings;
}

/// A program that looks up what it needs and puts what was not there. One access a nanosecond.
class Reader {
 public:
  explicit Reader(const Settings& settings) : cache(settings) {}

  /// True = it was there.
  bool access(std::uint32_t item, std::uint64_t bytes = 1, std::uint64_t ttl_ns = 0) {
    ++now_ns;
    actions.clear();
    const std::string name = std::to_string(item);
    const LookupAnswer found = cache.lookup(name, now_ns, actions);
    if (found.kind == LookupAnswer::Kind::hit) {
      BOOST_TEST_REQUIRE(cache.unpin(found.id, now_ns, actions));
      return true;
    }
    const NewEntry entry{name, bytes, ttl_ns, Priority::normal};
    const Refusal refusal = cache.put(entry, now_ns, actions).refusal;
    BOOST_TEST_REQUIRE((refusal == Refusal::none || refusal == Refusal::too_large));
    return false;
  }

  Cache cache;
  Actions actions;
  std::uint64_t now_ns = 0;
};

// ---- a real program ----

Trace compiler_opens() {
  std::ifstream file(MS_TEST_DATA "/compiler_opens.txt");
  BOOST_TEST_REQUIRE(file.good());
  std::string line, word;
  std::ostringstream numbers;
  while (std::getline(file, line))
    if (!line.starts_with('#')) numbers << line << ' ';
  std::istringstream in(numbers.str());
  std::size_t count = 0;
  Trace trace;
  in >> word >> count;
  BOOST_TEST_REQUIRE((word == "sizes" && count > 0));
  trace.sizes.resize(count);
  for (std::uint64_t& size : trace.sizes) in >> size;
  in >> word >> count;
  BOOST_TEST_REQUIRE((word == "accesses" && count > 0));
  trace.accesses.resize(count);
  for (std::uint32_t& item : trace.accesses) in >> item;
  BOOST_TEST_REQUIRE(!in.fail());
  for (const std::uint32_t item : trace.accesses) BOOST_TEST_REQUIRE(item < trace.sizes.size());
  return trace;
}

/// Some live long, some a few hundred accesses, some for ever.
std::uint64_t ttl_of(std::uint32_t item) { return item % 5 == 0 ? 0 : 1 + item * 7919u % 4000; }

/// The policy's own words, and a look at everything for every decision.
std::vector<bool> plainly(Policy policy, std::uint64_t capacity, const Trace& trace) {
  struct Item {
    std::uint64_t bytes, came, used, uses, expires;
  };
  std::map<std::uint32_t, Item> there;
  std::vector<bool> hits;
  std::uint64_t used_bytes = 0, now = 0;
  for (const std::uint32_t item : trace.accesses) {
    ++now;
    for (auto it = there.begin(); it != there.end();) {
      if (it->second.expires > now) {
        ++it;
        continue;
      }
      used_bytes -= it->second.bytes;
      it = there.erase(it);
    }
    if (const auto found = there.find(item); found != there.end()) {
      found->second.used = now;
      ++found->second.uses;
      hits.push_back(true);
      continue;
    }
    hits.push_back(false);
    const std::uint64_t bytes = trace.sizes[item];
    if (bytes > capacity) continue;
    while (used_bytes + bytes > capacity) {
      const auto goes =
          std::min_element(there.begin(), there.end(), [&](const auto& a, const auto& b) {
            const Item &x = a.second, &y = b.second;
            switch (policy) {
              case Policy::lru: return x.used < y.used;
              case Policy::lfu: return std::pair(x.uses, x.used) < std::pair(y.uses, y.used);
              case Policy::fifo: return x.came < y.came;
              case Policy::ttl: return std::pair(x.expires, x.came) < std::pair(y.expires, y.came);
            }
            return false;
          });
      used_bytes -= goes->second.bytes;
      there.erase(goes);
    }
    const std::uint64_t ttl = policy == Policy::ttl ? ttl_of(item) : 0;
    there[item] = {bytes, now, now, 1, ttl == 0 ? never : now + ttl};
    used_bytes += bytes;
  }
  return hits;
}

BOOST_AUTO_TEST_CASE(a_recorded_trace_goes_as_the_policy_says) {
  const Trace trace = compiler_opens();
  for (const unsigned percent : {5u, 20u, 50u, 80u, 100u}) {
    const std::uint64_t capacity = trace.bytes() * percent / 100;
    for (unsigned p = 0; p < policies; ++p) {
      const auto policy = static_cast<Policy>(p);
      const std::vector<bool> expected = plainly(policy, capacity, trace);
      Reader reader(with(policy, capacity));
      std::size_t different = 0;
      for (std::size_t i = 0; i < trace.accesses.size(); ++i) {
        const std::uint32_t item = trace.accesses[i];
        const std::uint64_t ttl = policy == Policy::ttl ? ttl_of(item) : 0;
        different += reader.access(item, trace.sizes[item], ttl) != expected[i];
      }
      reader.cache.check();
      const Counters& counters = reader.cache.counters(policy);
      BOOST_TEST(different == 0u);
      BOOST_TEST(counters.hits + counters.misses == trace.accesses.size());
      BOOST_TEST_MESSAGE(name_of(policy)
                         << " with room for " << percent
                         << " %: " << 100 * counters.hits / trace.accesses.size() << " % hits");
    }
  }
}

// ---- shapes ----

constexpr std::uint32_t items = 10'000;
constexpr std::uint32_t room = 1'000;

/// Probabilities of the independent reference model, most popular first.
std::vector<double> zipf(double exponent) {
  std::vector<double> p(items);
  double sum = 0;
  for (std::uint32_t i = 0; i < items; ++i) sum += p[i] = std::pow(i + 1.0, -exponent);
  for (double& x : p) x /= sum;
  return p;
}

/// `in_cache(p, t)`: the chance that an item of probability p is there, of a cache whose
/// characteristic time is t; t is that of a full cache.
double predicted(const std::vector<double>& p,
                 const std::function<double(double, double)>& in_cache) {
  double low = 0, high = 1e9;
  for (int i = 0; i < 200; ++i) {
    const double t = (low + high) / 2;
    double filled = 0;
    for (const double x : p) filled += in_cache(x, t);
    (filled < room ? low : high) = t;
  }
  double hits = 0;
  for (const double x : p) hits += x * in_cache(x, low);
  return hits;
}

/// Share of hits, once the cache is full and the counts have settled.
double measured(Policy policy, const std::vector<double>& p, unsigned warm) {
  std::vector<double> cumulative(p);
  for (std::size_t i = 1; i < p.size(); ++i) cumulative[i] += cumulative[i - 1];
  std::mt19937_64 random(7);
  Reader reader(with(policy, room));
  constexpr unsigned counted = 250'000;
  unsigned hits = 0;
  for (unsigned i = 0; i < warm + counted; ++i) {
    const double u = static_cast<double>(random() >> 11) * 0x1p-53;
    const auto at = std::upper_bound(cumulative.begin(), cumulative.end() - 1, u);
    const bool hit = reader.access(static_cast<std::uint32_t>(at - cumulative.begin()));
    hits += hit && i >= warm;
  }
  return static_cast<double>(hits) / counted;
}

// LRU: Che, Tung, Wang, "Hierarchical Web caching systems: modeling, design and experimental
// results" (2002). FIFO hits as often as RANDOM: Gelenbe, "A unified approach to the evaluation of
// a class of replacement algorithms" (1973); with a time like Che's, an item is there with the
// chance pt / (1 + pt): Fricker, Robert, Roberts, "A versatile and accurate approximation for LRU
// cache performance" (2012). LFU that remembered all counts would hold the most popular in the end;
// here a count ends with its entry, so the last places go to and fro between newcomers, which costs
// some points, however long it runs.
BOOST_AUTO_TEST_CASE(zipf_hits_as_often_as_the_literature_says) {
  for (const double exponent : {0.8, 1.0}) {
    const std::vector<double> p = zipf(exponent);
    const double che = predicted(p, [](double x, double t) { return 1 - std::exp(-x * t); });
    const double gelenbe = predicted(p, [](double x, double t) { return x * t / (1 + x * t); });
    double best = 0;
    for (std::uint32_t i = 0; i < room; ++i) best += p[i];
    const double lru = measured(Policy::lru, p, 50'000), fifo = measured(Policy::fifo, p, 50'000),
                 lfu = measured(Policy::lfu, p, 150'000);
    BOOST_TEST_MESSAGE("zipf " << exponent << ": lru " << lru << " (Che " << che << "), fifo "
                               << fifo << " (Gelenbe " << gelenbe << "), lfu " << lfu << " (top "
                               << best << ")");
    BOOST_TEST(std::abs(lru - che) < 0.02);
    BOOST_TEST(std::abs(fifo - gelenbe) < 0.02);
    BOOST_TEST(lfu < best + 0.01);
    BOOST_TEST(lfu > best - 0.06);
    BOOST_TEST(lfu >= lru);
    BOOST_TEST(lru >= fifo);
  }
}

BOOST_AUTO_TEST_CASE(a_loop_larger_than_the_cache_never_hits) {
  for (const Policy policy : {Policy::lru, Policy::fifo}) {
    Reader larger(with(policy, room));
    for (unsigned i = 0; i < 10 * (room + 1); ++i)
      BOOST_TEST_REQUIRE(!larger.access(i % (room + 1)));
    Reader fits(with(policy, room));
    for (unsigned i = 0; i < 10 * room; ++i)
      BOOST_TEST_REQUIRE(fits.access(i % room) == (i >= room));
  }
}

BOOST_AUTO_TEST_CASE(a_scan_flushes_the_hot_set_from_lru_and_not_from_lfu) {
  const auto hot_after_scan = [](Policy policy) {
    Reader reader(with(policy, room));
    const std::uint32_t hot = room / 2;
    for (unsigned i = 0; i < 5 * hot; ++i) reader.access(i % hot);
    for (unsigned i = 0; i < 5 * room; ++i) reader.access(items + i);
    unsigned there = 0;
    for (unsigned i = 0; i < hot; ++i) there += reader.cache.look(std::to_string(i)).has_value();
    return there;
  };
  BOOST_TEST(hot_after_scan(Policy::lru) == 0u);
  BOOST_TEST(hot_after_scan(Policy::fifo) == 0u);
  BOOST_TEST(hot_after_scan(Policy::lfu) == room / 2);
}

// ---- one by one ----

BOOST_AUTO_TEST_CASE(what_makes_no_sense_is_refused) {
  Settings settings = with(Policy::lru, 100);
  settings.entries_max = 2;
  Cache cache(settings);
  Actions actions;
  const auto put = [&](std::string_view name, std::uint64_t bytes, Priority priority) {
    return cache.put({name, bytes, 0, priority}, 1, actions).refusal;
  };
  BOOST_TEST((put("", 1, Priority::normal) == Refusal::bad_name));
  BOOST_TEST((put(std::string(65, 'x'), 1, Priority::normal) == Refusal::bad_name));
  BOOST_TEST((put(std::string(64, 'x'), 1, Priority::normal) == Refusal::none));
  BOOST_TEST((put("a", 0, Priority::normal) == Refusal::bad_size));
  BOOST_TEST((put("a", 1, static_cast<Priority>(4)) == Refusal::bad_priority));
  BOOST_TEST((put("a", 101, Priority::normal) == Refusal::too_large));
  BOOST_TEST((put("a", ~std::uint64_t{0}, Priority::normal) == Refusal::too_large));
  BOOST_TEST((put(std::string(64, 'x'), 1, Priority::normal) == Refusal::duplicate));
  BOOST_TEST((put("a", 1, Priority::high) == Refusal::none));
  // Nobody of a higher priority makes room, nor a slot, nor does who is pinned.
  BOOST_TEST((put("b", 1, Priority::low) == Refusal::table_full));
  BOOST_TEST((put("b", 99, Priority::low) == Refusal::no_room));
  BOOST_TEST(actions.empty());
  const EntryId a = cache.lookup("a", 1, actions).id;
  BOOST_TEST((put("b", 100, Priority::critical) == Refusal::no_room));
  BOOST_TEST(cache.unpin(a, 1, actions));
  BOOST_TEST((put("b", 100, Priority::critical) == Refusal::none));
  // Ids that mean nothing any more.
  BOOST_TEST(!cache.unpin(a, 1, actions));
  BOOST_TEST(!cache.unpin(0, 1, actions));
  BOOST_TEST(!cache.unpin(~EntryId{0}, 1, actions));
  BOOST_TEST(!cache.compressed(a, 1, 1, actions));
  BOOST_TEST(!cache.spilled(a, true, 1, actions));
  BOOST_TEST(!cache.restored(a, true, 1, actions));
  BOOST_TEST(!cache.erase("a", 1, actions));
  cache.check();
}

BOOST_AUTO_TEST_CASE(what_did_not_pay_is_not_compressed_again) {
  Settings settings = with(Policy::lru, 100);
  settings.on_eviction = OnEviction::compress;
  Cache cache(settings);
  Actions actions;
  const EntryId id = cache.put({"a", 100, 0, Priority::normal}, 1, actions).id;
  BOOST_TEST((cache.put({"b", 50, 0, Priority::normal}, 2, actions).refusal == Refusal::no_room));
  BOOST_TEST_REQUIRE(actions.size() == 1u);
  BOOST_TEST((actions[0].kind == Action::Kind::compress));
  // Looked up meanwhile: the outcome is remembered, and nothing is dropped.
  BOOST_TEST((cache.lookup("a", 3, actions).kind == LookupAnswer::Kind::hit));
  BOOST_TEST(!cache.compressed(id, 100, 4, actions));
  BOOST_TEST(cache.unpin(id, 5, actions));
  BOOST_TEST_REQUIRE(actions.size() == 1u);
  BOOST_TEST((cache.put({"b", 50, 0, Priority::normal}, 6, actions).refusal == Refusal::none));
  BOOST_TEST_REQUIRE(actions.size() == 2u);
  BOOST_TEST((actions[1].kind == Action::Kind::drop && actions[1].cause == Cause::evicted));
  cache.check();
}

BOOST_AUTO_TEST_CASE(who_reads_keeps_what_expires) {
  Cache cache(with(Policy::ttl, 100));
  Actions actions;
  const EntryId id = cache.put({"a", 10, 5, Priority::normal}, 1, actions).id;
  BOOST_TEST(cache.next_due_ns() == 6u);
  BOOST_TEST((cache.lookup("a", 5, actions).kind == LookupAnswer::Kind::hit));
  cache.tick(6, actions);
  BOOST_TEST(actions.empty());
  BOOST_TEST((cache.lookup("a", 6, actions).kind == LookupAnswer::Kind::miss));
  // The name is free, the memory is not.
  BOOST_TEST((cache.put({"a", 20, 0, Priority::normal}, 6, actions).refusal == Refusal::none));
  BOOST_TEST(cache.used_bytes() == 30u);
  BOOST_TEST(cache.unpin(id, 7, actions));
  BOOST_TEST_REQUIRE(actions.size() == 1u);
  BOOST_TEST((actions[0].id == id && actions[0].cause == Cause::expired));
  BOOST_TEST(cache.used_bytes() == 20u);
  BOOST_TEST(cache.next_due_ns() == never);
  cache.check();
}

// A supervisor dies; its successor evicts in the order in which it would have.
BOOST_AUTO_TEST_CASE(a_successor_goes_on) {
  for (unsigned p = 0; p < policies; ++p) {
    const Settings settings = with(static_cast<Policy>(p), 1'000'000);
    Reader reader(settings);
    std::mt19937_64 random(p);
    for (unsigned i = 0; i < 2'000; ++i) {
      const auto item = static_cast<std::uint32_t>(random() % 100 * (random() % 100) / 100);
      reader.access(item, 1 + item, ttl_of(item) * 100);
    }
    std::vector<Record> records;
    for (std::uint32_t item = 0; item < 100; ++item)
      if (const auto record = reader.cache.look(std::to_string(item))) records.push_back(*record);
    BOOST_TEST_REQUIRE(records.size() > 50u);
    std::shuffle(records.begin(), records.end(), random);

    Actions actions, before, after;
    Cache successor(settings);
    BOOST_TEST(successor.adopt(records, 5'000, reader.now_ns, actions).empty());
    BOOST_TEST(actions.empty());
    successor.check();
    BOOST_TEST(successor.used_bytes() == reader.cache.used_bytes());
    BOOST_TEST(
        entry_serial(successor.put({"new", 1, 0, Priority::high}, reader.now_ns, actions).id) ==
        5'000u);
    BOOST_TEST(successor.erase("new", reader.now_ns, actions));
    while (reader.cache.used_bytes() != 0) reader.cache.need(1, reader.now_ns, before);
    while (successor.used_bytes() != 0) successor.need(1, reader.now_ns, after);
    const auto ids = [](const Actions& all) {
      std::vector<EntryId> out;
      for (const Action& action : all) out.push_back(action.id);
      return out;
    };
    const auto expected = ids(before), found = ids(after);
    BOOST_TEST(expected == found, boost::test_tools::per_element());
  }
}

BOOST_AUTO_TEST_CASE(a_damaged_table_is_adopted_without_what_is_damaged) {
  const Record good{make_entry_id(3, 9), "good", 40, 40, State::plain, Priority::normal, 1};
  std::vector<Record> records{good};
  const auto damaged = [&](auto&& harm) {
    Record record = good;
    record.id = make_entry_id(static_cast<std::uint32_t>(records.size()) + 10, 1);
    record.name = "other";
    record.stored_ns = 5;
    harm(record);
    records.push_back(record);
  };
  damaged([](Record& r) { r.name = "good"; });
  damaged([](Record& r) { r.id = make_entry_id(3, 10); });
  damaged([](Record& r) { r.name = {}; });
  damaged([](Record& r) { r.bytes = 0; });
  damaged([](Record& r) { r.stored_bytes = 41; });
  damaged([](Record& r) { r.stored_bytes = 39; });
  damaged([](Record& r) { r.state = State::restoring; });
  damaged([](Record& r) { r.state = static_cast<State>(9); });
  damaged([](Record& r) { r.priority = static_cast<Priority>(9); });
  damaged([](Record& r) { r.id = make_entry_id(~0u, 1); });
  damaged([](Record& r) { r.id = 5; });
  const std::size_t bad = records.size() - 1;
  // Pinned and on disk: its reader waits for it.
  Record waits{make_entry_id(0, 4), "waits", 30, 10, State::spilled, Priority::low, 2};
  records.push_back(waits);

  Cache cache(with(Policy::lfu, 100));
  Actions actions;
  BOOST_TEST(cache.adopt(records, 1, 10, actions).size() == bad);
  cache.check();
  BOOST_TEST(cache.size() == 2u);
  BOOST_TEST(cache.used_bytes() == 70u);
  BOOST_TEST_REQUIRE(actions.size() == 1u);
  BOOST_TEST((actions[0].kind == Action::Kind::restore && actions[0].from == State::spilled));
  BOOST_TEST(cache.restored(waits.id, true, 11, actions));
  BOOST_TEST(cache.spilled_bytes() == 0u);
  BOOST_TEST(cache.unpin(waits.id, 12, actions));
  BOOST_TEST(cache.unpin(waits.id, 12, actions));
  BOOST_TEST(cache.unpin(good.id, 12, actions));
  BOOST_TEST(!cache.unpin(good.id, 12, actions));
  cache.check();
}

}  // namespace
}  // namespace micro_swarm::caching
