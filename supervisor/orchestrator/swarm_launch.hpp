#pragma once

// Starts `microswarm run` as a child of this process, with a control channel, and sees it end.

#include <sys/types.h>

#include <chrono>
#include <cstdint>
#include <filesystem>
#include <optional>
#include <utility>

#include "common/posix.hpp"
#include "common/result.hpp"
#include "supervisor/orchestrator/swarm_plan.hpp"

namespace micro_swarm {

/// The swarm's root process, and this end of its control channel. The swarm drains and stops once
/// every copy of `channel` is closed, however this process ends; a copy in a child that was forked
/// and did not exec counts.
class LaunchedSwarm {
 public:
  LaunchedSwarm() = default;
  LaunchedSwarm(LaunchedSwarm&& other) noexcept
      : channel_(std::move(other.channel_)),
        pidfd_(std::move(other.pidfd_)),
        pid_(std::exchange(other.pid_, 0)),
        patience_ms_(other.patience_ms_),
        exit_code_(other.exit_code_) {}
  LaunchedSwarm& operator=(LaunchedSwarm&&) = delete;
  /// Closes the channel, waits for the end as long as stop() and, if need be, kills.
  ~LaunchedSwarm();

  /// posix_spawn (vfork and exec): nothing of this process runs in the child. The configuration
  /// goes along in memory, as its standard input; its signals are not this terminal's. Errors:
  /// system (no such executable, no descriptors), naming the path that was tried.
  static Result<LaunchedSwarm> start(const SwarmPlan& plan);

  int channel() const noexcept { return channel_.get(); }
  /// Channel closed, then: the exit code once the swarm has ended, nothing after `timeout_ms`;
  /// -1 when somebody else reaped it.
  void close_channel() noexcept { channel_.reset(); }
  std::optional<int> wait(std::uint32_t timeout_ms) noexcept;
  /// SIGKILL to root: everybody else ends with it.
  void kill() noexcept;
  pid_t root_pid() const noexcept { return pid_; }

 private:
  UniqueFd channel_;
  UniqueFd pidfd_;
  pid_t pid_ = 0;
  std::uint32_t patience_ms_ = 0;
  std::optional<int> exit_code_;
};

/// The executable that start() would take.
Result<std::filesystem::path> find_binary(const std::filesystem::path& asked);

}  // namespace micro_swarm
