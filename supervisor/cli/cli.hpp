#pragma once

#include <CLI/CLI.hpp>
#include <cstddef>
#include <functional>
#include <nlohmann/json.hpp>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "common/config.hpp"
#include "common/result.hpp"
#include "ipc/control_client.hpp"
#include "supervisor/doctor.hpp"
#include "supervisor/run.hpp"

namespace micro_swarm::cli {

/// What lies in agentproc/, which supervisor/ does not know: main() brings the two together.
struct Hooks {
  TemplateEntry template_entry = nullptr;
  OnnxRuntimeProbe onnx_runtime_probe = nullptr;
};

enum class OutputFormat { table, json };

/// What all verbs share. A verb's callback stores what to do in `command`; it runs after parsing,
/// when the CLI11 tree is gone (`run` must not carry it into root and all that is forked from it).
struct Cli {
  std::string name = "default";
  OutputFormat format = OutputFormat::table;
  Hooks hooks;
  std::function<Result<int>()> command;
};

/// Runs a command line; the exit code for the process (docs/cli.md). Errors go to stderr as one
/// line "microswarm: ..."; with --format json also to stdout as an object.
int run_command_line(int argc, char** argv, const Hooks& hooks);

// One function for each noun: adds its verbs. `shared` outlives parsing and command.
void add_run(CLI::App& app, Cli& shared);
void add_status(CLI::App& app, Cli& shared);
void add_agent(CLI::App& app, Cli& shared);
void add_agent_spawn(CLI::App& agent, Cli& shared);
void add_agent_change(CLI::App& agent, Cli& shared);
void add_task(CLI::App& app, Cli& shared);
void add_scheduler(CLI::App& app, Cli& shared);
void add_cache(CLI::App& app, Cli& shared);
void add_memory(CLI::App& app, Cli& shared);
void add_region(CLI::App& app, Cli& shared);
void add_events(CLI::App& app, Cli& shared);
void add_stop(CLI::App& app, Cli& shared);
void add_config(CLI::App& app, Cli& shared);
void add_doctor(CLI::App& app, Cli& shared);

/// --format table|json.
void add_format_option(CLI::App& verb, Cli& shared);
/// --name and --format, for the verbs that talk to a running swarm.
void add_swarm_options(CLI::App& verb, Cli& shared);

/// Digits only: CLI11 alone would take -1 for the largest number there is.
CLI::Validator whole_number();

/// The flags of `run` that override the configuration, also taken by `config`.
struct ConfigFlags {
  std::optional<std::string> file;
  ConfigOverrides overrides;

  void add_options(CLI::App& verb, bool with_name);
  Result<Config> load() const;
};

/// For verbs the supervisor answers with data: asks, merges the lines of the answer (arrays of the
/// same name are joined), prints it in the chosen format and returns 0.
/// `columns` come first in tables, in this order; whatever else the answer holds follows.
Result<int> ask_and_print(const Cli& shared, const nlohmann::json& request,
                          const std::vector<std::string>& columns,
                          const ControlRequestOptions& options = {.timeout_ms = 30'000});

/// One answer with its descriptors; lines are merged as above, the last line's descriptors kept.
Result<ControlLine> ask(ControlClient& client, const nlohmann::json& request,
                        const ControlRequestOptions& options = {.timeout_ms = 30'000});

/// All of it to standard output, or an error (a full disk, a closed pipe).
Result<void> print(std::string_view text);
Result<void> print(std::span<const std::byte> bytes);
Result<void> write_all(int fd, std::span<const std::byte> bytes, std::string_view what);

/// `object` with "schema", as one line.
Result<void> print_json(nlohmann::json object);

}  // namespace micro_swarm::cli
