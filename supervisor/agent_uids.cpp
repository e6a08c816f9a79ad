#include "supervisor/agent_uids.hpp"

#include <unistd.h>

#include "common/own_uid.hpp"

namespace micro_swarm {

AgentUids::AgentUids(const Config& config) : is_uid_0_(::geteuid() == 0) {
  const uid_t base = config.containment.uid_base;
  if (!is_uid_0_ || base == 0) return;
  if (auto can = can_give_uids(base, base + agents_max + agent_kinds_max - 1))
    base_ = base;
  else
    missing_ = can.error().message;
}

uid_t AgentUids::of_agent(const AgentSpec& kind, PartyId agent) const {
  if (!is_uid_0_ || !kind.containment.enabled || kind.kind == AgentKind::neural) return 0;
  if (kind.containment.uid) return *kind.containment.uid;
  return base_ == 0 ? 0 : base_ + agent;
}

uid_t AgentUids::of_template(const AgentSpec& kind, std::uint32_t number) const {
  if (!is_uid_0_ || !kind.containment.enabled || kind.kind != AgentKind::neural) return 0;
  if (kind.containment.uid) return *kind.containment.uid;
  return base_ == 0 ? 0 : base_ + agents_max + number;
}

}  // namespace micro_swarm
