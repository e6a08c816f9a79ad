// The cache in a real swarm: what clients put and get, what has to make room, and deaths.

#include <sys/wait.h>

#include <atomic>
#include <deque>
#include <random>
#include <thread>

#include "tests/fault_swarm.hpp"

namespace micro_swarm::testing {
namespace {

constexpr std::uint64_t kib = 1024;

Client connected() {
  auto client = Client::connect("test", patience_ms);
  BOOST_REQUIRE_MESSAGE(client.has_value(), fault_text(client));
  return std::move(*client);
}

/// Bytes that are `name`'s alone; half of them compress well.
std::vector<std::byte> bytes_of(const std::string& name, std::size_t size) {
  std::mt19937_64 random(std::hash<std::string>()(name));
  std::vector<std::byte> bytes(size);
  for (std::size_t i = 0; i < size; ++i)
    bytes[i] = i % 128 < 64 ? std::byte(name[i % name.size()]) : std::byte(random());
  return bytes;
}

void put(Client& client, const std::string& name, std::size_t size,
         const CacheOptions& options = {}) {
  const auto stored = client.cache_put(name, bytes_of(name, size), options, patience_ms);
  BOOST_REQUIRE_MESSAGE(stored.has_value(), fault_text(stored));
  BOOST_REQUIRE_MESSAGE(*stored == CacheRefusal::none, name << ": " << name_of(*stored));
}

std::optional<CachedEntry> get(Client& client, const std::string& name) {
  auto entry = client.cache_get(name, patience_ms);
  BOOST_REQUIRE_MESSAGE(entry.has_value(), fault_text(entry));
  return std::move(*entry);
}

bool is_whole(const CachedEntry& entry, const std::string& name, std::size_t size) {
  const auto expected = bytes_of(name, size);
  return std::equal(entry.bytes().begin(), entry.bytes().end(), expected.begin(), expected.end());
}

/// There, and right.
bool has(Client& client, const std::string& name, std::size_t size) {
  const auto entry = get(client, name);
  if (!entry) return false;
  BOOST_TEST(is_whole(*entry, name, size), "wrong bytes of " << name);
  return true;
}

/// The parts of the pool, which are the pool.
nlohmann::json pool_of(SwarmProcess& swarm) {
  const nlohmann::json pool = swarm.ask({{"verb", "memory.show"}}).at("pool");
  std::uint64_t sum = 0;
  for (const char* part : {"free_bytes", "held_bytes", "in_transit_bytes", "cached_bytes",
                           "leased_idle_bytes", "rounding_bytes"})
    sum += pool.at(part).get<std::uint64_t>();
  BOOST_TEST(sum == pool.at("pool_bytes").get<std::uint64_t>());
  return pool;
}

nlohmann::json entry_of(SwarmProcess& swarm, const std::string& name) {
  const nlohmann::json answer = swarm.ask({{"verb", "cache.list"}});
  for (const auto& entry : answer.at("entries"))
    if (entry.at("name") == name) return entry;
  return nullptr;
}

nlohmann::json show(SwarmProcess& swarm) { return swarm.ask({{"verb", "cache.show"}}); }

void kill_supervisor(SwarmProcess& swarm) {
  const pid_t old = swarm.supervisor();
  ::kill(old, SIGKILL);
  BOOST_REQUIRE(wait_for([&] {
    try {
      return swarm.supervisor() != old;
    } catch (const std::runtime_error&) {
      return false;
    }
  }));
}

/// Nothing is cached and nobody holds anything.
void check_all_is_back(FaultSwarm& swarm) {
  BOOST_TEST(wait_for([&] {
    const auto pool = swarm.ask({{"verb", "memory.show"}}).at("pool");
    return pool.at("cached_bytes") == 0 && pool.at("held_bytes") == 0 &&
           pool.at("in_transit_bytes") == 0;
  }));
  BOOST_TEST(pool_of(swarm).at("cached_bytes") == 0u);
}

BOOST_AUTO_TEST_CASE(what_is_put_is_there_for_everybody_until_it_is_erased) {
  FaultSwarm swarm("[swarm]\nagents = 0\n");
  BOOST_REQUIRE(wait_until_it_answers(swarm));
  Client giver = connected();
  Client reader = connected();
  BOOST_TEST(!get(reader, "weights"));
  for (const std::size_t size : {1u, 100u, 4096u, 60'000u, 65'536u, 300'000u}) {
    const std::string name = "n" + std::to_string(size);
    put(giver, name, size);
    BOOST_TEST(has(reader, name, size));
    BOOST_TEST(has(giver, name, size));
  }
  // Small ones do not cost a pool region each.
  for (int i = 0; i < 60; ++i) put(giver, "small" + std::to_string(i), 1000);
  BOOST_TEST(pool_of(swarm).at("free_bytes").get<std::uint64_t>() > 26u * kib * kib);
  const auto again = giver.cache_put("n100", bytes_of("x", 5), {}, patience_ms);
  BOOST_REQUIRE(again.has_value());
  BOOST_TEST((*again == CacheRefusal::duplicate));
  BOOST_TEST((*giver.cache_put("", bytes_of("x", 5)) == CacheRefusal::bad_name));
  BOOST_TEST((*giver.cache_put(std::string(65, 'x'), bytes_of("x", 5)) == CacheRefusal::bad_name));
  BOOST_TEST((*giver.cache_put("x", std::span<const std::byte>()) == CacheRefusal::bad_size));
  BOOST_TEST((*giver.cache_put("x", bytes_of("x", 8u << 20)) == CacheRefusal::too_large));
  // A region is handed over as it is; whoever reads it keeps it when it is erased.
  auto region = giver.allocate(5000, patience_ms);
  BOOST_REQUIRE(region.has_value());
  const auto bytes = bytes_of("handed", 5000);
  std::copy(bytes.begin(), bytes.end(), region->bytes().begin());
  BOOST_TEST((*giver.cache_put("handed", std::move(*region)) == CacheRefusal::none));
  auto held = get(reader, "handed");
  BOOST_REQUIRE(held.has_value());
  BOOST_TEST(entry_of(swarm, "handed").at("readers") == 1u);
  BOOST_TEST(*giver.cache_erase("handed", patience_ms));
  BOOST_TEST(!*giver.cache_erase("handed", patience_ms));
  BOOST_TEST(!get(giver, "handed"));
  put(giver, "handed", 7);
  BOOST_TEST(has(giver, "handed", 7));
  BOOST_TEST(is_whole(*held, "handed", 5000));
  held.reset();
  const nlohmann::json listed = swarm.ask({{"verb", "cache.list"}});
  for (const auto& entry : listed.at("entries"))
    BOOST_TEST(*giver.cache_erase(entry.at("name").get<std::string>(), patience_ms));
  check_all_is_back(swarm);
  BOOST_TEST(swarm.counter("messages_malformed") == 0u);
  swarm.finish();
}

BOOST_AUTO_TEST_CASE(who_was_used_longest_ago_makes_room_and_who_is_read_does_not) {
  FaultSwarm swarm("[swarm]\nagents = 0\n[cache]\ncapacity = \"256KiB\"\n");
  BOOST_REQUIRE(wait_until_it_answers(swarm));
  Client client = connected();
  for (const char* name : {"a", "b", "c", "d"}) put(client, name, 60'000);
  auto read = get(client, "a");
  BOOST_REQUIRE(read.has_value());
  BOOST_TEST(has(client, "b", 60'000));
  put(client, "e", 60'000);  // c goes: a is being read
  BOOST_TEST(!get(client, "c"));
  BOOST_TEST(is_whole(*read, "a", 60'000));
  put(client, "f", 60'000);  // d
  BOOST_TEST(!get(client, "d"));
  BOOST_TEST(has(client, "b", 60'000));
  const auto lru = show(swarm).at("policies").at("lru");
  BOOST_TEST(lru.at("evictions") == 2u);
  BOOST_TEST(lru.at("insertions") == 6u);
  // More important ones stay, short-lived ones go.
  BOOST_TEST((*client.cache_put("low", bytes_of("low", 60'000), {0, Priority::low}) ==
              CacheRefusal::no_room));
  put(client, "brief", 60'000, {30, Priority::normal});
  BOOST_TEST(wait_for([&] { return !get(client, "brief"); }));
  BOOST_TEST(show(swarm).at("policies").at("lru").at("expirations") == 1u);
  // Less of the pool for it, and none.
  read.reset();
  swarm.ask({{"verb", "cache.set"}, {"capacity_bytes", 0}, {"policy", "fifo"}});
  BOOST_TEST(show(swarm).at("policy") == "fifo");
  kill_supervisor(swarm);
  BOOST_TEST(show(swarm).at("policy") == "fifo");
  BOOST_TEST(show(swarm).at("capacity_bytes") == 0u);
  check_all_is_back(swarm);
  swarm.finish();
}

BOOST_AUTO_TEST_CASE(entries_give_way_to_those_who_need_the_pool) {
  FaultSwarm swarm(
      "[swarm]\nagents = 0\n[memory]\npool_size = \"2MiB\"\n[cache]\ncapacity = \"1536KiB\"\n");
  BOOST_REQUIRE(wait_until_it_answers(swarm));
  Client client = connected();
  for (int i = 0; i < 20; ++i) put(client, "e" + std::to_string(i), 60'000);
  std::deque<Region> held;
  for (int i = 0; i < 25; ++i) {
    auto region = client.allocate(60'000, patience_ms);
    BOOST_REQUIRE_MESSAGE(region.has_value(), i << fault_text(region));
    held.push_back(std::move(*region));
  }
  pool_of(swarm);
  BOOST_TEST(show(swarm).at("policies").at("lru").at("evictions").get<std::uint64_t>() >= 12u);
  held.clear();
  swarm.finish();
}

BOOST_AUTO_TEST_CASE(thirty_one_can_read_an_entry_and_the_dead_let_go) {
  FaultSwarm swarm("[swarm]\nagents = 0\n");
  BOOST_REQUIRE(wait_until_it_answers(swarm));
  Client client = connected();
  put(client, "shared", 10'000);
  std::deque<CachedEntry> readers;
  for (int i = 0; i < 31; ++i) {
    auto entry = get(client, "shared");
    BOOST_REQUIRE(entry.has_value());
    readers.push_back(std::move(*entry));
  }
  const auto refused = client.cache_get("shared", patience_ms);
  BOOST_REQUIRE(!refused);
  BOOST_TEST((refused.error().code == ErrorCode::refused));
  readers.pop_back();
  BOOST_TEST(has(client, "shared", 10'000));
  readers.clear();
  BOOST_TEST(wait_for([&] { return entry_of(swarm, "shared").at("readers") == 0; }));
  // A reader that is killed.
  const pid_t child = ::fork();
  if (child == 0) {
    auto own = Client::connect("test", patience_ms);
    auto entry =
        own ? own->cache_get("shared", patience_ms) : Result<std::optional<CachedEntry>>(Error{});
    if (entry && *entry) ::raise(SIGSTOP);
    ::_exit(1);
  }
  int status = 0;
  BOOST_REQUIRE(::waitpid(child, &status, WUNTRACED) == child);
  BOOST_REQUIRE(WIFSTOPPED(status));
  BOOST_TEST(entry_of(swarm, "shared").at("readers") == 1u);
  kill_supervisor(swarm);
  BOOST_TEST(entry_of(swarm, "shared").at("readers") == 1u);
  ::kill(child, SIGKILL);
  ::waitpid(child, &status, 0);
  BOOST_TEST(wait_for([&] { return entry_of(swarm, "shared").at("readers") == 0; }));
  BOOST_TEST(has(client, "shared", 10'000));
  BOOST_TEST(*client.cache_erase("shared", patience_ms));
  check_all_is_back(swarm);
  swarm.finish();
}

BOOST_AUTO_TEST_CASE(cold_entries_are_compressed_and_come_back) {
  FaultSwarm swarm(
      "[swarm]\nagents = 0\n[cache]\ncapacity = \"512KiB\"\non_eviction = \"compress\"\n");
  BOOST_REQUIRE(wait_until_it_answers(swarm));
  Client client = connected();
  for (int i = 0; i < 6; ++i) put(client, "cold" + std::to_string(i), 120'000);
  BOOST_TEST(show(swarm).at("compression").at("compressed").get<std::uint64_t>() >= 1u);
  BOOST_TEST(show(swarm).at("compression").at("ratio").get<double>() > 1.5);
  pool_of(swarm);
  kill_supervisor(swarm);
  unsigned there = 0;
  for (int i = 0; i < 6; ++i) there += has(client, "cold" + std::to_string(i), 120'000);
  BOOST_TEST(there >= 4u);
  BOOST_TEST(show(swarm).at("policies").at("lru").at("restored").get<std::uint64_t>() >= 1u);
  swarm.ask({{"verb", "cache.set"}, {"capacity_bytes", 0}, {"on_eviction", "drop"}});
  check_all_is_back(swarm);
  swarm.finish();
}

BOOST_AUTO_TEST_CASE(cold_entries_are_spilled_come_back_and_damage_is_noticed) {
  const TemporaryDirectory state;
  const std::string directory = (state.path() / "state").string();
  FaultSwarm swarm("[swarm]\nagents = 0\n[cache]\ncapacity = \"256KiB\"\non_eviction = \"spill\"\n",
                   {"--state-dir", directory});
  BOOST_REQUIRE(wait_until_it_answers(swarm));
  const auto files = [&] {
    std::vector<std::filesystem::path> found;
    std::error_code ec;
    for (std::filesystem::directory_iterator at(directory + "/cache", ec), end; !ec && at != end;
         at.increment(ec))
      found.push_back(at->path());
    return found;
  };
  Client client = connected();
  for (int i = 0; i < 10; ++i) put(client, "cold" + std::to_string(i), 60'000);
  BOOST_TEST(files().size() >= 6u);
  pool_of(swarm);
  kill_supervisor(swarm);
  for (int i = 0; i < 10; ++i) BOOST_TEST(has(client, "cold" + std::to_string(i), 60'000));
  for (const auto& path : files()) {
    std::fstream file(path, std::ios::in | std::ios::out | std::ios::binary);
    file.seekp(1000);
    file.put('!');
    file.put('?');
  }
  unsigned lost = 0;
  for (int i = 0; i < 10; ++i) lost += !has(client, "cold" + std::to_string(i), 60'000);
  BOOST_TEST(lost >= 1u);
  BOOST_TEST(show(swarm).at("damaged").get<std::uint64_t>() >= 1u);
  BOOST_TEST(show(swarm).at("policies").at("lru").at("losses").get<std::uint64_t>() == lost);
  swarm.ask({{"verb", "cache.set"}, {"capacity_bytes", 0}, {"on_eviction", "drop"}});
  check_all_is_back(swarm);
  swarm.finish();
}

/// Puts and gets until told to stop; counts what it found.
struct Load {
  explicit Load(unsigned number)
      : number_(number), client_(connected()), thread_([this] { run(); }) {}
  ~Load() { stop(); }
  void stop() {
    stop_ = true;
    if (thread_.joinable()) thread_.join();
  }
  void run() {
    Client* const client = &client_;
    std::mt19937 random(number_);
    std::deque<std::pair<std::string, CachedEntry>> held;
    while (!stop_) {
      const std::string name = "k" + std::to_string(random() % 40);
      const std::size_t size = 100 + std::hash<std::string>()(name) % 90'000;
      const unsigned what = random() % 8;
      if (what < 3) {
        const auto stored = client->cache_put(name, bytes_of(name, size), {}, patience_ms);
        failed_ += !stored;
        stored_ += stored && *stored == CacheRefusal::none;
      } else if (what < 7) {
        auto entry = client->cache_get(name, patience_ms);
        failed_ += !entry && entry.error().code != ErrorCode::refused;
        if (!entry || !*entry) continue;
        ++found_;
        wrong_ += !is_whole(**entry, name, size);
        held.emplace_back(name, std::move(**entry));
      } else {
        failed_ += !client->cache_erase(name, patience_ms);
      }
      if (held.size() > 6) {
        const auto& [old, entry] = held.front();
        // What is held stays what it was.
        wrong_ += !is_whole(entry, old, entry.bytes().size());
        held.pop_front();
      }
    }
  }
  const unsigned number_;
  std::atomic<bool> stop_{false};
  std::atomic<unsigned> found_{0}, stored_{0}, wrong_{0}, failed_{0};
  Client client_;  ///< the thread's; it joins before anybody dies
  std::thread thread_;
};

void kill_again_and_again(const std::string& toml, std::vector<std::string> args, int deaths) {
  FaultSwarm swarm("[swarm]\nagents = 0\n[supervision]\nsupervisor_restarts_max = 1000\n" + toml,
                   std::move(args));
  BOOST_REQUIRE(wait_until_it_answers(swarm));
  {
    std::deque<Load> loads;
    for (unsigned i = 0; i < 3; ++i) loads.emplace_back(i + 1);
    std::mt19937 random(7);
    for (int i = 0; i < deaths; ++i) {
      kill_supervisor(swarm);
      pool_of(swarm);
      ::poll(nullptr, 0, static_cast<int>(random() % 20));  // another moment of the load
    }
    for (Load& load : loads) {
      BOOST_TEST(wait_for([&] { return load.found_ > 0 && load.stored_ > 0; }));
      load.stop();
      BOOST_TEST(load.wrong_ == 0u);
      BOOST_TEST(load.failed_ == 0u);
      BOOST_TEST(load.found_ > 0u);
      BOOST_TEST(load.stored_ > 0u);
    }
  }
  {
    Client client = connected();
    const nlohmann::json listed = swarm.ask({{"verb", "cache.list"}});
    for (const auto& entry : listed.at("entries"))  // those in files too
      BOOST_TEST(client.cache_erase(entry.at("name").get<std::string>(), patience_ms).has_value());
  }
  check_all_is_back(swarm);
  BOOST_TEST(swarm.ask({{"verb", "cache.list"}}).at("entries").size() == 0u);
  swarm.finish();
}

BOOST_AUTO_TEST_CASE(supervisors_die_and_every_get_is_right_or_a_miss) {
  kill_again_and_again("[cache]\ncapacity = \"1MiB\"\n", {}, 25);
}

BOOST_AUTO_TEST_CASE(supervisors_die_while_entries_are_spilled_and_brought_back) {
  const TemporaryDirectory state;
  kill_again_and_again("[cache]\ncapacity = \"512KiB\"\non_eviction = \"spill\"\n",
                       {"--state-dir", (state.path() / "state").string()}, 15);
}

BOOST_AUTO_TEST_CASE(who_puts_is_killed_in_the_middle) {
  FaultSwarm swarm("[swarm]\nagents = 0\n[cache]\ncapacity = \"4MiB\"\n");
  BOOST_REQUIRE(wait_until_it_answers(swarm));
  for (int i = 0; i < 10; ++i) {
    int ready[2];
    BOOST_REQUIRE(::pipe(ready) == 0);
    const pid_t child = ::fork();
    if (child == 0) {
      auto own = Client::connect("test", patience_ms);
      for (int k = 0; own; ++k) {
        const std::string name = "p" + std::to_string(i) + "." + std::to_string(k);
        static_cast<void>(own->cache_put(name, bytes_of(name, 200'000), {}, patience_ms));
        static_cast<void>(!::write(ready[1], "", 1));
      }
      ::_exit(1);
    }
    char byte = 0;
    BOOST_REQUIRE(::read(ready[0], &byte, 1) == 1);
    ::kill(child, SIGKILL);
    ::waitpid(child, nullptr, 0);
    ::close(ready[0]);
    ::close(ready[1]);
    pool_of(swarm);
  }
  Client client = connected();
  const nlohmann::json listed = swarm.ask({{"verb", "cache.list"}});
  for (const auto& entry : listed.at("entries"))
    BOOST_TEST(has(client, entry.at("name").get<std::string>(), 200'000));
  swarm.ask({{"verb", "cache.set"}, {"capacity_bytes", 0}});
  check_all_is_back(swarm);
  swarm.finish();
}

}  // namespace
}  // namespace micro_swarm::testing
