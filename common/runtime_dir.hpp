#pragma once

#include <sys/types.h>

#include <string>
#include <string_view>

#include "common/posix.hpp"
#include "common/result.hpp"

namespace micro_swarm {

/// Where a swarm is met: NAME.sock (its control socket) and NAME.lock (held by its root) in one
/// directory, and NAME.files, where agents that are scripts are handed large payloads. Those are
/// all that a swarm killed with SIGKILL leaves behind, and the next start takes them over.
struct Endpoint {
  std::string name;
  std::string directory;  ///< absolute, without a trailing slash

  std::string socket_path() const { return directory + "/" + name + ".sock"; }
  std::string lock_path() const { return directory + "/" + name + ".lock"; }
  std::string files_path() const { return directory + "/" + name + ".files"; }
};

/// The runtime directory: $MICROSWARM_RUNTIME_DIR, else $XDG_RUNTIME_DIR/microswarm, else
/// /run/microswarm; the first variable that is set decides, so that `run` and the other verbs
/// cannot come to different answers. Empty counts as unset, a relative path is refused. Nothing is
/// created or looked at.
Result<std::string> runtime_directory();

/// Name and directory of a swarm, checked against sun_path (107 bytes). For the verbs that talk to
/// a running swarm: touches no file.
Result<Endpoint> find_endpoint(std::string_view name);

/// The same for `run`: the directory is created with mode 0700 if it is missing, and refused when
/// it is not writable, or writable by others (who could then replace the socket).
Result<Endpoint> prepare_endpoint(std::string_view name);

/// Takes NAME.lock as a fcntl record lock for this process; root does it before it forks anything.
/// Held by another = ErrorCode::refused naming its pid. A record lock belongs to the process: it is
/// not inherited by fork, and closing any descriptor of the file in this process drops it, so keep
/// the result and never open the file again here.
Result<UniqueFd> acquire_swarm_lock(const Endpoint& endpoint);

/// The pid that holds NAME.lock, 0 if none does. Never call it in the process that holds it.
pid_t swarm_lock_holder(const Endpoint& endpoint);

/// Binds and listens on NAME.sock: STREAM, non-blocking, CLOEXEC, mode 0600 from its first instant.
/// Call it with the lock held: what is there under that name is then stale and is removed, and
/// NAME.files with it.
/// Listening sockets survive the supervisor, because root keeps the descriptor.
Result<UniqueFd> listen_control_socket(const Endpoint& endpoint);

/// Removes NAME.sock, NAME.files and NAME.lock after an orderly stop; call it before the lock is
/// released.
void remove_endpoint_files(const Endpoint& endpoint) noexcept;

}  // namespace micro_swarm
