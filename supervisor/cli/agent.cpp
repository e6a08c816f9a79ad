#include <memory>

#include "supervisor/cli/cli.hpp"

namespace micro_swarm::cli {

namespace {

const std::vector<std::string> columns{"id",          "kind",  "state",    "pid",
                                       "incarnation", "tasks", "restarts", "uptime_ms"};

}  // namespace

void add_agent(CLI::App& app, Cli& shared) {
  auto* agent = app.add_subcommand("agent", "The agents of a swarm")->require_subcommand(1);

  auto* list = agent->add_subcommand("list", "All agents");
  add_swarm_options(*list, shared);
  list->callback([&shared] {
    shared.command = [&shared] { return ask_and_print(shared, {{"verb", "agent.list"}}, columns); };
  });

  auto* show = agent->add_subcommand("show", "One agent, its deaths and its last events");
  const auto id = std::make_shared<unsigned>();
  show->add_option("id", *id, "Party id of the agent")->required()->check(CLI::Range(0, 255));
  add_swarm_options(*show, shared);
  show->callback([&shared, id] {
    shared.command = [&shared, id] {
      return ask_and_print(shared, {{"verb", "agent.show"}, {"id", *id}}, columns);
    };
  });

  add_agent_spawn(*agent, shared);
  add_agent_change(*agent, shared);
}

}  // namespace micro_swarm::cli
