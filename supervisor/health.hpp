#pragma once

// Who hangs? Nobody ticks for us: the progress words of busy agents are sampled, and only one that
// stands still is asked (its control thread answers a probe even while a handler runs). Who does
// not answer is stopped or stuck and is killed: its tasks run elsewhere. Grace is lengthened by
// our own lag, so that a starved machine does not look like a dead agent.

#include <functional>

#include "supervisor/context.hpp"
#include "supervisor/tasks.hpp"

namespace micro_swarm {

/// What to do about one agent now. Pure.
struct HealthView {
  bool busy = false;
  std::uint64_t progress = 0;
  std::uint64_t progress_seen = 0;
  std::uint64_t progress_at_ns = 0;
  std::uint64_t probe_sent_ns = 0;  ///< 0 = none out
  bool idle_probe_due = false;
};
enum class HealthAction : std::uint8_t { none, progressed, probe, kill };
HealthAction judge(const HealthView& view, std::uint64_t now_ns, std::uint64_t hang_timeout_ns);

class Health {
 public:
  using Kill = std::function<void(Peer&, const std::string& why)>;
  Health(SupervisorContext& context, Tasks& tasks, Kill kill)
      : c_(context), tasks_(tasks), kill_(std::move(kill)) {}

  /// `lag_ns`: how much later than planned we run.
  void tick(std::uint64_t now, std::uint64_t lag_ns);
  void pong(Peer& agent, std::uint64_t number);

  /// More runnable threads than cores: waiters should not spin (SupervisorTables::spin_ns).
  void sample_load();

 private:
  static bool has_forged_cursor(Peer& agent);
  void watch_cancel(Peer& agent, std::uint64_t now);

  SupervisorContext& c_;
  Tasks& tasks_;
  Kill kill_;
  UniqueFd loadavg_;
  std::uint32_t calm_samples_ = 0;
};

}  // namespace micro_swarm
