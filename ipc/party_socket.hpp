#pragma once

// Typed sends and receives on a party socket (ipc/party_protocol.hpp), for the party's end.

#include <array>
#include <cstdint>
#include <span>

#include "common/posix.hpp"
#include "ipc/party_protocol.hpp"

namespace micro_swarm {

/// One message and the descriptors that came with it; those not taken are closed.
struct ReceivedPartyMessage {
  PartyMessage message;
  std::array<UniqueFd, 4> fds;
  int fd_count = 0;
};

enum class PartySocketRead {
  message,
  nothing,    ///< none there (only when not waiting)
  malformed,  ///< wrong size, unknown kind or wrong number of descriptors; consumed and dropped
  closed,     ///< the other end is gone
};

/// Receives one message of the supervisor. `wait` = block until there is one. The descriptors'
/// number is right for the message's kind, their nature is not checked yet.
PartySocketRead receive_party_message(int socket, ReceivedPartyMessage& received, bool wait);

/// Sends one message. Waits for space at most `wait_ms` (a supervisor that does not read).
/// Errors: not_running (the other end is gone), timed_out, system.
Result<void> send_party_message(int socket, const PartyMessage& message,
                                std::span<const int> fds = {}, int wait_ms = 1000);

}  // namespace micro_swarm
