#pragma once

// A swarm of one's own: `microswarm run` as a child, in a private runtime directory.

#include <sys/types.h>

#include <cstdint>
#include <filesystem>
#include <string>
#include <vector>

#include "common/posix.hpp"
#include "common/result.hpp"
#include "common/runtime_dir.hpp"

namespace micro_swarm::digits {

class SwarmProcess {
 public:
  /// Starts `binary` with that configuration. The private directory holds the configuration, the
  /// log and the swarm's own files; $MICROSWARM_RUNTIME_DIR of this process is set to it, so that
  /// clients in it find the swarm by its name. The swarm ends when this process does.
  /// Errors: the binary is not there, no directory, no process.
  static Result<SwarmProcess> start(const std::filesystem::path& binary,
                                    const std::string& config_toml, const std::string& name);

  SwarmProcess(SwarmProcess&& other) noexcept;
  SwarmProcess& operator=(SwarmProcess&&) = delete;
  /// Ends the swarm if it still runs (SIGTERM, after 5 s SIGKILL) and removes the directory.
  ~SwarmProcess();

  const Endpoint& endpoint() const { return endpoint_; }
  pid_t root_pid() const { return pid_; }
  bool has_ended() const;

  /// SIGTERM, then waits for the exit code. Errors: timed_out (it runs on and is killed), or it
  /// ended by a signal.
  Result<int> stop(std::uint32_t timeout_ms);

  /// What the swarm left in its runtime directory; nothing, after an orderly end.
  std::vector<std::string> leftovers() const;

  /// The end of the swarm's log, for when something went wrong.
  std::string log_tail(std::size_t lines_max) const;

 private:
  SwarmProcess() = default;
  bool wait_ended(std::uint32_t timeout_ms) const;
  Result<int> reap();

  std::filesystem::path directory_;
  Endpoint endpoint_;
  pid_t pid_ = 0;
  UniqueFd pidfd_;
};

}  // namespace micro_swarm::digits
