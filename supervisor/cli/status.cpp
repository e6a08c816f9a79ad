#include "supervisor/cli/cli.hpp"

namespace micro_swarm::cli {

void add_status(CLI::App& app, Cli& shared) {
  auto* status = app.add_subcommand("status", "What the swarm is and does now");
  add_swarm_options(*status, shared);
  status->callback([&shared] {
    shared.command = [&shared] {
      return ask_and_print(shared, {{"verb", "status"}},
                           {"name", "state", "version", "root_pid", "supervisor_pid", "epoch",
                            "uptime_ms", "topology", "agents", "clients", "tasks", "memory"});
    };
  });
}

}  // namespace micro_swarm::cli
