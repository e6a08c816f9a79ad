#include "supervisor/restart_policy.hpp"

#include <algorithm>

#include "common/clock.hpp"

namespace micro_swarm {

RestartDecision RestartPolicyState::died(const SupervisionConfig& config, ExitKind how,
                                         std::uint64_t uptime_ns, std::uint64_t now_ns,
                                         double random) {
  if (how == ExitKind::asked) return {};
  switch (config.restart) {
    case RestartPolicy::temporary: return {};
    case RestartPolicy::transient:
      if (how == ExitKind::clean) return {};
      break;
    case RestartPolicy::permanent: break;
  }

  const std::uint64_t period_ns = config.period_ms * ns_per_ms;
  while (!restarts_ns_.empty() && restarts_ns_.front() + period_ns <= now_ns)
    restarts_ns_.pop_front();
  if (restarts_ns_.size() >= config.intensity) return {RestartDecision::Kind::give_up, 0};
  restarts_ns_.push_back(now_ns);

  early_deaths_ = uptime_ns >= config.stable_after_ms * ns_per_ms ? 0 : early_deaths_ + 1;
  if (early_deaths_ <= 1) return {RestartDecision::Kind::restart, now_ns};
  const std::uint32_t doublings = std::min(early_deaths_ - 2, 20u);
  const std::uint64_t full_ms = std::min<std::uint64_t>(
      std::uint64_t{config.backoff_initial_ms} << doublings, config.backoff_max_ms);
  const auto delay_ns =
      static_cast<std::uint64_t>(static_cast<double>(full_ms * ns_per_ms) * (0.5 + random / 2));
  return {RestartDecision::Kind::restart, now_ns + delay_ns};
}

}  // namespace micro_swarm
