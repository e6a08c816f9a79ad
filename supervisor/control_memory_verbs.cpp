// The verbs about the pool: who holds what, and what the swarm takes in all.

#include <algorithm>
#include <array>
#include <unordered_map>

#include "shm/size_classes.hpp"
#include "supervisor/control_verbs.hpp"
#include "supervisor/run_limits.hpp"

namespace micro_swarm {

using nlohmann::json;

namespace {

std::string_view name_of(BankState state) {
  switch (state) {
    case BankState::free: return "free";
    case BankState::reserved: return "reserved";
    case BankState::live: return "live";
    case BankState::heired: return "orphaned";
  }
  return "unknown";
}

/// Where its rights are; "orphaned" = also, nobody allocates from its bank any more.
std::string_view state_of(const RegionUse& use) {
  return use.in_transit() != 0 ? "in_transit" : "held";
}

json to_json(const RegionUse& use, std::uint64_t now) {
  json holders = json::array();
  for (const Holding& holding : use.holders) {
    json one = {{"party", holding.holder}, {"as", name_of(holding.role)}};
    if (holding.task != 0) one["task"] = holding.task;
    holders.push_back(std::move(one));
  }
  return {{"bank", bank_of(use.region)},
          {"slot", slot_of(use.region)},
          {"owner", use.owner},
          {"state", state_of(use)},
          {"orphaned", use.bank_state == BankState::heired && !use.is_cached},
          {"generation", use.generation},
          {"tokens", use.rights_out},
          {"in_transit", use.in_transit()},
          {"region_bytes", use.region_bytes},
          {"age_ms", elapsed_ns(now, use.since_ns) / ns_per_ms},
          {"holders", std::move(holders)}};
}

struct Wanted {
  std::uint64_t held_by = no_party;
  std::uint64_t older_than_ms = 0;
  std::string state;

  bool matches(const RegionUse& use, std::uint64_t now) const {
    if (elapsed_ns(now, use.since_ns) / ns_per_ms < older_than_ms) return false;
    if (held_by != no_party &&
        std::none_of(use.holders.begin(), use.holders.end(),
                     [this](const Holding& holding) { return holding.holder == held_by; }))
      return false;
    if (state.empty() || state == state_of(use)) return true;
    if (state == "orphaned") return use.bank_state == BankState::heired && !use.is_cached;
    return std::any_of(use.holders.begin(), use.holders.end(), [this](const Holding& holding) {
      return micro_swarm::name_of(holding.role) == state;
    });
  }
};

constexpr std::array<std::string_view, 10> region_states{
    "held",     "in_transit", "orphaned", "payload", "result",
    "transfer", "relayed",    "cached",   "reader",  "own"};

}  // namespace

json ControlVerbs::memory_classes() const {
  json classes = json::array();
  for (const Banks::ClassUse& use : parts_.banks.use_by_class())
    classes.push_back({{"region_bytes", use.region_bytes},
                       {"banks", use.banks},
                       {"regions", use.regions},
                       {"regions_out", use.regions_out},
                       {"leased_bytes", use.leased_bytes},
                       {"bytes_out", use.bytes_out}});
  return classes;
}

/// Who has leased something; an agent's or a client's share of the pool.
json ControlVerbs::memory_owners() const {
  json owners = json::array();
  for (PartyId p = 0; p < parties_max; ++p)
    if (const std::uint64_t bytes = parts_.banks.leased_bytes(p); bytes != 0)
      owners.push_back({{"party", p},
                        {"leased_bytes", bytes},
                        {"quota_bytes", parts_.banks.quota_bytes(p)},
                        {"is_over_soft_limit", parts_.banks.is_over_soft_limit(p)}});
  return owners;
}

void ControlVerbs::region_list(const json& request, const Reply& reply) const {
  Wanted wanted;
  wanted.held_by = request.value("held_by", std::uint64_t{no_party});
  wanted.older_than_ms = request.value("older_than_ms", std::uint64_t{0});
  wanted.state = request.value("state", "");
  if (request.contains("held_by") && wanted.held_by >= parties_max) {
    reply->fail(Error{ErrorCode::usage,
                      "held_by: there is no party " + std::to_string(wanted.held_by) +
                          "; agents are 0 to 255, 256 is the supervisor, clients are above",
                      0});
    return;
  }
  if (!wanted.state.empty() &&
      std::find(region_states.begin(), region_states.end(), wanted.state) == region_states.end()) {
    reply->fail(Error{ErrorCode::usage,
                      "unknown state \"" + wanted.state +
                          "\"; known are held, in_transit, orphaned, payload, result, transfer, "
                          "relayed, cached, reader, own",
                      0});
    return;
  }
  json banks = json::array();
  parts_.banks.for_each([&](std::uint32_t bank, const BankRow& row, BankWord word) {
    banks.push_back({{"bank", bank},
                     {"owner", word.owner()},
                     {"incarnation", word.incarnation()},
                     {"state", name_of(word.state())},
                     {"slots", row.slots},
                     {"region_bytes", row.region_bytes}});
  });
  const std::uint64_t now = now_ns();
  const auto uses = parts_.holdings.list(now);
  json regions = json::array();
  for (const RegionUse& use : uses)
    if (wanted.matches(use, now)) regions.push_back(to_json(use, now));
  reply->finish({{"pool_regions", parts_.c.pool_regions()},
                 {"leased_regions", parts_.banks.leased()},
                 {"regions_in_use", uses.size()},
                 {"classes", memory_classes()},
                 {"banks", std::move(banks)},
                 {"regions", std::move(regions)}});
}

/// What the pool's bytes are: what is free by the count of leases, the rest by the table of banks
/// and one look at the regions' words, so that the sum is the pool only if these agree. And the
/// processes whose memory is the rest: whoever asks can look at those itself, without holding up
/// this one.
void ControlVerbs::memory_show(const Reply& reply) const {
  const SupervisorContext& c = parts_.c;
  const std::uint64_t pool_region_bytes = c.config.memory.region_size;
  std::uint64_t held_bytes = 0, transit_bytes = 0, cached_bytes = 0;
  std::unordered_map<std::uint32_t, std::uint64_t> used_slots;  // by bank
  for (const RegionUse& use : parts_.holdings.list(now_ns())) {
    (use.is_cached           ? cached_bytes
     : use.in_transit() != 0 ? transit_bytes
                             : held_bytes) += use.region_bytes;
    ++used_slots[bank_of(use.region)];
  }
  std::uint64_t idle_bytes = 0, rounding_bytes = 0, orphaned_bytes = 0;
  parts_.banks.for_each([&](std::uint32_t bank, const BankRow& row, BankWord word) {
    const std::uint64_t bytes = row.slots * row.region_bytes;
    if (word.state() == BankState::heired && word.owner() != supervisor_party)
      orphaned_bytes += bytes;
    rounding_bytes +=
        pool_regions_of(pool_region_bytes, row.slots, row.region_bytes) * pool_region_bytes - bytes;
    idle_bytes += (row.slots - used_slots[bank]) * row.region_bytes;
  });
  const std::uint64_t leased_bytes = parts_.banks.leased() * pool_region_bytes;
  const std::uint64_t pool_bytes = c.pool_bytes();
  json pool = {{"pool_bytes", pool_bytes},
               {"free_bytes", pool_bytes - std::min(pool_bytes, leased_bytes)},
               {"over_budget_bytes", parts_.banks.over_budget_regions() * pool_region_bytes},
               {"held_bytes", held_bytes},
               {"in_transit_bytes", transit_bytes},
               {"cached_bytes", cached_bytes},
               {"leased_idle_bytes", idle_bytes},
               {"rounding_bytes", rounding_bytes},
               {"orphaned_bytes", orphaned_bytes}};

  json processes = json::array();
  const auto add = [&processes](pid_t pid, std::string what) {
    if (pid > 0) processes.push_back({{"pid", pid}, {"process", std::move(what)}});
  };
  add(c.root_pid, "root");
  add(static_cast<pid_t>(load(c.tables().supervisor_pid)), "supervisor");
  for (std::uint32_t k = 0; k < c.config.agents.size(); ++k)
    add(c.tables().templates[k].pid, "template " + c.config.agents[k].name);
  for (PartyId p = 0; p < agents_max; ++p)
    if (!c.peers[p].dead && c.row(p).phase != stored(PartyPhase::none))
      add(c.row(p).pid, "agent " + std::to_string(p));
  reply->finish(
      {{"pool", std::move(pool)},
       {"planned_bytes", needs_of(c.config).memory_bytes - c.config.memory.pool_size + pool_bytes},
       {"processes", std::move(processes)}});
}

/// Categories with a quota, or with payloads in the pool.
json ControlVerbs::memory_categories() const {
  json categories = json::array();
  const CategoryMemory& memory = parts_.tasks.category_memory();
  const auto& specs = parts_.c.config.categories;
  for (std::size_t i = 0; i < specs.size(); ++i) {
    const auto category = static_cast<CategoryId>(i + 1);
    if (memory.quota(category) == 0 && memory.used(category) == 0) continue;
    categories.push_back({{"category", specs[i].name},
                          {"payload_bytes", memory.used(category)},
                          {"quota_bytes", memory.quota(category)},
                          {"is_over_soft_limit", memory.is_over_soft_limit(category)}});
  }
  return categories;
}

void ControlVerbs::memory_set(const json& request, const Reply& reply) {
  const auto refuse = [&reply](ErrorCode code, const std::string& why) {
    reply->fail(Error{code, why, 0});
  };
  const std::uint64_t region = parts_.c.config.memory.region_size;
  const std::uint64_t before = parts_.c.pool_bytes();
  if (!request.contains("pool_bytes") || !request.at("pool_bytes").is_number_unsigned())
    return refuse(ErrorCode::usage, "pool_bytes: a number of bytes is missing");
  const std::uint64_t wanted = request.at("pool_bytes").get<std::uint64_t>();
  if (wanted % region != 0 || wanted < pool_size_min || wanted > pool_size_max)
    return refuse(ErrorCode::usage, "pool_bytes: " + std::to_string(wanted) +
                                        " is not allowed; a multiple of " + std::to_string(region) +
                                        " (memory.region_size) from " +
                                        std::to_string(pool_size_min) + " to " +
                                        std::to_string(pool_size_max) + " is");
  if (wanted > before) {
    const AvailableMemory available = available_memory();
    if (wanted - before > available.bytes)
      return refuse(ErrorCode::refused, "the pool would need " + std::to_string(wanted - before) +
                                            " bytes more, and " + available.limited_by +
                                            " leaves " + std::to_string(available.bytes));
  }
  parts_.banks.set_pool_regions(wanted / region);
  parts_.tasks.pool_changed();
  parts_.c.events.add("pool_changed", {{"pool_bytes", wanted}, {"before_bytes", before}});
  reply->finish({{"pool_bytes", wanted},
                 {"before_bytes", before},
                 {"over_budget_bytes", parts_.banks.over_budget_regions() * region}});
}

/// All that the loop collects by the way, at once; what others have to give back comes later.
void ControlVerbs::memory_gc(const Reply& reply) {
  const SupervisorContext& c = parts_.c;
  const std::uint64_t leased_before = parts_.banks.leased();
  const std::uint64_t returned_before = c.counter(Counter::banks_returned);
  const std::uint64_t expired_before = c.counter(Counter::results_expired);
  parts_.tasks.expire_results_now();
  parts_.banks.return_idle();
  const std::uint32_t asked = parts_.banks.ask_to_trim();
  const std::uint64_t leased = parts_.banks.leased();
  reply->finish({{"banks_returned", c.counter(Counter::banks_returned) - returned_before},
                 {"results_expired", c.counter(Counter::results_expired) - expired_before},
                 {"freed_bytes",
                  (leased_before - std::min(leased, leased_before)) * c.config.memory.region_size},
                 {"parties_asked", asked}});
}

}  // namespace micro_swarm
