// Regions handed from party to party in a real swarm: agents and clients, deaths on every side.

#include <signal.h>

#include <deque>

#include "ipc/task_names.hpp"
#include "tests/fault_swarm.hpp"
#include "tests/memory_agent.hpp"

namespace micro_swarm::testing {
namespace {

constexpr std::size_t kib = 1024;

std::string config(unsigned agents, const char* more = "") {
  std::string self(4096, '\0');
  const ssize_t size = ::readlink("/proc/self/exe", self.data(), self.size());
  self.resize(static_cast<std::size_t>(size));
  const std::string agent = (std::filesystem::path(self).parent_path() / "memory_agent").string();
  return "[supervision]\nintensity = 100\n" + std::string(more) +
         "\n[[agent]]\nname = \"mover\"\nkind = \"external\"\ncommand = [\"" + agent +
         "\"]\ncapabilities = [\"make\", \"forward\", \"collect\", \"hoard\", \"remember\", "
         "\"forget\"]\ncount = " +
         std::to_string(agents) + "\n";
}

struct TransferSwarm : FaultSwarm {
  explicit TransferSwarm(unsigned agents, const char* more = "")
      : FaultSwarm(config(agents, more)) {
    BOOST_REQUIRE_MESSAGE(wait_for_live(agents), log());
  }
  /// What is free, held, under way and idle are the pool, whenever it is looked at.
  void check_sum() {
    const auto answer = ask({{"verb", "memory.show"}});
    const auto& pool = answer.at("pool");
    std::uint64_t sum = 0;
    for (const char* part : {"free_bytes", "held_bytes", "in_transit_bytes", "leased_idle_bytes",
                             "rounding_bytes", "cached_bytes"})
      sum += pool.at(part).get<std::uint64_t>();
    BOOST_TEST(sum == pool.at("pool_bytes").get<std::uint64_t>());
  }
  /// Who owns regions takes them back when it looks.
  void check_all_home(Client* owner = nullptr) {
    BOOST_TEST(wait_until([owner](const auto& s) {
      if (owner != nullptr) BOOST_TEST(owner->receive(0).has_value());
      return s.at("memory").at("tokens_out") == 0;
    }));
    check_sum();
  }
};

Client connected() {
  auto client = Client::connect("test", patience_ms);
  BOOST_REQUIRE_MESSAGE(client.has_value(), fault_text(client));
  return std::move(*client);
}

Region filled(Client& client, std::size_t size_bytes, std::uint64_t tag) {
  auto region = client.allocate(size_bytes);
  BOOST_REQUIRE_MESSAGE(region.has_value(), fault_text(region));
  fill_pattern(region->bytes(), tag);
  return std::move(*region);
}

ReceivedRegion received(Client& client) {
  auto region = client.receive(patience_ms);
  BOOST_REQUIRE_MESSAGE(region.has_value(), fault_text(region));
  BOOST_REQUIRE_MESSAGE(region->has_value(), "nothing came");
  return std::move(**region);
}

void check_bytes(const ReceivedRegion& region, std::size_t size_bytes, std::uint64_t tag) {
  BOOST_TEST(region.tag() == tag);
  BOOST_TEST(region.size_bytes() == size_bytes);
  const auto bytes = region.view();
  BOOST_REQUIRE_MESSAGE(bytes.has_value(), fault_text(bytes));
  BOOST_TEST(has_pattern(*bytes, tag));
}

std::uint64_t submit(Client& client, std::string_view capability, const std::string& payload) {
  TaskRequest request;
  request.capability = capability;
  request.payload = std::as_bytes(std::span(payload.data(), payload.size()));
  const auto number = client.submit(std::move(request));
  BOOST_REQUIRE_MESSAGE(number.has_value(), fault_text(number));
  return *number;
}

std::string run(Client& client, std::string_view capability, const std::string& payload) {
  submit(client, capability, payload);
  auto result = client.next_result(patience_ms);
  BOOST_REQUIRE_MESSAGE(result.has_value() && result->has_value(), "no result");
  return std::string(name_of((*result)->state())) + ": " + std::string((*result)->text());
}

template <class T>
ErrorCode error_of(const Result<T>& result) {
  BOOST_REQUIRE(!result.has_value());
  return result.error().code;
}

}  // namespace

BOOST_AUTO_TEST_SUITE(memory_transfer_swarm)

BOOST_AUTO_TEST_CASE(regions_of_every_size_go_from_client_to_client_and_back) {
  TransferSwarm swarm(1);
  {
    Client a = connected(), b = connected();
    for (const std::size_t size : {std::size_t{1}, std::size_t{24}, 1000ul, 4096ul, 64 * kib,
                                   64 * kib + 1, 1024 * kib, 16 * 1024 * kib}) {
      auto sent = a.transfer(filled(a, size, size), b.party(), size);
      BOOST_REQUIRE_MESSAGE(sent.has_value(), fault_text(sent));
      ReceivedRegion there = received(b);
      BOOST_TEST(there.from() == a.party());
      check_bytes(there, size, size);
      BOOST_REQUIRE(b.transfer(std::move(there), a.party(), size + 1).has_value());
      BOOST_TEST(!there);
      ReceivedRegion back = received(a);
      BOOST_TEST(back.from() == b.party());
      const auto bytes = back.view();
      BOOST_REQUIRE(bytes.has_value());
      BOOST_TEST(has_pattern(*bytes, size));
      swarm.check_sum();
    }
    BOOST_TEST(a.memory_stats().transfers_sent == 8u);
    BOOST_TEST(a.memory_stats().transfers_received == 8u);
    BOOST_TEST(a.memory_stats().copies == 0u);
    swarm.check_all_home();
  }
  swarm.finish();
}

BOOST_AUTO_TEST_CASE(order_is_kept_and_results_do_not_wait_behind_regions) {
  TransferSwarm swarm(2);
  {
    Client a = connected(), b = connected();
    // More than a receiver that does not read may have waiting.
    for (std::uint64_t tag = 0; tag < 100; ++tag)
      BOOST_REQUIRE(a.transfer(filled(a, 100, tag), b.party(), tag).has_value());
    submit(b, "make", std::to_string(a.party()) + " 1000 5000 3");
    for (std::uint64_t tag = 0; tag < 100; ++tag) check_bytes(received(b), 100, tag);
    auto result = b.next_result(patience_ms);
    BOOST_REQUIRE(result.has_value() && result->has_value());
    BOOST_TEST((*result)->text() == "3");
    for (std::uint64_t tag = 1000; tag < 1003; ++tag) check_bytes(received(a), 5000, tag);
    swarm.check_all_home(&a);
  }
  swarm.finish();
}

BOOST_AUTO_TEST_CASE(an_agent_takes_what_was_handed_to_it_before_it_was_asked) {
  TransferSwarm swarm(2);
  {
    Client client = connected();
    // Both take tasks; which one is which is told by where the regions are sent.
    for (const PartyId target : {PartyId{0}, PartyId{1}}) {
      for (std::uint64_t tag = 0; tag < 10; ++tag)
        BOOST_REQUIRE(client.transfer(filled(client, 70'000, tag), target, tag).has_value());
    }
    // 10 regions lie with each agent: whoever runs a collect finds its own.
    BOOST_TEST(run(client, "collect", "5") == "done: 0 1 2 3 4");
    swarm.check_sum();
  }
  BOOST_TEST(swarm.counter("transfers") == 20u);
  BOOST_TEST(swarm.counter("transfers_dropped") == 0u);
  swarm.finish();
}

BOOST_AUTO_TEST_CASE(a_chain_of_parties_hands_one_region_on) {
  TransferSwarm swarm(1);
  {
    Client a = connected(), b = connected();
    const std::uint64_t made = submit(a, "forward", std::to_string(b.party()) + " 2");
    BOOST_REQUIRE(a.transfer(filled(a, 200'000, 7), 0, 7).has_value());
    BOOST_REQUIRE(a.transfer(filled(a, 20, 8), 0, 8).has_value());
    ReceivedRegion first = received(b);
    BOOST_TEST(first.from() == 0);
    check_bytes(first, 200'000, 7);
    check_bytes(received(b), 20, 8);
    auto result = a.next_result(patience_ms);
    BOOST_REQUIRE(result.has_value() && result->has_value());
    BOOST_TEST((*result)->number() == made);
    BOOST_TEST((*result)->text() == "2");
    // The owner may go: what it wrote stays as long as somebody holds it.
    { Client gone = std::move(a); }
    BOOST_TEST(
        swarm.wait_until([](const auto& s) { return s.at("counters").at("clients_left") == 1; }));
    check_bytes(first, 200'000, 7);
    first.release();
    swarm.check_all_home();
  }
  swarm.finish();
}

BOOST_AUTO_TEST_CASE(shared_with_several_and_free_when_the_last_lets_go) {
  TransferSwarm swarm(1);
  {
    Client owner = connected();
    std::deque<Client> readers;
    std::vector<PartyId> targets;
    for (int i = 0; i < 5; ++i) {
      readers.push_back(connected());
      targets.push_back(readers.back().party());
    }
    Region region = filled(owner, 30'000, 9);
    BOOST_REQUIRE(owner.share(region, targets, 9).has_value());
    BOOST_TEST(region.is_shared());
    std::deque<ReceivedRegion> held;
    for (Client& reader : readers) {
      held.push_back(received(reader));
      check_bytes(held.back(), 30'000, 9);
    }
    const auto list = swarm.ask({{"verb", "region.list"}});
    BOOST_REQUIRE_EQUAL(list.at("regions").size(), 1u);
    BOOST_TEST(list.at("regions").at(0).at("tokens") == 6);
    // 32 rights to one region, no more.
    std::vector<PartyId> many(31, targets[0]);
    const auto refused = owner.share(region, many, 10);
    BOOST_TEST((error_of(refused) == ErrorCode::refused));
    for (int i = 0; i < 26; ++i) received(readers[0]);
    region.release();
    held.pop_front();
    check_bytes(held.back(), 30'000, 9);
    held.clear();
    swarm.check_all_home(&owner);
  }
  swarm.finish();
}

BOOST_AUTO_TEST_CASE(a_new_version_is_a_copy_and_counted) {
  TransferSwarm swarm(1);
  {
    Client a = connected(), b = connected();
    BOOST_REQUIRE(a.transfer(filled(a, 500, 3), b.party(), 3).has_value());
    ReceivedRegion old = received(b);
    const auto bytes = old.view();
    BOOST_REQUIRE(bytes.has_value());
    auto copy = b.write(*bytes);
    BOOST_REQUIRE(copy.has_value());
    old.release();
    copy->bytes()[0] = std::byte{0xaa};
    BOOST_REQUIRE(b.transfer(std::move(*copy), a.party()).has_value());
    const ReceivedRegion changed = received(a);
    const auto now = changed.view();
    BOOST_REQUIRE(now.has_value());
    BOOST_TEST(((*now)[0] == std::byte{0xaa}));
    BOOST_TEST(((*now)[1] == pattern_at(3, 1)));
    BOOST_TEST(b.memory_stats().copies == 1u);
    BOOST_TEST(b.memory_stats().bytes_copied == 500u);
  }
  swarm.finish();
}

BOOST_AUTO_TEST_CASE(what_cannot_be_done_is_refused_with_a_typed_error_and_loses_nothing) {
  TransferSwarm swarm(1);
  {
    Client a = connected(), b = connected();
    BOOST_TEST((error_of(a.allocate(0)) == ErrorCode::usage));
    BOOST_TEST((error_of(a.allocate(std::size_t(-1))) == ErrorCode::too_large));
    BOOST_TEST((error_of(a.allocate(29ul << 20)) == ErrorCode::too_large));
    Region region = filled(a, 100, 1);
    BOOST_TEST((error_of(a.transfer(std::move(region), a.party())) == ErrorCode::usage));
    BOOST_TEST((error_of(a.transfer(std::move(region), supervisor_party)) == ErrorCode::not_found));
    BOOST_TEST((error_of(a.transfer(std::move(region), 5000)) == ErrorCode::not_found));
    BOOST_TEST(
        (error_of(a.transfer(std::move(region), first_client + 40)) == ErrorCode::not_found));
    BOOST_TEST((error_of(b.transfer(std::move(region), a.party())) == ErrorCode::usage));
    BOOST_TEST((error_of(a.transfer(Region(), b.party())) == ErrorCode::usage));
    BOOST_REQUIRE(bool(region));
    const PartyId party = b.party();
    { Client gone = std::move(b); }
    BOOST_REQUIRE(
        swarm.wait_until([](const auto& s) { return s.at("counters").at("clients_left") == 1; }));
    BOOST_TEST((error_of(a.transfer(std::move(region), party)) == ErrorCode::not_running));
    // There is no agent 9; the supervisor knows, and sends it back.
    BOOST_REQUIRE(a.transfer(std::move(region), 9, 77).has_value());
    const ReceivedRegion back = received(a);
    BOOST_TEST((back.refusal() == TransferRefusal::gone));
    BOOST_TEST(back.from() == 9);
    BOOST_TEST(back.tag() == 77u);
    const auto bytes = back.view();
    BOOST_REQUIRE(bytes.has_value());
    BOOST_TEST(has_pattern(*bytes, 1));
    BOOST_TEST(a.memory_stats().transfers_returned == 1u);
  }
  swarm.check_all_home();
  swarm.finish();
}

BOOST_AUTO_TEST_CASE(whoever_does_not_read_holds_up_nobody) {
  TransferSwarm swarm(2);
  {
    Client a = connected(), lazy = connected(), b = connected();
    // Its ring, then those that may wait; what comes beyond comes back.
    constexpr std::size_t sent = 700;
    for (std::size_t tag = 0; tag < sent; ++tag)
      BOOST_REQUIRE(a.transfer(filled(a, 64, tag), lazy.party(), tag).has_value());
    BOOST_REQUIRE(
        swarm.wait_until([](const auto& s) { return s.at("counters").at("transfers") == sent; }));
    const std::size_t back = swarm.counter("transfers_refused");
    BOOST_TEST(back > 100u);
    for (std::size_t i = 0; i < back; ++i) {
      const ReceivedRegion returned = received(a);
      BOOST_TEST((returned.refusal() == TransferRefusal::full));
      BOOST_TEST(returned.from() == lazy.party());
      BOOST_TEST(returned.tag() == sent - back + i);
    }
    // Everybody else goes on.
    BOOST_REQUIRE(a.transfer(filled(a, 64, 1), b.party(), 1).has_value());
    check_bytes(received(b), 64, 1);
    BOOST_TEST(run(b, "make", std::to_string(b.party()) + " 5 64") == "done: 1");
    check_bytes(received(b), 64, 5);
    swarm.check_sum();
    // And it finds all that were taken, in order, when it does read.
    for (std::size_t tag = 0; tag + back < sent; ++tag) check_bytes(received(lazy), 64, tag);
    swarm.check_all_home(&a);
  }
  swarm.check_all_home();
  swarm.finish();
}

BOOST_AUTO_TEST_CASE(agents_have_the_cache_too) {
  TransferSwarm swarm(2, "supervisor_restarts_max = 100\n");
  {
    Client client = connected();
    BOOST_TEST(run(client, "remember", "1 100000") == "done: put");
    // Whichever agent it is.
    for (int i = 0; i < 4; ++i) BOOST_TEST(run(client, "remember", "1 100000") == "done: found");
    auto entry = client.cache_get("entry 1");
    BOOST_REQUIRE(entry.has_value() && entry->has_value());
    BOOST_TEST(has_pattern((*entry)->bytes(), 1));
    for (unsigned epoch = 2; epoch < 6; ++epoch) {
      ::kill(swarm.supervisor(), SIGKILL);
      const std::string size = std::to_string(epoch * 1000);
      BOOST_TEST(run(client, "remember", std::to_string(epoch) + " " + size) == "done: put");
      swarm.wait_for_epoch(epoch);
      BOOST_TEST(run(client, "remember", std::to_string(epoch) + " " + size) == "done: found");
    }
    // Somebody reads it still: it has no name any more, and its bytes stay.
    BOOST_TEST(run(client, "forget", "1") == "done: erased");
    BOOST_TEST(run(client, "forget", "1") == "done: nothing");
    BOOST_TEST(has_pattern((*entry)->bytes(), 1));
    BOOST_TEST(run(client, "remember", "1 7") == "done: put");
  }
  swarm.finish();
}

// Several times: the successor may read what waits for it before the supervisor gets to show it the
// memory, or after.
BOOST_AUTO_TEST_CASE(a_killed_receiver_s_successor_gets_what_it_has_not_taken) {
  TransferSwarm swarm(1, "backoff_max_ms = 20\n");
  {
    Client client = connected();
    for (std::uint64_t round = 1; round <= 12; ++round) {
      const pid_t before = swarm.agent_pid(0);
      BOOST_REQUIRE(client.transfer(filled(client, 50'000, 1), 0, 1).has_value());
      BOOST_TEST(run(client, "hoard", "1") == "done: 1");
      ::kill(before, SIGSTOP);
      for (std::uint64_t tag = 2; tag < 40; ++tag)
        BOOST_REQUIRE(client.transfer(filled(client, 500, tag), 0, tag).has_value());
      BOOST_REQUIRE(swarm.wait_until(
          [&](const auto& s) { return s.at("counters").at("transfers") == 39 * round; }));
      ::kill(before, SIGKILL);
      // What it had hoarded went home with it; what it had not read is the next one's.
      const std::string all = run(client, "collect", "38");
      BOOST_TEST(all.starts_with("done: 2 3 4 5"), all);
      BOOST_REQUIRE(all.ends_with(" 38 39"));
    }
    swarm.check_all_home(&client);
  }
  swarm.finish();
}

BOOST_AUTO_TEST_CASE(supervisors_die_and_every_region_arrives_once_and_whole) {
  TransferSwarm swarm(2, "supervisor_restarts_max = 100\n");
  {
    Client a = connected(), b = connected();
    constexpr std::uint64_t count = 3'000;
    std::uint64_t sent = 0, arrived = 0;
    std::set<std::uint64_t> back;
    std::uint64_t next_kill = 200;
    unsigned epoch = 1;
    while (arrived + back.size() < count) {
      if (sent < count && sent < arrived + back.size() + 40) {
        BOOST_REQUIRE(a.transfer(filled(a, 1 + sent % 5000, sent), b.party(), sent).has_value());
        ++sent;
      } else {
        ReceivedRegion region = received(b);
        BOOST_REQUIRE_EQUAL(region.tag(), arrived);
        check_bytes(region, 1 + arrived % 5000, arrived);
        ++arrived;
      }
      auto returned = a.receive(0);
      BOOST_REQUIRE(returned.has_value());
      if (*returned) back.insert((*returned)->tag());
      if (sent == next_kill) {
        next_kill += 400;
        ::kill(swarm.supervisor(), SIGKILL);
        swarm.wait_for_epoch(++epoch);
        swarm.check_sum();
      }
    }
    BOOST_TEST(back.empty());
    BOOST_TEST(epoch >= 5u);
    const auto rest = b.receive(50);
    BOOST_REQUIRE(rest.has_value());
    BOOST_TEST(!rest->has_value());
    swarm.check_all_home(&a);
  }
  swarm.finish();
}

BOOST_AUTO_TEST_SUITE_END()

}  // namespace micro_swarm::testing
