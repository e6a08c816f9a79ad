// Operations of users in generic agents: the example's, and plugins that are wrong in every way.

#include "tests/fault_swarm.hpp"

namespace micro_swarm::testing {
namespace {

std::string plugin(const std::string& name) { return MS_PLUGINS "/" + name + ".so"; }

std::string tools_with(const std::string& file, const std::string& capabilities) {
  return "[[agent]]\nname = \"tools\"\nplugins = [\"" + plugin(file) + "\"]\ncapabilities = [" +
         capabilities + "]\n[tasks]\nattempts_max = 2\n[supervision]\nbackoff_initial_ms = 1\n";
}

BOOST_AUTO_TEST_CASE(operations_of_a_plugin_stand_beside_the_built_in_ones) {
  FaultSwarm swarm(
      tools_with("text_tools", R"("text.reverse", "text.count", "echo", "tensor.reduce")"));
  BOOST_REQUIRE_MESSAGE(swarm.wait_for_live(1), swarm.log());
  {
    TaskClient client(swarm);
    BOOST_TEST(client.run("text.reverse", "a word").text() == "drow a");
    const std::string large(200'000, 'x');
    BOOST_TEST((client.run("text.reverse", large + "y").text() == "y" + large));
    BOOST_TEST(client.run("text.count", "some few words\nin lines ").text() == "5");
    client.check_echo("as ever");
    const TaskResult failed = client.run("text.count", "");
    BOOST_TEST((failed.state() == TaskState::failed));
    BOOST_TEST(failed.text() == "there is no text");
  }
  swarm.finish();
}

BOOST_AUTO_TEST_CASE(one_that_crashes_takes_its_agent_with_it_and_nobody_else) {
  FaultSwarm swarm(tools_with("broken_plugin", R"("crash", "say_nothing", "take_all", "echo")"));
  BOOST_REQUIRE_MESSAGE(swarm.wait_for_live(1), swarm.log());
  {
    TaskClient client(swarm);
    BOOST_TEST((client.run("crash").state() == TaskState::dead_letter));
    BOOST_TEST(swarm.certificate(0, 2).at("signal") == SIGABRT);
    client.check_echo("still there");
    BOOST_TEST(client.run("say_nothing").text() == "the operation failed and did not say why");
    const TaskResult too_much = client.run("take_all");
    BOOST_TEST((too_much.state() == TaskState::failed));
    BOOST_TEST(too_much.text() == "a result has at most 4 GiB");
    client.check_echo("and again");
  }
  swarm.finish();
}

BOOST_AUTO_TEST_CASE(what_cannot_be_a_plugin_is_told_why_and_harms_nobody) {
  FaultSwarm swarm("[[agent]]\nname = \"worker\"\n");
  BOOST_REQUIRE_MESSAGE(swarm.wait_for_live(1), swarm.log());
  const auto refusal = [&](const std::string& name, const std::string& file,
                           const std::string& capability = "crash") {
    try {
      swarm.ask({{"verb", "agent.register"},
                 {"agent",
                  {{"name", name},
                   {"kind", "generic"},
                   {"capabilities", {capability}},
                   {"plugins", {file}}}}});
    } catch (const std::runtime_error& error) {
      return std::string(error.what());
    }
    return std::string("it was taken");
  };
  const auto says = [](const std::string& text, const std::string& what) {
    return text.find(what) != std::string::npos;
  };
  const auto check = [&](const std::string& name, const std::string& file, const std::string& what,
                         const std::string& capability = "crash") {
    const std::string text = refusal(name, file, capability);
    BOOST_TEST(says(text, what), text);
  };
  check("a", plugin("no_such_file"), "does not exist");
  check("b", "relative.so", "not absolute");
  check("c", MS_PLUGINS "/../fault.cmake.txt", "does not exist");
  check("d", plugin("no_entry_plugin"), "has no function micro_swarm_plugin_v1");
  check("e", plugin("old_plugin"), "is made for version 7 of plugin.h");
  check("f", plugin("unwilling_plugin"), "says that it cannot work here");
  check("g", plugin("misnamed_plugin"), "has no valid name");
  check("h", plugin("broken_plugin"), "neither built in nor any plugin's; they offer crash",
        "something_else");
  const TemporaryDirectory directory;
  const std::string text_file = (directory.path() / "text.so").string();
  std::ofstream(text_file) << "no library";
  check("i", text_file, "text.so");
  {
    TaskClient client(swarm);
    client.check_echo("nobody noticed");
  }
  swarm.finish();
}

}  // namespace
}  // namespace micro_swarm::testing
