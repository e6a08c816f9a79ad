#pragma once

#include <sys/types.h>

#include <cerrno>
#include <initializer_list>
#include <span>
#include <string_view>
#include <utility>

#include "common/result.hpp"

namespace micro_swarm {

/// Owns one file descriptor; closes it once. Moved-from is -1.
class UniqueFd {
 public:
  UniqueFd() noexcept = default;
  explicit UniqueFd(int fd) noexcept : fd_(fd) {}
  UniqueFd(UniqueFd&& other) noexcept : fd_(other.release()) {}
  UniqueFd& operator=(UniqueFd&& other) noexcept {
    if (this != &other) reset(other.release());
    return *this;
  }
  UniqueFd(const UniqueFd&) = delete;
  UniqueFd& operator=(const UniqueFd&) = delete;
  ~UniqueFd() { reset(); }

  int get() const noexcept { return fd_; }
  explicit operator bool() const noexcept { return fd_ >= 0; }
  int release() noexcept { return std::exchange(fd_, -1); }
  void reset(int fd = -1) noexcept;

 private:
  int fd_ = -1;
};

/// The one wrapper around system calls that return -1 and set errno: retries EINTR, returns the
/// value on success, and an Error naming `what` otherwise. `tolerated` errnos also come back as
/// success with value -1 (errno is left as the call set it).
template <class Call>
auto posix_call(std::string_view what, Call&& call, std::initializer_list<int> tolerated = {})
    -> Result<decltype(call())> {
  for (;;) {
    const auto value = call();
    if (value != static_cast<decltype(call())>(-1)) return value;
    const int error = errno;
    if (error == EINTR) continue;
    for (const int ok : tolerated)
      if (error == ok) {
        errno = error;
        return value;
      }
    return system_error(what, error);
  }
}

/// One SEQPACKET (or STREAM) message with up to 16 descriptors beside it.
/// Returns the bytes sent, or -1 with errno EAGAIN/EPIPE/ECONNRESET left to the caller.
/// Never blocks (MSG_DONTWAIT) unless `wait` is set; never raises SIGPIPE. Allocates nothing.
ssize_t send_with_fds(int socket, std::span<const std::byte> bytes, std::span<const int> fds,
                      bool wait = false) noexcept;

/// The counterpart: received descriptors are CLOEXEC and owned by the caller from here on.
/// A truncated message or descriptor list (MSG_TRUNC, MSG_CTRUNC) is an error with errno EMSGSIZE
/// and leaves nothing open. 0 = the peer closed.
struct ReceivedMessage {
  ssize_t size = -1;
  int fd_count = 0;
  int fds[16];
};
ReceivedMessage receive_with_fds(int socket, std::span<std::byte> buffer,
                                 bool wait = false) noexcept;

/// A connected SOCK_SEQPACKET pair, CLOEXEC.
Result<std::pair<UniqueFd, UniqueFd>> seqpacket_pair();

/// A second descriptor of the same open file, CLOEXEC.
Result<UniqueFd> duplicate(int fd);

int pidfd_open(pid_t pid) noexcept;                     // -1 + errno
int pidfd_send_signal(int pidfd, int signal) noexcept;  // -1 + errno
pid_t gettid_now() noexcept;

}  // namespace micro_swarm
