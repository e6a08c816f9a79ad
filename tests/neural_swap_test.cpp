// Models come and go under agents that work: no task fails, none is lost or run twice.

#include <cstring>

#include "tests/fault_swarm.hpp"
#include "tests/onnx_models.hpp"

namespace micro_swarm::testing {
namespace {

/// A network of one node over four numbers, as a file.
struct Network {
  Network(const TemporaryDirectory& directory, const std::string& node)
      : file((directory.path() / (node + ".onnx")).string()) {
    tests::OnnxModel model;
    model.input("x", onnx::TensorProto::FLOAT, {4})
        .output("y", onnx::TensorProto::FLOAT, {4})
        .node(node, {"x"}, {"y"});
    const auto bytes = model.bytes();
    std::ofstream(file, std::ios::binary)
        .write(reinterpret_cast<const char*>(bytes.data()),
               static_cast<std::streamsize>(bytes.size()));
  }
  std::string file;
};

struct Models {
  TemporaryDirectory directory;
  Network same{directory, "Identity"}, negative{directory, "Neg"}, absolute{directory, "Abs"};
};

std::string numbers(float first) {
  const float values[] = {first, 1, 2, 3};
  return {reinterpret_cast<const char*>(values), sizeof values};
}
float first_of(const TaskResult& result) {
  BOOST_REQUIRE_MESSAGE(result.is_done(), result.text());
  float first = 0;
  std::memcpy(&first, result.bytes().data(), sizeof first);
  return first;
}

std::string neural(const std::string& model, unsigned count) {
  return "[[agent]]\nname = \"net\"\nkind = \"neural\"\ncount = " + std::to_string(count) + "\n" +
         model + "[supervision]\nbackoff_initial_ms = 1\n";
}

nlohmann::json swap(const std::string& model, const std::string& capability = {}) {
  auto client = ControlClient::connect("test", 10'000);
  BOOST_REQUIRE(client.has_value());
  nlohmann::json request{{"verb", "agent.swap"}, {"kind", "net"}, {"model", model}};
  if (!capability.empty()) request["capability"] = capability;
  auto answer = client->request(request, {.timeout_ms = patience_ms});
  return answer ? answer->object : nlohmann::json{{"refused", answer.error().message}};
}
bool says(const nlohmann::json& answer, const std::string& what) {
  return answer.value("refused", std::string()).find(what) != std::string::npos;
}

BOOST_AUTO_TEST_CASE(every_task_is_answered_by_the_old_or_by_the_new) {
  const Models models;
  FaultSwarm swarm(neural("model = \"" + models.same.file + "\"\n", 3));
  BOOST_REQUIRE_MESSAGE(swarm.wait_for_live(3), swarm.log());
  {
    TaskClient client(swarm);
    unsigned old_ones = 0, new_ones = 0;
    const auto work = [&] {
      std::vector<std::uint64_t> submitted;
      for (int i = 0; i < 40; ++i) submitted.push_back(client.submit("net", numbers(5)));
      for (const std::uint64_t number : submitted) {
        const TaskResult result = client.result_of(number);
        const float answer = first_of(result);
        BOOST_TEST(result.attempts() == 1u);
        BOOST_TEST((answer == 5.0F || answer == -5.0F));
        ++(answer == 5.0F ? old_ones : new_ones);
      }
    };
    work();
    BOOST_TEST(new_ones == 0u);
    const auto answer = swap(models.negative.file);
    BOOST_TEST(answer.contains("agents"), answer.dump());
    do work();
    while (swarm.counter("agents_renewed") < 3);
    BOOST_TEST(swarm.wait_for_live(3));
    old_ones = new_ones = 0;
    work();
    BOOST_TEST(old_ones == 0u);
    BOOST_TEST(swarm.counter("agents_died") == 0u);
    BOOST_TEST(swarm.counter("tasks_failed") == 0u);
    BOOST_TEST(swarm.agent(0).at("model") == models.negative.file);
    // Whoever is born later has it too.
    const pid_t pid = swarm.agent_pid(1);
    swarm.remember(pid);
    BOOST_REQUIRE_EQUAL(::kill(pid, SIGKILL), 0);
    BOOST_REQUIRE(wait_for([&] { return swarm.counter("agents_restarted") == 1; }));
    BOOST_REQUIRE(swarm.wait_for_live(3));
    work();
    BOOST_TEST(old_ones == 0u);
  }
  swarm.finish();
}

BOOST_AUTO_TEST_CASE(a_model_that_does_not_load_leaves_all_as_it_was) {
  const Models models;
  const std::string broken = (models.directory.path() / "broken.onnx").string();
  std::ofstream(broken) << "this is no model";
  FaultSwarm swarm(neural("model = \"" + models.same.file + "\"\n", 2));
  BOOST_REQUIRE_MESSAGE(swarm.wait_for_live(2), swarm.log());
  {
    TaskClient client(swarm);
    const auto before = swarm.agents();
    BOOST_TEST(says(swap(broken), "broken.onnx"));
    BOOST_TEST((swarm.agents() == before));
    BOOST_TEST(first_of(client.run("net", numbers(7))) == 7.0F);
    BOOST_TEST(swarm.agent(0).at("model") == models.same.file);
    BOOST_TEST(swarm.events("model_swap_failed").size() == 1u);
    // The old one is loaded again for whoever is born now.
    swarm.remember(before[0]);
    BOOST_REQUIRE_EQUAL(::kill(before[0], SIGKILL), 0);
    BOOST_REQUIRE(wait_for([&] { return swarm.counter("agents_restarted") == 1; }));
    BOOST_TEST(swarm.wait_for_live(2));
    for (int i = 0; i < 20; ++i) BOOST_TEST(first_of(client.run("net", numbers(7))) == 7.0F);
    // And a good one can follow.
    BOOST_TEST(swap(models.negative.file).contains("agents"));
    BOOST_TEST(wait_for([&] { return swarm.counter("agents_renewed") >= 2; }));
    BOOST_TEST(first_of(client.run("net", numbers(7))) == -7.0F);
  }
  swarm.finish();
}

BOOST_AUTO_TEST_CASE(a_new_supervisor_finishes_it) {
  const Models models;
  FaultSwarm swarm(neural("model = \"" + models.same.file + "\"\n", 2));
  BOOST_REQUIRE_MESSAGE(swarm.wait_for_live(2), swarm.log());
  {
    TaskClient client(swarm);
    // It dies somewhere between the order and the last agent's successor.
    for (unsigned round = 0; round < 6; ++round) {
      const auto& model = round % 2 == 0 ? models.negative.file : models.same.file;
      const float wanted = round % 2 == 0 ? -4.0F : 4.0F;
      auto control = ControlClient::connect("test", 10'000);
      BOOST_REQUIRE(control.has_value());
      const pid_t supervisor = swarm.supervisor();
      static_cast<void>(
          control->request({{"verb", "agent.swap"}, {"kind", "net"}, {"model", model}},
                           {.timeout_ms = 1 + round * round * 4, .reconnect_ms = 0}));
      BOOST_REQUIRE_EQUAL(::kill(supervisor, SIGKILL), 0);
      swarm.wait_for_epoch(2 + round);
      const auto shown = swarm.agent(0).at("model");
      if (shown != model) continue;  // it died before it was kept: nothing has happened
      BOOST_TEST(wait_for([&] { return first_of(client.run("net", numbers(4))) == wanted; }));
      BOOST_TEST(wait_for([&] {
        for (int i = 0; i < 10; ++i)
          if (first_of(client.run("net", numbers(4))) != wanted) return false;
        return true;
      }));
    }
    // A life that was asked for when the supervisor died may end unborn: no task was in it.
    BOOST_TEST(swarm.counter("tasks_rerun") == 0u);
    BOOST_TEST(swarm.counter("tasks_failed") == 0u);
  }
  swarm.finish();
}

BOOST_AUTO_TEST_CASE(who_was_just_starting_gets_the_new_one_too) {
  const Models models;
  for (unsigned round = 0; round < 5; ++round) {
    FaultSwarm swarm(neural("model = \"" + models.same.file + "\"\n", 4));
    BOOST_REQUIRE(wait_until_it_answers(swarm));
    BOOST_TEST(swap(models.negative.file).contains("agents"));
    BOOST_TEST(wait_for([&] {
      const auto listed = swarm.ask({{"verb", "agent.list"}});
      for (const auto& agent : listed.at("agents"))
        if (agent.at("state") != "live" || agent.contains("restart_due") ||
            agent.at("activity") == "draining")
          return false;
      return true;
    }));
    {
      TaskClient client(swarm);
      std::vector<std::uint64_t> submitted;
      for (int i = 0; i < 60; ++i) submitted.push_back(client.submit("net", numbers(2)));
      for (const std::uint64_t number : submitted)
        BOOST_TEST(first_of(client.result_of(number)) == -2.0F);
    }
    swarm.finish();
  }
}

BOOST_AUTO_TEST_CASE(an_agent_may_have_several_models) {
  const Models models;
  FaultSwarm swarm(neural("models = { plus = \"" + models.same.file + "\", minus = \"" +
                              models.negative.file + "\", again = \"" + models.same.file + "\" }\n",
                          2));
  BOOST_REQUIRE_MESSAGE(swarm.wait_for_live(2), swarm.log());
  {
    TaskClient client(swarm);
    BOOST_TEST(first_of(client.run("plus", numbers(-3))) == -3.0F);
    BOOST_TEST(first_of(client.run("minus", numbers(-3))) == 3.0F);
    BOOST_TEST(first_of(client.run("again", numbers(-3))) == -3.0F);
    BOOST_TEST(says(swap(models.absolute.file), "several models"));
    BOOST_TEST(says(swap(models.absolute.file, "net"), "no model of its own"));
    BOOST_TEST(swap(models.absolute.file, "plus").contains("agents"));
    BOOST_TEST(wait_for([&] { return swarm.counter("agents_renewed") >= 2; }));
    BOOST_TEST(first_of(client.run("plus", numbers(-3))) == 3.0F);
    BOOST_TEST(first_of(client.run("again", numbers(-3))) == -3.0F);
    BOOST_TEST(swarm.agent(0).at("models").at("plus") == models.absolute.file);
  }
  swarm.finish();
}

BOOST_AUTO_TEST_CASE(what_cannot_be_swapped_is_told_why) {
  const Models models;
  FaultSwarm swarm(neural("model = \"" + models.same.file + "\"\n", 1) +
                   "[[agent]]\nname = \"tools\"\n");
  BOOST_REQUIRE_MESSAGE(swarm.wait_for_live(2), swarm.log());
  BOOST_TEST(says(swap("relative.onnx"), "absolute path"));
  BOOST_TEST(says(swap(models.same.file + ".gone"), "readable file"));
  BOOST_TEST(says(swap(models.same.file, "other"), "no model of its own"));
  BOOST_CHECK_THROW(
      swarm.ask({{"verb", "agent.swap"}, {"kind", "tools"}, {"model", models.same.file}}),
      std::runtime_error);
  BOOST_CHECK_THROW(
      swarm.ask({{"verb", "agent.swap"}, {"kind", "nobody"}, {"model", models.same.file}}),
      std::runtime_error);
  BOOST_TEST(swarm.counter("agents_renewed") == 0u);
  swarm.finish();
}

}  // namespace
}  // namespace micro_swarm::testing
