#pragma once

// Two small decisions of root, without clock, process or memory of their own.

#include <algorithm>
#include <cstdint>
#include <vector>

namespace micro_swarm {

/// Whether the supervisor hangs: its progress word stood still for a number of root's ticks. A
/// root that did not run itself (stopped, starved, suspended machine) does not tick, so that time
/// does not count.
class HangWatch {
 public:
  static constexpr std::uint32_t tick_ms_max = 1000;
  static constexpr std::uint32_t ticks_min = 5;

  explicit HangWatch(std::uint32_t timeout_ms)
      : tick_ms_(std::clamp(timeout_ms / ticks_min, 1u, tick_ms_max)),
        ticks_allowed_((timeout_ms + tick_ms_ - 1) / tick_ms_) {}

  std::uint32_t tick_ms() const { return tick_ms_; }

  /// Another supervisor: starts over.
  void start(std::uint64_t progress) {
    progress_ = progress;
    ticks_still_ = 0;
  }
  /// One tick has passed. True from the tick on at which the word stood still for too long.
  bool tick(std::uint64_t progress) {
    if (progress != progress_) {
      start(progress);
      return false;
    }
    return ++ticks_still_ >= ticks_allowed_;
  }

 private:
  std::uint32_t tick_ms_;
  std::uint32_t ticks_allowed_;
  std::uint32_t ticks_still_ = 0;
  std::uint64_t progress_ = 0;
};

/// At most `restarts_max` restarts within any `period_ms` (OTP's intensity and period). Allocates
/// when made, never after; what it has not used yet is not touched, because root is forked and a
/// page that exists costs every fork.
class RestartCap {
 public:
  RestartCap(std::uint32_t restarts_max, std::uint32_t period_ms)
      : period_ns_(std::uint64_t{period_ms} * 1'000'000), restarts_max_(restarts_max) {
    times_ns_.reserve(restarts_max);
  }

  /// Counts one restart at `now_ns`. False: it would be one too many; nothing is counted.
  bool allow(std::uint64_t now_ns) {
    if (restarts_max_ == 0) return false;
    if (count_ < restarts_max_) {
      times_ns_.push_back(now_ns);
    } else {
      std::uint64_t& oldest = times_ns_[count_ % restarts_max_];
      if (now_ns - oldest < period_ns_) return false;
      oldest = now_ns;
    }
    ++count_;
    return true;
  }
  std::uint64_t count() const { return count_; }

 private:
  std::uint64_t period_ns_;
  std::size_t restarts_max_;
  std::vector<std::uint64_t> times_ns_;  ///< ring of the last restarts_max_ restarts
  std::uint64_t count_ = 0;
};

}  // namespace micro_swarm
