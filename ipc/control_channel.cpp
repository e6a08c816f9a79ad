#include "ipc/control_channel.hpp"

#include <fcntl.h>
#include <poll.h>
#include <sys/socket.h>

#include <array>
#include <cerrno>

#include "ipc/control_protocol.hpp"

namespace micro_swarm {

namespace {

constexpr std::size_t last_words_bytes_max = 64 * 1024;

int socket_option(int socket, int option) {
  int value = -1;
  socklen_t size = sizeof value;
  return ::getsockopt(socket, SOL_SOCKET, option, &value, &size) == 0 ? value : -1;
}

bool is_unix_socket(int fd, int type) {
  return socket_option(fd, SO_DOMAIN) == AF_UNIX && socket_option(fd, SO_TYPE) == type;
}

/// What the swarm said before it closed its end.
Error last_words(int channel) {
  std::array<std::byte, last_words_bytes_max> bytes;
  // The first read may only report that the peer closed with messages of ours unread.
  for (int look = 0; look < 2; ++look) {
    const auto received = receive_with_fds(channel, bytes);
    for (int i = 0; i < received.fd_count; ++i) UniqueFd ignored(received.fds[i]);
    if (received.size <= 0) continue;
    const auto* text = reinterpret_cast<const char*>(bytes.data());
    const auto line = nlohmann::json::parse(text, text + received.size, nullptr, false);
    if (line.is_object() && line.contains("error")) return error_of_control_reply(line);
  }
  return Error{ErrorCode::not_running, "the swarm has ended", EPIPE};
}

bool is_closed(int channel) {
  pollfd state{channel, POLLRDHUP, 0};
  return ::poll(&state, 1, 0) == 1 && (state.revents & (POLLRDHUP | POLLHUP | POLLERR)) != 0;
}

}  // namespace

Result<UniqueFd> open_control_connection(int channel) {
  int ends[2] = {-1, -1};
  if (::socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, ends) != 0)
    return system_error("socketpair", errno);
  UniqueFd mine(ends[0]);
  const UniqueFd theirs(ends[1]);
  const std::byte one{};
  const int fd = theirs.get();
  if (send_with_fds(channel, std::span(&one, 1), std::span(&fd, 1)) == 1) return mine;
  if (errno == EPIPE || errno == ECONNRESET || errno == ENOTCONN) return last_words(channel);
  // Full, or as many descriptors are under way as this user may have (ETOOMANYREFS).
  if (errno == EAGAIN || errno == ETOOMANYREFS)
    return Error{ErrorCode::refused, "too many control connections wait for the swarm's supervisor",
                 EAGAIN};
  return system_error("sendmsg to the swarm", errno);
}

Result<UniqueFd> take_control_channel(int number) {
  if (!is_unix_socket(number, SOCK_SEQPACKET))
    return Error{ErrorCode::usage,
                 "--control-fd: descriptor " + std::to_string(number) +
                     " is no inherited UNIX SEQPACKET socket",
                 0};
  UniqueFd channel(number);
  if (::fcntl(number, F_SETFD, FD_CLOEXEC) != 0) return system_error("fcntl(F_SETFD)", errno);
  return channel;
}

ChannelRead receive_control_connection(int channel, std::optional<UniqueFd>& connection) {
  std::array<std::byte, 16> bytes;
  const auto received = receive_with_fds(channel, bytes);
  if (received.size < 0) {
    if (errno == EAGAIN) return ChannelRead::nothing;
    if (errno == EMSGSIZE) return ChannelRead::malformed;  // too long, or no descriptors left here
    return is_closed(channel) ? ChannelRead::ended : ChannelRead::malformed;
  }
  std::array<UniqueFd, std::size(received.fds)> fds;
  for (int i = 0; i < received.fd_count; ++i)
    fds[static_cast<std::size_t>(i)].reset(received.fds[i]);
  // An empty message looks like the end.
  if (received.size == 0 && received.fd_count == 0 && is_closed(channel)) return ChannelRead::ended;
  if (received.fd_count != 1 || !is_unix_socket(fds[0].get(), SOCK_STREAM))
    return ChannelRead::malformed;
  const int flags = ::fcntl(fds[0].get(), F_GETFL);
  if (flags < 0 || ::fcntl(fds[0].get(), F_SETFL, flags | O_NONBLOCK) != 0)
    return ChannelRead::malformed;
  connection.emplace(std::move(fds[0]));
  return ChannelRead::connection;
}

void tell_control_channel(int channel, const Error& error) {
  if (channel < 0) return;
  std::string line = control_line(control_error(error));
  if (line.size() > last_words_bytes_max) return;
  static_cast<void>(send_with_fds(channel, std::as_bytes(std::span(line)), {}));
}

}  // namespace micro_swarm
