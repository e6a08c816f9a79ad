#pragma once

// How long an agent that was asked to stop a task has had the chance to. What counts is time in
// which it could run: not the time it stood in line for a CPU, and not the time in which we
// ourselves came late to look. So one that loops, sleeps or was stopped is killed when its grace
// is over, and a healthy one on a starved machine is not. Pure but for run_delay_ns().

#include <sys/types.h>

#include <algorithm>
#include <cstdint>
#include <optional>

namespace micro_swarm {

class CancelGrace {
 public:
  /// The wait for CPUs lengthens the grace to at most this much of it: threads of its own, each in
  /// the other's way, do not let an agent live for ever.
  static constexpr std::uint64_t stretch_max = 10;

  /// `run_delay_ns`: what its work thread has stood in line for CPUs so far; nothing = not known.
  void begin(std::uint64_t now_ns, std::uint64_t grace_ns,
             std::optional<std::uint64_t> run_delay_ns) {
    ends_at_ns_ = now_ns + grace_ns;
    latest_ns_ = now_ns + grace_ns * stretch_max;
    run_delay_ns_ = run_delay_ns.value_or(0);
  }
  /// `lag_ns`: how much later than planned we look.
  bool is_over(std::uint64_t now_ns, std::uint64_t lag_ns,
               std::optional<std::uint64_t> run_delay_ns) {
    ends_at_ns_ += lag_ns;
    latest_ns_ += lag_ns;
    if (run_delay_ns && *run_delay_ns > run_delay_ns_) {
      ends_at_ns_ += *run_delay_ns - run_delay_ns_;
      run_delay_ns_ = *run_delay_ns;
    }
    return now_ns >= std::min(ends_at_ns_, latest_ns_);
  }

 private:
  std::uint64_t ends_at_ns_ = 0;
  std::uint64_t latest_ns_ = 0;
  std::uint64_t run_delay_ns_ = 0;
};

/// How long the first thread of `pid` has been ready to run without running, in all. Second field
/// of /proc/PID/schedstat (Documentation/scheduler/sched-stats.rst); nothing where there is none.
std::optional<std::uint64_t> run_delay_ns(pid_t pid);

}  // namespace micro_swarm
