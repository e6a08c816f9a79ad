#pragma once

// One task as the scheduler sees it; one per record slot, linked into at most one queue, one age
// list and the timers.

#include <boost/intrusive/list_hook.hpp>
#include <boost/intrusive/set_hook.hpp>
#include <cstdint>
#include <limits>
#include <memory>
#include <vector>

#include "supervisor/scheduling/types.hpp"

namespace micro_swarm::scheduling {

inline constexpr std::uint32_t no_slot = std::numeric_limits<std::uint32_t>::max();
inline constexpr std::uint64_t never = std::numeric_limits<std::uint64_t>::max();

namespace intrusive = boost::intrusive;
using Unchecked = intrusive::link_mode<intrusive::normal_link>;
using TreeHook = intrusive::set_member_hook<Unchecked, intrusive::optimize_size<true>>;
using ListHook = intrusive::list_member_hook<Unchecked>;

struct alignas(64) Node {
  enum class State : std::uint8_t {
    none,      ///< no task
    waiting,   ///< for dependencies
    delayed,   ///< until not_before_ns
    released,  ///< the shell has been asked for its next step
    queued,
    running,
  };

  // What is looked at from its neighbours in queue and list is one cache line.
  TreeHook in_queue;
  std::uint64_t order_ns = 0;  ///< its deadline, or what stands for one
  std::uint64_t arrival = 0;
  std::uint64_t age_ns = 0;  ///< when it came into its class, while queued
  ListHook in_age_list;
  // ---
  TaskId task = 0;
  std::uint32_t flow = 0;
  std::uint16_t shape = 0;
  PartyId agent = no_party;  ///< running
  State state = State::none;
  std::uint8_t level = 0;            ///< the class it counts in: 0 = critical
  std::uint64_t dispatched_ns = 0;   ///< running
  std::uint64_t estimate_ns = 0;     ///< running: what its agent's backlog has of it
  std::uint64_t expires_ns = never;  ///< told once
  std::uint64_t timer_ns = never;    ///< when in the timers
  // ---
  std::uint64_t not_before_ns = 0;  ///< delayed
};

/// One per record slot, made when first used: a supervisor that takes over thousands of ended tasks
/// has work for a few of them.
class Nodes {
 public:
  explicit Nodes(std::uint32_t count) : chunks_((count + per_chunk - 1) / per_chunk) {}

  Node& at(std::uint32_t slot) {
    auto& chunk = chunks_[slot / per_chunk];
    if (!chunk) chunk = std::make_unique<Node[]>(per_chunk);
    return chunk[slot % per_chunk];
  }
  /// nullptr = never used, or no such slot.
  const Node* find(std::uint32_t slot) const {
    if (slot / per_chunk >= chunks_.size() || !chunks_[slot / per_chunk]) return nullptr;
    return &chunks_[slot / per_chunk][slot % per_chunk];
  }
  template <class F>
  void for_each(F&& f) const {
    for (const auto& chunk : chunks_)
      for (std::uint32_t i = 0; chunk && i < per_chunk; ++i) f(chunk[i]);
  }

 private:
  static constexpr std::uint32_t per_chunk = 64;
  std::vector<std::unique_ptr<Node[]>> chunks_;
};

/// What is compared inside one flow and class.
struct Earlier {
  bool operator()(const Node& a, const Node& b) const {
    return a.order_ns != b.order_ns ? a.order_ns < b.order_ns : a.arrival < b.arrival;
  }
};

}  // namespace micro_swarm::scheduling
