// The pool's budget: sizes of regions and pools, changed while the swarm runs, shared by
// categories, and collected on demand.

#include <signal.h>

#include <cstring>
#include <deque>

#include "common/config.hpp"
#include "tests/fault_swarm.hpp"

namespace micro_swarm::testing {
namespace {

constexpr std::uint64_t kib = 1024;
constexpr std::uint64_t mib = kib * kib;

Client connected() {
  auto client = Client::connect("test", patience_ms);
  BOOST_REQUIRE_MESSAGE(client.has_value(), fault_text(client));
  return std::move(*client);
}

struct BudgetSwarm : FaultSwarm {
  explicit BudgetSwarm(const std::string& toml) : FaultSwarm(toml) {
    BOOST_REQUIRE_MESSAGE(wait_for_live(1), log());
  }
  nlohmann::json pool() {
    auto pool = ask({{"verb", "memory.show"}}).at("pool");
    std::int64_t sum = 0;
    for (const char* part : {"free_bytes", "held_bytes", "in_transit_bytes", "leased_idle_bytes",
                             "rounding_bytes", "cached_bytes"})
      sum += pool.at(part).get<std::int64_t>();
    BOOST_TEST(sum - pool.at("over_budget_bytes").get<std::int64_t>() ==
               pool.at("pool_bytes").get<std::int64_t>());
    return pool;
  }
  nlohmann::json set(std::uint64_t pool_bytes) {
    return ask({{"verb", "memory.set"}, {"pool_bytes", pool_bytes}});
  }
  std::string refusal_of(nlohmann::json request) {
    try {
      ask(std::move(request));
    } catch (const std::runtime_error& error) {
      return error.what();
    }
    return "accepted";
  }
};

/// As many regions of these bytes as there is room for right now, at most `max`.
std::deque<Region> fill(Client& client, std::size_t size_bytes, std::size_t max) {
  std::deque<Region> regions;
  while (regions.size() < max) {
    auto region = client.allocate(size_bytes, 1'000);
    if (!region) break;
    std::memset(region->bytes().data(), 0x5a, std::min<std::size_t>(size_bytes, 4096));
    regions.push_back(std::move(*region));
  }
  return regions;
}

TaskRequest with_payload(std::span<const std::byte> payload,
                         const micro_swarm::TaskOptions& options,
                         std::string_view capability = "echo") {
  TaskRequest request;
  request.capability = capability;
  request.payload = payload;
  request.options = &options;
  return request;
}

}  // namespace

BOOST_AUTO_TEST_SUITE(memory_budget)

BOOST_AUTO_TEST_CASE(a_pool_of_64_mib_in_regions_of_128_kib) {
  BudgetSwarm swarm(
      "[swarm]\nagents = 1\n[memory]\npool_size = \"64MiB\"\nregion_size = \"128KiB\"\n");
  {
    Client client = connected();
    auto regions = fill(client, 128 * kib, 600);
    // All but the supervisor's two and the agent's first.
    BOOST_TEST(regions.size() == 509u);
    swarm.pool();
    regions.clear();
    BOOST_TEST(fill(client, 60 * mib, 1).size() == 1u);
    BOOST_TEST(fill(client, 2 * kib, 500).size() == 500u);
  }
  swarm.finish();
}

BOOST_AUTO_TEST_CASE(a_pool_of_1_gib) {
  BudgetSwarm swarm("[swarm]\nagents = 1\n[memory]\npool_size = \"1GiB\"\n");
  {
    Client client = connected();
    auto regions = fill(client, 4 * mib, 300);
    BOOST_TEST(regions.size() == 255u);
    BOOST_TEST(swarm.pool().at("held_bytes").get<std::uint64_t>() == 255 * 4 * mib);
    regions.clear();
    // One that is nearly all of it.
    BOOST_TEST(fill(client, 1020 * mib, 1).size() == 1u);
    auto small = fill(client, 60 * kib, 1'000);
    BOOST_TEST(small.size() == 1'000u);
    swarm.pool();
  }
  swarm.finish();
}

BOOST_AUTO_TEST_CASE(it_grows_and_shrinks_while_it_is_used) {
  BudgetSwarm swarm("[swarm]\nagents = 1\n[memory]\npool_size = \"2MiB\"\n");
  {
    Client client = connected();
    auto first = fill(client, 512 * kib, 10);
    BOOST_TEST(first.size() == 3u);
    const auto too_large = client.allocate(3 * mib, 1'000);
    BOOST_REQUIRE(!too_large.has_value());
    BOOST_TEST((too_large.error().code == ErrorCode::too_large));

    const auto grown = swarm.set(8 * mib);
    BOOST_TEST(grown.at("before_bytes") == 2 * mib);
    auto second = fill(client, 3 * mib, 1);
    BOOST_REQUIRE_EQUAL(second.size(), 1u);
    BOOST_TEST(swarm.status().at("memory").at("pool_bytes") == 8 * mib);

    // Nothing is taken away; nobody gets more until enough came back.
    const auto shrunk = swarm.set(1 * mib);
    BOOST_TEST(shrunk.at("over_budget_bytes").get<std::uint64_t>() >= 3 * mib);
    BOOST_TEST(swarm.pool().at("free_bytes") == 0u);
    const auto refused = client.allocate(200 * kib, 300);
    BOOST_REQUIRE(!refused.has_value());
    BOOST_TEST((second.front().bytes()[17] == std::byte{0x5a}));
    first.clear();
    second.clear();
    auto third = fill(client, 200 * kib, 1);
    BOOST_TEST(third.size() == 1u);
    BOOST_TEST(swarm.wait_until([&](const auto&) {
      BOOST_TEST(client.receive(0).has_value());
      return swarm.pool().at("over_budget_bytes") == 0;
    }));

    // A new supervisor keeps it.
    ::kill(swarm.supervisor(), SIGKILL);
    swarm.wait_for_epoch(2);
    BOOST_TEST(swarm.status().at("memory").at("pool_bytes") == 1 * mib);
    third.clear();
    swarm.set(4 * mib);
    BOOST_TEST(fill(client, 3 * mib, 1).size() == 1u);
    BOOST_TEST(swarm.events("pool_changed").size() >= 1u);
  }
  swarm.finish();
}

BOOST_AUTO_TEST_CASE(a_budget_that_cannot_be_is_refused_and_changes_nothing) {
  BudgetSwarm swarm("[swarm]\nagents = 1\n");
  const auto check = [&swarm](const nlohmann::json& value, std::string_view says) {
    const std::string text = swarm.refusal_of({{"verb", "memory.set"}, {"pool_bytes", value}});
    BOOST_TEST(text.find(says) != text.npos, value << ": " << text);
  };
  check({}, "missing");
  check(-1, "missing");
  check("8MiB", "missing");
  check(0u, "not allowed");
  check(100'000u, "not allowed");
  check(8 * mib + 1, "not allowed");
  check(std::uint64_t{1} << 50, "not allowed");
  check(pool_size_max, "leaves");
  BOOST_TEST(swarm.status().at("memory").at("pool_bytes") == 28 * mib);
  swarm.finish();
}

BOOST_AUTO_TEST_CASE(a_category_has_its_share_of_the_pool) {
  BudgetSwarm swarm(
      "[swarm]\nagents = 1\n[[category]]\nname = \"bulk\"\nmemory_quota = \"100KiB\"\n");
  {
    Client client = connected();
    const std::vector<std::byte> payload(38 * kib, std::byte{7});
    micro_swarm::TaskOptions bulk;
    bulk.category = "bulk";
    // It does not end before it is told to: the agent's only one sleeps.
    const std::string sleep = "60000";
    micro_swarm::TaskOptions none;
    const auto blocker =
        client.submit(with_payload(std::as_bytes(std::span(sleep)), none, "sleep"));
    BOOST_REQUIRE(blocker.has_value());
    for (int i = 0; i < 2; ++i)
      BOOST_REQUIRE(client.submit(with_payload(payload, bulk)).has_value());
    const auto third = client.submit(with_payload(payload, bulk));
    BOOST_REQUIRE(third.has_value());
    auto refused = client.next_result(patience_ms);
    BOOST_REQUIRE(refused.has_value() && refused->has_value());
    BOOST_TEST((*refused)->number() == *third);
    BOOST_TEST(((*refused)->refusal_reason() == SubmitRefusal::category_memory));
    // More than it ever may.
    const std::vector<std::byte> large(101 * kib);
    BOOST_REQUIRE(client.submit(with_payload(large, bulk)).has_value());
    refused = client.next_result(patience_ms);
    BOOST_REQUIRE(refused.has_value() && refused->has_value());
    BOOST_TEST(((*refused)->refusal() == ErrorCode::too_large));
    // Others are not concerned; and a small one of its own fits.
    BOOST_REQUIRE(client.submit(with_payload(large, none)).has_value());
    BOOST_REQUIRE(client.submit(with_payload(std::span(payload).first(1'000), bulk)).has_value());
    BOOST_REQUIRE(
        swarm.wait_until([](const auto& s) { return s.at("counters").at("tasks_accepted") == 5; }));
    // A new supervisor counts what there is.
    ::kill(swarm.supervisor(), SIGKILL);
    swarm.wait_for_epoch(2);
    auto categories = swarm.status().at("memory").at("categories");
    BOOST_REQUIRE_EQUAL(categories.size(), 1u);
    BOOST_TEST(categories.at(0).at("payload_bytes") == 76 * kib + 1'000);
    BOOST_TEST(categories.at(0).at("is_over_soft_limit") == false);
    BOOST_REQUIRE(client.submit(with_payload(std::span(payload).first(5'000), bulk)).has_value());
    BOOST_REQUIRE(swarm.wait_until([](const auto& s) {
      return s.at("memory").at("categories").at(0).at("is_over_soft_limit") == true;
    }));
    swarm.cancel(swarm.ask({{"verb", "task.list"}}).at("tasks").at(0).at("id").get<TaskId>());
    for (int i = 0; i < 6; ++i) {
      auto result = client.next_result(patience_ms);
      BOOST_REQUIRE(result.has_value() && result->has_value());
    }
    BOOST_TEST(swarm.status().at("memory").at("categories").at(0).at("payload_bytes") == 0u);
    BOOST_REQUIRE(client.submit(with_payload(payload, bulk)).has_value());
    auto result = client.next_result(patience_ms);
    BOOST_REQUIRE(result.has_value() && result->has_value());
    BOOST_TEST((*result)->is_done());
  }
  swarm.finish();
}

BOOST_AUTO_TEST_CASE(what_is_collected_by_the_way_is_collected_now_on_demand) {
  BudgetSwarm swarm("[swarm]\nagents = 1\n[tasks]\nresult_ttl_ms = 1\n");
  {
    Client client = connected();
    const std::vector<std::byte> payload(100 * kib, std::byte{7});
    for (int i = 0; i < 20; ++i) {
      TaskRequest request;
      request.capability = "echo";
      request.payload = payload;
      request.is_detached = true;
      BOOST_REQUIRE(client.submit(std::move(request)).has_value());
    }
    BOOST_REQUIRE(
        swarm.wait_until([](const auto& s) { return s.at("counters").at("tasks_done") == 20; }));
    // Whether the loop was faster or not, after this none is left.
    const auto collected = swarm.ask({{"verb", "memory.gc"}});
    BOOST_TEST(collected.at("parties_asked") == 2u);
    BOOST_TEST(swarm.counter("results_expired") == 20u);
    BOOST_TEST(swarm.wait_until([&client](const auto& s) {
      BOOST_TEST(client.receive(0).has_value());
      return s.at("memory").at("leased_regions") == 0;
    }));
    swarm.pool();
  }
  swarm.finish();
}

BOOST_AUTO_TEST_SUITE_END()

}  // namespace micro_swarm::testing
