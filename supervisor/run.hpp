#pragma once

#include "common/config.hpp"
#include "common/posix.hpp"
#include "common/result.hpp"
#include "common/runtime_dir.hpp"

namespace micro_swarm {

/// Body of a template process (agentproc/template_process.hpp), handed in because supervisor/ does
/// not know agentproc/. `socket` is the template's end of its socket. Never returns.
using TemplateEntry = void (*)(int socket);

/// `microswarm run`: turns the calling process, which must be single-threaded, into the root of a
/// swarm and returns when that has ended, with the exit code for the process: 0 drained, 4 gave up
/// (restart cap), 130 or 143 forced by a second signal, or what the supervisor asked for.
///
/// Everything is checked before anything is started. Errors: system (limits of descriptors, memory,
/// address space or file size too low, each naming what to raise or lower; no sealable memfd; no
/// /proc of this PID namespace; runtime directory), refused (a swarm of that name runs already).
/// The soft limit of descriptors is raised for the swarm; agents get back the one found at start.
/// `control_channel`: see control_channel.hpp; the swarm drains and stops when its other end
/// closes.
Result<int> run_swarm(const Config& config, const Endpoint& endpoint, TemplateEntry template_entry,
                      UniqueFd control_channel = {});

}  // namespace micro_swarm
