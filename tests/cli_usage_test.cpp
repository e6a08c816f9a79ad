// The command line without a swarm.

#include <boost/test/unit_test.hpp>
#include <cstdlib>
#include <filesystem>
#include <fstream>

#include "tests/cli_command.hpp"
#include "tests/temporary_directory.hpp"

using namespace micro_swarm;

namespace {

struct Fixture {
  Fixture() {
    ::setenv("MICROSWARM_RUNTIME_DIR", directory.path().c_str(), 1);
    ::unsetenv("MICROSWARM_NAME");
    ::unsetenv("MICROSWARM_LOG_LEVEL");
  }
  std::string file(const std::string& name, const std::string& text) const {
    const auto path = directory.path() / name;
    std::ofstream(path) << text;
    return path.string();
  }
  TemporaryDirectory directory;
};

bool holds(const std::string& text, std::string_view part) {
  return text.find(part) != std::string::npos;
}

/// One line, to people.
bool is_one_error_line(const std::string& text) {
  return text.starts_with("microswarm: ") && text.find('\n') == text.size() - 1;
}

const std::vector<std::vector<std::string>> swarm_verbs{{"status"},
                                                        {"agent", "list"},
                                                        {"agent", "show", "0"},
                                                        {"task", "list"},
                                                        {"task", "show", "1"},
                                                        {"task", "wait", "1"},
                                                        {"task", "result", "1"},
                                                        {"task", "cancel", "1"},
                                                        {"task", "submit", "echo"},
                                                        {"task", "submit", "--batch", "-"},
                                                        {"task", "explain", "1"},
                                                        {"task", "requeue", "1"},
                                                        {"scheduler", "set", "round_robin"},
                                                        {"region", "list"},
                                                        {"events"},
                                                        {"stop"}};

}  // namespace

BOOST_FIXTURE_TEST_SUITE(usage, Fixture)

BOOST_AUTO_TEST_CASE(help_and_version_are_no_errors) {
  const auto version = microswarm({"--version"});
  BOOST_TEST(version.code == 0);
  BOOST_TEST(version.out.starts_with("microswarm 0."));
  const auto help = microswarm({"--help"});
  BOOST_TEST(help.code == 0);
  for (const char* verb : {"run", "status", "agent", "task", "scheduler", "region", "events",
                           "stop", "config", "doctor"})
    BOOST_TEST(holds(help.out, std::string("\n  ") + verb + " "), verb);
  for (auto verb : swarm_verbs) {
    verb.push_back("--help");
    const auto verb_help = microswarm(verb);
    BOOST_TEST(verb_help.code == 0);
    BOOST_TEST(holds(verb_help.out, "--format"), verb.front());
    BOOST_TEST(verb_help.err.empty());
  }
}

BOOST_AUTO_TEST_CASE(what_makes_no_sense_exits_2) {
  for (const std::vector<std::string>& args :
       std::vector<std::vector<std::string>>{{},
                                             {"fly"},
                                             {"agent"},
                                             {"agent", "show"},
                                             {"agent", "show", "x"},
                                             {"agent", "show", "256"},
                                             {"task", "show", "-1"},
                                             {"task", "list", "--state", "odd"},
                                             {"task", "submit"},
                                             {"task", "submit", "echo", "--priority", "urgent"},
                                             {"task", "submit", "echo", "--output", "x"},
                                             {"task", "submit", "echo", "--batch", "-"},
                                             {"task", "submit", "echo", "--retries", "-1"},
                                             {"task", "submit", "echo", "--after", "x"},
                                             {"task", "explain"},
                                             {"task", "requeue", "x"},
                                             {"scheduler"},
                                             {"scheduler", "set", "fastest"},
                                             {"status", "--format", "xml"},
                                             {"status", "--name", "No Good"},
                                             {"run", "--agents", "257"},
                                             {"run", "--agents", "many"},
                                             {"run", "--topology", "stat"},
                                             {"run", "--topology", "mesh"},
                                             {"run", "--name", "a/b"},
                                             {"run", "-c", "/nonexistent.toml"},
                                             {"config", "check", "--log-level", "loud"}}) {
    const auto end = microswarm(args);
    const std::string shown = args.empty() ? "(nothing)" : args.back();
    BOOST_TEST(end.code == 2, shown << ": " << end.code);
    BOOST_TEST(is_one_error_line(end.err), shown << ": " << end.err);
    BOOST_TEST(end.out.empty(), shown);
  }
}

BOOST_AUTO_TEST_CASE(nobody_there_exits_3) {
  for (auto verb : swarm_verbs) {
    const auto end = microswarm(verb);
    BOOST_TEST(end.code == 3, verb.front() << ": " << end.code);
    BOOST_TEST(is_one_error_line(end.err), end.err);
    BOOST_TEST(holds(end.err, (directory.path() / "default.sock").string()), end.err);
    BOOST_TEST(holds(end.err, "microswarm run"), end.err);
  }
  const auto end = microswarm({"status", "--format", "json", "--name", "lab"});
  BOOST_TEST(end.code == 3);
  BOOST_TEST(end.json()["schema"] == 1);
  BOOST_TEST(end.json()["error"]["code"] == "not_running");
  BOOST_TEST(end.json()["error"]["exit"] == 3);
  BOOST_TEST(holds(end.err, "lab.sock"));
}

BOOST_AUTO_TEST_CASE(the_environment_names_the_swarm) {
  ::setenv("MICROSWARM_NAME", "elsewhere", 1);
  BOOST_TEST(holds(microswarm({"status"}).err, "elsewhere.sock"));
  BOOST_TEST(holds(microswarm({"status", "--name", "here"}).err, "here.sock"));
  ::unsetenv("MICROSWARM_NAME");
}

BOOST_AUTO_TEST_CASE(a_runtime_directory_that_cannot_be_used_names_the_variable) {
  const std::string blocked = file("blocked", "");
  ::setenv("MICROSWARM_RUNTIME_DIR", (blocked + "/run").c_str(), 1);
  const auto end = microswarm({"run"});
  BOOST_TEST(end.code == 1);
  BOOST_TEST(is_one_error_line(end.err), end.err);
  BOOST_TEST(holds(end.err, "MICROSWARM_RUNTIME_DIR"), end.err);
  BOOST_TEST(holds(end.err, blocked + "/run"), end.err);
}

BOOST_AUTO_TEST_SUITE_END()

BOOST_FIXTURE_TEST_SUITE(config, Fixture)

BOOST_AUTO_TEST_CASE(check_says_what_the_topology_costs) {
  const auto end = microswarm({"config", "check"});
  BOOST_TEST(end.code == 0, end.err);
  BOOST_TEST(holds(end.out, "ok\n"), end.out);
  BOOST_TEST(holds(end.out, "star of 4 agents"), end.out);

  const auto large = microswarm({"config", "check", "--agents", "256", "--format", "json"});
  BOOST_TEST(large.code == 0, large.err);
  const auto topology = large.json()["topology"];
  BOOST_TEST(topology["links"] == 256 + 63);
  BOOST_TEST(topology["link_bytes"].get<std::uint64_t>() > 1'000'000u);
  BOOST_TEST(topology["link_bytes"].get<std::uint64_t>() < 64u << 20);
}

BOOST_AUTO_TEST_CASE(check_refuses_with_file_and_line) {
  const std::string path = file("bad.toml", "[swarm]\nname = \"x\"\nagent = 3\n");
  const auto end = microswarm({"config", "check", "-c", path});
  BOOST_TEST(end.code == 2);
  BOOST_TEST(end.err ==
             "microswarm: " + path + ":3: swarm.agent: unknown key; did you mean \"agents\"?\n");
  BOOST_TEST(microswarm({"run", "-c", path}).err == end.err);
}

BOOST_AUTO_TEST_CASE(show_prints_values_and_where_they_came_from) {
  const std::string path =
      file("a.toml", "[swarm]\nname = \"x\"\n[memory]\npool_size = \"2MiB\"\n");
  ::setenv("MICROSWARM_LOG_LEVEL", "debug", 1);
  const auto end = microswarm({"config", "show", "-c", path, "--agents", "2"});
  BOOST_TEST(end.code == 0, end.err);
  BOOST_TEST(holds(end.out, "name = \"x\"  # file\n"), end.out);
  BOOST_TEST(holds(end.out, "agents = 2  # flag\n"), end.out);
  BOOST_TEST(holds(end.out, "level = \"debug\"  # environment\n"), end.out);
  BOOST_TEST(holds(end.out, "region_size = \"64KiB\"  # default\n"), end.out);
  // What is shown is a file.
  const std::string again = file("again.toml", end.out);
  ::unsetenv("MICROSWARM_LOG_LEVEL");
  const auto shown = microswarm(
      {"config", "show", "-c", path, "--agents", "2", "--log-level", "debug", "--format", "json"});
  const auto loaded = microswarm({"config", "show", "-c", again, "--format", "json"});
  BOOST_TEST(shown.json()["config"] == loaded.json()["config"]);
  BOOST_TEST(shown.json()["schema"] == 1);
}

BOOST_AUTO_TEST_SUITE_END()

BOOST_FIXTURE_TEST_SUITE(doctor, Fixture)

BOOST_AUTO_TEST_CASE(finds_this_machine_fit) {
  const auto end = microswarm({"doctor", "--format", "json"});
  BOOST_TEST(end.code == 0, end.out);
  const auto report = end.json();
  BOOST_TEST(report["healthy"] == true);
  std::vector<std::string> names;
  for (const auto& check : report["checks"]) {
    names.push_back(check["check"]);
    BOOST_TEST(check["finding"] != "missing", check.dump());
  }
  for (const char* name : {"memfd_sealing", "future_write_seal", "noexec_seal", "pidfd", "clone3",
                           "futex_waitv", "landlock", "own_uids", "cgroup_v2", "subreaper",
                           "descriptors", "memory", "runtime_directory", "onnx_runtime"})
    BOOST_TEST((std::find(names.begin(), names.end(), name) != names.end()), name);
  BOOST_TEST(std::filesystem::is_empty(directory.path()));
  BOOST_TEST(holds(microswarm({"doctor"}).out, "everything a swarm needs is there"));
}

BOOST_AUTO_TEST_CASE(says_what_is_missing_and_exits_1) {
  const std::string binary = SwarmProcess::binary();
  const auto few = Command({"sh", "-c", "ulimit -n 50; exec \"$0\" doctor", binary}).wait();
  BOOST_TEST(few.code == 1);
  BOOST_TEST(holds(few.out, "raise the hard limit"), few.out);

  const auto huge = microswarm(
      {"doctor", "-c", file("huge.toml", "[memory]\npool_size = \"64GiB\"\n"), "--format", "json"});
  BOOST_TEST(huge.code == 1);
  BOOST_TEST(huge.json()["healthy"] == false);

  ::setenv("MICROSWARM_ONNXRUNTIME", "/nonexistent.so", 1);
  const auto without = microswarm({"doctor"});
  BOOST_TEST(without.code == 0);
  BOOST_TEST(holds(without.out, "neural agents could not start"), without.out);
  const std::string neural =
      file("neural.toml",
           "[[agent]]\nname = \"n\"\nkind = \"neural\"\nmodel = \"" + file("m.onnx", "") + "\"\n");
  BOOST_TEST(microswarm({"doctor", "-c", neural}).code == 1);
  ::unsetenv("MICROSWARM_ONNXRUNTIME");
}

BOOST_AUTO_TEST_SUITE_END()

BOOST_FIXTURE_TEST_CASE(output_that_cannot_be_written_is_an_error, Fixture) {
  const auto end =
      Command({"sh", "-c", "exec \"$0\" config show > /dev/full", SwarmProcess::binary()}).wait();
  BOOST_TEST(end.code == 1);
  BOOST_TEST(holds(end.err, "standard output"), end.err);
}
