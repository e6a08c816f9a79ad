#include <cstdint>
#include <memory>

#include "supervisor/cli/cli.hpp"
#include "supervisor/cli/render.hpp"

namespace micro_swarm::cli {

using nlohmann::json;

namespace {

struct Options {
  bool follow = false;
  std::uint64_t since = 0;
};

/// Prints one event and remembers where the stream is, so that it goes on there after a supervisor
/// was replaced.
Result<void> print_event(const Cli& shared, const json& event, std::uint64_t& since) {
  if (const auto sequence = event.find("sequence");
      sequence != event.end() && sequence->is_number_unsigned())
    since = std::max(since, sequence->get<std::uint64_t>());
  return shared.format == OutputFormat::json ? print_json(event) : print(event_text(event));
}

Result<int> print_events(const Cli& shared, const Options& chosen) {
  auto client = ControlClient::connect(shared.name);
  if (!client) return client.error();
  std::uint64_t since = chosen.since;
  Result<void> printed;
  ControlRequestOptions options;
  options.before_resend = [&since](json& request) { request["since"] = since; };
  const auto on_line = [&](ControlLine& line) {
    if (const auto list = line.object.find("events");
        list != line.object.end() && list->is_array()) {
      for (const auto& event : *list)
        if (printed) printed = print_event(shared, event, since);
    } else if (line.object.contains("event")) {
      line.object.erase("end");
      printed = print_event(shared, line.object, since);
    }
    return printed.has_value();
  };
  const auto done = client->stream(
      {{"verb", "events"}, {"follow", chosen.follow}, {"since", since}}, on_line, options);
  if (!printed) return printed.error();
  if (!done) return done.error();
  return to_int(ExitCode::ok);
}

}  // namespace

void add_events(CLI::App& app, Cli& shared) {
  auto* events = app.add_subcommand("events", "What happened: starts, deaths, restarts, refusals");
  const auto options = std::make_shared<Options>();
  events->add_flag("--follow", options->follow, "Go on printing events as they come");
  events->add_option("--since", options->since, "Only events with a higher sequence number")
      ->check(whole_number())
      ->option_text("N");
  add_swarm_options(*events, shared);
  events->callback([&shared, options] {
    shared.command = [&shared, options] { return print_events(shared, *options); };
  });
}

}  // namespace micro_swarm::cli
