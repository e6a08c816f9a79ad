#pragma once

// Agents whose work is done by somebody's command: a script that is asked in lines (stdio), or a
// command that is run once for each task (exec). The agent is a clone of its template as built-in
// ones are; it alone speaks to the supervisor.

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "agentproc/handler.hpp"
#include "agentproc/script_command.hpp"
#include "agentproc/script_files.hpp"

namespace micro_swarm {

class ChildProcess;

/// What both kinds of scripts need: made before the agent registers, so that a command that cannot
/// be run is a death before it was ready.
struct ScriptSetting {
  std::vector<std::string> argv;
  std::vector<std::string> environment;  ///< all of it, but for what a task adds
  ScriptFiles files;
  int stop_grace_ms = 0;
};

/// How often an agent looks whether a task was cancelled while it waits for a script.
inline constexpr int script_look_ms = 50;

/// Bytes of the whole pool, as the supervisor's segment has them.
std::uint64_t pool_bytes_of(const AgentEnvironment& environment);

/// The script runs when it returns. Errors: system, usage; with the errno of what cannot be run.
Result<std::unique_ptr<Handler>> make_stdio_handler(ScriptSetting setting);
/// Error (usage): the command is not there.
Result<std::unique_ptr<Handler>> make_exec_handler(ScriptSetting setting);

/// For agent `party` in its life `incarnation`; from here on the process ignores SIGPIPE.
Result<std::unique_ptr<Handler>> make_script_handler(const ScriptCommand& command, PartyId party,
                                                     Incarnation incarnation);

/// Waits for the end of a command that was told to stop by SIGTERM, and throws away what it says;
/// then it is killed.
void stop_script(ChildProcess& child, int grace_ms, TaskContext& task);

}  // namespace micro_swarm
