#include "supervisor/context.hpp"

#include "common/log.hpp"

namespace micro_swarm {

void SupervisorContext::flush(Peer& peer) {
  while (!peer.outbox.empty()) {
    const OutgoingMessage& out = peer.outbox.front();
    const int fd = out.fd.get();
    const auto sent =
        send_with_fds(peer.socket->native_handle(), std::as_bytes(std::span(&out.message, 1)),
                      {&fd, static_cast<std::size_t>(out.fd ? 1 : 0)});
    if (sent < 0 && (errno == EAGAIN || errno == EWOULDBLOCK)) {
      // One wait at a time: the handler below comes back here.
      if (peer.outbox.size() > 1) return;
      peer.socket->async_wait(
          WatchedFd::wait_write,
          [this, &peer, incarnation = row(peer.id).incarnation](boost::system::error_code ec) {
            if (ec || !peer.socket || row(peer.id).incarnation != incarnation) return;
            flush(peer);
          });
      return;
    }
    // Sent, or the party is gone (its death is reported by its pidfd): either way off the list.
    peer.outbox.pop_front();
  }
}

}  // namespace micro_swarm
