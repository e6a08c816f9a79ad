#include "ipc/party_socket.hpp"

#include <poll.h>

#include <cerrno>

#include "common/clock.hpp"

namespace micro_swarm {

namespace {

struct FdCount {
  int min;
  int max;
};

/// Descriptors that belong to a message of the supervisor; max < 0 = no such message.
FdCount fds_of(PartyMessageKind kind) {
  switch (kind) {
    case PartyMessageKind::welcome: return {2, 3};
    case PartyMessageKind::bank_mapped: return {1, 1};
    case PartyMessageKind::refused:
    case PartyMessageKind::bank_granted:
    case PartyMessageKind::bank_refused:
    case PartyMessageKind::bank_live:
    case PartyMessageKind::bank_dropped:
    case PartyMessageKind::cancel:
    case PartyMessageKind::probe:
    case PartyMessageKind::new_supervisor:
    case PartyMessageKind::drain:
    case PartyMessageKind::trim:
    case PartyMessageKind::topic_answer: return {0, 0};
    case PartyMessageKind::registered:
    case PartyMessageKind::bank_request:
    case PartyMessageKind::bank_memory:
    case PartyMessageKind::pong:
    case PartyMessageKind::leaving:
    case PartyMessageKind::bank_returned:
    case PartyMessageKind::subscription: break;
  }
  return {0, -1};
}

}  // namespace

PartySocketRead receive_party_message(int socket, ReceivedPartyMessage& received, bool wait) {
  for (UniqueFd& fd : received.fds) fd.reset();
  received.fd_count = 0;
  ReceivedMessage raw =
      receive_with_fds(socket, std::as_writable_bytes(std::span(&received.message, 1)), wait);
  if (raw.size < 0) {
    if (errno == EAGAIN || errno == EWOULDBLOCK) return PartySocketRead::nothing;
    // Truncated: consumed, its descriptors are closed. Anything else means the socket is of no use.
    return errno == EMSGSIZE ? PartySocketRead::malformed : PartySocketRead::closed;
  }
  for (int i = 0; i < raw.fd_count; ++i) {
    UniqueFd fd(raw.fds[i]);
    if (i < static_cast<int>(received.fds.size()))
      received.fds[static_cast<std::size_t>(i)] = std::move(fd);
  }
  received.fd_count = raw.fd_count;
  if (raw.size == 0 && raw.fd_count == 0) return PartySocketRead::closed;
  if (raw.size != static_cast<ssize_t>(sizeof(PartyMessage))) return PartySocketRead::malformed;
  received.message.text[sizeof received.message.text - 1] = '\0';
  const FdCount expected = fds_of(received.message.kind);
  if (raw.fd_count < expected.min || raw.fd_count > expected.max) return PartySocketRead::malformed;
  return PartySocketRead::message;
}

Result<void> send_party_message(int socket, const PartyMessage& message, std::span<const int> fds,
                                int wait_ms) {
  const std::uint64_t deadline_ns = now_ns() + static_cast<std::uint64_t>(wait_ms) * ns_per_ms;
  for (;;) {
    if (send_with_fds(socket, std::as_bytes(std::span(&message, 1)), fds) >= 0) return {};
    const int error = errno;
    if (error == EPIPE || error == ECONNRESET || error == ENOTCONN)
      return Error{ErrorCode::not_running, "the swarm is gone (its end of the socket is closed)",
                   error};
    if (error != EAGAIN && error != EWOULDBLOCK)
      return system_error("sendmsg(party socket)", error);
    const std::uint64_t now = now_ns();
    if (now >= deadline_ns)
      return Error{ErrorCode::timed_out, "the supervisor does not read its messages", error};
    pollfd wanted{socket, POLLOUT, 0};
    ::poll(&wanted, 1, static_cast<int>((deadline_ns - now) / ns_per_ms) + 1);
  }
}

}  // namespace micro_swarm
