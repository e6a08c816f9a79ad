#include <poll.h>

#include <algorithm>
#include <filesystem>
#include <memory>

#include "common/clock.hpp"
#include "common/find_program.hpp"
#include "supervisor/cli/cli.hpp"

namespace micro_swarm::cli {

using nlohmann::json;

namespace {

constexpr int look_again_ms = 20;

struct Options {
  std::string kind;
  std::uint32_t count = 1;
  std::vector<std::string> capabilities;
  std::vector<std::string> environment;
  bool stdio = false;
  bool exec = false;
  std::vector<std::string> writable;
  bool uncontained = false;
  std::uint32_t timeout_ms = 30'000;
  std::vector<std::string> command;
};

/// "/opt/Word Count.sh" -> "word-count": a name and a capability.
std::string name_from(const std::string& program) {
  constexpr std::size_t bytes_max = 31;  // of a capability
  std::string name = std::filesystem::path(program).stem().string().substr(0, bytes_max);
  for (char& c : name) {
    if (c >= 'A' && c <= 'Z') c = static_cast<char>(c - 'A' + 'a');
    if (!is_valid_name(std::string_view(&c, 1))) c = '-';
  }
  return name;
}

/// As agent.register takes it.
struct Kind {
  json object;
};

Result<Kind> kind_of(const Options& chosen) {
  const auto program = find_program(chosen.command.front());
  if (!program) return program.error();
  std::vector<std::string> command = chosen.command;
  command.front() = *program;
  const std::string name = chosen.kind.empty() ? name_from(*program) : chosen.kind;
  json kind{{"name", name}, {"kind", "external"}, {"count", chosen.count}, {"command", command}};
  if (!chosen.capabilities.empty()) kind["capabilities"] = chosen.capabilities;
  if (chosen.stdio || chosen.exec) kind["interface"] = chosen.stdio ? "stdio" : "exec";
  if (chosen.uncontained) kind["contain"] = false;
  for (const std::string& path : chosen.writable)
    kind["writable"].push_back(std::filesystem::absolute(path).lexically_normal().string());
  for (const std::string& assignment : chosen.environment) {
    const std::size_t end = assignment.find('=');
    if (end == 0 || end == std::string::npos)
      return Error{ErrorCode::usage, "--env " + assignment + ": expected NAME=VALUE", 0};
    kind["environment"][assignment.substr(0, end)] = assignment.substr(end + 1);
  }
  try {
    static_cast<void>(kind.dump());
  } catch (const json::exception&) {
    return Error{ErrorCode::usage, "a name, argument or variable is not UTF-8", 0};
  }
  return Kind{std::move(kind)};
}

/// Until the agent has been ready once, or has died before.
Result<void> wait_until_ready(ControlClient& client, std::uint64_t id, std::uint64_t deadline_ns) {
  const std::string agent = "agent " + std::to_string(id);
  const std::string look = "; `microswarm agent show " + std::to_string(id) + "` says more";
  const auto died = [&](const json& shown, bool for_good) {
    return Error{ErrorCode::system,
                 agent + " died: " + shown.value("last_death", std::string()) +
                     (for_good ? "; the swarm gave it up" : "; the swarm goes on trying") + look,
                 0};
  };
  const auto gave_up = [&](const json& shown) {
    return Error{ErrorCode::system,
                 agent + ": " + shown.value("give_up_reason", std::string("given up")) + look, 0};
  };
  const auto not_yet = [&](const std::string& state) {
    return Error{
        ErrorCode::timed_out,
        agent + " is not ready yet, in state " + state + "; the swarm goes on waiting" + look, 0};
  };
  for (;;) {
    auto answer = ask(client, {{"verb", "agent.show"}, {"id", id}});
    if (!answer) return answer.error();
    const json shown = answer->object.value("agent", json::object());
    const std::string state = shown.value("state", std::string());
    if (state == "live") return {};
    if (shown.contains("last_death")) return died(shown, state == "gave_up");
    if (state == "gave_up") return gave_up(shown);
    if (now_ns() >= deadline_ns) return not_yet(state);
    ::poll(nullptr, 0, look_again_ms);
  }
}

Result<int> spawn(const Cli& shared, const Options& chosen) {
  const auto kind = kind_of(chosen);
  if (!kind) return kind.error();
  auto client = ControlClient::connect(shared.name);
  if (!client) return client.error();
  const std::uint64_t deadline_ns = now_ns() + chosen.timeout_ms * ns_per_ms;
  auto answer = ask(*client, {{"verb", "agent.register"}, {"agent", kind->object}},
                    {.timeout_ms = chosen.timeout_ms});
  if (!answer) return answer.error();
  const auto ids = answer->object.value("agents", std::vector<std::uint64_t>());
  std::string text;
  for (const std::uint64_t id : ids) {
    if (auto ready = wait_until_ready(*client, id, deadline_ns); !ready) return ready.error();
    text += std::to_string(id) + "\n";
  }
  const auto printed = shared.format == OutputFormat::json
                           ? print_json({{"name", kind->object.at("name")}, {"agents", ids}})
                           : print(text);
  if (!printed) return printed.error();
  return to_int(ExitCode::ok);
}

}  // namespace

void add_agent_spawn(CLI::App& agent, Cli& shared) {
  auto* verb = agent.add_subcommand(
      "spawn", "Adds a kind of agents to the running swarm: a command, named behind --");
  const auto options = std::make_shared<Options>();
  verb->add_option("--as", options->kind, "Name of the kind (else made of the command's)")
      ->option_text("KIND");
  verb->add_option("--count", options->count, "How many agents, 1 to 256")
      ->check(CLI::Range(1, 256))
      ->option_text("N");
  verb->add_option("--capability", options->capabilities,
                   "What tasks may ask of it (else the kind's name); repeat it for several")
      ->allow_extra_args(false)
      ->option_text("CAPABILITY");
  verb->add_option("--env", options->environment, "Added to its environment; repeat it for several")
      ->allow_extra_args(false)
      ->option_text("NAME=VALUE");
  auto* stdio =
      verb->add_flag("--stdio", options->stdio,
                     "The command stays, and gets and gives a line of JSON for each task");
  verb->add_flag("--exec", options->exec,
                 "The command is run for each task: payload on stdin, result from stdout")
      ->excludes(stdio);
  auto* writable = verb->add_option("--writable", options->writable,
                                    "A file or directory it may write; repeat it for several");
  writable->allow_extra_args(false)->option_text("PATH");
  verb->add_flag("--no-contain", options->uncontained,
                 "With all the swarm's own rights, not only those of a contained agent")
      ->excludes(writable);
  verb->add_option("--timeout-ms", options->timeout_ms,
                   "How long to wait until its agents are ready, 1 to 86400000")
      ->check(CLI::Range(1, 86'400'000))
      ->option_text("N");
  verb->add_option("command", options->command, "The command and its arguments, behind --")
      ->required()
      ->option_text("-- COMMAND [ARGUMENT...]");
  add_swarm_options(*verb, shared);
  verb->callback([&shared, options] {
    shared.command = [&shared, options] { return spawn(shared, *options); };
  });
}

}  // namespace micro_swarm::cli
