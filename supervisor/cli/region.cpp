#include <memory>

#include "supervisor/cli/cli.hpp"

namespace micro_swarm::cli {

using nlohmann::json;

namespace {

struct RegionListOptions {
  std::uint32_t held_by = 0;
  std::uint64_t older_than_ms = 0;
  std::string state;
};

}  // namespace

void add_region(CLI::App& app, Cli& shared) {
  auto* region = app.add_subcommand("region", "The shared-memory pool")->require_subcommand(1);
  auto* list = region->add_subcommand(
      "list", "Banks, and the regions in use: who holds them, since when, for which task");
  const auto options = std::make_shared<RegionListOptions>();
  const auto* held_by =
      list->add_option("--held-by", options->held_by,
                       "Only what this party holds: an agent's id, 256 the supervisor")
          ->check(whole_number());
  list->add_option("--older-than-ms", options->older_than_ms, "Only what is in use for so long")
      ->check(whole_number());
  list->add_option("--state", options->state,
                   "held, in_transit, orphaned, or what for: payload, result, transfer, relayed, "
                   "cached, reader, own");
  add_swarm_options(*list, shared);
  list->callback([&shared, options, held_by] {
    json request{{"verb", "region.list"}, {"older_than_ms", options->older_than_ms}};
    if (held_by->count() != 0) request["held_by"] = options->held_by;
    if (!options->state.empty()) request["state"] = options->state;
    shared.command = [&shared, request] {
      return ask_and_print(shared, request,
                           {"bank", "slot", "owner", "state", "generation", "tokens",
                            "region_bytes", "slots", "age_ms", "holders"});
    };
  });
}

}  // namespace micro_swarm::cli
