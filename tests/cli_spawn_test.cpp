// `agent spawn`: kinds of agents that come to a running swarm from the command line.

#include "tests/cli_command.hpp"
#include "tests/script_swarm.hpp"

namespace micro_swarm::testing {
namespace {

using nlohmann::json;
using Words = std::vector<std::string>;

constexpr const char* greet = R"END(
while IFS= read -r line; do
  payload=${line#*'"payload":"'}
  printf '{"result":"%s, %s!"}\n' "${GREETING:-hello}" "${payload%'"}'}"
done
)END";

struct Fixture {
  Fixture() {
    ::setenv("MICROSWARM_NAME", "test", 1);
    require(swarm.wait_for_live(1), [this] { return swarm.log(); });
  }
  ~Fixture() {
    ::unsetenv("MICROSWARM_NAME");
    swarm.finish();
  }

  static CommandEnd spawn(Words options, const Words& command) {
    options.insert(options.begin(), {"agent", "spawn"});
    options.emplace_back("--");
    options.insert(options.end(), command.begin(), command.end());
    return microswarm(options);
  }
  static std::string submit(const std::string& capability, const std::string& payload) {
    const auto end = microswarm({"task", "submit", capability, "--file", "-", "--wait"}, payload);
    BOOST_TEST(end.code == 0, end.err);
    return end.out;
  }
  static void check_refused(const CommandEnd& end, int code, std::string_view why) {
    BOOST_TEST(end.code == code, end.code << ": " << end.err);
    BOOST_TEST(holds(end.err, why), end.err);
    BOOST_TEST(end.err.starts_with("microswarm: "));
    BOOST_TEST(end.err.find('\n') == end.err.size() - 1);
    BOOST_TEST(end.out.empty());
  }
  std::size_t agents() { return swarm.ask({{"verb", "agent.list"}}).at("agents").size(); }

  Scripts scripts;
  FaultSwarm swarm{
      "[swarm]\nagents = 1\n[supervision]\nbackoff_initial_ms = 1\n"
      "register_timeout_ms = 500\n"};
};

BOOST_FIXTURE_TEST_SUITE(spawn, Fixture)

BOOST_AUTO_TEST_CASE(a_script_becomes_an_agent) {
  const auto end = spawn({"--stdio"}, {scripts.make("Say Hello.sh", greet)});
  BOOST_TEST(end.code == 0, end.err);
  BOOST_TEST(end.out == "1\n");
  BOOST_TEST(submit("say-hello", "world") == "hello, world!");

  const auto more =
      spawn({"--stdio", "--as", "greeter", "--count", "2", "--capability", "greet", "--capability",
             "welcome", "--env", "GREETING=good = morning", "--format", "json"},
            {scripts.path("Say Hello.sh")});
  BOOST_TEST(more.code == 0, more.err);
  BOOST_TEST(more.json() == (json{{"schema", 1}, {"name", "greeter"}, {"agents", {2, 3}}}));
  BOOST_TEST(submit("greet", "you") == "good = morning, you!");
  BOOST_TEST(submit("welcome", "all") == "good = morning, all!");
  // Whoever lost the answer asks again.
  const auto again = spawn({"--stdio"}, {scripts.path("Say Hello.sh")});
  BOOST_TEST(again.code == 0, again.err);
  BOOST_TEST(again.out == "1\n");
  BOOST_TEST(agents() == 4u);
  const auto shown = microswarm({"agent", "show", "1", "--format", "json"}).json()["agent"];
  BOOST_TEST(shown["state"] == "live");
  BOOST_TEST(shown["interface"] == "stdio");
  BOOST_TEST(shown["command"] == json::array({scripts.path("Say Hello.sh")}));
}

BOOST_AUTO_TEST_CASE(arguments_are_the_commands_own) {
  const auto end = spawn({"--exec", "--as", "args"}, {"bash", "-c", "printf '<%s>' \"$@\"", "name",
                                                      "--count", "--", "a b", ""});
  BOOST_TEST(end.code == 0, end.err);
  BOOST_TEST(submit("args", "") == "<--count><--><a b><>");
}

BOOST_AUTO_TEST_CASE(a_command_is_found_as_a_shell_finds_it) {
  scripts.make("here", "echo here");
  // The swarm works in another directory, with another PATH.
  const auto from = [&](const std::string& set_up, const std::string& command) {
    return Command(
               {"bash", "-c",
                "cd \"$2\" && " + set_up + " exec \"$1\" agent spawn --exec --as \"$3\" -- \"$4\"",
                "bash", SwarmProcess::binary(), scripts.path("."),
                "kind" + std::to_string(agents()), command})
        .wait();
  };
  const auto relative = from("", "./here");
  BOOST_TEST(relative.code == 0, relative.err);
  BOOST_TEST(submit("kind1", "") == "here\n");
  const auto in_path = from("PATH=/nowhere:$PWD:$PATH", "here");
  BOOST_TEST(in_path.code == 0, in_path.err);
  BOOST_TEST(submit("kind2", "") == "here\n");
  const auto by_empty_entry = from("PATH=$PATH:", "here");
  BOOST_TEST(by_empty_entry.code == 0, by_empty_entry.err);
  check_refused(from("", "here"), 2, "cannot run here: there is no such program in PATH");
}

BOOST_AUTO_TEST_CASE(an_executable_that_speaks_the_protocol) {
  const auto agent = std::filesystem::read_symlink("/proc/self/exe").parent_path() / "memory_agent";
  const auto end = spawn({"--capability", "collect"}, {agent.string()});
  BOOST_TEST(end.code == 0, end.err);
  BOOST_TEST(swarm.agent(1).at("interface") == "protocol");
  BOOST_TEST(swarm.agent(1).at("name") == "memory_agent");
}

BOOST_AUTO_TEST_CASE(what_cannot_be_run_is_told_before_the_swarm_hears_of_it) {
  check_refused(spawn({}, {"/no/such/program"}), 2,
                "cannot run /no/such/program: No such file or directory");
  check_refused(spawn({}, {"no-such-program"}), 2, "there is no such program in PATH");
  check_refused(spawn({}, {"/etc"}), 2, "cannot run /etc: it is a directory");
  const std::string file = scripts.make("file", "");
  std::filesystem::permissions(file, std::filesystem::perms::owner_read);
  check_refused(spawn({}, {file}), 2, "it is not executable");
  check_refused(spawn({}, {""}), 2, "no program is named");
  check_refused(spawn({}, {}), 2, "command");
  check_refused(spawn({"--stdio", "--exec"}, {"cat"}), 2, "exclude");
  check_refused(spawn({"--env", "NAME"}, {"cat"}), 2, "--env NAME: expected NAME=VALUE");
  check_refused(spawn({"--env", "MICROSWARM_X=1"}, {"cat"}), 2, "MICROSWARM_");
  check_refused(spawn({"--capability", "Bad!"}, {"cat"}), 2, "\"Bad!\" is no capability");
  check_refused(spawn({"--as", "Bad!"}, {"cat"}), 2, "\"Bad!\" is no name");
  check_refused(spawn({"--count", "257"}, {"cat"}), 2, "--count");
  check_refused(spawn({"--count", "256", "--exec"}, {"cat"}), 2, "allowed: 256");
  check_refused(spawn({"--exec"}, {"cat", "\xff"}), 2, "not UTF-8");
  BOOST_TEST(agents() == 1u);
  check_refused(spawn({"--name", "nobody"}, {"cat"}), 3, "nobody");

  BOOST_TEST(spawn({"--exec"}, {"cat"}).code == 0);
  check_refused(spawn({"--exec"}, {"cat", "-"}), 5,
                "agent cat: there is another kind of that name");
  const auto as_json = spawn({"--exec", "--format", "json"}, {"cat", "-"});
  BOOST_TEST(as_json.json()["error"]["code"] == "refused");
}

BOOST_AUTO_TEST_CASE(an_agent_that_ends_before_it_is_ready_says_why) {
  const auto end = spawn({}, {scripts.make("early", "echo 'no licence' >&2; exit 3\n")});
  check_refused(end, 1, "agent 1 died: exit code 3 after ");
  BOOST_TEST(holds(end.err, ", before it was ready; its last line: no licence; "), end.err);
  const auto death = swarm.agent(1).at("last_death").get<std::string>();
  BOOST_TEST(holds(death, "its last line: no licence"), death);

  const auto broken = scripts.make("broken", "");
  std::ofstream(broken) << "#!/no/such/interpreter\n";
  for (const std::string interface : {"--stdio", "--exec"}) {
    const auto kind = "broken" + interface.substr(1);
    const auto spawned = spawn({interface, "--as", kind}, {broken});
    if (interface == "--stdio")
      check_refused(spawned, 1, "agent 2 died: exit code 127 after ");
    else
      BOOST_TEST(spawned.code == 0, spawned.err);  // each task is told
  }
  const auto task = microswarm({"task", "submit", "broken-exec", "--wait"});
  BOOST_TEST(task.code == 1);
  BOOST_TEST(holds(task.err, "cannot run " + broken + ": No such file or directory"), task.err);
}

BOOST_AUTO_TEST_CASE(a_program_of_another_machine_is_called_that) {
  // An ELF header (elf(5)), complete but for its machine, which is none.
  std::string header(64, '\0');
  header.replace(0, 7, "\177ELF\2\1\1");
  header[16] = 2;   // ET_EXEC
  header[20] = 1;   // EV_CURRENT
  header[52] = 64;  // its own size
  const auto foreign = scripts.make("foreign", "");
  std::ofstream(foreign, std::ios::binary) << header;
  const auto end = spawn({"--as", "foreign"}, {foreign});
  BOOST_TEST(end.code == 1);
  BOOST_TEST(holds(end.err, "it was built for another kind of machine"), end.err);
}

BOOST_AUTO_TEST_CASE(an_agent_that_never_gets_ready_is_told_of) {
  const auto silent = spawn({"--as", "silent"}, {"sleep", "1000"});
  check_refused(silent, 1, "killed: did not register in 500 ms");
  const auto garbage =
      spawn({"--as", "garbage"},
            {scripts.make("garbage", "printf 'what is this' >&3; exec sleep 1000\n")});
  check_refused(garbage, 1, "killed: sent a malformed message on its socket");
  const auto impatient = spawn({"--as", "slow", "--timeout-ms", "300"}, {"sleep", "1000"});
  BOOST_TEST(impatient.code == 124, impatient.err);
}

BOOST_AUTO_TEST_CASE(a_new_supervisor_knows_the_kind) {
  BOOST_TEST(spawn({"--stdio"}, {scripts.make("greet", greet)}).code == 0);
  ::kill(swarm.supervisor(), SIGKILL);
  swarm.wait_for_epoch(2);
  BOOST_TEST(submit("greet", "again") == "hello, again!");
  BOOST_REQUIRE(::kill(swarm.agent_pid(1), SIGKILL) == 0);
  BOOST_TEST(submit("greet", "and again") == "hello, and again!");
  BOOST_TEST(swarm.agent(1).at("interface") == "stdio");
}

BOOST_AUTO_TEST_SUITE_END()

}  // namespace
}  // namespace micro_swarm::testing
