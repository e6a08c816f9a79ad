#pragma once

#include <cstddef>

#include "common/result.hpp"

namespace micro_swarm::quantum {

/// Who waits for the work: told now and then that it gets on, and asked whether it shall.
class Watch {
 public:
  virtual ~Watch() = default;
  /// False: nobody wants the result any more.
  virtual bool go_on() noexcept = 0;

  /// `steps` amplitudes (or as much work) more were done; asks after every 2^20 of them, some
  /// milliseconds. False as go_on().
  bool worked(std::size_t steps) noexcept {
    done_ += steps;
    if (done_ < (std::size_t{1} << 20)) return true;
    done_ = 0;
    return go_on();
  }

 private:
  std::size_t done_ = 0;
};

inline Error stopped() { return {ErrorCode::cancelled, "the task was cancelled", 0}; }

}  // namespace micro_swarm::quantum
