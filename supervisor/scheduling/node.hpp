#pragma once

// One task as the scheduler sees it; one per record slot, linked into at most one queue, one age
// list and the timers.

#include <boost/intrusive/list_hook.hpp>
#include <boost/intrusive/set_hook.hpp>
#include <cstdint>
#include <limits>

#include "supervisor/scheduling/types.hpp"

namespace micro_swarm::scheduling {

inline constexpr std::uint32_t no_slot = std::numeric_limits<std::uint32_t>::max();
inline constexpr std::uint64_t never = std::numeric_limits<std::uint64_t>::max();

namespace intrusive = boost::intrusive;
using Unchecked = intrusive::link_mode<intrusive::normal_link>;
using TreeHook = intrusive::set_member_hook<Unchecked, intrusive::optimize_size<true>>;
using ListHook = intrusive::list_member_hook<Unchecked>;

struct Node {
  enum class State : std::uint8_t {
    none,      ///< no task
    waiting,   ///< for dependencies
    delayed,   ///< until not_before_ns
    released,  ///< the shell has been asked for its next step
    queued,
    running,
  };

  TaskId task = 0;
  std::uint64_t order_ns = 0;  ///< its deadline, or what stands for one
  std::uint64_t arrival = 0;
  TreeHook in_queue;
  ListHook in_age_list;
  std::uint64_t age_ns = 0;  ///< when it came into its class, while queued
  TreeHook in_timers;
  std::uint64_t timer_ns = never;    ///< when in the timers
  std::uint64_t expires_ns = never;  ///< told once
  std::uint64_t not_before_ns = 0;   ///< delayed
  std::uint64_t dispatched_ns = 0;   ///< running
  std::uint64_t estimate_ns = 0;     ///< running: what its agent's backlog has of it
  std::uint32_t flow = 0;
  std::uint16_t shape = 0;
  PartyId agent = no_party;  ///< running
  State state = State::none;
  std::uint8_t level = 0;  ///< the class it counts in: 0 = critical
};

/// What is compared inside one flow and class.
struct Earlier {
  bool operator()(const Node& a, const Node& b) const {
    return a.order_ns != b.order_ns ? a.order_ns < b.order_ns : a.arrival < b.arrival;
  }
};

}  // namespace micro_swarm::scheduling
