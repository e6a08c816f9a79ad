#include "common/config.hpp"

#include <boost/test/data/test_case.hpp>
#include <boost/test/unit_test.hpp>
#include <filesystem>
#include <fstream>
#include <nlohmann/json.hpp>
#include <ostream>
#include <string>
#include <vector>

#include "common/edit_distance.hpp"
#include "common/size_text.hpp"
#include "tests/fault_text.hpp"
#include "tests/temporary_directory.hpp"

using namespace micro_swarm;
namespace data = boost::unit_test::data;

namespace {

const std::filesystem::path file = "/etc/swarm.toml";

Config parsed(std::string_view text, const ConfigOverrides& environment = {},
              const ConfigOverrides& flags = {}) {
  auto config = parse_config(text, file, environment, flags);
  BOOST_REQUIRE_MESSAGE(config.has_value(), fault_text(config));
  return *config;
}

Error fault(std::string_view text, const ConfigOverrides& environment = {},
            const ConfigOverrides& flags = {}) {
  const auto config = parse_config(text, file, environment, flags);
  BOOST_REQUIRE_MESSAGE(config.has_error(), "accepted: " << text);
  return config.error();
}

struct BadFile {
  const char* text;
  const char* message;
};
std::ostream& operator<<(std::ostream& out, const BadFile& bad) { return out << bad.text; }

}  // namespace

BOOST_AUTO_TEST_SUITE(defaults)

BOOST_AUTO_TEST_CASE(are_complete_without_a_file) {
  const auto config = load_config(std::nullopt);
  BOOST_REQUIRE(config.has_value());
  BOOST_TEST(config->swarm.name == "default");
  BOOST_TEST(config->memory.pool_size == 28u << 20);
  BOOST_TEST(config->memory.region_size == 64u << 10);
  BOOST_TEST(config->tasks.queue_size == 10'000u);
  BOOST_TEST(config->file.empty());
  BOOST_TEST(config->origins.empty());
  BOOST_REQUIRE(config->agents.size() == 1u);
  BOOST_TEST(config->agents[0].name == "generic");
  BOOST_TEST(config->agents[0].count == 4u);
  BOOST_TEST(!config->agents[0].capabilities.empty());
}

BOOST_AUTO_TEST_CASE(an_empty_file_changes_nothing) {
  const auto config = parsed("");
  const auto without = load_config(std::nullopt);
  BOOST_TEST(to_json(config)["config"] == to_json(*without)["config"]);
}

BOOST_AUTO_TEST_CASE(a_swarm_may_have_no_agents) {
  const auto config = parsed("[swarm]\nagents = 0\n");
  BOOST_TEST(config.agents.empty());
}

BOOST_AUTO_TEST_SUITE_END()

BOOST_AUTO_TEST_SUITE(values)

BOOST_AUTO_TEST_CASE(of_every_table_are_taken) {
  const auto config = parsed(R"(
[swarm]
name = "edge-1"
[memory]
pool_size = "1GiB"
region_size = 131072
agent_quota = "1MiB"
client_quota = 131072
supervisor_reserve = 7
compression_enabled = true
compression_threshold = "1KiB"
compression = "zstd"
guard = true
[tasks]
queue_size = 16
attempts_max = 255
timeout_ms = 1000
cancel_grace_ms = 0
in_flight_per_agent = 16
max_concurrent = 7
[scheduler]
strategy = "capability_based"
fair_share = "off"
when_full = "shed"
aging_ms = 0
[supervision]
restart = "transient"
intensity = 0
period_ms = 1
hang_timeout_ms = 100
[wait]
spin_us = 0
[log]
level = "debug"
)");
  BOOST_TEST(config.swarm.name == "edge-1");
  BOOST_TEST(config.memory.pool_size == 1u << 30);
  BOOST_TEST(config.memory.region_size == 131072u);
  BOOST_TEST(config.memory.agent_quota == 1u << 20);
  BOOST_TEST(config.memory.client_quota == 131072u);
  BOOST_TEST(config.memory.supervisor_reserve == 7u);
  BOOST_TEST(config.memory.guard == true);
  BOOST_TEST(config.memory.compression_enabled == true);
  BOOST_TEST(config.memory.compression_threshold == 1024u);
  BOOST_TEST((config.memory.compression == Codec::zstd));
  BOOST_TEST(config.tasks.queue_size == 16u);
  BOOST_TEST(config.tasks.attempts_max == 255u);
  BOOST_TEST(config.tasks.cancel_grace_ms == 0u);
  BOOST_TEST(config.tasks.max_concurrent == 7u);
  BOOST_TEST((config.scheduler.strategy == Strategy::capability_based));
  BOOST_TEST((config.scheduler.fair_share == FairShare::off));
  BOOST_TEST((config.scheduler.when_full == WhenFull::shed));
  BOOST_TEST(config.scheduler.aging_ms == 0u);
  BOOST_TEST((config.supervision.restart == RestartPolicy::transient));
  BOOST_TEST(config.supervision.intensity == 0u);
  BOOST_TEST(config.wait.spin_us == 0u);
  BOOST_TEST((config.log.level == LogLevel::debug));
  BOOST_TEST((config.origins.at("swarm.name") == ConfigOrigin::file));
  BOOST_TEST(!config.origins.contains("swarm.agents"));
}

BOOST_AUTO_TEST_CASE(flags_win_over_the_environment_and_that_over_the_file) {
  ConfigOverrides environment;
  environment.name = "from-environment";
  environment.log_level = "warn";
  ConfigOverrides flags;
  flags.name = "from-flag";
  flags.agents = 7;
  const auto config = parsed(
      "[swarm]\nname = \"from-file\"\nagents = 3\n[log]\nlevel = \"error\"\n", environment, flags);
  BOOST_TEST(config.swarm.name == "from-flag");
  BOOST_TEST((config.log.level == LogLevel::warn));
  BOOST_TEST(config.agents.at(0).count == 7u);
  const auto origins = to_json(config)["origins"];
  BOOST_TEST(origins["swarm.name"] == "flag");
  BOOST_TEST(origins["swarm.agents"] == "flag");
  BOOST_TEST(origins["log.level"] == "environment");
  BOOST_TEST(origins["tasks.queue_size"] == "default");
}

BOOST_AUTO_TEST_CASE(a_bad_override_names_itself) {
  ConfigOverrides bad;
  bad.name = "No Good";
  const Error from_flag = fault("", {}, bad);
  BOOST_TEST((from_flag.code == ErrorCode::usage));
  BOOST_TEST(from_flag.message.starts_with("--name: "));
  BOOST_TEST(fault("", bad).message.starts_with("MICROSWARM_NAME: "));

  ConfigOverrides mesh;
  mesh.topology = "mesh";
  BOOST_TEST(fault("", {}, mesh).message ==
             "--topology: \"mesh\" is known but carries no links in this version; use \"star\"");
  ConfigOverrides many;
  many.agents = 257;
  BOOST_TEST(fault("", {}, many).message == "--agents: 257 is out of range; allowed: 0 to 256");
}

const std::vector<BadFile> bad_files{
    {"[swarm]\nnam = \"x\"", "/etc/swarm.toml:2: swarm.nam: unknown key; did you mean \"name\"?"},
    {"[tasks]\n\nqueue_sise = 20",
     "/etc/swarm.toml:3: tasks.queue_sise: unknown key; did you mean \"queue_size\"?"},
    {"[task]\nqueue_size = 20", "/etc/swarm.toml:1: task: unknown key; did you mean \"tasks\"?"},
    {"queue_size = 20", "/etc/swarm.toml:1: queue_size: unknown key here; it belongs into [tasks]"},
    {"[memory]\nzzzzzzzzzzzz = 1",
     "/etc/swarm.toml:2: memory.zzzzzzzzzzzz: unknown key; known here: pool_size, region_size, "
     "agent_quota, client_quota, supervisor_reserve, compression_enabled, compression_threshold, "
     "compression, "
     "guard"},
    {"[memory]\ncompression = \"none\"",
     "/etc/swarm.toml:2: memory.compression: \"none\" is unknown; allowed: lz4 or zstd"},
    {"[memory]\ncompression_threshold = 1000",
     "/etc/swarm.toml:2: memory.compression_threshold: 1000 is out of range; allowed: 1KiB to "
     "64GiB"},
    {"[memory]\nguard = 1",
     "/etc/swarm.toml:2: memory.guard: expected true or false, found a whole number"},
    {"[scheduler]\nstrategy = \"fastest\"",
     "/etc/swarm.toml:2: scheduler.strategy: \"fastest\" is unknown; allowed: round_robin, "
     "least_loaded, load_balanced or capability_based"},
    {"[cache]\non_eviction = \"spill\"",
     "/etc/swarm.toml:2: cache.on_eviction: \"spill\" needs a directory to spill to; set "
     "swarm.state_dir"},
    {"[cache]\ncapacity = \"1GiB\"",
     "/etc/swarm.toml:2: cache.capacity: 1GiB is more than memory.pool_size, which is 28MiB"},
    {"[memory]\nagent_quota = 1000",
     "/etc/swarm.toml:2: memory.agent_quota: 1000 is less than memory.region_size, which is 64KiB; "
     "0 means no limit"},
    {"[[category]]\nweight = 2",
     "/etc/swarm.toml:1: category.name: missing; each [[category]] needs a name"},
    {"[[category]]\nname = \"a\"\nweigth = 2",
     "/etc/swarm.toml:3: category.weigth: unknown key; did you mean \"weight\"?"},
    {"[[category]]\nname = \"a\"\nweight = 0",
     "/etc/swarm.toml:3: category.weight: 0 is out of range; allowed: 1 to 1000"},
    {"[[category]]\nname = \"a\"\n[[category]]\nname = \"a\"",
     "/etc/swarm.toml:3: category.name: \"a\" is used twice; names are unique"},
    {"[category]\nname = \"a\"",
     "/etc/swarm.toml:1: category: write each category as a table [[category]]"},
    {"[tasks]\nqueue_size = 15",
     "/etc/swarm.toml:2: tasks.queue_size: 15 is out of range; allowed: 16 to 1000000"},
    {"[tasks]\nqueue_size = -1",
     "/etc/swarm.toml:2: tasks.queue_size: -1 is out of range; allowed: 16 to 1000000"},
    {"[tasks]\nqueue_size = \"20\"",
     "/etc/swarm.toml:2: tasks.queue_size: expected a whole number from 16 to 1000000, found a "
     "string"},
    {"[tasks]\nqueue_size = 20.5",
     "/etc/swarm.toml:2: tasks.queue_size: expected a whole number from 16 to 1000000, found a "
     "fractional number"},
    {"[tasks]\nqueue_size = 9223372036854775807",
     "/etc/swarm.toml:2: tasks.queue_size: 9223372036854775807 is out of range; allowed: 16 to "
     "1000000"},
    {"tasks = 5", "/etc/swarm.toml:1: tasks: expected a table [tasks], found a whole number"},
    {"[swarm]\nname = \"Big Name\"",
     "/etc/swarm.toml:2: swarm.name: \"Big Name\" is no name; allowed: [a-z0-9_-], 1 to 32 of "
     "them"},
    {"[swarm]\ntopology = \"stat\"",
     "/etc/swarm.toml:2: swarm.topology: \"stat\" is unknown; allowed: star, mesh, ring or "
     "hierarchical; did you mean \"star\"?"},
    {"[swarm]\ntopology = \"ring\"",
     "/etc/swarm.toml:2: swarm.topology: \"ring\" is known but carries no links in this version; "
     "use \"star\""},
    {"[memory]\npool_size = \"28MB\"",
     "/etc/swarm.toml:2: memory.pool_size: \"28MB\" is not a size; write bytes, or a text such as "
     "\"64KiB\", \"28MiB\" or \"1GiB\""},
    {"[memory]\npool_size = \"65GiB\"",
     "/etc/swarm.toml:2: memory.pool_size: \"65GiB\" is out of range; allowed: 1MiB to 64GiB"},
    {"[memory]\npool_size = true",
     "/etc/swarm.toml:2: memory.pool_size: expected bytes or a text such as \"28MiB\", found a "
     "boolean"},
    {"[memory]\nregion_size = 65537",
     "/etc/swarm.toml:2: memory.region_size: 65537 is not a power of two; allowed: 4KiB to 16MiB, "
     "powers of two"},
    {"[memory]\nregion_size = \"16MiB\"\npool_size = \"17MiB\"",
     "/etc/swarm.toml:3: memory.pool_size: 17MiB is no multiple of memory.region_size, which is "
     "16MiB"},
    {"[supervision]\nbackoff_initial_ms = 50\nbackoff_max_ms = 10",
     "/etc/swarm.toml:2: supervision.backoff_initial_ms: 50 is more than "
     "supervision.backoff_max_ms, which is 10"},
    {"[log]\nlevel = 3",
     "/etc/swarm.toml:2: log.level: expected trace, debug, info, warn, error or off, found a whole "
     "number"},
    {"[swarm\nname = 1", "/etc/swarm.toml:1: not TOML: "},
    {"[swarm]\nname = \"a\"\nname = \"b\"", "/etc/swarm.toml:3: not TOML: "},
    {"[log]\nlevel = \"inf\"\n[tasks]\nqueue_size = 1",
     "/etc/swarm.toml:2: log.level: \"inf\" is unknown; allowed: trace, debug, info, warn, error "
     "or "
     "off; did you mean \"info\"? (and 1 more below it)"},
    // agents
    {"[agent]\nname = \"a\"",
     "/etc/swarm.toml:1: agent: write each kind of agent as a table [[agent]]"},
    {"[[agent]]\ncount = 2", "/etc/swarm.toml:1: agent.name: missing; each [[agent]] needs a name"},
    {"[[agent]]\nname = \"a\"\ncout = 2",
     "/etc/swarm.toml:3: agent.cout: unknown key; did you mean \"count\"?"},
    {"[[agent]]\nname = \"a\"\n[[agent]]\nname = \"a\"",
     "/etc/swarm.toml:3: agent.name: \"a\" is used twice; names are unique"},
    {"[[agent]]\nname = \"a\"\nkind = \"neurall\"",
     "/etc/swarm.toml:3: agent.kind: \"neurall\" is unknown; allowed: generic, neural, quantum or "
     "external; did you mean \"neural\"?"},
    {"[[agent]]\nname = \"a\"\nkind = \"neural\"",
     "/etc/swarm.toml:1: agent.model: missing; an agent of kind \"neural\" needs model = "
     "\"FILE.onnx\""},
    {"[[agent]]\nname = \"a\"\nkind = \"neural\"\nmodel = \"gone.onnx\"",
     "/etc/swarm.toml:4: agent.model: /etc/gone.onnx does not exist or is no file; relative paths "
     "start at the directory of this configuration file"},
    {"[[agent]]\nname = \"a\"\nmodel = \"gone.onnx\"",
     "/etc/swarm.toml:3: agent.model: only agents of kind \"neural\" have a model"},
    {"[[agent]]\nname = \"a\"\nqubits = 4",
     "/etc/swarm.toml:3: agent.qubits: only agents of kind \"quantum\" have qubits"},
    {"[[agent]]\nname = \"a\"\nwritable = [\"/tmp\"]",
     "/etc/swarm.toml:3: agent.writable: only agents of kind \"external\" open files"},
    {"[[agent]]\nname = \"a\"\ncontain = false\nuid = 7",
     "/etc/swarm.toml:4: agent.uid: holds for contained agents only, and contain is false"},
    {"[[agent]]\nname = \"a\"\nuid = 0",
     "/etc/swarm.toml:3: agent.uid: 0 is out of range; allowed: 1 to 4294967294"},
    {"[[agent]]\nname = \"a\"\nkind = \"quantum\"\nqubits = 25",
     "/etc/swarm.toml:4: agent.qubits: 25 is out of range; allowed: 1 to 24"},
    {"[[agent]]\nname = \"a\"\nkind = \"external\"",
     "/etc/swarm.toml:1: agent.command: missing; an agent of kind \"external\" needs command = "
     "[\"PROGRAM\", \"ARGUMENT\"...]"},
    {"[[agent]]\nname = \"a\"\nkind = \"external\"\ncommand = []",
     "/etc/swarm.toml:4: agent.command: names no program"},
    {"[[agent]]\nname = \"a\"\nkind = \"external\"\ncommand = \"ls\"",
     "/etc/swarm.toml:4: agent.command: expected an array of strings, the program first, found a "
     "string"},
    {"[[agent]]\nname = \"a\"\nbatch_max = 2",
     "/etc/swarm.toml:3: agent.batch_max: only agents of kind \"neural\" run tasks in batches"},
    {"[[agent]]\nname = \"a\"\ninterface = \"stdio\"",
     "/etc/swarm.toml:3: agent.interface: only agents of kind \"external\" have an interface"},
    {"[[agent]]\nname = \"a\"\nkind = \"external\"\ncommand = [\"ls\"]\ninterface = \"stdin\"",
     "/etc/swarm.toml:5: agent.interface: \"stdin\" is unknown; allowed: protocol, stdio or exec; "
     "did you mean \"stdio\"?"},
    {"[[agent]]\nname = \"a\"\ncapabilities = []",
     "/etc/swarm.toml:3: agent.capabilities: is empty; leave it out for the kind's own"},
    {"[[agent]]\nname = \"a\"\ncapabilities = [\"x\", \"Y\"]",
     "/etc/swarm.toml:3: agent.capabilities: \"Y\" is no capability; allowed: [a-z0-9_.-], 1 to 31 "
     "of them"},
    {"[[agent]]\nname = \"a\"\ncapabilities = [\"x\", \"x\"]",
     "/etc/swarm.toml:3: agent.capabilities: \"x\" is there twice"},
    {"[[agent]]\nname = \"a\"\nenvironment = { MICROSWARM_X = \"1\" }",
     "/etc/swarm.toml:3: agent.environment.MICROSWARM_X: names that begin with MICROSWARM_ are the "
     "runtime's own"},
    {"[[agent]]\nname = \"a\"\nenvironment = { X = 1 }",
     "/etc/swarm.toml:3: agent.environment.X: expected a string, found a whole number"},
    {"[[agent]]\nname = \"a\"\ncount = 200\n[[agent]]\nname = \"b\"\ncount = 57",
     "/etc/swarm.toml:4: agent.b: with its 57 there are 257 agents; allowed: 256"},
    {"[swarm]\nagents = 3\n[[agent]]\nname = \"a\"",
     "/etc/swarm.toml:2: swarm.agents: counts the default agents, but there are [[agent]] tables; "
     "give count there"},
};

BOOST_DATA_TEST_CASE(what_is_wrong_is_said_with_its_line, data::make(bad_files)) {
  const Error error = fault(sample.text);
  BOOST_TEST((error.code == ErrorCode::config));
  BOOST_TEST((exit_code_of(error.code) == ExitCode::usage));
  const std::string_view expected = sample.message;
  if (expected.ends_with(": not TOML: "))
    BOOST_TEST(error.message.starts_with(expected), error.message);
  else
    BOOST_TEST(error.message == expected);
}

BOOST_AUTO_TEST_CASE(sixty_five_kinds_are_refused) {
  std::string text;
  for (int i = 0; i < 65; ++i) text += "[[agent]]\nname = \"k" + std::to_string(i) + "\"\n";
  BOOST_TEST(fault(text).message ==
             "/etc/swarm.toml:129: agent.k64: there are 65 kinds of agents; allowed: 64");
}

BOOST_AUTO_TEST_SUITE_END()

BOOST_AUTO_TEST_SUITE(agents)

BOOST_AUTO_TEST_CASE(tables_are_read) {
  const TemporaryDirectory directory;
  std::ofstream(directory.path() / "digits.onnx") << "not really";
  std::ofstream(directory.path() / "swarm.toml") << R"(
[[agent]]
name = "digits"
kind = "neural"
count = 3
model = "digits.onnx"

[[agent]]
name = "helper"
kind = "external"
capabilities = ["tool.run", "tool.list"]
command = ["/bin/helper", "--fast"]
interface = "exec"
environment = { MODE = "quick", "ODD NAME" = "quote \" backslash \\" }

[[agent]]
name = "plain"

[[agent]]
name = "qubits"
kind = "quantum"
qubits = 20
)";
  const auto config = load_config(directory.path() / "swarm.toml");
  BOOST_REQUIRE_MESSAGE(config.has_value(), fault_text(config));
  BOOST_REQUIRE(config->agents.size() == 4u);
  const auto& digits = config->agents[0];
  BOOST_TEST((digits.kind == AgentKind::neural));
  BOOST_TEST(digits.count == 3u);
  BOOST_TEST(digits.model == directory.path() / "digits.onnx");
  BOOST_TEST(digits.capabilities == std::vector<std::string>{"digits"},
             boost::test_tools::per_element());
  const auto& helper = config->agents[1];
  BOOST_TEST(helper.command.at(1) == "--fast");
  BOOST_TEST((helper.interface == AgentInterface::exec));
  BOOST_TEST(helper.environment.at("MODE") == "quick");
  BOOST_TEST(helper.capabilities.size() == 2u);
  BOOST_TEST(config->agents[2].capabilities.size() > 1u);
  BOOST_TEST(config->agents[3].qubits == 20u);
  BOOST_TEST(config->agents[3].capabilities.front() == "quantum.run");
  BOOST_TEST(config->swarm.agents == 6u);

  // What is shown loads to the same.
  const auto again = parse_config(to_toml(*config), "/elsewhere/x.toml");
  BOOST_REQUIRE_MESSAGE(again.has_value(), fault_text(again));
  BOOST_TEST(to_json(*again)["agents"] == to_json(*config)["agents"]);
  BOOST_TEST(to_json(*again)["config"] == to_json(*config)["config"]);
}

BOOST_AUTO_TEST_CASE(the_agents_flag_counts_the_only_kind) {
  ConfigOverrides flags;
  flags.agents = 9;
  BOOST_TEST(parsed("[[agent]]\nname = \"a\"\n", {}, flags).agents.at(0).count == 9u);
  const Error error = fault("[[agent]]\nname = \"a\"\n[[agent]]\nname = \"b\"\n", {}, flags);
  BOOST_TEST(error.message ==
             "--agents: the configuration file has several [[agent]] kinds; set their count there");
}

BOOST_AUTO_TEST_SUITE_END()

BOOST_AUTO_TEST_SUITE(files)

BOOST_AUTO_TEST_CASE(that_cannot_be_read_say_so) {
  const TemporaryDirectory directory;
  const auto missing = load_config(directory.path() / "none.toml");
  BOOST_REQUIRE(missing.has_error());
  BOOST_TEST((missing.error().code == ErrorCode::config));
  BOOST_TEST(missing.error().message.find("none.toml: cannot read the configuration file") !=
             std::string::npos);
  const auto not_a_file = load_config(directory.path());
  BOOST_REQUIRE(not_a_file.has_error());
  BOOST_TEST(not_a_file.error().message.find("is not a file") != std::string::npos);
}

BOOST_AUTO_TEST_CASE(of_containment_that_are_shown_load_to_the_same) {
  const auto config = parsed(
      "[[agent]]\nname = \"a\"\nkind = \"external\"\ncommand = [\"x\"]\nuid = 77\n"
      "writable = [\"/a b\"]\nreadable = [\"/usr\"]\nmemory_limit = \"1GiB\"\nprocesses_max = 9\n"
      "[[agent]]\nname = \"b\"\ncontain = false\n");
  BOOST_REQUIRE(config.agents.size() == 2u);
  BOOST_TEST(config.agents[0].containment.uid.value_or(0) == 77u);
  BOOST_TEST(config.agents[0].containment.memory_limit == std::uint64_t{1} << 30);
  BOOST_TEST(!config.agents[1].containment.enabled);
  const auto again = parsed(to_toml(config));
  for (std::size_t i = 0; i < 2; ++i)
    BOOST_TEST((again.agents[i].containment == config.agents[i].containment));
}

BOOST_AUTO_TEST_CASE(that_are_shown_load_to_the_same) {
  const auto config = parsed(
      "[memory]\npool_size = 1052672\nregion_size = 4096\n[swarm]\nname = \"x\"\nagents = 2\n"
      "[supervision]\nrestart = \"temporary\"\n[scheduler]\nstrategy = \"round_robin\"\n"
      "[[category]]\nname = \"batch\"\nweight = 3\n[[category]]\nname = \"urgent\"\n");
  BOOST_REQUIRE(config.categories.size() == 2u);
  BOOST_TEST(config.categories[0].weight == 3u);
  BOOST_TEST(to_toml(config).find("restart = \"temporary\"  # file\n") != std::string::npos);
  BOOST_TEST(to_toml(config).find("queue_size = 10000  # default\n") != std::string::npos);
  const auto again = parsed(to_toml(config));
  BOOST_TEST(to_json(again)["config"] == to_json(config)["config"]);
  BOOST_TEST(to_json(again)["categories"] == to_json(config)["categories"]);
  BOOST_TEST(to_json(again)["agents"] == to_json(config)["agents"]);
}

BOOST_AUTO_TEST_SUITE_END()

BOOST_AUTO_TEST_CASE(sizes_are_exact) {
  BOOST_TEST(parse_size("65536").value() == 65536u);
  BOOST_TEST(parse_size("64KiB").value() == 65536u);
  BOOST_TEST(parse_size("1 GiB").value() == 1u << 30);
  for (const char* bad : {"", "KiB", "64kib", "64KB", "1.5MiB", "-1", " 1", "1  KiB", "1KiB ",
                          "18446744073709551616", "17179869184GiB"})
    BOOST_TEST(!parse_size(bad).has_value(), bad);
  for (const std::uint64_t bytes : {0ull, 1ull, 1023ull, 1024ull, 65537ull, 1ull << 20, 3ull << 30})
    BOOST_TEST(parse_size(exact_size_text(bytes)).value() == bytes);
  BOOST_TEST(exact_size_text(28u << 20) == "28MiB");
  BOOST_TEST(rounded_size_text(28u << 20) == "28.0 MiB");
  BOOST_TEST(rounded_size_text((1u << 20) - 1) == "1024.0 KiB");
  BOOST_TEST(rounded_size_text(1536) == "1.5 KiB");
  BOOST_TEST(rounded_size_text(12) == "12 B");
}

BOOST_AUTO_TEST_CASE(the_nearest_word_is_found_or_none) {
  BOOST_TEST(edit_distance("kitten", "sitting") == 3u);
  BOOST_TEST(edit_distance("queue", "queue") == 0u);
  BOOST_TEST(edit_distance("ab", "ba") == 1u);
  BOOST_TEST(edit_distance("", "abc") == 3u);
  const std::vector<std::string> words{"name", "topology", "agents"};
  BOOST_TEST(nearest("topolgy", words) == "topology");
  BOOST_TEST(nearest("agent", words) == "agents");
  BOOST_TEST(nearest("memory", words) == "");
}
