#include "supervisor/root_link.hpp"

#include <unistd.h>

#include "common/log.hpp"

namespace micro_swarm {

void RootLink::send(std::span<const RootRequest> requests, std::span<const int> fds) {
  if (send_with_fds(socket_, std::as_bytes(requests), fds, true) < 0) {
    // Without root there is no swarm to supervise (and PDEATHSIG is on its way).
    log::critical("root does not take requests any more: {}",
                  system_error("sendmsg", errno).message);
    ::_exit(to_int(ExitCode::failed));
  }
}

void RootLink::receive(const std::function<void(const RootEvent&)>& handle) {
  for (;;) {
    RootEvent event;
    const auto got = receive_with_fds(socket_, std::as_writable_bytes(std::span(&event, 1)));
    if (got.size == 0) ::_exit(to_int(ExitCode::failed));  // root is gone
    if (got.size != static_cast<ssize_t>(sizeof event)) return;
    handle(event);
  }
}

}  // namespace micro_swarm
