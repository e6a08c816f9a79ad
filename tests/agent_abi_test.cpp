// Agents written in C and in C++ over the C ABI, in a real swarm.

#include <signal.h>

#include <array>
#include <cstring>

#include "ipc/task_names.hpp"
#include "tests/cli_command.hpp"
#include "tests/fault_swarm.hpp"

namespace micro_swarm::testing {
namespace {

std::string beside_this(const char* name) {
  return (std::filesystem::read_symlink("/proc/self/exe").parent_path() / name).string();
}

std::string config_of(const std::string& name, const std::string& command,
                      const std::string& capabilities, unsigned count = 1) {
  return "[[agent]]\nname = \"" + name + "\"\nkind = \"external\"\ncommand = [" + command +
         "]\ncapabilities = [" + capabilities + "]\ncount = " + std::to_string(count) + "\n";
}

std::string c_agent(const std::string& mode, unsigned count = 1) {
  return "[supervision]\nintensity = 1000\nbackoff_max_ms = 20\nsupervisor_restarts_max = 100\n" +
         config_of("c", "\"" + beside_this("abi_agent") + "\", \"" + mode + "\"",
                   "\"c.echo\", \"c.in_place\", \"c.who\", \"c.join\", \"c.stubborn\", "
                   "\"c.bounce\", \"c.misuse\", \"c.four\", \"c.fragile\", \"c.log\"",
                   count);
}

std::string ended(const TaskResult& result) {
  return std::string(name_of(result.state())) + ": " + std::string(result.text());
}

std::string bytes(std::size_t size) {
  std::string text(size, '\0');
  for (std::size_t i = 0; i < size; ++i) text[i] = static_cast<char>(i * 31 + i / 251);
  return text;
}

}  // namespace

BOOST_AUTO_TEST_SUITE(agent_abi)

// Both ways to wait do the same.
BOOST_AUTO_TEST_CASE(an_agent_in_c_does_all_that_an_agent_does) {
  for (const char* mode : {"pull", "poll"}) {
    FaultSwarm swarm(c_agent(mode));
    BOOST_REQUIRE_MESSAGE(swarm.wait_for_live(1), swarm.log());
    {
      TaskClient client(swarm);
      for (const std::size_t size : {0ul, 1ul, 24ul, 25ul, 4096ul, 70'000ul, 3'000'000ul}) {
        const std::string sent = bytes(size);
        BOOST_TEST(ended(client.run("c.echo", sent)) == "done: " + sent);
        BOOST_TEST(ended(client.run("c.in_place", sent)) == "done: " + sent);
      }
      BOOST_TEST(ended(client.run("c.who")) ==
                 "done: c.who: agent 0.1, attempt 1, 0 inputs, abi 1");
      BOOST_TEST(ended(client.run("c.misuse")) == "done: ok");
      BOOST_TEST(ended(client.run("c.log")) == "done: ");
      BOOST_TEST(wait_for(
          [&] { return swarm.log().find("c/0: a line of the C agent") != std::string::npos; }));

      std::map<std::uint64_t, std::string> four;
      for (const std::string text : {"one", "two", "three", "four"})
        four.emplace(client.submit("c.four", text), "done: " + text);
      for (const auto& [number, text] : four) BOOST_TEST(ended(client.result_of(number)) == text);

      auto region = client.client().allocate(100'000);
      BOOST_REQUIRE(region.has_value());
      std::ranges::fill(region->bytes(), std::byte{7});
      BOOST_REQUIRE(client.client().transfer(std::move(*region), 0, 5).has_value());
      BOOST_TEST(ended(client.run("c.bounce")) == "done: bounced");
      for (std::uint64_t tag = 1; tag <= 2; ++tag) {
        auto back = client.client().receive(patience_ms);
        BOOST_REQUIRE(back.has_value() && back->has_value());
        BOOST_TEST((*back)->tag() == tag);
        const auto view = (*back)->view();
        BOOST_REQUIRE(view.has_value());
        BOOST_TEST(view->size() == 100'000u);
        BOOST_TEST(std::ranges::count(*view, std::byte{7}) == 100'000);
      }
    }
    swarm.finish();
  }
}

BOOST_AUTO_TEST_CASE(results_of_others_are_inputs) {
  FaultSwarm swarm(c_agent("pull"));
  BOOST_REQUIRE_MESSAGE(swarm.wait_for_live(1), swarm.log());
  {
    TaskClient client(swarm);
    const std::string large = bytes(50'000);
    micro_swarm::TaskOptions both;
    both.depends_on = {TaskDependency::batch_entry(0), TaskDependency::batch_entry(1)};
    std::array<TaskRequest, 3> requests;
    requests[0].payload = std::as_bytes(std::span("small ", 6));
    requests[1].payload = std::as_bytes(std::span(large));
    requests[0].capability = requests[1].capability = "c.echo";
    requests[2].capability = "c.join";
    requests[2].options = &both;
    const auto first = client.client().submit_batch(requests);
    BOOST_REQUIRE_MESSAGE(first.has_value(), fault_text(first));
    BOOST_TEST(ended(client.result_of(first->first_number + 2)) == "done: small " + large);
  }
  swarm.finish();
}

BOOST_AUTO_TEST_CASE(a_cancelled_task_is_given_up) {
  FaultSwarm swarm(c_agent("poll"));
  BOOST_REQUIRE_MESSAGE(swarm.wait_for_live(1), swarm.log());
  {
    TaskClient client(swarm);
    const pid_t before = swarm.agent_pid(0);
    const std::uint64_t number = client.submit("c.stubborn");
    const TaskId id = client.id_of(number);
    swarm.require_in_hand(0, id);
    swarm.cancel(id);
    BOOST_TEST(ended(client.result_of(number)) == "cancelled: ");
    BOOST_TEST(ended(client.run("c.echo", "after")) == "done: after");
    BOOST_TEST(swarm.agent_pid(0) == before);
  }
  swarm.finish();
}

BOOST_AUTO_TEST_CASE(who_dies_with_many_in_hand_costs_each_an_attempt_at_most) {
  for (const char* mode : {"pull", "poll"}) {
    FaultSwarm swarm(c_agent(mode));
    BOOST_REQUIRE_MESSAGE(swarm.wait_for_live(1), swarm.log());
    {
      TaskClient client(swarm);
      std::map<std::uint64_t, std::string> wanted;
      for (int i = 0; i < 12; ++i) {
        const std::string payload = "number " + std::to_string(i);
        wanted.emplace(client.submit("c.fragile", payload), "done: " + payload);
      }
      for (const auto& [number, text] : wanted) BOOST_TEST(ended(client.result_of(number)) == text);
    }
    swarm.finish();
  }
}

BOOST_AUTO_TEST_CASE(it_works_on_under_the_next_supervisor) {
  for (const char* mode : {"pull", "poll"}) {
    FaultSwarm swarm(c_agent(mode, 2));
    BOOST_REQUIRE_MESSAGE(swarm.wait_for_live(2), swarm.log());
    {
      TaskClient client(swarm);
      const pid_t before = swarm.agent_pid(0);
      for (unsigned epoch = 2; epoch < 8; ++epoch) {
        std::vector<std::uint64_t> numbers;
        for (int i = 0; i < 50; ++i) numbers.push_back(client.submit("c.echo", bytes(1000)));
        ::kill(swarm.supervisor(), SIGKILL);
        for (const std::uint64_t number : numbers)
          BOOST_TEST(ended(client.result_of(number)) == "done: " + bytes(1000));
        swarm.wait_for_epoch(epoch);
      }
      BOOST_TEST(swarm.agent_pid(0) == before);
    }
    swarm.finish();
  }
}

// The examples are what docs show.
BOOST_AUTO_TEST_CASE(the_examples_work) {
  FaultSwarm swarm(config_of("shout", "\"" + beside_this("example_shout") + "\"", "\"shout\"") +
                   config_of("scale", "\"" + beside_this("example_scale") + "\"", "\"scale\""));
  BOOST_REQUIRE_MESSAGE(swarm.wait_for_live(2), swarm.log());
  {
    TaskClient client(swarm);
    BOOST_TEST(ended(client.run("shout", "quiet, please")) == "done: QUIET, PLEASE");
    const float values[] = {1.5F, -2.0F, 0.25F};
    const TaskResult result =
        client.run("scale", {reinterpret_cast<const char*>(values), sizeof values});
    const std::string_view scaled = result.text();
    BOOST_REQUIRE(scaled.size() == sizeof values);
    float out[3];
    std::memcpy(out, scaled.data(), sizeof out);
    BOOST_TEST(out[0] == 3.0F);
    BOOST_TEST(out[1] == -4.0F);
    BOOST_TEST(out[2] == 0.5F);
    BOOST_TEST(ended(client.run("scale", "12345")) ==
               "failed: 5 bytes are not a whole number of values of 4 bytes");
  }
  swarm.finish();
}

BOOST_AUTO_TEST_CASE(started_by_hand_it_says_what_to_do) {
  const CommandEnd result = Command({beside_this("abi_agent"), "pull"}).wait();
  BOOST_TEST(result.code == 2);
  BOOST_TEST(result.err.find("MICROSWARM_AGENT_FD is not set") != std::string::npos, result.err);
}

BOOST_AUTO_TEST_SUITE_END()

}  // namespace micro_swarm::testing
