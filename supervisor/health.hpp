#pragma once

// Who hangs? Nobody ticks for us: the progress words of busy agents are sampled, and only one that
// stands still is asked (its control thread answers a probe even while a handler runs). Who does
// not answer is stopped or stuck and is killed: its tasks run elsewhere. Grace is lengthened by
// our own lag, so that a starved machine does not look like a dead agent.

#include <bit>
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

/// Whether waiters should spin, from samples of "is more runnable than there are cores?". A swarm
/// at work looks overloaded in a single sample easily: who samples runs itself, and a client that
/// wakes for a moment is one more. So the last few samples decide: off when most of them were
/// overloaded, on again when at most one was. Pure.
class SpinPolicy {
 public:
  static constexpr unsigned samples = 5;
  static constexpr int overloaded_for_off = 3;
  static constexpr int overloaded_for_on = 1;

  /// Takes one sample; returns whether to spin from now on.
  bool sample(bool overloaded) {
    history_ = ((history_ << 1) | (overloaded ? 1u : 0u)) & ((1u << samples) - 1);
    const int count = std::popcount(history_);
    if (count >= overloaded_for_off) spins_ = false;
    if (count <= overloaded_for_on) spins_ = true;
    return spins_;
  }

 private:
  unsigned history_ = 0;  ///< one bit a sample, the newest lowest
  bool spins_ = true;
};

class Health {
 public:
  using Kill = std::function<void(Peer&, const std::string& why)>;
  Health(SupervisorContext& context, Tasks& tasks, Kill kill)
      : c_(context), tasks_(tasks), kill_(std::move(kill)) {}

  /// `lag_ns`: how much later than planned we run.
  void tick(std::uint64_t now, std::uint64_t lag_ns);
  void pong(Peer& agent, std::uint64_t number);

  /// Where more is runnable than there are cores, waiters should not spin: samples the machine and
  /// stores what SpinPolicy says (SupervisorTables::spin_ns).
  void sample_load();

 private:
  static bool has_forged_cursor(Peer& agent);
  /// True when it was killed.
  bool watch_cancel(Peer& agent, std::uint64_t now, std::uint64_t lag_ns);
  void kill_late(Peer& agent, const std::string& why);

  SupervisorContext& c_;
  Tasks& tasks_;
  Kill kill_;
  UniqueFd loadavg_;
  SpinPolicy spin_policy_;
};

}  // namespace micro_swarm
