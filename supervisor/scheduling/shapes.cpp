#include "supervisor/scheduling/shapes.hpp"

#include <algorithm>

namespace micro_swarm::scheduling {

namespace {
constexpr std::uint32_t cpu_slots_limit = 0xffff;
bool reserves(const TaskSpec& spec) {
  return spec.resources.regions != 0 || spec.resources.bytes != 0;
}
}  // namespace

std::uint64_t Shapes::key_of(const TaskSpec& spec) {
  const std::uint64_t slots = std::clamp(spec.resources.cpu_slots, 1u, cpu_slots_limit);
  return (slots << 33) | (std::uint64_t{reserves(spec)} << 32) |
         (std::uint64_t{spec.min_version} << 16) | spec.capability;
}

std::uint16_t Shapes::of(const TaskSpec& spec, const AgentTable& agents) {
  const std::uint64_t key = key_of(spec);
  if (last_ != no_shape && last_key_ == key) return last_;
  std::uint16_t number = no_shape;
  if (const auto at = index_.find(key); at != index_.end()) {
    number = at->second;
  } else {
    if (fresh_ < shapes_max) {
      number = fresh_++;
    } else {
      const auto unused = std::find_if(shapes_.begin(), shapes_.end(),
                                       [](const Shape& shape) { return shape.live == 0; });
      if (unused == shapes_.end()) return no_shape;
      number = static_cast<std::uint16_t>(unused - shapes_.begin());
      std::erase_if(index_, [number](const auto& entry) { return entry.second == number; });
    }
    index_.emplace(key, number);
    Shape shape;
    shape.capability = spec.capability;
    shape.min_version = spec.min_version;
    shape.cpu_slots = std::clamp(spec.resources.cpu_slots, 1u, cpu_slots_limit);
    shape.reserves = reserves(spec);
    for (PartyId agent = 0; agent < agents_max; ++agent)
      if (agents.at(agent).is_up && can(shape, agent, agents)) shape.able.set(agent);
    shapes_[number] = shape;
  }
  last_key_ = key;
  last_ = number;
  return number;
}

bool Shapes::has_room_for(const TaskSpec& spec) const {
  if (fresh_ < shapes_max) return true;
  const std::uint64_t key = key_of(spec);
  if (last_ != no_shape && last_key_ == key) return true;
  if (index_.contains(key)) return true;
  return std::any_of(shapes_.begin(), shapes_.end(),
                     [](const Shape& shape) { return shape.live == 0; });
}

void Shapes::agent_up(PartyId agent, const AgentTable& agents) {
  for (std::uint16_t i = 0; i < fresh_; ++i)
    shapes_[i].able.set(agent, can(shapes_[i], agent, agents));
}

void Shapes::agent_down(PartyId agent) {
  for (std::uint16_t i = 0; i < fresh_; ++i) {
    shapes_[i].able.reset(agent);
    if (shapes_[i].claim == agent) shapes_[i].claim = no_party;
  }
}

bool Shapes::can(const Shape& shape, PartyId agent, const AgentTable& agents) {
  if (shape.cpu_slots > agents.slots()) return false;
  const CapabilityOffer* offer = agents.offer(agent, shape.capability);
  return offer != nullptr && offer->version >= shape.min_version;
}

}  // namespace micro_swarm::scheduling
