#pragma once

namespace micro_swarm {

/// Exit codes of every `microswarm` verb; part of the command line's stable contract.
enum class ExitCode : int {
  ok = 0,
  failed = 1,
  usage = 2,        ///< bad flag, bad value, bad configuration file
  not_running = 3,  ///< no swarm answers on NAME.sock
  gave_up = 4,      ///< a restart cap was reached and the swarm stopped itself
  refused = 5,      ///< full, over quota, or of another version
  cancelled = 6,
  dead_letter = 7,
  timed_out = 124,
  interrupted = 130,  ///< second SIGINT
  terminated = 143,   ///< second SIGTERM
};

constexpr int to_int(ExitCode code) { return static_cast<int>(code); }

}  // namespace micro_swarm
