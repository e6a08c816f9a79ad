#include "supervisor/context.hpp"

#include "common/log.hpp"

namespace micro_swarm {

void SupervisorContext::flush(Peer& peer) {
  while (!peer.outbox.empty() && !peer.waits_to_send) {
    const OutgoingMessage& out = peer.outbox.front();
    const int fd = out.fd.get();
    const auto sent = send_with_fds(peer.socket_number(), std::as_bytes(std::span(&out.message, 1)),
                                    {&fd, static_cast<std::size_t>(out.fd ? 1 : 0)});
    if (sent < 0 && (errno == EAGAIN || errno == EWOULDBLOCK)) {
      if (!peer.socket) return;  // goes on when it is watched
      peer.waits_to_send = true;
      peer.socket->async_wait(
          WatchedFd::wait_write,
          [this, &peer, incarnation = row(peer.id).incarnation](boost::system::error_code ec) {
            if (ec || !peer.socket || row(peer.id).incarnation != incarnation) return;
            peer.waits_to_send = false;
            flush(peer);
          });
      return;
    }
    // Sent, or the party is gone (its death is reported by its pidfd): either way off the list.
    peer.outbox.pop_front();
  }
}

void SupervisorContext::ring_due(std::uint64_t now, bool before_sleep) {
  std::size_t kept = 0;
  for (const PartyId p : bells_due_) {
    Peer& peer = peers[p];
    if (!before_sleep && is_client(p) && elapsed_ns(now, peer.rung_ns) < client_bell_gap_ns) {
      bells_due_[kept++] = p;
      continue;
    }
    peer.is_bell_due = false;
    ring_now(peer, now);
  }
  bells_due_.resize(kept);
}

void SupervisorContext::ring_now(Peer& peer, std::uint64_t now) {
  if (!peer.bell && peer.unwatched.bell) map_kept_bell(peer);
  if (!peer.segment || !peer.bell) return;
  if (ring_bell(peer.segment.view().header().asleep, *bell_of(peer))) peer.rung_ns = now;
}

void SupervisorContext::map_kept_bell(Peer& peer) const {
  const UniqueFd fd = std::move(peer.unwatched.bell);
  if (!fd || peer.bell) return;
  auto mapped = Mapping::map(fd.get(), bell_page_bytes, Mapping::Access::read_write);
  if (mapped)
    peer.bell = std::move(*mapped);
  else
    log::error("the bell of party {}: {}", peer.id, mapped.error().message);
}

}  // namespace micro_swarm
