#pragma once

// The control channel: how whoever starts a swarm (`run --control-fd N`) talks to it without the
// file system, and keeps it alive.
//
// A pair of SEQPACKET sockets; the swarm inherits one end. Each message to the swarm is one byte
// with one descriptor beside it: a connected UNIX stream socket, which is served like a connection
// accepted from NAME.sock. Messages wait in the channel while no supervisor lives, as connections
// wait in a backlog; connections end with the supervisor that served them, so a half-sent request
// or answer never meets the next one. Closing the other end ends the swarm: it drains and stops.
// The swarm says one thing only on the channel itself, an error line, before it ends because of it.

#include <optional>

#include "common/posix.hpp"
#include "common/result.hpp"

namespace micro_swarm {

// ---- the side of who starts the swarm ----

/// A new connection: sends one end of a stream pair over the channel, returns the other
/// (non-blocking, CLOEXEC). Does not wait for anybody to serve it. Errors: refused (so many wait
/// already that the channel is full; sys_errno EAGAIN), not_running or what the swarm last said
/// (its end is closed), system.
Result<UniqueFd> open_control_connection(int channel);

// ---- the swarm's side ----

/// An inherited descriptor by number; CLOEXEC from here on. Error (usage): it is no UNIX SEQPACKET
/// socket.
Result<UniqueFd> take_control_channel(int number);

enum class ChannelRead { nothing, connection, malformed, ended };
/// Never blocks. `connection` is set exactly when that is returned.
ChannelRead receive_control_connection(int channel, std::optional<UniqueFd>& connection);

/// Last words. Best effort; `channel` -1 = nobody to tell.
void tell_control_channel(int channel, const Error& error);

}  // namespace micro_swarm
