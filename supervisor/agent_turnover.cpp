#include "supervisor/agent_turnover.hpp"

#include <algorithm>
#include <bitset>

#include "common/clock.hpp"

namespace micro_swarm {

namespace {

bool is_leaving(const LifeView& life) {
  return life.intent == AgentIntent::renewing || life.intent == AgentIntent::stopping;
}

/// 80 to 100 % of it, by life.
std::uint64_t limit_of(std::uint64_t limit, const LifeView& life) {
  // Fibonacci hashing (Knuth, TAOCP 3, 6.4): neighbours lie far apart.
  const std::uint32_t number = (std::uint32_t{life.id} << 16) | life.incarnation;
  const std::uint64_t spread = (number * 2654435769u) >> 16;  // 0..65535
  return limit - limit * spread / 65536 / 5;
}

}  // namespace

bool is_worn_out(const AgentSpec& spec, const LifeView& life) {
  if (!life.is_live || life.intent != AgentIntent::stay) return false;
  return (spec.max_tasks != 0 && life.tasks >= limit_of(spec.max_tasks, life)) ||
         (spec.max_age_ms != 0 &&
          life.age_ns >= limit_of(std::uint64_t{spec.max_age_ms} * ns_per_ms, life));
}

std::vector<PartyId> whose_turn(std::span<const LifeView> lives) {
  std::bitset<agent_kinds_max> busy;
  for (const LifeView& life : lives)
    if (life.intent != AgentIntent::stopping && (!life.is_live || is_leaving(life)))
      busy.set(life.kind);
  std::vector<PartyId> turn;
  for (const LifeView& life : lives) {
    if (life.intent != AgentIntent::renew_due || busy.test(life.kind)) continue;
    busy.set(life.kind);
    turn.push_back(life.id);
  }
  return turn;
}

std::vector<PartyId> surplus(std::span<const LifeView> lives, std::uint32_t kind,
                             std::uint32_t count) {
  std::vector<LifeView> left;
  for (const LifeView& life : lives)
    if (life.kind == kind && life.intent != AgentIntent::stopping) left.push_back(life);
  if (left.size() <= count) return {};
  std::sort(left.begin(), left.end(), [](const LifeView& a, const LifeView& b) {
    return a.is_live != b.is_live ? a.is_live : a.id < b.id;
  });
  std::vector<PartyId> stopped;
  for (std::size_t i = count; i < left.size(); ++i) stopped.push_back(left[i].id);
  return stopped;
}

}  // namespace micro_swarm
