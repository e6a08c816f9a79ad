#include "supervisor/doctor.hpp"

#include <algorithm>
#include <memory>

#include "supervisor/cli/cli.hpp"
#include "supervisor/cli/render.hpp"

namespace micro_swarm::cli {

using nlohmann::json;

namespace {

Result<int> examine(const Cli& shared, const ConfigFlags& flags) {
  const auto config = flags.load();
  if (!config) return config.error();
  const auto checks = examine_machine(*config, shared.hooks.onnx_runtime_probe);
  const auto missing = std::count_if(checks.begin(), checks.end(), [](const DoctorCheck& check) {
    return check.finding == Finding::missing;
  });
  json rows = json::array();
  for (const auto& check : checks)
    rows.push_back({{"check", check.name},
                    {"finding", std::string(name_of(check.finding))},
                    {"detail", check.detail},
                    {"advice", check.advice}});
  const std::string verdict = missing == 0
                                  ? "everything a swarm needs is there\n"
                                  : std::to_string(missing) + " things a swarm needs are missing\n";
  const auto printed =
      shared.format == OutputFormat::json
          ? print_json(
                {{"healthy", missing == 0}, {"missing", missing}, {"checks", std::move(rows)}})
          : print(table_text(rows, {"check", "finding", "detail", "advice"}) + verdict);
  if (!printed) return printed.error();
  return to_int(missing == 0 ? ExitCode::ok : ExitCode::failed);
}

}  // namespace

void add_doctor(CLI::App& app, Cli& shared) {
  auto* doctor =
      app.add_subcommand("doctor", "Whether this machine has what a swarm needs; exits 1 if not");
  const auto flags = std::make_shared<ConfigFlags>();
  flags->add_options(*doctor, true);
  add_format_option(*doctor, shared);
  doctor->callback(
      [&shared, flags] { shared.command = [&shared, flags] { return examine(shared, *flags); }; });
}

}  // namespace micro_swarm::cli
