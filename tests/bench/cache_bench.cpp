// cache: what one eviction costs, however much is cached. The decisions alone, as in `scheduler`.

#include <ctime>
#include <list>
#include <random>
#include <stdexcept>
#include <string>
#include <unordered_map>

#include "common/clock.hpp"
#include "supervisor/caching/cache.hpp"
#include "tests/bench/windows.hpp"

namespace micro_swarm::bench {

namespace {

using namespace caching;

/// Of this thread: others on the same core do not count.
std::uint64_t cpu_ns() {
  timespec t{};
  ::clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
  return static_cast<std::uint64_t>(t.tv_sec) * ns_per_s + static_cast<std::uint64_t>(t.tv_nsec);
}

constexpr unsigned at_once = 50;

/// Only `evict` counts; `restore` makes up for so many at once.
template <class Evict, class Restore>
double evictions_ns(unsigned turns, Evict&& evict, Restore&& restore) {
  std::uint64_t took = 0;
  unsigned done = 0;
  for (; done < turns; done += at_once) {
    const std::uint64_t before = cpu_ns();
    for (unsigned i = 0; i < at_once; ++i) evict();
    took += cpu_ns() - before;
    restore();
  }
  return static_cast<double>(took) / done;
}

/// So many entries (with an expiry, where that decides), used at random: those evicted one after
/// the other lie anywhere. Of one priority, or the lowest would soon be few.
class CacheLoad {
 public:
  CacheLoad(Policy policy, std::uint32_t entries) : entries_(entries), cache_(settings(policy)) {
    while (cache_.size() < entries_) put();
    for (std::uint32_t i = 0; i < 2 * entries_; ++i) use();
  }

  /// CPU time of one of `turns` evictions.
  double each_ns(unsigned turns) {
    return evictions_ns(
        turns, [this] { cache_.need(1, ++clock_ns_, actions_); },
        [this] {
          if (actions_.size() != at_once) throw std::runtime_error("an eviction was not one drop");
          actions_.clear();
          while (cache_.size() < entries_) put();
          for (unsigned i = 0; i < 4 * at_once; ++i) use();
        });
  }

 private:
  Settings settings(Policy policy) const {
    Settings settings;
    settings.policy = policy;
    settings.entries_max = entries_;
    settings.capacity_bytes = entries_;
    return settings;
  }
  void put() {
    const std::uint64_t bits = random_();
    const std::string name = "entry-" + std::to_string(names_.size());
    const std::uint64_t ttl_ns =
        cache_.settings().policy != Policy::ttl ? 0 : 3'600 * ns_per_s + (bits >> 32);
    names_.push_back(name);
    if (cache_.put({name, 1, ttl_ns, Priority::normal}, ++clock_ns_, actions_).refusal !=
        Refusal::none)
      throw std::runtime_error("the cache did not take its load");
  }
  /// One of those put last: most are there.
  void use() {
    const std::size_t back = random_() % entries_ + 1;
    const auto found = cache_.lookup(names_[names_.size() - back], ++clock_ns_, actions_);
    if (found.kind == LookupAnswer::Kind::hit) cache_.unpin(found.id, clock_ns_, actions_);
  }

  std::uint32_t entries_;
  std::mt19937_64 random_{1};
  Cache cache_;
  std::vector<std::string> names_;
  std::uint64_t clock_ns_ = 1;
  Actions actions_;
};

/// The least that is LRU: a list and an index of its places by name. No states, no priorities, no
/// pins, no counters.
class Textbook {
 public:
  explicit Textbook(std::uint32_t entries) : entries_(entries) {
    while (index_.size() < entries_) put();
    for (std::uint32_t i = 0; i < 2 * entries_; ++i) use();
  }
  double each_ns(unsigned turns) {
    return evictions_ns(
        turns,
        [this] {
          index_.erase(list_.front());
          list_.pop_front();
        },
        [this] {
          while (index_.size() < entries_) put();
          for (unsigned i = 0; i < 4 * at_once; ++i) use();
        });
  }

 private:
  void put() {
    names_.push_back("entry-" + std::to_string(names_.size()));
    list_.push_back(names_.back());
    index_.emplace(names_.back(), std::prev(list_.end()));
  }
  void use() {
    const std::size_t back = random_() % entries_ + 1;
    const auto found = index_.find(names_[names_.size() - back]);
    if (found != index_.end()) list_.splice(list_.end(), list_, found->second);
  }

  std::uint32_t entries_;
  std::mt19937_64 random_{1};
  std::list<std::string> list_;
  std::unordered_map<std::string, std::list<std::string>::iterator> index_;
  std::vector<std::string> names_;
};

void measure(const Options& options, const Tell& tell) {
  const unsigned turns = options.quick ? 500 : 20'000;
  const unsigned windows = options.quick ? 1 : 15;
  {
    Textbook textbook(100'000);
    CacheLoad cache(Policy::lru, 100'000);
    tell(alternate(
             windows, [&] { return textbook.each_ns(turns); }, [&] { return cache.each_ns(turns); })
             .figure("cache.eviction", "ns", 1, ratio_at_most(1),
                     "CPU of one eviction, LRU, 100,000 entries, beside a textbook's"));
  }
  for (const Policy policy : {Policy::lru, Policy::lfu, Policy::fifo, Policy::ttl}) {
    CacheLoad few(policy, 1'000), many(policy, 100'000);
    tell(alternate(
             windows, [&] { return few.each_ns(turns); }, [&] { return many.each_ns(turns); })
             .figure("cache.growth_" + std::string(name_of(policy)), "ns", 1, ratio_at_most(1.5),
                     "CPU of one eviction, 100,000 entries beside 1,000"));
  }
}

}  // namespace

Group cache_group() {
  return {"cache",
          {"cache.eviction", "cache.growth_lru", "cache.growth_lfu", "cache.growth_fifo",
           "cache.growth_ttl"},
          measure};
}

}  // namespace micro_swarm::bench
