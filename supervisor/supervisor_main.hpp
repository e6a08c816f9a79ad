#pragma once

#include <sys/types.h>

#include <span>

#include "common/config.hpp"
#include "common/runtime_dir.hpp"
#include "shm/segment.hpp"
#include "supervisor/fd_store.hpp"
#include "supervisor/root_protocol.hpp"

namespace micro_swarm {

/// What a supervisor starts with. Everything lies in memory inherited from root by fork: it is this
/// process's own copy, except for `segment`, which is the shared memory that supervisors write.
struct SupervisorBoot {
  const Config& config;
  const Endpoint& endpoint;
  /// Mapped read-write, MADV_DONTFORK already set in this process: the only writer while it lives.
  SegmentView segment;
  int segment_fd = -1;
  int root_socket = -1;    ///< RootRequest out, RootEvent in; this supervisor's own pair
  int listen_socket = -1;  ///< NAME.sock, already listening
  /// What predecessors had root keep: key -> descriptor number, owned by this process.
  const FdStore& fds;
  /// Root's last events (at most 1024) before the fork, oldest first: deaths nobody was there to
  /// hear of are among them, the predecessor's own too. The socket goes on with the next sequence
  /// number. A gap before the first means that older ones are lost: ask the pidfds then.
  std::span<const RootEvent> recent_events;
  /// 1 = first supervisor of this swarm; more = the segment is a predecessor's, adopt it.
  unsigned epoch = 1;
  pid_t root_pid = 0;
  /// SIGTERM or SIGINT came to root, now or in a predecessor's time: the swarm is to stop.
  bool drain_requested = false;
};

/// The supervisor's process, from its first instruction behind root's fork. Ends by _exit only
/// (what root's objects clean up is not this process's); an exception that leaves it aborts.
///
/// Precondition kept by root: session leader of its own, PDEATHSIG set, no signal blocked, SIGPIPE
/// ignored, other dispositions default.
/// Duty: header().progress of the segment must change at least twice in every
/// supervision.supervisor_hang_timeout_ms, idle or not, or root kills this process.
/// Ending without having sent RootRequestKind::quit counts as a crash: root starts another.
[[noreturn]] void supervisor_main(SupervisorBoot boot);

}  // namespace micro_swarm
