// Topics in a real swarm: clients and agents in C, supervisors and agents killed.

#include <signal.h>

#include <deque>

#include "ipc/task_names.hpp"
#include "tests/fault_swarm.hpp"

namespace micro_swarm::testing {
namespace {

std::string config(unsigned agents) {
  const auto agent = std::filesystem::read_symlink("/proc/self/exe").parent_path() / "abi_agent";
  return "[supervision]\nintensity = 100\n[[agent]]\nname = \"c\"\nkind = \"external\"\ncommand = "
         "[\"" +
         agent.string() +
         "\", \"pull\"]\ncapabilities = [\"c.echo\", \"c.subscribe\", "
         "\"c.unsubscribe\", \"c.publish\", \"c.hear\"]\ncount = " +
         std::to_string(agents) + "\n";
}

struct TopicSwarm : FaultSwarm {
  explicit TopicSwarm(unsigned agents) : FaultSwarm(config(agents)) {
    require(wait_for_live(agents), [&] { return log(); });
  }
  void check_all_home() {
    BOOST_TEST(wait_until([](const auto& s) { return s.at("memory").at("tokens_out") == 0; }));
  }
  /// {topic: subscribers}
  std::map<std::string, std::vector<PartyId>> topics() {
    std::map<std::string, std::vector<PartyId>> all;
    const auto answer = status();
    for (const auto& topic : answer.at("topics"))
      all[topic.at("name")] = topic.at("subscribers").template get<std::vector<PartyId>>();
    return all;
  }
};

std::uint32_t publish(Client& client, std::string_view topic, std::string_view text,
                      std::uint64_t tag = 0) {
  auto region = client.allocate(text.size());
  BOOST_REQUIRE_MESSAGE(region.has_value(), fault_text(region));
  std::memcpy(region->bytes().data(), text.data(), text.size());
  auto published = client.publish(topic, std::move(*region), tag);
  BOOST_REQUIRE_MESSAGE(published.has_value(), fault_text(published));
  BOOST_TEST(!*region);
  return *published;
}

/// "topic tag text"; "nothing" where nothing comes.
std::string hear(Client& client, std::uint32_t timeout_ms = patience_ms) {
  auto received = client.receive(timeout_ms);
  BOOST_REQUIRE_MESSAGE(received.has_value(), fault_text(received));
  if (!*received) return "nothing";
  const auto bytes = (*received)->view();
  BOOST_REQUIRE_MESSAGE(bytes.has_value(), fault_text(bytes));
  return (*received)->topic() + " " + std::to_string((*received)->tag()) + " " +
         std::string(reinterpret_cast<const char*>(bytes->data()), bytes->size());
}

void subscribe(Client& client, std::string_view topic) {
  const auto done = client.subscribe(topic);
  BOOST_REQUIRE_MESSAGE(done.has_value(), fault_text(done));
}

}  // namespace

BOOST_AUTO_TEST_SUITE(topics_swarm)

BOOST_AUTO_TEST_CASE(who_subscribes_hears_and_nobody_else) {
  TopicSwarm swarm(1);
  {
    Client a = TaskClient::connect(), b = TaskClient::connect(), c = TaskClient::connect();
    BOOST_TEST(publish(a, "news", "nobody hears this") == 0u);
    subscribe(b, "news");
    subscribe(b, "news");
    subscribe(c, "news");
    subscribe(c, "weather");
    subscribe(a, "news");
    BOOST_TEST(swarm.topics().at("news").size() == 3u);
    // Not itself; in this order; also what is larger than a region of the pool.
    const std::string large(300'000, 'x');
    BOOST_TEST(publish(a, "news", "one", 1) == 2u);
    BOOST_TEST(publish(a, "news", large, 2) == 2u);
    BOOST_TEST(publish(a, "weather", "rain", 3) == 1u);
    BOOST_TEST(hear(b) == "news 1 one");
    BOOST_TEST((hear(b) == "news 2 " + large));
    BOOST_TEST(hear(c) == "news 1 one");
    BOOST_TEST((hear(c) == "news 2 " + large));
    BOOST_TEST(hear(c) == "weather 3 rain");
    BOOST_TEST(hear(a, 0) == "nothing");
    BOOST_REQUIRE(b.unsubscribe("news").has_value());
    BOOST_TEST(publish(a, "news", "three") == 1u);
    BOOST_TEST(hear(c) == "news 0 three");
    BOOST_TEST(hear(b, 0) == "nothing");
    BOOST_TEST(swarm.counter("publications") == 6u);
    BOOST_TEST(swarm.counter("publications_dropped") == 0u);
  }
  BOOST_TEST(swarm.wait_until([](const auto& s) { return s.at("topics").empty(); }));
  swarm.check_all_home();
  swarm.finish();
}

BOOST_AUTO_TEST_CASE(agents_publish_and_hear_and_so_does_their_successor) {
  TopicSwarm swarm(1);
  {
    TaskClient tasks(swarm);
    Client& client = tasks.client();
    subscribe(client, "from/agents");
    const auto run = [&](const char* capability, const std::string& payload) {
      const TaskResult result = tasks.run(capability, payload);
      return std::string(name_of(result.state())) + ": " + std::string(result.text());
    };
    BOOST_TEST(run("c.publish", "from/agents hello") == "done: 1");
    BOOST_TEST(hear(client) == "from/agents 5 hello");
    BOOST_TEST(run("c.subscribe", "to/agents") == "done: ");
    BOOST_TEST(run("c.subscribe", "not a name") ==
               "failed: a topic's name has 1 to 24 of the characters a-z A-Z 0-9 _ . / -");
    BOOST_TEST(publish(client, "to/agents", "first", 1) == 1u);
    BOOST_TEST(run("c.hear", "") == "done: to/agents 1 first");
    // What is published while it is dead, and before its successor asked for anything.
    const pid_t dead = swarm.agent_pid(0);
    BOOST_REQUIRE(::kill(dead, SIGKILL) == 0);
    BOOST_TEST(publish(client, "to/agents", "second", 2) == 1u);
    BOOST_TEST(run("c.hear", "") == "done: to/agents 2 second");
    BOOST_TEST(swarm.agent_pid(0) != dead);
    BOOST_TEST(run("c.unsubscribe", "to/agents") == "done: ");
    BOOST_TEST(publish(client, "to/agents", "third") == 0u);
  }
  swarm.check_all_home();
  swarm.finish();
}

BOOST_AUTO_TEST_CASE(a_new_supervisor_knows_who_subscribes) {
  TopicSwarm swarm(1);
  {
    Client a = TaskClient::connect(), b = TaskClient::connect();
    subscribe(b, "news");
    for (unsigned epoch = 1; epoch <= 4; ++epoch) {
      BOOST_REQUIRE(::kill(swarm.supervisor(), SIGKILL) == 0);
      // While there is none: it is taken in by the next.
      BOOST_TEST(publish(a, "news", "while it was away", epoch) == 1u);
      // Also asked for while there is none.
      subscribe(b, "more-" + std::to_string(epoch));
      BOOST_TEST(hear(b) == "news " + std::to_string(epoch) + " while it was away");
      BOOST_TEST(publish(a, "more-" + std::to_string(epoch), "x") == 1u);
      BOOST_TEST(hear(b) == "more-" + std::to_string(epoch) + " 0 x");
      swarm.wait_for_epoch(epoch + 1);
    }
    BOOST_TEST(swarm.topics().size() == 5u);
  }
  BOOST_TEST(swarm.wait_until([](const auto& s) { return s.at("topics").empty(); }));
  swarm.check_all_home();
  swarm.finish();
}

BOOST_AUTO_TEST_CASE(who_does_not_take_what_waits_misses_it_and_holds_up_nobody) {
  TopicSwarm swarm(1);
  {
    Client a = TaskClient::connect(), lazy = TaskClient::connect(), b = TaskClient::connect();
    subscribe(lazy, "news");
    constexpr std::uint64_t sent = 700;
    for (std::uint64_t tag = 0; tag < sent; ++tag) publish(a, "news", "x", tag);
    BOOST_REQUIRE(swarm.wait_until(
        [](const auto& s) { return s.at("counters").at("publications") == sent; }));
    const std::uint64_t dropped = swarm.counter("publications_dropped");
    BOOST_TEST(dropped > 100u);
    BOOST_TEST(hear(a, 0) == "nothing");  // nothing comes back
    subscribe(b, "news");
    publish(a, "news", "y", sent);
    BOOST_TEST(hear(b) == "news " + std::to_string(sent) + " y");
    // And it finds all that were taken, in order, when it does read.
    for (std::uint64_t tag = 0; tag + dropped < sent; ++tag)
      BOOST_REQUIRE_EQUAL(hear(lazy), "news " + std::to_string(tag) + " x");
  }
  swarm.check_all_home();
  swarm.finish();
}

BOOST_AUTO_TEST_CASE(a_client_that_comes_after_another_does_not_inherit_its_topics) {
  TopicSwarm swarm(1);
  {
    Client a = TaskClient::connect();
    PartyId number = 0;
    {
      Client gone = TaskClient::connect();
      number = gone.party();
      subscribe(gone, "news");
    }
    BOOST_REQUIRE(
        swarm.wait_until([](const auto& s) { return s.at("counters").at("clients_left") == 1; }));
    std::deque<Client> next;
    do next.push_back(TaskClient::connect());
    while (next.back().party() != number && next.size() < 62);
    BOOST_REQUIRE_EQUAL(next.back().party(), number);
    BOOST_TEST(publish(a, "news", "x") == 0u);
    BOOST_TEST(hear(next.back(), 0) == "nothing");
  }
  swarm.check_all_home();
  swarm.finish();
}

BOOST_AUTO_TEST_CASE(what_cannot_be_done_is_refused_and_loses_nothing) {
  TopicSwarm swarm(1);
  {
    Client a = TaskClient::connect();
    for (const char* name : {"", "no spaces", "1234567890123456789012345"}) {
      const auto done = a.subscribe(name);
      BOOST_REQUIRE(!done.has_value());
      BOOST_TEST((done.error().code == ErrorCode::usage));
    }
    auto region = a.allocate(10);
    BOOST_REQUIRE(region.has_value());
    const auto published = a.publish("a b", std::move(*region));
    BOOST_TEST(!published.has_value());
    BOOST_TEST(bool(*region));
    const auto of_nothing = a.publish("news", Region());
    BOOST_REQUIRE(!of_nothing.has_value());
    BOOST_TEST((of_nothing.error().code == ErrorCode::usage));
    BOOST_REQUIRE(a.unsubscribe("never-subscribed").has_value());
    // More subscribers than a region has rights.
    std::deque<Client> many;
    for (unsigned i = 0; i < topic_subscribers_max; ++i) {
      many.push_back(TaskClient::connect());
      subscribe(many.back(), "full");
    }
    const auto one_more = a.subscribe("full");
    BOOST_REQUIRE(!one_more.has_value());
    BOOST_TEST((one_more.error().code == ErrorCode::refused));
    BOOST_TEST(one_more.error().message.find("31 parties subscribe") != std::string::npos);
    BOOST_TEST(publish(a, "full", "all of you", 4) == topic_subscribers_max);
    for (Client& client : many) BOOST_TEST(hear(client) == "full 4 all of you");
    // More topics than there are rows; one that nobody subscribes to any more makes room.
    for (unsigned i = 1; i < topics_max; ++i) subscribe(a, "topic-" + std::to_string(i));
    const auto too_many = a.subscribe("one-more");
    BOOST_REQUIRE(!too_many.has_value());
    BOOST_TEST(too_many.error().message.find("256 topics") != std::string::npos);
    BOOST_REQUIRE(a.unsubscribe("topic-7").has_value());
    subscribe(a, "one-more");
    BOOST_TEST(publish(many.front(), "one-more", "x") == 1u);
    BOOST_TEST(publish(many.front(), "topic-7", "x") == 0u);
    BOOST_TEST(hear(a) == "one-more 0 x");
  }
  swarm.check_all_home();
  swarm.finish();
}

BOOST_AUTO_TEST_SUITE_END()

}  // namespace micro_swarm::testing
