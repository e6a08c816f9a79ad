#pragma once

// Root's two kinds of children, and the order of steps in each before its own code begins.

#include <sys/resource.h>
#include <sys/types.h>

#include "shm/segment.hpp"
#include "supervisor/root_events.hpp"
#include "supervisor/run.hpp"
#include "supervisor/supervisor_main.hpp"

namespace micro_swarm {

/// Forks a supervisor with the one writable mapping of its segment. `events` are those of `boot`,
/// put in order in the child; `root_fds` are root's own descriptors that it must not have.
/// Precondition: the previous supervisor is reaped (two would be two writers).
/// Returns its pid, or -1 with errno. Allocates nothing in root.
pid_t fork_supervisor(const SupervisorBoot& boot, const Segment& segment, RootEvents& events,
                      std::span<const int> root_fds) noexcept;

/// Forks a template: descriptors 0 = `null_fd`, 1 and 2 = `log_pipe` (root's own when -1), 3 =
/// `socket`, nothing else; the soft limit of descriptors is `nofile_soft` again. It has no mapping
/// of the supervisor's segment.
/// Returns its pid, or -1 with errno. Allocates nothing in root.
pid_t fork_template(TemplateEntry entry, int socket, int log_pipe, int null_fd,
                    rlim_t nofile_soft) noexcept;

}  // namespace micro_swarm
