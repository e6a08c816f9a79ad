#include "supervisor/agent_uids.hpp"

#include <unistd.h>

#include <algorithm>
#include <filesystem>

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

std::string AgentUids::out_of_reach(const AgentSpec& kind) {
  const auto look = [](std::string_view word) -> std::string {
    if (word.find('/') == std::string_view::npos) return {};
    std::error_code failure;
    return closed_to_others(std::filesystem::absolute(word, failure).lexically_normal());
  };
  for (const std::string& word : kind.command)
    if (auto found = look(word); !found.empty()) return found;
  for (const auto& [name, value] : kind.environment)
    for (std::size_t from = 0; from <= value.size();) {
      const std::size_t end = std::min(value.find(':', from), value.size());
      if (auto found = look(std::string_view(value).substr(from, end - from)); !found.empty())
        return found;
      from = end + 1;
    }
  return {};
}

uid_t AgentUids::of_agent(const AgentSpec& kind, PartyId agent) const {
  if (!is_uid_0_ || !kind.containment.enabled || kind.kind == AgentKind::neural) return 0;
  if (kind.containment.uid) return *kind.containment.uid;
  return base_ == 0 || !out_of_reach(kind).empty() ? 0 : base_ + agent;
}

uid_t AgentUids::of_template(const AgentSpec& kind, std::uint32_t number) const {
  if (!is_uid_0_ || !kind.containment.enabled || kind.kind != AgentKind::neural) return 0;
  if (kind.containment.uid) return *kind.containment.uid;
  return base_ == 0 ? 0 : base_ + agents_max + number;
}

}  // namespace micro_swarm
