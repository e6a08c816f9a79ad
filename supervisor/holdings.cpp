#include "supervisor/holdings.hpp"

#include <algorithm>
#include <functional>

#include "supervisor/cache_rows.hpp"

namespace micro_swarm {

namespace {

constexpr std::uint32_t banks_per_look = 256;
constexpr std::uint32_t holds_per_page = 4096 / sizeof(Hold);

/// Calls f(token) for the tokens in a party's holds. They are handed out from the first on, and a
/// page that was never touched is not made to exist by looking: it ends at the first empty one.
void for_each_hold(const Hold* holds, std::uint32_t count, const std::function<void(Token)>& f) {
  for (std::uint32_t first = 0; first < count; first += holds_per_page) {
    bool is_used = false;
    for (std::uint32_t k = first; k < std::min(first + holds_per_page, count); ++k) {
      const Token token{load(holds[k].token)};
      is_used |= token || load(holds[k].via) != 0;
      if (token) f(token);
    }
    if (!is_used) return;
  }
}

}  // namespace

std::string_view name_of(HoldingRole role) {
  switch (role) {
    case HoldingRole::payload: return "payload";
    case HoldingRole::result: return "result";
    case HoldingRole::relayed: return "relayed";
    case HoldingRole::transfer: return "transfer";
    case HoldingRole::cached: return "cached";
    case HoldingRole::reader: return "reader";
    case HoldingRole::own: return "own";
  }
  return "unknown";
}

void Holdings::look(std::uint64_t now) {
  const std::uint32_t rows = std::max(banks_.rows_used(), 1u);
  for (std::uint32_t i = 0; i < std::min(banks_per_look, rows); ++i) {
    if (next_bank_ >= rows) next_bank_ = 0;
    look_at_bank(next_bank_++, now);
  }
}

void Holdings::look_at_bank(std::uint32_t bank, std::uint64_t now) {
  const std::uint32_t slots = banks_.slots_of(bank);
  for (std::uint32_t slot = 0; slot < bank_slots_max; ++slot) {
    const RegionIndex region = region_index(bank, slot);
    const Word* at = slot < slots ? banks_.region_word(bank, slot) : nullptr;
    const RegionWord word{at == nullptr ? 0 : load(*at)};
    if (word.outstanding() == 0) {
      if (!seen_.empty()) seen_.erase(region);
      continue;
    }
    auto [found, is_new] = seen_.try_emplace(region, Seen{word.generation(), now});
    if (!is_new && found->second.generation != word.generation())
      found->second = Seen{word.generation(), now};
  }
}

std::vector<RegionUse> Holdings::list(std::uint64_t now) const {
  std::vector<RegionUse> uses;
  std::unordered_map<RegionIndex, std::size_t> place;
  banks_.for_each([&](std::uint32_t bank, const BankRow& row, BankWord word) {
    for (std::uint32_t slot = 0; slot < row.slots; ++slot) {
      const Word* at = banks_.region_word(bank, slot);
      if (at == nullptr) continue;
      const RegionWord region{load(*at)};
      if (region.outstanding() == 0) continue;
      RegionUse use;
      use.region = region_index(bank, slot);
      use.owner = word.owner();
      use.bank_state = word.state();
      use.generation = region.generation();
      use.rights_out = static_cast<std::uint32_t>(__builtin_popcount(region.outstanding()));
      use.region_bytes = row.region_bytes;
      const auto seen = seen_.find(use.region);
      use.since_ns = seen != seen_.end() && seen->second.generation == use.generation
                         ? seen->second.since_ns
                         : now;
      place.emplace(use.region, uses.size());
      uses.push_back(std::move(use));
    }
  });

  const auto add = [&](Token token, Holding holding, std::uint64_t since_ns = 0) {
    if (!token.well_formed()) return;
    const auto found = place.find(token.region());
    if (found == place.end()) return;
    RegionUse& use = uses[found->second];
    if (use.owner != token.owner() || use.generation != token.generation()) return;
    use.holders.push_back(holding);
    if (since_ns != 0) use.since_ns = std::min(use.since_ns, since_ns);
  };
  for (std::uint32_t slot = 0; slot < tasks_.capacity(); ++slot) {
    const TaskRecord& record = tasks_.record(slot);
    if (word_of(record).state() == TaskState::free) continue;
    const TaskId id = tasks_.id_of(slot);
    add(Token{load(tasks_.payload_hold(slot).token)}, {supervisor_party, HoldingRole::payload, id},
        record.request.accepted_ns);
    add(Token{load(tasks_.result_hold(slot).token)}, {supervisor_party, HoldingRole::result, id},
        record.finished_ns);
  }
  const std::uint32_t first_delivery = first_delivery_hold(tasks_.capacity());
  for (std::uint32_t k = 0; k < delivery_rows; ++k)
    add(Token{load(c_.segment.holds()[first_delivery + k].token)},
        {supervisor_party, HoldingRole::transfer, 0});
  const std::uint32_t first_transit = c_.segment.hold_count() - transit_holds;
  for (std::uint32_t k = 0; k < transit_holds; ++k)
    add(Token{load(c_.segment.holds()[first_transit + k].token)},
        {supervisor_party, HoldingRole::relayed, 0});

  const SegmentHeader& header = c_.segment.header();
  const std::uint32_t of_cache =
      cache_holds(used_rows({c_.segment.cache_rows(), header.cache_entries}));
  for (std::uint32_t k = 0; k < of_cache; ++k) {
    const Token token{load(c_.segment.holds()[first_cache_hold(header.task_capacity) + k].token)};
    // What is not of the cache are bytes that somebody put, until they are copied.
    const bool is_of_cache = banks_.is_of_cache(token);
    add(token, {supervisor_party, is_of_cache ? HoldingRole::cached : HoldingRole::relayed, 0});
    if (const auto found = place.find(token.region()); is_of_cache && found != place.end())
      uses[found->second].is_cached = true;
  }

  for (PartyId p = 0; p < parties_max; ++p) {
    const Peer& peer = c_.peers[p];
    const RosterWord roster = c_.roster(p);
    if (roster.state() == RosterState::heir_is_supervisor)
      for_each_hold(c_.tables().heirs[p].holds, party_holds_max, [&](Token token) {
        add(token, {supervisor_party, HoldingRole::relayed, 0});
      });
    if (roster.state() != RosterState::live || !peer.segment) continue;
    const SegmentView& view = peer.segment.view();
    const TaskId task = load(view.header().task_in_hand);
    for_each_hold(view.holds(), view.hold_count(), [&](Token token) {
      if (banks_.is_of_cache(token)) return add(token, {p, HoldingRole::reader, 0});
      // What an agent has written while a task is in its hand is for that task.
      add(token, {p, HoldingRole::own, token.owner() == p ? task : 0});
    });
  }
  return uses;
}

}  // namespace micro_swarm
