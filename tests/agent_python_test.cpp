// Agents and clients in Python, in a real swarm.

#include <signal.h>

#include <cstring>

#include "ipc/task_names.hpp"
#include "tests/cli_command.hpp"
#include "tests/fault_swarm.hpp"

namespace micro_swarm::testing {
namespace {

const std::string python = MS_PYTHON;
const std::string module_dir = MS_PYTHON_MODULE_DIR;
const std::string sources = MS_TESTS_DIR;

std::string config(const std::string& mode, const std::string& more = "") {
  return "[supervision]\nintensity = 1000\nbackoff_max_ms = 20\nsupervisor_restarts_max = 100\n" +
         more + "\n[[agent]]\nname = \"py\"\nkind = \"external\"\ncommand = [\"" + python +
         "\", \"" + sources + "/python_agent.py\", \"" + mode +
         "\"]\nenvironment = { PYTHONPATH = \"" + module_dir +
         "\" }\ncapabilities = [\"py.echo\", \"py.upper\", \"py.nothing\", \"py.in_place\", "
         "\"py.double\", \"py.no_numpy\", \"py.who\", \"py.throws\", \"py.odd\", \"py.keep_task\", "
         "\"py.use_kept\", \"py.keep_slice\", \"py.keep_result\", \"py.poke_slice\", "
         "\"py.drop_slice\", \"py.cancelled\", \"py.bounce\", \"py.subscribe\", \"py.capitals\", "
         "\"py.join\", \"py.fail\", "
         "\"py.unknown\"]\n";
}

std::string ended(const TaskResult& result) {
  return std::string(name_of(result.state())) + ": " + std::string(result.text());
}

std::string bytes(std::size_t size) {
  std::string text(size, '\0');
  for (std::size_t i = 0; i < size; ++i) text[i] = static_cast<char>(i * 31 + i / 251);
  return text;
}

struct PythonSwarm : FaultSwarm {
  explicit PythonSwarm(const std::string& mode) : FaultSwarm(config(mode)) {
    BOOST_REQUIRE_MESSAGE(wait_for_live(1), log());
  }
};

}  // namespace

BOOST_AUTO_TEST_SUITE(agent_python)

BOOST_AUTO_TEST_CASE(handlers_work_on_memory_of_the_pool) {
  PythonSwarm swarm("run");
  {
    TaskClient client(swarm);
    for (const std::size_t size : {0ul, 1ul, 24ul, 25ul, 4096ul, 70'000ul, 3'000'000ul}) {
      BOOST_TEST(ended(client.run("py.echo", bytes(size))) == "done: " + bytes(size));
      BOOST_TEST(ended(client.run("py.in_place", bytes(size))) == "done: " + bytes(size));
    }
    BOOST_TEST(ended(client.run("py.upper", "quiet")) == "done: QUIET");
    BOOST_TEST(ended(client.run("py.nothing", "x")) == "done: ");
    BOOST_TEST(ended(client.run("py.who")) == "done: py.who: agent 0.1, attempt 1");
    for (const std::size_t count : {3ul, 100'000ul}) {
      std::vector<float> values(count, 1.5F);
      const TaskResult result = client.run(
          "py.double", {reinterpret_cast<const char*>(values.data()), count * sizeof(float)});
      BOOST_REQUIRE_MESSAGE(result.is_done(), ended(result));
      std::memcpy(values.data(), result.bytes().data(), result.bytes().size());
      BOOST_TEST(std::ranges::count(values, 3.0F) == static_cast<std::ptrdiff_t>(count));
    }
    auto region = client.client().allocate(100'000);
    BOOST_REQUIRE(region.has_value());
    std::ranges::fill(region->bytes(), std::byte{7});
    BOOST_REQUIRE(client.client().transfer(std::move(*region), 0, 5).has_value());
    BOOST_TEST(ended(client.run("py.bounce")) == "done: bounced");
    for (std::uint64_t tag = 1; tag <= 2; ++tag) {
      auto back = client.client().receive(patience_ms);
      BOOST_REQUIRE(back.has_value() && back->has_value());
      BOOST_TEST((*back)->tag() == tag);
      BOOST_TEST((*back)->view().value().size() == 100'000u);
    }
    BOOST_REQUIRE(client.client().subscribe("from/python").has_value());
    BOOST_TEST(ended(client.run("py.subscribe", "to/python")) ==
               "done: a topic's name has 1 to 24 of the characters a-z A-Z 0-9 _ . / -");
    auto heard = client.client().allocate(5);
    BOOST_REQUIRE(heard.has_value());
    std::memcpy(heard->bytes().data(), "quiet", 5);
    BOOST_TEST(client.client().publish("to/python", std::move(*heard), 6).value() == 1u);
    BOOST_TEST(ended(client.run("py.capitals", "from/python")) == "done: to/python 1");
    const auto loud = client.client().receive(patience_ms);
    BOOST_REQUIRE(loud.has_value() && loud->has_value());
    BOOST_TEST((*loud)->topic() == "from/python");
    BOOST_TEST((*loud)->tag() == 7u);
    BOOST_TEST(std::memcmp((*loud)->view().value().data(), "QUIET", 5) == 0);
  }
  BOOST_TEST(swarm.wait_until([](const auto& s) { return s.at("memory").at("tokens_out") == 0; }));
  swarm.finish();
}

BOOST_AUTO_TEST_CASE(what_a_handler_does_wrong_is_its_tasks_error) {
  PythonSwarm swarm("run");
  {
    TaskClient client(swarm);
    const pid_t before = swarm.agent_pid(0);
    BOOST_TEST(ended(client.run("py.throws")) == "failed: KeyError: 'no such thing'");
    BOOST_TEST(wait_for([&] { return swarm.log().find("raise KeyError") != std::string::npos; }));
    BOOST_TEST(ended(client.run("py.odd")) ==
               "failed: a result is None, str, bytes or an array, not float");
    BOOST_TEST(ended(client.run("py.fail")) == "failed: as it was told");
    BOOST_TEST(ended(client.run("py.unknown")) ==
               "failed: no operation is called 'py.unknown' here");
    const std::uint64_t number = client.submit("py.cancelled");
    swarm.require_in_hand(0, client.id_of(number));
    swarm.cancel(client.id_of(number));
    BOOST_TEST(ended(client.result_of(number)) == "cancelled: ");
    BOOST_TEST(swarm.agent_pid(0) == before);
  }
  swarm.finish();
}

// Memory that is not the handler's any more: an exception where Python can give one, else the task
// fails and the memory stays. Never a crash, never somebody else's bytes changed.
BOOST_AUTO_TEST_CASE(what_is_kept_beyond_the_task_raises_or_fails_it) {
  PythonSwarm swarm("run");
  {
    TaskClient client(swarm);
    const pid_t before = swarm.agent_pid(0);
    for (const std::size_t size : {10ul, 60'000ul}) {
      BOOST_TEST(ended(client.run("py.keep_task", bytes(size))) == "done: kept");
      BOOST_TEST(ended(client.run("py.use_kept")) ==
                 "done: ValueError ValueError ValueError ValueError ValueError ValueError "
                 "ValueError");
      const std::string kept = ended(client.run("py.keep_slice", bytes(size)));
      BOOST_TEST(kept.starts_with("failed: arrays over this task's payload"), kept);
      BOOST_TEST(ended(client.run("py.poke_slice")) == "done: " + std::to_string(size - 1));
      BOOST_TEST(ended(client.run("py.drop_slice")) == "done: ");
    }
    const std::string kept = ended(client.run("py.keep_result"));
    BOOST_TEST(kept.starts_with("failed: arrays over this task's payload"), kept);
    // What it writes to is nobody's: these results are where they are.
    std::vector<TaskResult> results;
    for (int i = 0; i < 20; ++i) results.push_back(client.run("py.echo", bytes(50'000)));
    BOOST_TEST(ended(client.run("py.poke_slice")) == "done: poked");
    for (const TaskResult& result : results) BOOST_TEST(result.text() == bytes(50'000));
    BOOST_TEST(ended(client.run("py.drop_slice")) == "done: ");
    BOOST_TEST(swarm.agent_pid(0) == before);
  }
  BOOST_TEST(swarm.wait_until([](const auto& s) { return s.at("memory").at("tokens_out") == 0; }));
  swarm.finish();
}

BOOST_AUTO_TEST_CASE(a_loop_of_its_own_and_no_numpy) {
  for (const char* mode : {"poll", "without_numpy"}) {
    PythonSwarm swarm(mode);
    {
      TaskClient client(swarm);
      std::map<std::uint64_t, std::string> wanted;
      for (std::size_t i = 0; i < 64; ++i)
        wanted.emplace(client.submit("py.echo", bytes(i * 100)), "done: " + bytes(i * 100));
      for (const auto& [number, text] : wanted) BOOST_TEST(ended(client.result_of(number)) == text);
      if (std::string_view(mode) == "without_numpy")
        BOOST_TEST(ended(client.run("py.no_numpy", "\x01\x02")) == "done: \x02\x04");
    }
    swarm.finish();
  }
}

BOOST_AUTO_TEST_CASE(deaths_cost_nobody_a_task) {
  PythonSwarm swarm("run");
  {
    TaskClient client(swarm);
    for (unsigned epoch = 2; epoch < 5; ++epoch) {
      std::vector<std::uint64_t> numbers;
      for (int i = 0; i < 50; ++i) numbers.push_back(client.submit("py.echo", bytes(1000)));
      ::kill(swarm.supervisor(), SIGKILL);
      ::kill(swarm.agent_pid(0), SIGKILL);
      for (const std::uint64_t number : numbers)
        BOOST_TEST(ended(client.result_of(number)) == "done: " + bytes(1000));
      swarm.wait_for_epoch(epoch);
    }
  }
  swarm.finish();
}

BOOST_AUTO_TEST_CASE(a_client_in_python_submits_and_reads) {
  for (const char* mode : {"with_numpy", "without_numpy"}) {
    FaultSwarm swarm("[swarm]\nagents = 2\n");
    BOOST_REQUIRE_MESSAGE(swarm.wait_for_live(2), swarm.log());
    const CommandEnd end = Command({"/usr/bin/env", "PYTHONPATH=" + module_dir, python,
                                    sources + "/python_client.py", mode})
                               .wait();
    BOOST_TEST(end.code == 0, end.err);
    BOOST_TEST(end.out == "all well\n");
    BOOST_TEST(
        swarm.wait_until([](const auto& s) { return s.at("memory").at("tokens_out") == 0; }));
    swarm.finish();
  }
}

// Nothing of the library: the document is enough.
BOOST_AUTO_TEST_CASE(an_agent_written_from_the_protocol_document_works) {
  FaultSwarm swarm(
      "[supervision]\nintensity = 1000\nbackoff_max_ms = 20\nsupervisor_restarts_max = 100\n"
      "[[agent]]\nname = \"raw\"\nkind = \"external\"\ncommand = [\"" +
      python + "\", \"" + sources + "/raw_agent.py\"]\ncount = 2\ncapabilities = [\"upper\"]\n");
  BOOST_REQUIRE_MESSAGE(swarm.wait_for_live(2), swarm.log());
  {
    TaskClient client(swarm);
    BOOST_TEST(ended(client.run("upper", "quiet, please")) == "done: QUIET, PLEASE");
    BOOST_TEST(ended(client.run("upper", std::string(1000, 'a'))) == "failed: more than 24 bytes");
    for (unsigned epoch = 2; epoch < 5; ++epoch) {
      std::vector<std::uint64_t> numbers;
      for (int i = 0; i < 40; ++i)
        numbers.push_back(client.submit("upper", "task " + std::to_string(i)));
      ::kill(swarm.agent_pid(epoch % 2), SIGKILL);
      ::kill(swarm.supervisor(), SIGKILL);
      for (std::size_t i = 0; i < numbers.size(); ++i)
        BOOST_TEST(ended(client.result_of(numbers[i])) == "done: TASK " + std::to_string(i));
      swarm.wait_for_epoch(epoch);
    }
    BOOST_REQUIRE_MESSAGE(swarm.wait_for_live(2), swarm.log());
  }
  swarm.finish();
}

BOOST_AUTO_TEST_CASE(the_example_works) {
  FaultSwarm swarm("[[agent]]\nname = \"scale\"\nkind = \"external\"\ncommand = [\"" + python +
                   "\", \"" + sources +
                   "/../examples/agents/scale.py\"]\nenvironment = { PYTHONPATH = \"" + module_dir +
                   "\" }\ncapabilities = [\"scale\"]\n");
  BOOST_REQUIRE_MESSAGE(swarm.wait_for_live(1), swarm.log());
  {
    TaskClient client(swarm);
    float values[] = {1.5F, -2.0F, 0.25F};
    const TaskResult result =
        client.run("scale", {reinterpret_cast<const char*>(values), sizeof values});
    BOOST_REQUIRE_MESSAGE(result.bytes().size() == sizeof values, ended(result));
    std::memcpy(values, result.bytes().data(), sizeof values);
    BOOST_TEST(values[0] == 3.0F);
    BOOST_TEST(values[1] == -4.0F);
    BOOST_TEST(values[2] == 0.5F);
  }
  swarm.finish();
}

BOOST_AUTO_TEST_CASE(started_by_hand_it_says_what_to_do) {
  const CommandEnd end = Command({"/usr/bin/env", "PYTHONPATH=" + module_dir, python,
                                  sources + "/python_agent.py", "run"})
                             .wait();
  BOOST_TEST(end.code == 1);
  BOOST_TEST(end.err.find("MICROSWARM_AGENT_FD is not set") != std::string::npos, end.err);
}

BOOST_AUTO_TEST_SUITE_END()

}  // namespace micro_swarm::testing
