#include <memory>

#include "supervisor/cli/cli.hpp"

namespace micro_swarm::cli {

void add_scheduler(CLI::App& app, Cli& shared) {
  auto* scheduler =
      app.add_subcommand("scheduler", "How tasks are given to agents")->require_subcommand(1);
  auto* set = scheduler->add_subcommand(
      "set",
      "Change the strategy from the next choice on; a new supervisor starts with what is "
      "configured");
  const auto strategy = std::make_shared<std::string>();
  set->add_option("strategy", *strategy,
                  "round_robin, least_loaded, load_balanced or capability_based")
      ->required()
      ->check(CLI::IsMember({"round_robin", "least_loaded", "load_balanced", "capability_based"}));
  add_swarm_options(*set, shared);
  set->callback([&shared, strategy] {
    shared.command = [&shared, strategy] {
      return ask_and_print(shared, {{"verb", "scheduler.set"}, {"strategy", *strategy}},
                           {"strategy"});
    };
  });
}

}  // namespace micro_swarm::cli
