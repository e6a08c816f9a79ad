#include "supervisor/cli/cli.hpp"

namespace micro_swarm::cli {

void add_region(CLI::App& app, Cli& shared) {
  auto* region = app.add_subcommand("region", "The shared-memory pool")->require_subcommand(1);
  auto* list = region->add_subcommand("list", "Banks and the regions in use");
  add_swarm_options(*list, shared);
  list->callback([&shared] {
    shared.command = [&shared] {
      return ask_and_print(
          shared, {{"verb", "region.list"}},
          {"bank", "slot", "owner", "state", "generation", "tokens", "region_bytes", "slots"});
    };
  });
}

}  // namespace micro_swarm::cli
