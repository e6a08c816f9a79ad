#include "supervisor/cli/cli.hpp"
#include "supervisor/cli/render.hpp"

namespace micro_swarm::cli {

using nlohmann::json;

namespace {

/// One line a priority or capability, with the two figures of each stage that are looked at first.
json short_rows(const json& rows, const char* what) {
  json lines = json::array();
  for (const json& row : rows) {
    json line{{what, row.value(what, "")}};
    for (const char* stage : {"queue", "dispatch", "execution", "return"}) {
      const json times = row.value(stage, json::object());
      for (const char* quantile : {"p50_ns", "p99_ns"})
        line[std::string(stage) + "_" + quantile] = times.value(quantile, std::uint64_t{0});
      if (std::string_view(stage) == "queue") line["tasks"] = times.value("count", 0);
    }
    lines.push_back(std::move(line));
  }
  return lines;
}

/// For people: what is pending only where something is, statistics as two short tables.
void shorten(json& status) {
  if (const auto pending = status.find("pending"); pending != status.end() && pending->is_object())
    for (auto reason = pending->begin(); reason != pending->end();)
      reason = *reason == 0 ? pending->erase(reason) : std::next(reason);
  // Tables of their own in JSON; `region list` has the one, `agent list` the other.
  if (const auto memory = status.find("memory"); memory != status.end() && memory->is_object()) {
    memory->erase("classes");
    memory->erase("owners");
  }
  const auto found = status.find("statistics");
  if (found == status.end() || !found->is_object()) return;
  const json statistics = std::move(*found);
  status.erase(found);
  for (const char* figure : {"throughput_per_s", "utilisation"})
    if (statistics.contains(figure)) status[figure] = statistics[figure];
  status["by_priority"] = short_rows(statistics.value("priorities", json::array()), "priority");
  status["by_capability"] =
      short_rows(statistics.value("capabilities", json::array()), "capability");
}

Result<int> print_status(const Cli& shared) {
  auto client = ControlClient::connect(shared.name);
  if (!client) return client.error();
  auto answer = ask(*client, {{"verb", "status"}});
  if (!answer) return answer.error();
  if (shared.format == OutputFormat::json) {
    if (auto printed = print_json(std::move(answer->object)); !printed) return printed.error();
    return to_int(ExitCode::ok);
  }
  shorten(answer->object);
  const auto printed = print(object_text(answer->object, {"name",
                                                          "state",
                                                          "version",
                                                          "root_pid",
                                                          "supervisor_pid",
                                                          "epoch",
                                                          "uptime_ms",
                                                          "topology",
                                                          "agents",
                                                          "clients",
                                                          "priority",
                                                          "capability",
                                                          "tasks",
                                                          "pending",
                                                          "throughput_per_s",
                                                          "utilisation",
                                                          "scheduler",
                                                          "memory",
                                                          "queue_p50_ns",
                                                          "queue_p99_ns",
                                                          "dispatch_p50_ns",
                                                          "dispatch_p99_ns",
                                                          "execution_p50_ns",
                                                          "execution_p99_ns",
                                                          "return_p50_ns",
                                                          "return_p99_ns"}));
  if (!printed) return printed.error();
  return to_int(ExitCode::ok);
}

}  // namespace

void add_status(CLI::App& app, Cli& shared) {
  auto* status = app.add_subcommand("status", "What the swarm is and does now");
  add_swarm_options(*status, shared);
  status->callback([&shared] { shared.command = [&shared] { return print_status(shared); }; });
}

}  // namespace micro_swarm::cli
