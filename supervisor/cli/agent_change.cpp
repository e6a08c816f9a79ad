// `agent scale`, `agent swap`, `agent restart`, `agent stop`: asks, then waits until it is so.

#include <poll.h>

#include <algorithm>
#include <filesystem>
#include <memory>

#include "common/clock.hpp"
#include "supervisor/cli/cli.hpp"

namespace micro_swarm::cli {

namespace {

using nlohmann::json;

constexpr int look_again_ms = 10;

struct Options {
  std::string who;
  std::string model;
  std::string capability;
  unsigned count = 0;
  std::uint32_t timeout_ms = 60'000;
  bool no_wait = false;
};

struct Agent {
  std::uint64_t id;
  std::string kind;
  std::string state;
  std::string activity;
  std::uint64_t incarnation;
  bool restart_due;
};

Result<std::vector<Agent>> agents_of(ControlClient& client) {
  auto answer = ask(client, {{"verb", "agent.list"}});
  if (!answer) return answer.error();
  std::vector<Agent> agents;
  for (const json& one : answer->object.value("agents", json::array()))
    agents.push_back({one.value("id", std::uint64_t{0}), one.value("name", std::string()),
                      one.value("state", std::string()), one.value("activity", std::string()),
                      one.value("incarnation", std::uint64_t{0}), one.value("restart_due", false)});
  return agents;
}

const Agent* find(const std::vector<Agent>& agents, std::uint64_t id) {
  const auto found = std::find_if(agents.begin(), agents.end(),
                                  [id](const Agent& agent) { return agent.id == id; });
  return found == agents.end() ? nullptr : &*found;
}

/// The agents that an id, a kind's name, or "all" names.
Result<std::vector<Agent>> chosen(ControlClient& client, const std::string& who) {
  auto agents = agents_of(client);
  if (!agents || who == "all") return agents;
  const bool is_id =
      std::all_of(who.begin(), who.end(), [](char c) { return c >= '0' && c <= '9'; });
  std::vector<Agent> named;
  for (Agent& agent : *agents)
    if (agent.kind == who || (is_id && std::to_string(agent.id) == who))
      named.push_back(std::move(agent));
  if (named.empty())
    return Error{ErrorCode::not_found,
                 "no agent and no kind of agents " + who + "; `microswarm agent list` shows them",
                 0};
  return named;
}

/// Asks again and again: `is_so` says whether it is done.
template <class IsSo>
Result<void> wait_until(ControlClient& client, const Options& options, const IsSo& is_so) {
  const std::uint64_t deadline_ns = now_ns() + std::uint64_t{options.timeout_ms} * ns_per_ms;
  for (;;) {
    auto agents = agents_of(client);
    if (!agents) return agents.error();
    const Result<bool> done = is_so(*agents);
    if (!done) return done.error();
    if (*done) return {};
    if (now_ns() >= deadline_ns)
      return Error{
          ErrorCode::timed_out,
          "not done in " + std::to_string(options.timeout_ms) +
              " ms; the swarm goes on with it: `microswarm agent list` shows how far it is",
          0};
    ::poll(nullptr, 0, look_again_ms);
  }
}

Result<int> scale(const Cli& shared, const Options& options) {
  auto client = ControlClient::connect(shared.name);
  if (!client) return client.error();
  auto asked =
      ask(*client, {{"verb", "agent.scale"}, {"kind", options.who}, {"count", options.count}});
  if (!asked) return asked.error();
  if (!options.no_wait) {
    auto done = wait_until(*client, options, [&](const std::vector<Agent>& agents) -> Result<bool> {
      unsigned ready = 0;
      bool settled = true;
      for (const Agent& agent : agents) {
        if (agent.kind != options.who) continue;
        if (agent.state == "live" && agent.activity != "draining")
          ++ready;
        else if (agent.state == "live" || agent.state == "starting")
          settled = false;
      }
      return ready == options.count && settled;
    });
    if (!done) return done.error();
  }
  auto printed = shared.format == OutputFormat::json
                     ? print_json({{"kind", options.who}, {"count", options.count}})
                     : Result<void>();
  if (!printed) return printed.error();
  return to_int(ExitCode::ok);
}

/// Until each of them has a successor that is live.
Result<void> wait_for_successors(ControlClient& client, const Options& options,
                                 const std::vector<Agent>& asked) {
  return wait_until(client, options, [&](const std::vector<Agent>& agents) -> Result<bool> {
    for (const Agent& before : asked) {
      const Agent* now = find(agents, before.id);
      if (now == nullptr || now->state == "stopped") continue;
      if (now->incarnation != before.incarnation && now->state == "live") continue;
      if (now->incarnation != before.incarnation && now->state == "gave_up")
        return Error{ErrorCode::gave_up,
                     "agent " + std::to_string(now->id) +
                         " did not come back; `microswarm agent show " + std::to_string(now->id) +
                         "` says why",
                     0};
      return false;
    }
    return true;
  });
}

/// Until none of the kind is left that was there before.
Result<void> wait_for_renewal(ControlClient& client, const Options& options) {
  return wait_until(client, options, [&](const std::vector<Agent>& agents) -> Result<bool> {
    return std::none_of(agents.begin(), agents.end(), [&](const Agent& agent) {
      return agent.kind == options.who &&
             (agent.restart_due || agent.activity == "draining" || agent.state == "starting" ||
              agent.state == "restarting");
    });
  });
}

Result<int> swap(const Cli& shared, const Options& options) {
  auto client = ControlClient::connect(shared.name);
  if (!client) return client.error();
  std::error_code failure;
  const auto model = std::filesystem::absolute(options.model, failure);
  json request{{"verb", "agent.swap"}, {"kind", options.who}, {"model", model.string()}};
  if (!options.capability.empty()) request["capability"] = options.capability;
  auto swapped = ask(*client, request, {.timeout_ms = options.timeout_ms});
  if (!swapped) return swapped.error();
  if (!options.no_wait)
    if (auto done = wait_for_renewal(*client, options); !done) return done.error();
  auto printed = shared.format == OutputFormat::json
                     ? print_json({{"kind", options.who}, {"model", model.string()}})
                     : Result<void>();
  if (!printed) return printed.error();
  return to_int(ExitCode::ok);
}

Result<int> end(const Cli& shared, const Options& options, bool restart) {
  auto client = ControlClient::connect(shared.name);
  if (!client) return client.error();
  const auto named = chosen(*client, options.who);
  if (!named) return named.error();
  json ids = json::array();
  std::vector<Agent> asked;
  for (const Agent& agent : *named) {
    // Of those that have stopped only who is named by its number starts again.
    if (agent.state == "stopped" && (!restart || std::to_string(agent.id) != options.who)) continue;
    auto answer = ask(*client, {{"verb", restart ? "agent.restart" : "agent.stop"},
                                {"id", agent.id},
                                {"incarnation", agent.incarnation}});
    if (!answer) return answer.error();
    ids.push_back(agent.id);
    asked.push_back(agent);
  }
  if (!options.no_wait) {
    const auto done =
        restart ? wait_for_successors(*client, options, asked)
                : wait_until(*client, options, [&](const std::vector<Agent>& now) -> Result<bool> {
                    return std::all_of(asked.begin(), asked.end(), [&](const Agent& one) {
                      const Agent* agent = find(now, one.id);
                      return agent == nullptr || agent->state == "stopped";
                    });
                  });
    if (!done) return done.error();
  }
  auto printed = shared.format == OutputFormat::json ? print_json({{"agents", std::move(ids)}})
                                                     : Result<void>();
  if (!printed) return printed.error();
  return to_int(ExitCode::ok);
}

CLI::App* add_verb(CLI::App& agent, Cli& shared, const char* name, const char* text,
                   const std::shared_ptr<Options>& options, const char* who) {
  auto* verb = agent.add_subcommand(name, text);
  verb->add_option("who", options->who, who)->required();
  verb->add_flag("--no-wait", options->no_wait, "Return once it is asked for, not once it is so");
  verb->add_option("--timeout-ms", options->timeout_ms, "How long to wait, 1 to 86400000")
      ->check(CLI::Range(1, 86'400'000))
      ->option_text("N");
  add_swarm_options(*verb, shared);
  return verb;
}

}  // namespace

void add_agent_change(CLI::App& agent, Cli& shared) {
  const auto options = std::make_shared<Options>();
  auto* more = add_verb(agent, shared, "scale",
                        "Brings a kind to so many agents; who goes finishes its tasks first",
                        options, "Name of the kind");
  more->add_option("count", options->count, "How many, 0 to 256")
      ->required()
      ->check(CLI::Range(0, 256));
  more->callback([&shared, options] {
    shared.command = [&shared, options] { return scale(shared, *options); };
  });
  auto* other = add_verb(agent, shared, "swap",
                         "Gives a neural kind another model; none of its tasks fails or is lost",
                         options, "Name of the kind");
  other->add_option("--model", options->model, "The new ONNX file")->required();
  other->add_option("--capability", options->capability, "Whose model, where the kind has several");
  other->callback([&shared, options] {
    shared.command = [&shared, options] { return swap(shared, *options); };
  });
  for (const bool restart : {true, false}) {
    auto* verb = restart ? add_verb(agent, shared, "restart",
                                    "Replaces agents, one of a kind at a time; none loses a task",
                                    options, "An agent's id, a kind's name, or all")
                         : add_verb(agent, shared, "stop",
                                    "Stops agents once they have finished their tasks; for good",
                                    options, "An agent's id, a kind's name, or all");
    verb->callback([&shared, options, restart] {
      shared.command = [&shared, options, restart] { return end(shared, *options, restart); };
    });
  }
}

}  // namespace micro_swarm::cli
