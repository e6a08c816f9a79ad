#pragma once

#include <array>
#include <cassert>
#include <functional>
#include <span>

#include "common/posix.hpp"
#include "supervisor/root_protocol.hpp"

namespace micro_swarm {

/// Up to root_batch_max requests that root gets as one: all, or (if the supervisor dies before)
/// none. Owns no descriptor: those named must stay open until it is sent.
class RootBatch {
 public:
  void keep(std::uint32_t key, int fd) {
    add({RootRequestKind::keep_fd, key, 0});
    fds_[fd_count_++] = fd;
  }
  void spawn_template(std::uint32_t key, int socket, int log_pipe) {
    add({RootRequestKind::spawn_template, key, 0});
    fds_[fd_count_++] = socket;
    fds_[fd_count_++] = log_pipe;
  }
  void drop(std::uint32_t key) { add({RootRequestKind::drop_fd, key, 0}); }
  void move(std::uint32_t from, std::uint32_t to) { add({RootRequestKind::move_fd, to, from}); }

  std::span<const RootRequest> requests() const { return {requests_.data(), count_}; }
  std::span<const int> fds() const { return {fds_.data(), fd_count_}; }

 private:
  void add(RootRequest request) {
    assert(count_ < root_batch_max);
    requests_[count_++] = request;
  }
  std::array<RootRequest, root_batch_max> requests_;
  std::array<int, root_batch_max> fds_;
  std::size_t count_ = 0;
  std::size_t fd_count_ = 0;
};

/// The supervisor's end of the socket to root. A request that was sent is as good as done: root
/// reads all of them before it starts another supervisor. A full socket blocks (root always reads).
class RootLink {
 public:
  explicit RootLink(int socket) : socket_(socket) {}

  void keep(std::uint32_t key, int fd) {
    const RootRequest request{RootRequestKind::keep_fd, key, 0};
    send({&request, 1}, {&fd, 1});
  }
  void drop(std::uint32_t key) {
    const RootRequest request{RootRequestKind::drop_fd, key, 0};
    send({&request, 1}, {});
  }
  void send(const RootBatch& batch) {
    if (!batch.requests().empty()) send(batch.requests(), batch.fds());
  }
  void quit(int exit_code) {
    const RootRequest request{RootRequestKind::quit, 0, exit_code};
    send({&request, 1}, {});
  }

  /// Hands every event that has arrived to `handle`.
  void receive(const std::function<void(const RootEvent&)>& handle);

  int fd() const { return socket_; }

 private:
  void send(std::span<const RootRequest> requests, std::span<const int> fds);
  int socket_;
};

}  // namespace micro_swarm
