#include "supervisor/topology_cost.hpp"

#include <nlohmann/json.hpp>
#include <set>

#include "common/size_text.hpp"
#include "shm/supervisor_data.hpp"

namespace micro_swarm {

namespace {

constexpr std::uint64_t page_bytes = 4096;

/// Pages of one party's segment that its links touch. Neighbouring rings share pages, so the cost
/// of many links is less than the sum of each one's.
class TouchedPages {
 public:
  explicit TouchedPages(PartyId owner) : owner_(owner), layout_(party_layout(owner)) {}

  void add_link(PartyId peer) {
    for (const Lane lane : {Lane::data, Lane::release})
      touch(layout_.rings + SegmentLayout::ring_offset(owner_, peer, lane),
            ring_slots(owner_, peer) * sizeof(Slot));
    touch(layout_.cursors + peer * sizeof(CursorRow), sizeof(CursorRow));
  }

  std::uint64_t bytes() const { return pages_.size() * page_bytes; }

 private:
  void touch(std::uint64_t offset, std::uint64_t size) {
    for (std::uint64_t page = offset / page_bytes; page * page_bytes < offset + size; ++page)
      pages_.insert(page);
  }

  PartyId owner_;
  SegmentLayout layout_;
  std::set<std::uint64_t> pages_;
};

}  // namespace

TopologyCost topology_cost(const Config& config) {
  TopologyCost cost;
  cost.topology = config.swarm.topology;
  for (const auto& spec : config.agents) cost.agents += spec.count;
  cost.clients = clients_max;

  // Star: the supervisor in the middle, a link to each agent and each client.
  TouchedPages centre(supervisor_party);
  const auto add_party = [&](PartyId party) {
    TouchedPages own(party);
    own.add_link(supervisor_party);
    centre.add_link(party);
    cost.link_bytes += own.bytes();
    ++cost.links;
  };
  for (std::uint32_t agent = 0; agent < cost.agents; ++agent)
    add_party(static_cast<PartyId>(agent));
  for (PartyId client = first_client; client < parties_max; ++client) add_party(client);
  cost.link_bytes += centre.bytes();

  cost.task_records = config.tasks.queue_size;
  cost.task_record_bytes =
      std::uint64_t{config.tasks.queue_size} * (sizeof(TaskRecord) + 2 * sizeof(Hold));
  cost.pool_bytes = config.memory.pool_size;
  cost.region_bytes = config.memory.region_size;
  return cost;
}

Result<void> check_budget(const TopologyCost& cost) {
  if (cost.link_bytes <= link_bytes_max) return {};
  return Error{ErrorCode::refused,
               "the " + std::to_string(cost.links) + " links of a " +
                   std::string(name_of(cost.topology)) + " of " + std::to_string(cost.agents) +
                   " agents may take " + rounded_size_text(cost.link_bytes) +
                   "; allowed: " + rounded_size_text(link_bytes_max) + "; run fewer agents"};
}

std::string describe(const TopologyCost& cost) {
  return std::string(name_of(cost.topology)) + " of " + std::to_string(cost.agents) +
         " agents and up to " + std::to_string(cost.clients) +
         " clients: " + std::to_string(cost.links) + " links, " +
         rounded_size_text(cost.link_bytes) +
         " when every one is used (allowed: " + rounded_size_text(link_bytes_max) + ")\n" +
         std::to_string(cost.task_records) +
         " task records: " + rounded_size_text(cost.task_record_bytes) +
         " when every one is used\n" + "pool: " + rounded_size_text(cost.pool_bytes) + ", " +
         std::to_string(cost.pool_bytes / cost.region_bytes) + " regions of " +
         rounded_size_text(cost.region_bytes) + "\n";
}

nlohmann::json to_json(const TopologyCost& cost) {
  return {{"topology", std::string(name_of(cost.topology))},
          {"agents", cost.agents},
          {"clients", cost.clients},
          {"links", cost.links},
          {"link_bytes", cost.link_bytes},
          {"link_bytes_max", link_bytes_max},
          {"task_records", cost.task_records},
          {"task_record_bytes", cost.task_record_bytes},
          {"pool_bytes", cost.pool_bytes},
          {"region_bytes", cost.region_bytes}};
}

}  // namespace micro_swarm
