#pragma once

// Words of the configuration that the scheduler and the configuration share. Values only.

#include <cstdint>
#include <string_view>

namespace micro_swarm {

/// Which of the agents that could take a task gets it.
enum class Strategy : std::uint8_t {
  round_robin,      ///< the next in turn
  least_loaded,     ///< the fewest tasks in flight
  load_balanced,    ///< the earliest expected completion, from measured service times
  capability_based  ///< the highest weight for the capability, then the fewest tasks in flight
};

/// What takes turns inside a class; first come first served only inside one of these.
enum class FairShare : std::uint8_t { client_category, category, off };

/// What a submission gets when there is no room for it.
enum class WhenFull : std::uint8_t {
  reject,  ///< refused, with the reason and a hint when to try again
  block,   ///< stays in its client's ring, which fills up
  shed     ///< a waiting task of a lower class is ended in its stead, else refused
};

/// What becomes of the tasks of a client that is gone, unless they are detached.
enum class WhenClientDies : std::uint8_t {
  keep,   ///< they run, and their results stay with the swarm while there is room
  cancel  ///< they are cancelled
};

std::string_view name_of(Strategy value);
std::string_view name_of(FairShare value);
std::string_view name_of(WhenFull value);
std::string_view name_of(WhenClientDies value);

}  // namespace micro_swarm
