#pragma once

// Kills workers and the supervisor of a swarm by a plan, beside the thread that uses the swarm.

#include <sys/types.h>

#include <cstdint>
#include <functional>
#include <mutex>
#include <optional>
#include <random>
#include <string>
#include <thread>
#include <vector>

#include "common/runtime_dir.hpp"
#include "ipc/control_client.hpp"

namespace micro_swarm::digits {

struct Strike {
  double at_seconds = 0;  ///< from the start
  unsigned workers = 0;   ///< so many of those alive then (fewer if fewer are), chosen at random
  bool supervisor = false;
};

/// What the swarm says about its workers.
struct Worker {
  int id = 0;
  pid_t pid = 0;
  unsigned incarnation = 0;  ///< which life this is, from 1
  bool live = false;
};
Result<std::vector<Worker>> list_workers(ControlClient& control);

/// Polls until all of `count` workers are live and began `lives` lives together.
/// Error: timed_out; says how many are up.
Result<void> wait_for_workers(ControlClient& control, std::size_t count, std::size_t lives,
                              std::uint32_t timeout_ms);

class Executioner {
 public:
  /// Starts at once. `root_pid`: nothing is killed but its children.
  Executioner(const Endpoint& endpoint, pid_t root_pid, std::vector<Strike> plan, unsigned seed);
  /// Gives up what is left of the plan.
  ~Executioner() = default;
  Executioner(const Executioner&) = delete;
  Executioner& operator=(const Executioner&) = delete;

  struct Deed {
    std::uint64_t at_ns = 0;
    std::string text;
  };
  struct Report {
    unsigned workers_killed = 0;
    unsigned supervisors_killed = 0;
    std::vector<Deed> new_deeds;  ///< since the last report
    bool finished = false;
    std::optional<Error> error;  ///< it could not go on; finished
  };
  /// What happened so far. From another thread, any time.
  Report report();

 private:
  void run(const std::stop_token& stop);
  Result<void> strike(ControlClient& control, const Strike& strike);
  Result<void> kill_workers(ControlClient& control, unsigned count);
  Result<void> kill_supervisor(ControlClient& control);
  Result<bool> kill_child(pid_t pid);
  void say(std::string text);

  Endpoint endpoint_;
  pid_t root_pid_;
  std::vector<Strike> plan_;
  std::mt19937 random_;
  std::uint64_t start_ns_;
  std::mutex mutex_;
  Report report_;  ///< under mutex_
  std::jthread thread_;
};

}  // namespace micro_swarm::digits
