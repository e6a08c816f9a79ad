#pragma once

// When a dead agent is started again: OTP's restart types and intensity/period, with exponential
// backoff and jitter. Pure: time and randomness come in with the event.
//
//   death --decide--> restart after delay | leave it | give up
//
// The first death after `stable_after_ms` of life is answered at once; each further early death
// doubles the delay, up to the maximum. More than `intensity` restarts within `period_ms`: give up.

#include <cstdint>
#include <list>

#include "common/config.hpp"

namespace micro_swarm {

enum class ExitKind : std::uint8_t {
  clean,  ///< exit status 0
  asked,  ///< the supervisor told it to stop
  crash,  ///< anything else
};

struct RestartDecision {
  enum class Kind : std::uint8_t { restart, leave, give_up };
  Kind kind = Kind::leave;
  std::uint64_t not_before_ns = 0;  ///< restart only
};

class RestartPolicyState {
 public:
  /// `random` in [0, 1): spreads the delay over [50 %, 100 %] so that agents that died together do
  /// not come back together.
  RestartDecision died(const SupervisionConfig& config, ExitKind how, std::uint64_t uptime_ns,
                       std::uint64_t now_ns, double random);
  std::uint32_t early_deaths() const { return early_deaths_; }

 private:
  std::list<std::uint64_t> restarts_ns_;
  std::uint32_t early_deaths_ = 0;
};

}  // namespace micro_swarm
