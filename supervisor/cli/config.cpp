#include <memory>

#include "supervisor/cli/cli.hpp"
#include "supervisor/topology_cost.hpp"

namespace micro_swarm::cli {

using nlohmann::json;

namespace {

Result<int> done(const Result<void>& printed) {
  if (!printed) return printed.error();
  return to_int(ExitCode::ok);
}

Result<int> check(const Cli& shared, const ConfigFlags& flags) {
  const auto config = flags.load();
  if (!config) return config.error();
  if (const auto endpoint = find_endpoint(config->swarm.name); !endpoint) return endpoint.error();
  const auto cost = topology_cost(*config);
  if (auto fits = check_budget(cost); !fits) return fits.error();
  if (shared.format == OutputFormat::json)
    return done(print_json(
        {{"valid", true}, {"file", config->file.string()}, {"topology", to_json(cost)}}));
  return done(print((config->file.empty() ? "built-in values" : config->file.string()) + ": ok\n" +
                    describe(cost)));
}

Result<int> show(const Cli& shared, const ConfigFlags& flags) {
  const auto config = flags.load();
  if (!config) return config.error();
  return done(shared.format == OutputFormat::json ? print_json(to_json(*config))
                                                  : print(to_toml(*config)));
}

}  // namespace

void add_config(CLI::App& app, Cli& shared) {
  auto* config =
      app.add_subcommand("config", "Configuration, without a swarm")->require_subcommand(1);
  const auto flags = std::make_shared<ConfigFlags>();

  auto* check_verb = config->add_subcommand(
      "check", "Check a configuration and say what its topology costs in memory");
  flags->add_options(*check_verb, true);
  add_format_option(*check_verb, shared);
  check_verb->callback(
      [&shared, flags] { shared.command = [&shared, flags] { return check(shared, *flags); }; });

  auto* show_verb = config->add_subcommand(
      "show", "Effective values, and whether default, file, environment or flag set them");
  flags->add_options(*show_verb, true);
  add_format_option(*show_verb, shared);
  show_verb->callback(
      [&shared, flags] { shared.command = [&shared, flags] { return show(shared, *flags); }; });
}

}  // namespace micro_swarm::cli
