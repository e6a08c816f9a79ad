#include <memory>

#include "common/size_text.hpp"
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
  auto* memory =
      app.add_subcommand("memory", "What the swarm takes, and its budget")->require_subcommand(1);
  auto* shown = memory->add_subcommand(
      "show", "The pool's bytes by what they are, and every process with its page tables");
  add_swarm_options(*shown, shared);
  shown->callback([&shared] { shared.command = [&shared] { return show(shared); }; });

  auto* set = memory->add_subcommand(
      "set",
      "Change the pool's budget; what is leased beyond it comes back as it is let go. A new "
      "supervisor keeps it, the next start of the swarm has what is configured");
  const auto size = std::make_shared<std::string>();
  set->add_option("--pool-size", *size, "like 64MiB; a multiple of memory.region_size")->required();
  add_swarm_options(*set, shared);
  set->callback([&shared, size] {
    shared.command = [&shared, size]() -> Result<int> {
      const auto bytes = parse_size(*size);
      if (!bytes)
        return Error{ErrorCode::usage,
                     "--pool-size: \"" + *size + "\" is no size; give bytes, or like 64MiB", 0};
      return ask_and_print(shared, {{"verb", "memory.set"}, {"pool_bytes", *bytes}},
                           {"pool_bytes", "before_bytes", "over_budget_bytes"});
    };
  });

  auto* gc = memory->add_subcommand(
      "gc",
      "Collect now what is collected by the way: banks of the dead, results past their time, "
      "and what lies idle with agents and clients");
  add_swarm_options(*gc, shared);
  gc->callback([&shared] {
    shared.command = [&shared] {
      return ask_and_print(shared, {{"verb", "memory.gc"}},
                           {"banks_returned", "results_expired", "freed_bytes", "parties_asked"});
    };
  });
}

}  // namespace micro_swarm::cli
