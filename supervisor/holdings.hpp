#pragma once

// Who holds each region of the pool, since when, and for which task. Read from the shared words
// whenever somebody asks; nothing is decided by it. A swarm at work moves on while it is read: a
// right on its way between two looks may be seen as in transit although it has arrived.

#include <cstdint>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "supervisor/banks.hpp"
#include "supervisor/tasks.hpp"

namespace micro_swarm {

/// What a right to read is held for.
enum class HoldingRole : std::uint8_t {
  payload,   ///< the supervisor's, until the task is over (a dead letter's: until it is forgotten)
  result,    ///< the supervisor's, until the result is told or fetched
  relayed,   ///< the supervisor's, on its way home
  transfer,  ///< the supervisor's, on its way to the party it is for
  cached,    ///< the supervisor's: an entry of the cache, or what is to become one
  reader,    ///< a party's hold: an entry of the cache
  own,       ///< a party's own hold: what it writes, has received, or has inherited
};
std::string_view name_of(HoldingRole role);

struct Holding {
  PartyId holder = no_party;
  HoldingRole role = HoldingRole::own;
  TaskId task = 0;  ///< 0 = of none, or nobody knows
};

/// One region with rights out.
struct RegionUse {
  RegionIndex region = 0;
  PartyId owner = no_party;  ///< who wrote it, and only can
  BankState bank_state = BankState::live;
  std::uint32_t generation = 0;
  std::uint32_t rights_out = 0;
  std::uint64_t region_bytes = 0;
  std::uint64_t since_ns = 0;  ///< CLOCK_MONOTONIC: in use since then, or (where no task tells)
                               ///< since at least then
  std::vector<Holding> holders;

  /// Where an entry of the cache lies, or is to.
  bool is_cached = false;

  /// Rights that are in no hold: in a message that was not taken yet.
  std::uint32_t in_transit() const {
    const auto held = static_cast<std::uint32_t>(holders.size());
    return rights_out > held ? rights_out - held : 0;
  }
};

class Holdings {
 public:
  Holdings(const SupervisorContext& context, const Banks& banks, Tasks& tasks)
      : c_(context), banks_(banks), tasks_(tasks) {}

  /// Looks at the next few banks, so that the age of what no task tells is known. Of an idle
  /// swarm's second this takes microseconds.
  void look(std::uint64_t now);

  /// Every region with a right out, by number. Linear in regions, holds and task records.
  std::vector<RegionUse> list(std::uint64_t now) const;

 private:
  struct Seen {
    std::uint32_t generation;
    std::uint64_t since_ns;
  };
  void look_at_bank(std::uint32_t bank, std::uint64_t now);

  const SupervisorContext& c_;
  const Banks& banks_;
  Tasks& tasks_;
  std::unordered_map<RegionIndex, Seen> seen_;
  std::uint32_t next_bank_ = 0;
};

}  // namespace micro_swarm
