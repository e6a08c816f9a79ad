#pragma once

#include <functional>

#include "common/posix.hpp"
#include "supervisor/root_protocol.hpp"

namespace micro_swarm {

/// The supervisor's end of the socket to root. A request that was sent is as good as done: root
/// reads all of them before it starts another supervisor. A full socket blocks (root always reads).
class RootLink {
 public:
  explicit RootLink(int socket) : socket_(socket) {}

  void keep(std::uint32_t key, int fd) { send({RootRequestKind::keep_fd, key, 0}, {&fd, 1}); }
  void drop(std::uint32_t key) { send({RootRequestKind::drop_fd, key, 0}, {}); }
  void spawn_template(std::uint32_t key, int socket, int log_pipe) {
    const int fds[] = {socket, log_pipe};
    send({RootRequestKind::spawn_template, key, 0}, fds);
  }
  void quit(int exit_code) { send({RootRequestKind::quit, 0, exit_code}, {}); }

  /// Hands every event that has arrived to `handle`.
  void receive(const std::function<void(const RootEvent&)>& handle);

  int fd() const { return socket_; }

 private:
  void send(RootRequest request, std::span<const int> fds);
  int socket_;
};

}  // namespace micro_swarm
