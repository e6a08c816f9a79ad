// Leases in a real swarm: quotas of agents and clients, the supervisor's reserve, what small
// regions cost, and requests that no honest party sends.

#include <poll.h>

#include <algorithm>
#include <deque>

#include "ipc/party_link.hpp"
#include "tests/fault_swarm.hpp"

namespace micro_swarm::testing {
namespace {

constexpr std::uint64_t kib = 1024;

std::uint64_t leased(SwarmProcess& swarm) {
  return swarm.status().at("memory").at("leased_regions").get<std::uint64_t>();
}

/// Counted, and told as events: the same number.
std::uint64_t soft_limits(FaultSwarm& swarm) {
  const std::uint64_t counted = swarm.counter("quota_soft_limits");
  BOOST_TEST(swarm.events("memory_soft_limit").size() == counted);
  return counted;
}

Client connected() {
  auto client = Client::connect("test", patience_ms);
  BOOST_REQUIRE_MESSAGE(client.has_value(), fault_text(client));
  return std::move(*client);
}

/// A client whose messages on the socket the test writes itself.
struct RawClient {
  RawClient() {
    auto control = ControlClient::connect("test", 10'000);
    BOOST_REQUIRE(control.has_value());
    auto answer = control->request({{"verb", "attach"}}, {.timeout_ms = 10'000});
    BOOST_REQUIRE(answer.has_value());
    BOOST_REQUIRE_EQUAL(answer->fds.size(), 1u);
    auto opened = PartyLink::open(std::move(answer->fds.front()), 10'000);
    BOOST_REQUIRE_MESSAGE(opened.has_value(), fault_text(opened));
    link = std::move(*opened);
    BOOST_REQUIRE(link->announce().has_value());
    BOOST_REQUIRE(wait_for([&] { return link->admitted(); }));
  }
  PartyMessage ask(std::uint64_t slots, std::uint64_t region_bytes, std::uint64_t ahead = 0) {
    PartyMessage request;
    request.kind = PartyMessageKind::bank_request;
    request.a = ++requests;
    request.b = slots;
    request.c = region_bytes;
    request.d = ahead;
    BOOST_REQUIRE(link->send(request, {}).has_value());
    for (;;) {
      pollfd wanted{link->socket(), POLLIN, 0};
      BOOST_REQUIRE_EQUAL(::poll(&wanted, 1, static_cast<int>(patience_ms)), 1);
      ReceivedPartyMessage received;
      BOOST_REQUIRE(receive_party_message(link->socket(), received, false) ==
                    PartySocketRead::message);
      if (received.message.kind == PartyMessageKind::bank_granted ||
          received.message.kind == PartyMessageKind::bank_refused)
        return received.message;
    }
  }
  bool granted(std::uint64_t slots, std::uint64_t region_bytes, std::uint64_t ahead = 0) {
    return ask(slots, region_bytes, ahead).kind == PartyMessageKind::bank_granted;
  }
  std::unique_ptr<PartyLink> link;
  std::uint64_t requests = 0;
};

BOOST_AUTO_TEST_CASE(a_thousand_regions_of_4_kib_do_not_cost_a_thousand_pool_regions) {
  FaultSwarm swarm("[swarm]\nagents = 1\n");
  BOOST_REQUIRE(swarm.wait_for_live(1));
  {
    Client client = connected();
    std::deque<Region> held;
    for (int i = 0; i < 1000; ++i) {
      auto region = client.allocate(4 * kib, patience_ms);
      BOOST_REQUIRE_MESSAGE(region.has_value(), fault_text(region));
      region->bytes()[0] = std::byte(i);
      held.push_back(std::move(*region));
    }
    const nlohmann::json memory = swarm.status().at("memory");
    BOOST_TEST(memory.at("leased_regions").get<std::uint64_t>() <= 1000 / 16 + 3);
    const nlohmann::json& slabs = memory.at("classes").at(1);
    BOOST_TEST(slabs.at("region_bytes") == 4 * kib);
    BOOST_TEST(slabs.at("regions_out") == 1000u);
    BOOST_TEST(slabs.at("bytes_out") == 1000 * 4 * kib);
    BOOST_TEST(slabs.at("leased_bytes").get<std::uint64_t>() ==
               slabs.at("banks").get<std::uint64_t>() * 64 * kib);
    for (int i = 0; i < 1000; ++i)
      BOOST_REQUIRE(held[static_cast<std::size_t>(i)].bytes()[0] == std::byte(i));
  }
  BOOST_TEST(
      swarm.wait_until([](const auto& s) { return s.at("memory").at("leased_regions") == 0; }));
  swarm.finish();
}

BOOST_AUTO_TEST_CASE(a_client_over_its_quota_is_refused_with_the_key_and_others_are_not) {
  FaultSwarm swarm("[swarm]\nagents = 1\n[memory]\nclient_quota = \"512KiB\"\n");
  BOOST_REQUIRE(swarm.wait_for_live(1));
  Client greedy = connected();
  std::deque<Region> held;
  std::string why;
  while (held.size() < 100) {
    auto region = greedy.allocate(60'000, 500);
    if (!region) {
      BOOST_TEST((region.error().code == ErrorCode::refused));
      why = region.error().message;
      break;
    }
    held.push_back(std::move(*region));
  }
  BOOST_TEST(held.size() == 8u);  // 512 KiB
  BOOST_TEST(why.find("524288 of 524288 bytes") != std::string::npos, why);
  BOOST_TEST(why.find("memory.client_quota") != std::string::npos, why);
  BOOST_TEST(swarm.counter("quota_refusals") > 0u);
  BOOST_TEST(soft_limits(swarm) == 1u);
  BOOST_TEST(leased(swarm) == 8u);
  const nlohmann::json owner = swarm.status().at("memory").at("owners").at(0);
  BOOST_TEST(owner.at("leased_bytes") == 512 * kib);
  BOOST_TEST(owner.at("is_over_soft_limit") == true);
  bool told = false;
  // More at once than it may ever have: for good.
  const auto never = greedy.allocate(600'000, patience_ms);
  BOOST_REQUIRE(!never);
  BOOST_TEST((never.error().code == ErrorCode::too_large));
  BOOST_TEST(never.error().message.find("memory.client_quota") != std::string::npos);
  // Another one has its own quota.
  Client other = connected();
  BOOST_TEST(other.allocate(60'000, patience_ms).has_value());
  // What is given back can be had again; below the mark and above it once more is told once more.
  held.clear();
  BOOST_TEST(swarm.wait_until([&](const auto& status) {
    static_cast<void>(greedy.next_result(0));  // returns what has been idle for long enough
    return status.at("memory").at("leased_regions").template get<std::uint64_t>() <= 3;
  }));
  for (int i = 0; i < 8; ++i) {
    auto region = greedy.allocate(60'000, patience_ms);
    BOOST_REQUIRE_MESSAGE(region.has_value(), fault_text(region));
    held.push_back(std::move(*region));
    told = told || soft_limits(swarm) == 2;
  }
  BOOST_TEST(told);
  BOOST_TEST(soft_limits(swarm) == 2u);
  held.clear();
  swarm.finish();
}

BOOST_AUTO_TEST_CASE(an_agent_over_the_quota_of_its_kind_fails_its_task_and_names_the_key) {
  FaultSwarm swarm(R"(
[memory]
agent_quota = "64KiB"
[[agent]]
name = "small"
capabilities = ["fill"]
[[agent]]
name = "large"
capabilities = ["fill", "echo"]
memory_quota = "1MiB"
)");
  BOOST_REQUIRE(swarm.wait_for_live(2));
  Client client = connected();
  const std::string text = "200000";
  int done = 0;
  int refused = 0;
  for (int i = 0; i < 6; ++i) {
    TaskRequest request;
    request.capability = "fill";
    request.payload = std::as_bytes(std::span(text.data(), text.size()));
    BOOST_REQUIRE(client.submit(std::move(request), patience_ms).has_value());
    auto result = client.next_result(patience_ms);
    BOOST_REQUIRE(result.has_value() && result->has_value());
    if ((*result)->is_done()) {
      ++done;
      continue;
    }
    ++refused;
    const auto bytes = (*result)->bytes();
    const std::string why(reinterpret_cast<const char*>(bytes.data()), bytes.size());
    BOOST_TEST(why.find("memory.agent_quota") != std::string::npos, why);
  }
  BOOST_TEST(done > 0);
  BOOST_TEST(refused > 0);
  const nlohmann::json agents = swarm.ask({{"verb", "agent.list"}}).at("agents");
  BOOST_TEST(agents.at(0).at("memory_quota") == 64 * kib);
  BOOST_TEST(agents.at(1).at("memory_quota") == 1024 * kib);
  BOOST_TEST(agents.at(0).at("leased_bytes").get<std::uint64_t>() <= 64 * kib);
  swarm.finish();
}

BOOST_AUTO_TEST_CASE(wrong_shapes_are_refused_for_good_and_the_reserve_is_never_leased) {
  FaultSwarm swarm("[swarm]\nagents = 0\n[memory]\npool_size = \"1MiB\"\n");
  BOOST_REQUIRE(swarm.wait_until([](const auto& s) { return s.at("state") == "running"; }));
  RawClient liar;
  const std::pair<std::uint64_t, std::uint64_t> wrong[] = {
      {0, 0},           {65, kib},     {64, 512},         {64, 1000},
      {3, kib},         {16, 3000},    {1, 64 * kib + 1}, {~0ull, kib},
      {2, ~0ull << 12}, {64, 4 * kib}, {1, kib * kib},    {15, 64 * kib}};
  for (const auto& [slots, bytes] : wrong) {
    const PartyMessage answer = liar.ask(slots, bytes);
    BOOST_TEST((answer.kind == PartyMessageKind::bank_refused), slots << " x " << bytes);
    BOOST_TEST(answer.b == 1u);
  }
  BOOST_TEST(leased(swarm) == 0u);
  // 16 regions, of which 2 are the supervisor's. Asked ahead is granted up to three quarters.
  std::uint64_t ahead = 0;
  while (liar.granted(64, kib, 1)) ++ahead;
  BOOST_TEST(ahead == 10u);
  std::uint64_t all = ahead;
  while (liar.granted(16, 4 * kib)) ++all;
  BOOST_TEST(all == 14u);
  BOOST_TEST(leased(swarm) == 14u);
  BOOST_TEST(swarm.status().at("memory").at("supervisor_reserve_regions") == 2u);
  const PartyMessage full = liar.ask(1, 0);
  BOOST_TEST(full.b == 0u);  // later perhaps
  BOOST_TEST(std::string_view(full.text).find("2 are kept for the supervisor") !=
             std::string_view::npos);
  liar.link.reset();
  BOOST_TEST(
      swarm.wait_until([](const auto& s) { return s.at("memory").at("leased_regions") == 0; }));
  swarm.finish();
}

BOOST_AUTO_TEST_CASE(what_comes_back_from_disk_finds_room_in_the_reserve_of_a_full_pool) {
  const TemporaryDirectory state;
  FaultSwarm swarm("[swarm]\nagents = 1\n[memory]\npool_size = \"1MiB\"\n",
                   {"--state-dir", state.path().string()});
  BOOST_REQUIRE(swarm.wait_for_live(1));
  Client client = connected();
  micro_swarm::TaskOptions options;
  options.idempotency_key = "once";
  const std::string text(60'000, 'd');
  const auto region = [&] {
    auto allocated = client.allocate(text.size(), patience_ms);
    BOOST_REQUIRE_MESSAGE(allocated.has_value(), fault_text(allocated));
    std::memcpy(allocated->bytes().data(), text.data(), text.size());
    return std::move(*allocated);
  };
  const auto run = [&](Region payload) {
    TaskRequest request;
    request.capability = "echo";
    request.region = std::move(payload);
    request.options = &options;
    const auto number = client.submit(std::move(request), patience_ms);
    BOOST_REQUIRE_MESSAGE(number.has_value(), fault_text(number));
    auto result = client.next_result(patience_ms);
    BOOST_REQUIRE_MESSAGE(result.has_value() && result->has_value(), swarm.log());
    BOOST_TEST((*result)->is_done());
    BOOST_TEST((*result)->text() == text);
    return std::move(**result);
  };
  run(region()).release();
  Region again = region();
  RawClient filler;
  const auto fill = [&] {
    while (filler.granted(1, 0)) {
    }
  };
  fill();
  // Who is refused makes the others return what lies idle: the agent's bank goes, at its own time.
  BOOST_TEST(swarm.wait_until([](const auto& s) {
    const auto& owners = s.at("memory").at("owners");
    return std::none_of(owners.begin(), owners.end(),
                        [](const auto& owner) { return owner.at("party") == 0; });
  }));
  fill();
  const std::uint64_t full = leased(swarm);
  BOOST_TEST(full == 13u);  // 16, less the reserve, less what is kept for the agent's next
  const TaskResult repeated = run(std::move(again));  // its result is the journal's
  BOOST_TEST(leased(swarm) == full + 1);
  BOOST_TEST(swarm.counter("tasks_repeated") == 1u);
  filler.link.reset();
  swarm.finish();
}

BOOST_AUTO_TEST_CASE(a_new_supervisor_counts_the_same_leases) {
  FaultSwarm swarm("[swarm]\nagents = 1\n[memory]\nclient_quota = \"256KiB\"\n");
  BOOST_REQUIRE(swarm.wait_for_live(1));
  Client client = connected();
  std::deque<Region> held;
  for (int i = 0; i < 3; ++i) {
    auto region = client.allocate(60'000, patience_ms);
    BOOST_REQUIRE(region.has_value());
    held.push_back(std::move(*region));
  }
  const nlohmann::json before = swarm.status().at("memory").at("owners");
  const pid_t old = swarm.supervisor();
  ::kill(old, SIGKILL);
  BOOST_REQUIRE(wait_for([&] {
    try {
      return swarm.supervisor() != old;
    } catch (const std::runtime_error&) {
      return false;
    }
  }));
  BOOST_TEST(swarm.status().at("memory").at("owners") == before);
  held.push_back(*client.allocate(60'000, patience_ms));
  BOOST_TEST(!client.allocate(60'000, 200).has_value());
  held.clear();
  swarm.finish();
}

}  // namespace
}  // namespace micro_swarm::testing
