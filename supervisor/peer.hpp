#pragma once

// What the supervisor's process knows of one party beside the shared tables: descriptors, mappings,
// ring ends, and how it seems to be. All of it can be made anew from root's fd store and the
// tables.

#include <boost/asio/posix/stream_descriptor.hpp>
#include <cstdint>
#include <list>
#include <optional>
#include <vector>

#include "ipc/bell.hpp"
#include "ipc/party_protocol.hpp"
#include "ipc/ring.hpp"
#include "shm/segment.hpp"
#include "supervisor/cancel_grace.hpp"
#include "supervisor/log_lines.hpp"

namespace micro_swarm {

/// A descriptor the loop waits on. Owns it.
using WatchedFd = boost::asio::posix::stream_descriptor;

struct OutgoingMessage {
  PartyMessage message;
  UniqueFd fd;  ///< sent beside it, if any
};

struct Peer {
  PartyId id = no_party;

  // The life that is registered (or was last, until a successor registers).
  Segment segment;  ///< read-only
  Mapping bell;     ///< read-write hint page
  RingReader data_in, release_in;
  RingWriter data_out, release_out;
  bool linked = false;  ///< rings usable: roster says live, or the supervisor is heir and drains
  bool in_scheduler = false;

  // The life that is starting or live.
  std::optional<WatchedFd> socket;
  std::optional<WatchedFd> pidfd;
  std::optional<WatchedFd> log_pipe;
  LogLines log_lines;
  std::list<OutgoingMessage> outbox;
  bool waits_to_send = false;  ///< for room in the socket; the outbox goes on then
  /// Of a life met again by a new supervisor, which works first and watches later
  /// (Parties::watch_adopted).
  struct Unwatched {
    UniqueFd socket, pidfd, log_pipe;
    UniqueFd bell;  ///< not mapped yet either (SupervisorContext::map_kept_bell)
  } unwatched;

  // Health of the life that is live.
  std::uint64_t progress_seen = 0;
  std::uint64_t progress_at_ns = 0;
  std::uint64_t probe_number = 0;
  std::uint64_t probe_sent_ns = 0;  ///< 0 = no probe is out
  std::uint64_t kill_at_ns = 0;     ///< a grace ends then; 0 = none
  const char* kill_reason = nullptr;
  TaskId unheeded_task = 0;  ///< it was asked to stop it; 0 = none
  CancelGrace cancel_grace;  ///< of that
  bool evicted = false;      ///< it lied and is being killed

  // How it ended: the death is acted on when it is seen, the certificate when the status is there.
  bool dead = false;
  std::optional<int> exit_status;

  bool is_bell_due = false;   ///< SupervisorContext::ring
  std::uint64_t rung_ns = 0;  ///< when its bell last woke it

  std::uint32_t quiet_rounds = 0;  ///< looks at its rings without finding anything
  bool hot = false;                ///< in the list that is looked at in every round

  /// Nothing that comes home to it is unread.
  bool has_read_releases() { return !linked || release_out.consumed() == release_out.sent(); }
  bool has_socket() const { return socket || unwatched.socket; }
  /// -1 = none
  int socket_number() { return socket ? socket->native_handle() : unwatched.socket.get(); }
  int pidfd_number() { return pidfd ? pidfd->native_handle() : unwatched.pidfd.get(); }
  bool has_message() const { return linked && (data_in.ready() || release_in.ready()); }
};

}  // namespace micro_swarm
