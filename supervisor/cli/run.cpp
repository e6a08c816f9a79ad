#include "supervisor/run.hpp"

#include <memory>

#include "ipc/control_channel.hpp"
#include "supervisor/cli/cli.hpp"

namespace micro_swarm::cli {

namespace {

Result<int> run_configured(const ConfigFlags& flags, const Cli& shared, UniqueFd control_channel) {
  const auto config = flags.load();
  if (!config) return config.error();
  const auto endpoint = prepare_endpoint(config->swarm.name);
  if (!endpoint) return endpoint.error();
  return run_swarm(*config, *endpoint, shared.hooks.template_entry, std::move(control_channel));
}

}  // namespace

void add_run(CLI::App& app, Cli& shared) {
  auto* run = app.add_subcommand(
      "run", "Run a swarm in the foreground; SIGTERM or SIGINT drains it, a second one forces it");
  const auto flags = std::make_shared<ConfigFlags>();
  flags->add_options(*run, true);
  const auto channel = std::make_shared<std::optional<int>>();
  run->add_option("--control-fd", *channel,
                  "An inherited socket that control connections come by; the swarm stops when its "
                  "other end is closed")
      ->check(CLI::Range(3, 1 << 20))
      ->option_text("N");
  run->callback([flags, channel, &shared] {
    shared.command = [flags, channel, &shared]() -> Result<int> {
      if (!*channel) return run_configured(*flags, shared, {});
      auto taken = take_control_channel(**channel);
      if (!taken) return taken.error();
      auto for_swarm = duplicate(taken->get());
      if (!for_swarm) return for_swarm.error();
      auto code = run_configured(*flags, shared, std::move(*for_swarm));
      if (!code) tell_control_channel(taken->get(), code.error());
      return code;
    };
  });
}

}  // namespace micro_swarm::cli
