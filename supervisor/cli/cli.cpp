#include "supervisor/cli/cli.hpp"

#include <unistd.h>

#include <cstdio>
#include <map>

#include "ipc/control_protocol.hpp"
#include "supervisor/cli/render.hpp"

namespace micro_swarm::cli {

using nlohmann::json;

namespace {

int report(const Cli& shared, const Error& error) {
  std::fprintf(stderr, "microswarm: %s\n", error.message.c_str());
  if (shared.format == OutputFormat::json) {
    json object = control_error(error);
    object.erase("end");
    (void)print_json(std::move(object));
  }
  return to_int(exit_code_of(error.code));
}

void add_verbs(CLI::App& app, Cli& shared) {
  add_run(app, shared);
  add_status(app, shared);
  add_agent(app, shared);
  add_task(app, shared);
  add_scheduler(app, shared);
  add_cache(app, shared);
  add_memory(app, shared);
  add_region(app, shared);
  add_events(app, shared);
  add_stop(app, shared);
  add_config(app, shared);
  add_doctor(app, shared);
}

/// Parses; -1 = go on and run `shared.command`, else the exit code.
int parse(int argc, char** argv, Cli& shared) {
  CLI::App app{"Runs swarms of small models as separate processes over shared memory.",
               "microswarm"};
  app.set_version_flag("--version", std::string("microswarm ") + MS_VERSION);
  app.require_subcommand(1);
  app.set_help_all_flag("--help-all", "Print the help of every verb and exit");
  app.footer(
      "Exit codes: 0 ok, 1 failed, 2 usage, 3 not running, 4 gave up, 5 refused,\n"
      "6 cancelled, 7 dead letter, 124 timed out.\n");
  add_verbs(app, shared);
  try {
    app.parse(argc, argv);
    return -1;
  } catch (const CLI::Success& asked) {  // --help, --version
    return app.exit(asked);
  } catch (const CLI::ParseError& error) {
    return report(shared,
                  {ErrorCode::usage, std::string(error.what()) + " (see microswarm --help)"});
  }
}

}  // namespace

int run_command_line(int argc, char** argv, const Hooks& hooks) {
  Cli shared;
  shared.hooks = hooks;
  if (const auto name = overrides_from_environment().name) shared.name = *name;
  if (const int code = parse(argc, argv, shared); code >= 0) return code;
  const auto code = shared.command();
  return code ? *code : report(shared, code.error());
}

void add_format_option(CLI::App& verb, Cli& shared) {
  static const std::map<std::string, OutputFormat> formats{{"table", OutputFormat::table},
                                                           {"json", OutputFormat::json}};
  verb.add_option("--format", shared.format, "table or json")
      ->transform(CLI::CheckedTransformer(formats))
      ->option_text("FORMAT");
}

void add_swarm_options(CLI::App& verb, Cli& shared) {
  verb.add_option("--name", shared.name, "The swarm to talk to (MICROSWARM_NAME, else default)")
      ->option_text("NAME");
  add_format_option(verb, shared);
}

CLI::Validator whole_number() {
  return CLI::Validator(
      [](const std::string& text) {
        const bool is_one = text.find_first_not_of("0123456789") == std::string::npos;
        return is_one ? std::string() : text + " is no whole number";
      },
      "N");
}

void ConfigFlags::add_options(CLI::App& verb, bool with_name) {
  verb.add_option("-c,--config", file, "Configuration file (TOML)")->option_text("FILE");
  if (with_name)
    verb.add_option("--name", overrides.name, "Name of the swarm")->option_text("NAME");
  verb.add_option("--agents", overrides.agents, "Number of agents, 0 to 256")->option_text("N");
  verb.add_option("--topology", overrides.topology, "star")->option_text("T");
  verb.add_option("--state-dir", overrides.state_dir, "Directory for state kept over a stop")
      ->option_text("DIR");
  verb.add_option("--log-level", overrides.log_level, "trace, debug, info, warn, error or off")
      ->option_text("LEVEL");
}

Result<Config> ConfigFlags::load() const {
  std::optional<std::filesystem::path> path;
  if (file) path = *file;
  return load_config(path, overrides_from_environment(), overrides);
}

Result<ControlLine> ask(ControlClient& client, const json& request,
                        const ControlRequestOptions& options) {
  ControlLine whole;
  whole.object = json::object();
  ControlRequestOptions with_restart = options;
  with_restart.before_resend = [&](json& again) {
    whole.object = json::object();  // the answer starts over
    if (options.before_resend) options.before_resend(again);
  };
  auto done = client.stream(
      request,
      [&whole](ControlLine& line) {
        merge_control_line(std::move(line.object), whole.object);
        whole.fds = std::move(line.fds);
        return true;
      },
      with_restart);
  if (!done) return done.error();
  return whole;
}

Result<int> ask_and_print(const Cli& shared, const json& request,
                          const std::vector<std::string>& columns,
                          const ControlRequestOptions& options) {
  auto client = ControlClient::connect(shared.name);
  if (!client) return client.error();
  auto answer = ask(*client, request, options);
  if (!answer) return answer.error();
  auto printed = shared.format == OutputFormat::json ? print_json(std::move(answer->object))
                                                     : print(object_text(answer->object, columns));
  if (!printed) return printed.error();
  return to_int(ExitCode::ok);
}

Result<void> write_all(int fd, std::span<const std::byte> bytes, std::string_view what) {
  while (!bytes.empty()) {
    const auto written = posix_call(what, [&] { return ::write(fd, bytes.data(), bytes.size()); });
    if (!written) return written.error();
    bytes = bytes.subspan(static_cast<std::size_t>(*written));
  }
  return {};
}

Result<void> print(std::span<const std::byte> bytes) {
  return write_all(STDOUT_FILENO, bytes, "write to standard output");
}

Result<void> print(std::string_view text) { return print(std::as_bytes(std::span(text))); }

Result<void> print_json(json object) {
  object["schema"] = control_schema;
  object.erase("end");
  object.erase("fds");
  return print(control_line(object));
}

}  // namespace micro_swarm::cli
