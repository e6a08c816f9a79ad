// memory.soak: sixteen agents allocate, fill and hand regions to each other and to two clients, are
// killed at random, and supervisors too. At every sample the parts of the pool add up; every region
// that is read has its writer's bytes; at the end all is free.
//
//   test_memory_soak -- [seconds [seed]]

#include <signal.h>

#include <cstdio>
#include <random>

#include "common/clock.hpp"
#include "tests/fault_swarm.hpp"
#include "tests/memory_agent.hpp"

namespace micro_swarm::testing {
namespace {

constexpr unsigned agents = 16;
constexpr std::size_t in_flight_max = 64;

std::string config() {
  std::string self(4096, '\0');
  const ssize_t size = ::readlink("/proc/self/exe", self.data(), self.size());
  self.resize(static_cast<std::size_t>(size));
  const std::string agent = (std::filesystem::path(self).parent_path() / "memory_agent").string();
  return "[supervision]\nintensity = 100000\nsupervisor_restarts_max = 10000\n"
         "backoff_initial_ms = 1\nbackoff_max_ms = 5\n"
         "[tasks]\nattempts_max = 255\n"
         "[[agent]]\nname = \"mover\"\nkind = \"external\"\ncommand = [\"" +
         agent + "\"]\ncapabilities = [\"make\", \"drain\"]\nmemory_quota = \"2MiB\"\ncount = " +
         std::to_string(agents) + "\n";
}

std::uint64_t argument(int number, std::uint64_t otherwise) {
  const auto& suite = boost::unit_test::framework::master_test_suite();
  return suite.argc > number ? std::stoull(suite.argv[number]) : otherwise;
}

class Soak {
 public:
  explicit Soak(std::uint64_t seed) : random_(seed), swarm_(config()) {
    BOOST_REQUIRE_MESSAGE(swarm_.wait_for_live(agents), swarm_.log());
    for (int i = 0; i < 2; ++i) {
      auto client = Client::connect("test", patience_ms);
      BOOST_REQUIRE_MESSAGE(client.has_value(), fault_text(client));
      clients_.push_back(std::move(*client));
    }
  }

  void run(std::uint64_t seconds) {
    const std::uint64_t end_ns = now_ns() + seconds * ns_per_s;
    std::uint64_t sample_ns = 0, supervisor_ns = now_ns() + ns_per_s;
    while (now_ns() < end_ns) {
      submit_some();
      take_some();
      if (now_ns() < sample_ns) continue;
      sample_ns = now_ns() + 100 * ns_per_ms;
      check_sum();
      kill_one_agent();
      if (now_ns() < supervisor_ns) continue;
      supervisor_ns = now_ns() + 2 * ns_per_s;
      ::kill(swarm_.supervisor(), SIGKILL);
      swarm_.wait_for_epoch(++epoch_);
      check_sum();
    }
  }

  /// All ends, all is read, all is free.
  void finish() {
    const bool is_free = wait_for([&] {
      for (Client& client : clients_)
        for (unsigned i = 0; i < 2 * agents; ++i) submit(client, "drain", "");
      while (clients_[0].in_flight() + clients_[1].in_flight() != 0) take_some();
      return swarm_.status().at("memory").at("tokens_out") == 0;
    });
    BOOST_TEST(is_free, swarm_.ask({{"verb", "region.list"}}).at("regions").dump());
    check_sum();
    const auto counters = swarm_.status().at("counters");
    std::printf(
        "%llu samples, %llu tasks, %llu transfers (%llu sent back, %llu dropped), "
        "%llu agents and %u supervisors killed\n",
        static_cast<unsigned long long>(samples_),
        counters.at("tasks_done").get<unsigned long long>(),
        counters.at("transfers").get<unsigned long long>(),
        counters.at("transfers_refused").get<unsigned long long>(),
        counters.at("transfers_dropped").get<unsigned long long>(),
        static_cast<unsigned long long>(killed_), epoch_ - 1);
    BOOST_TEST(counters.at("transfers").get<std::uint64_t>() > 100u);
    clients_.clear();
    swarm_.finish();
  }

 private:
  std::uint64_t any(std::uint64_t below) { return random_() % below; }
  PartyId anybody() {
    const std::uint64_t who = any(agents + 2);
    return who < agents ? static_cast<PartyId>(who) : clients_[who - agents].party();
  }

  void submit(Client& client, std::string_view capability, const std::string& payload) {
    TaskRequest request;
    request.capability = capability;
    request.payload = std::as_bytes(std::span(payload.data(), payload.size()));
    const auto number = client.submit(std::move(request), patience_ms);
    BOOST_REQUIRE_MESSAGE(number.has_value(), fault_text(number));
  }
  void submit_some() {
    for (Client& client : clients_)
      while (client.in_flight() < in_flight_max) {
        if (any(3) == 0) {
          submit(client, "drain", any(2) == 0 ? "" : std::to_string(anybody()));
          continue;
        }
        // Mostly small, now and then larger than a pool region.
        const std::uint64_t size = 1 + any(any(10) == 0 ? 300'000 : 6'000);
        submit(client, "make",
               std::to_string(anybody()) + " " + std::to_string(any(1'000'000)) + " " +
                   std::to_string(size) + " " + std::to_string(1 + any(3)));
      }
  }
  void take_some() {
    for (Client& client : clients_) {
      for (;;) {
        auto result = client.next_result(1);
        BOOST_REQUIRE_MESSAGE(result.has_value(), fault_text(result));
        if (!*result) break;
        const std::string_view text = (*result)->text();
        BOOST_TEST(text.find("other bytes") == text.npos, text);
      }
      for (;;) {
        auto region = client.receive(0);
        BOOST_REQUIRE_MESSAGE(region.has_value(), fault_text(region));
        if (!*region) break;
        const auto bytes = (*region)->view();
        BOOST_REQUIRE_MESSAGE(bytes.has_value(), fault_text(bytes));
        BOOST_TEST(has_pattern(*bytes, (*region)->tag()));
      }
    }
  }
  void check_sum() {
    const auto answer = swarm_.ask({{"verb", "memory.show"}});
    const auto& pool = answer.at("pool");
    std::uint64_t sum = 0;
    for (const char* part : {"free_bytes", "held_bytes", "in_transit_bytes", "leased_idle_bytes",
                             "rounding_bytes", "cached_bytes"})
      sum += pool.at(part).get<std::uint64_t>();
    BOOST_TEST(sum == pool.at("pool_bytes").get<std::uint64_t>(), pool.dump());
    ++samples_;
  }
  void kill_one_agent() {
    const auto pids = swarm_.agents();
    if (pids.empty()) return;
    ::kill(pids[any(pids.size())], SIGKILL);
    ++killed_;
  }

  std::mt19937_64 random_;
  FaultSwarm swarm_;
  std::vector<Client> clients_;
  std::uint64_t samples_ = 0;
  std::uint64_t killed_ = 0;
  unsigned epoch_ = 1;
};

BOOST_AUTO_TEST_CASE(the_parts_of_the_pool_add_up_at_every_sample_and_all_is_free_at_the_end) {
  const std::uint64_t seed = argument(2, std::random_device{}());
  std::printf("seed %llu\n", static_cast<unsigned long long>(seed));
  Soak soak(seed);
  soak.run(argument(1, 4));
  soak.finish();
}

}  // namespace
}  // namespace micro_swarm::testing
