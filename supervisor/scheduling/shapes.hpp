#pragma once

// What tasks ask of an agent, each different combination once: who can serve a queue is a question
// about its shape, not about each task in it.

#include <bitset>
#include <cstdint>
#include <unordered_map>
#include <vector>

#include "supervisor/scheduling/agent_table.hpp"
#include "supervisor/scheduling/types.hpp"

namespace micro_swarm::scheduling {

inline constexpr std::uint32_t shapes_max = 256;
using ShapeSet = std::bitset<shapes_max>;

struct Shape {
  std::uint16_t capability = 0;
  std::uint16_t min_version = 0;
  std::uint32_t cpu_slots = 1;
  bool reserves = false;  ///< regions or bytes
  std::uint32_t live = 0;
  std::uint32_t queued = 0;
  PartyId claim = no_party;  ///< the agent that keeps itself free for one of these
  PartyId turn = 0;          ///< where the search for an agent starts
  AgentSet able;             ///< live agents that can do it, busy or not
};

class Shapes {
 public:
  Shapes() : shapes_(shapes_max) {}

  /// The shape of such a task, made when it is new; no_shape = there are too many already.
  std::uint16_t of(const TaskSpec& spec, const AgentTable& agents);
  /// of() would not say no_shape.
  bool has_room_for(const TaskSpec& spec) const;
  Shape& at(std::uint16_t shape) { return shapes_[shape]; }
  const Shape& at(std::uint16_t shape) const { return shapes_[shape]; }

  void came(std::uint16_t shape) { ++shapes_[shape].live; }
  void left(std::uint16_t shape) { --shapes_[shape].live; }
  void queued(std::uint16_t shape) {
    if (shapes_[shape].queued++ == 0) waiting_.set(shape);
  }
  void unqueued(std::uint16_t shape) {
    if (--shapes_[shape].queued == 0) waiting_.reset(shape);
  }
  /// Shapes of which tasks are queued.
  const ShapeSet& waiting() const { return waiting_; }

  void agent_up(PartyId agent, const AgentTable& agents);
  void agent_down(PartyId agent);

 private:
  static std::uint64_t key_of(const TaskSpec& spec);
  static bool can(const Shape& shape, PartyId agent, const AgentTable& agents);

  std::vector<Shape> shapes_;
  std::unordered_map<std::uint64_t, std::uint16_t> index_;
  std::uint64_t last_key_ = 0;  // tasks mostly come in runs of the same
  std::uint16_t last_ = no_shape;
  std::uint16_t fresh_ = 0;  // never used from here on
  ShapeSet waiting_;
};

}  // namespace micro_swarm::scheduling
