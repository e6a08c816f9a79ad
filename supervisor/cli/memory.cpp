#include "supervisor/cli/cli.hpp"
#include "supervisor/cli/process_memory.hpp"
#include "supervisor/cli/render.hpp"

namespace micro_swarm::cli {

using nlohmann::json;

namespace {

/// Completes the supervisor's answer: what each process takes, and all of them against the plan.
void add_processes(json& answer) {
  std::uint64_t total = 0;
  bool is_whole = true;
  json processes = json::array();
  for (json& process : answer["processes"]) {
    const auto memory = memory_of(process.value("pid", 0));
    if (!memory) continue;
    process["memory_bytes"] = memory->bytes;
    process["page_table_bytes"] = memory->page_table_bytes;
    total += memory->bytes + memory->page_table_bytes;
    is_whole &= memory->is_share;
    processes.push_back(std::move(process));
  }
  answer["processes"] = std::move(processes);
  answer["total_bytes"] = total;
  if (!is_whole)
    answer["note"] = "without shared pages where a process may not be looked at; ask as root";
}

Result<int> show(const Cli& shared) {
  auto client = ControlClient::connect(shared.name);
  if (!client) return client.error();
  auto answer = ask(*client, {{"verb", "memory.show"}});
  if (!answer) return answer.error();
  add_processes(answer->object);
  auto printed = shared.format == OutputFormat::json
                     ? print_json(std::move(answer->object))
                     : print(object_text(answer->object, {"pool", "planned_bytes", "total_bytes"}));
  if (!printed) return printed.error();
  return to_int(ExitCode::ok);
}

}  // namespace

void add_memory(CLI::App& app, Cli& shared) {
  auto* memory = app.add_subcommand("memory", "What the swarm takes")->require_subcommand(1);
  auto* shown = memory->add_subcommand(
      "show", "The pool's bytes by what they are, and every process with its page tables");
  add_swarm_options(*shown, shared);
  shown->callback([&shared] { shared.command = [&shared] { return show(shared); }; });
}

}  // namespace micro_swarm::cli
