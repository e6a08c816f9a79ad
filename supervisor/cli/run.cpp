#include "supervisor/run.hpp"

#include <memory>

#include "supervisor/cli/cli.hpp"

namespace micro_swarm::cli {

void add_run(CLI::App& app, Cli& shared) {
  auto* run = app.add_subcommand(
      "run", "Run a swarm in the foreground; SIGTERM or SIGINT drains it, a second one forces it");
  const auto flags = std::make_shared<ConfigFlags>();
  flags->add_options(*run, true);
  run->callback([flags, &shared] {
    shared.command = [flags, &shared]() -> Result<int> {
      const auto config = flags->load();
      if (!config) return config.error();
      const auto endpoint = prepare_endpoint(config->swarm.name);
      if (!endpoint) return endpoint.error();
      return run_swarm(*config, *endpoint, shared.hooks.template_entry);
    };
  });
}

}  // namespace micro_swarm::cli
