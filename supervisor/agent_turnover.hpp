#pragma once

// Which agents are replaced on purpose, and when it is whose turn: those that are worn out
// (max_tasks, max_age_ms) and those that somebody wants new. Pure: what it decides, Agents does.
//
//   stay --worn out, asked--> renew_due --its turn--> renewing --ended--> (successor) stay
//     \--asked for fewer----------------------------> stopping --ended--> stopped
//
// A turn is one agent of a kind at a time, and only while none of that kind is missing: the swarm
// goes on with all of them but one. Whoever is renewing or stopping gets no more tasks, finishes
// those it has, and ends by itself.

#include <cstdint>
#include <span>
#include <vector>

#include "common/config.hpp"
#include "common/ids.hpp"
#include "shm/supervisor_data.hpp"

namespace micro_swarm {

/// One agent that somebody has a use for (not stopped, not given up).
struct LifeView {
  PartyId id = 0;
  std::uint16_t kind = 0;
  Incarnation incarnation = 0;
  bool is_live = false;
  AgentIntent intent = AgentIntent::stay;
  std::uint64_t tasks = 0;   ///< that it has ended, as it says itself
  std::uint64_t age_ns = 0;  ///< since it is live
};

/// Whether a life has reached its limit: `spec`'s, less up to a fifth that depends on which life it
/// is, so that agents that began together do not end together.
bool is_worn_out(const AgentSpec& spec, const LifeView& life);

/// Whose turn it is to be replaced, of those whose intent is renew_due: at most one of each kind.
std::vector<PartyId> whose_turn(std::span<const LifeView> lives);

/// Which of a kind's agents to stop so that `count` are left: those not live first, then the
/// highest ids.
std::vector<PartyId> surplus(std::span<const LifeView> lives, std::uint32_t kind,
                             std::uint32_t count);

}  // namespace micro_swarm
