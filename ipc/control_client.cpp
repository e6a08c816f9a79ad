#include "ipc/control_client.hpp"

#include <poll.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <time.h>

#include <algorithm>
#include <array>
#include <cstring>
#include <limits>

#include "common/clock.hpp"
#include "ipc/control_channel.hpp"
#include "ipc/control_protocol.hpp"

namespace micro_swarm {

namespace {

constexpr std::uint64_t never = std::numeric_limits<std::uint64_t>::max();
/// An answer line that is longer comes from something that is no supervisor.
constexpr std::size_t answer_line_bytes_max = std::size_t{64} << 20;
constexpr std::uint32_t crowd_patience_ms = 1'000;
constexpr std::uint64_t retry_first_ns = 2 * ns_per_ms;
constexpr std::uint64_t retry_last_ns = 50 * ns_per_ms;

std::uint64_t deadline_after(std::uint32_t ms) { return now_ns() + ms * ns_per_ms; }

/// More clients wait in the backlog than it holds.
bool is_crowded(const Error& error) { return error.sys_errno == EAGAIN; }

/// A connection that ended is worth another try, as against an answer that says no. A refused
/// connection is not: root listens as long as it lives.
bool is_broken_connection(const Error& error) { return error.sys_errno == ECONNRESET; }

Error connection_ended() {
  return Error{ErrorCode::system, "the swarm closed the connection in the middle of an answer",
               ECONNRESET};
}

bool is_last(const nlohmann::json& line) {
  const auto end = line.find("end");
  return end != line.end() && end->is_boolean() && end->get<bool>();
}

std::size_t fd_count_of(const nlohmann::json& line) {
  const auto count = line.find("fds");
  return count != line.end() && count->is_number_unsigned() ? count->get<std::size_t>() : 0;
}

void pause(std::uint64_t ns) {
  timespec time{static_cast<time_t>(ns / ns_per_s), static_cast<long>(ns % ns_per_s)};
  ::nanosleep(&time, nullptr);
}

}  // namespace

Result<ControlClient> ControlClient::connect(std::string_view name, std::uint32_t wait_ms) {
  auto endpoint = find_endpoint(name);
  if (!endpoint) return endpoint.error();
  return connect(*endpoint, wait_ms);
}

Result<ControlClient> ControlClient::connect(const Endpoint& endpoint, std::uint32_t wait_ms) {
  ControlClient client(endpoint);
  const std::uint64_t deadline = deadline_after(wait_ms == 0 ? crowd_patience_ms : wait_ms);
  if (auto opened = client.open(deadline, wait_ms > 0); !opened) return opened.error();
  return client;
}

ControlClient ControlClient::through(UniqueFd channel, std::string name) {
  ControlClient client(Endpoint{std::move(name), {}});
  client.channel_ = std::move(channel);
  return client;
}

std::string ControlClient::address() const {
  return channel_ ? "the control channel of swarm " + endpoint_.name : endpoint_.socket_path();
}

/// Tries until the deadline; a swarm that is not there is waited for only `until_started`. There is
/// nothing to wait on for a socket that another process is yet to create, hence the pauses.
Result<void> ControlClient::open(std::uint64_t deadline_ns, bool until_started) {
  close();
  for (std::uint64_t delay = retry_first_ns;; delay = std::min(2 * delay, retry_last_ns)) {
    auto opened = try_open();
    if (opened) return opened;
    const bool is_absent = opened.error().code == ErrorCode::not_running;
    if (!(is_absent && until_started) && !is_crowded(opened.error())) return opened;
    const std::uint64_t now = now_ns();
    if (now >= deadline_ns) return opened;
    pause(std::min(delay, deadline_ns - now));
  }
}

Result<void> ControlClient::try_open() {
  if (channel_) {
    auto opened = open_control_connection(channel_.get());
    if (!opened) return opened.error();
    socket_ = std::move(*opened);
    return {};
  }
  const std::string path = endpoint_.socket_path();
  auto created = posix_call(
      "socket", [] { return ::socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0); });
  if (!created) return created.error();
  UniqueFd socket(*created);

  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  std::memcpy(address.sun_path, path.c_str(), std::min(path.size(), sizeof(address.sun_path) - 1));
  if (::connect(socket.get(), reinterpret_cast<const sockaddr*>(&address), sizeof(address)) != 0) {
    const int error = errno;
    if (error != ENOENT && error != ECONNREFUSED && error != ENOTDIR)
      return system_error("connect to " + path, error);
    return Error{ErrorCode::not_running,
                 "no swarm named " + endpoint_.name + " answers on " + path +
                     "; start one with `microswarm run --name " + endpoint_.name +
                     "`, or name its directory with MICROSWARM_RUNTIME_DIR",
                 error};
  }
  ucred credentials{};
  socklen_t size = sizeof(credentials);
  if (::getsockopt(socket.get(), SOL_SOCKET, SO_PEERCRED, &credentials, &size) == 0)
    root_pid_ = credentials.pid;
  socket_ = std::move(socket);
  return {};
}

void ControlClient::close() {
  socket_.reset();
  input_.clear();
  scanned_ = 0;
  input_fds_.clear();
}

Result<ControlLine> ControlClient::request(const nlohmann::json& request,
                                           const ControlRequestOptions& options) {
  ControlLine last;
  auto done = stream(
      request,
      [&last](ControlLine& line) {
        last = std::move(line);
        return true;
      },
      options);
  if (!done) return done.error();
  return last;
}

Result<void> ControlClient::stream(const nlohmann::json& original, const LineCallback& on_line,
                                   const ControlRequestOptions& options) {
  nlohmann::json request = original;
  const std::uint64_t deadline =
      options.timeout_ms == 0 ? never : deadline_after(options.timeout_ms);
  std::uint64_t reconnect_until = 0;  // 0: the connection is not known to be broken
  std::uint64_t delay = retry_first_ns;

  for (;;) {
    Result<void> step = socket_
                            ? Result<void>()
                            : open(std::min(deadline, deadline_after(options.reconnect_ms)), false);
    if (step) step = send_line(control_line(request), deadline);
    while (step) {
      auto line = receive_line(deadline);
      if (!line) {
        step = line.error();
        break;
      }
      reconnect_until = 0;
      if (line->object.contains("error")) return error_of_control_reply(line->object);
      const bool last = is_last(line->object);
      if (!on_line(*line)) {
        if (!last) close();
        return {};
      }
      if (last) return {};
    }

    const Error error = step.error();
    // What is left of this answer must not be taken for the next one's.
    close();
    if (!is_broken_connection(error) || options.reconnect_ms == 0) return error;
    const std::uint64_t now = now_ns();
    if (reconnect_until == 0) reconnect_until = now + options.reconnect_ms * ns_per_ms;
    if (now >= std::min(reconnect_until, deadline)) return error;
    // Should whoever listens hang up at once each time, do not do it as fast as it can.
    if (reconnects_++ > 0) pause(delay);
    delay = std::min(2 * delay, retry_last_ns);
    if (options.before_resend) options.before_resend(request);
  }
}

Result<void> ControlClient::send_line(const std::string& line, std::uint64_t deadline_ns) {
  if (line.size() > control_request_bytes_max)
    return Error{ErrorCode::too_large,
                 "this request is " + std::to_string(line.size()) +
                     " bytes; allowed: " + std::to_string(control_request_bytes_max)};
  std::size_t sent = 0;
  while (sent < line.size()) {
    const auto rest = std::as_bytes(std::span(line)).subspan(sent);
    const ssize_t size = send_with_fds(socket_.get(), rest, {});
    if (size >= 0) {
      sent += static_cast<std::size_t>(size);
    } else if (errno == EAGAIN) {
      if (auto ready = wait_ready(POLLOUT, deadline_ns); !ready) return ready;
    } else if (errno == EPIPE || errno == ECONNRESET) {
      // A server that refuses says so before it closes: look for that line first.
      return {};
    } else {
      return system_error("send to " + address(), errno);
    }
  }
  return {};
}

Result<ControlLine> ControlClient::receive_line(std::uint64_t deadline_ns) {
  for (;;) {
    if (const std::size_t end = input_.find('\n', scanned_); end != std::string::npos) {
      ControlLine line;
      line.object = nlohmann::json::parse(
          input_.begin(), input_.begin() + static_cast<std::ptrdiff_t>(end), nullptr, false);
      input_.erase(0, end + 1);
      scanned_ = 0;
      if (!line.object.is_object())
        return Error{ErrorCode::protocol,
                     "what answers on " + address() + " does not speak this protocol"};
      const std::size_t count = fd_count_of(line.object);
      if (count > input_fds_.size())
        return Error{ErrorCode::protocol,
                     "an answer came without its descriptors; raise the limit of open files"};
      for (std::size_t i = 0; i < count; ++i) {
        line.fds.push_back(std::move(input_fds_.front()));
        input_fds_.pop_front();
      }
      return line;
    }
    scanned_ = input_.size();
    if (input_.size() > answer_line_bytes_max)
      return Error{ErrorCode::protocol, "an answer line is longer than 64 MiB"};

    std::array<std::byte, 64 * 1024> bytes;
    const auto received = receive_with_fds(socket_.get(), bytes);
    for (int i = 0; i < received.fd_count; ++i) input_fds_.emplace_back(received.fds[i]);
    if (received.size > 0) {
      input_.append(reinterpret_cast<const char*>(bytes.data()),
                    static_cast<std::size_t>(received.size));
    } else if (received.size == 0 || errno == ECONNRESET || errno == EPIPE) {
      return connection_ended();
    } else if (errno == EMSGSIZE) {
      return Error{ErrorCode::protocol,
                   "the descriptors of an answer were lost; raise the limit of open files"};
    } else if (errno != EAGAIN) {
      return system_error("receive from " + address(), errno);
    } else if (auto ready = wait_ready(POLLIN, deadline_ns); !ready) {
      return ready.error();
    }
  }
}

Result<void> ControlClient::wait_ready(short events, std::uint64_t deadline_ns) {
  pollfd target{socket_.get(), events, 0};
  for (;;) {
    int wait_ms = -1;
    if (deadline_ns != never) {
      const std::uint64_t now = now_ns();
      if (now >= deadline_ns)
        return Error{ErrorCode::timed_out,
                     "the swarm " + endpoint_.name + " did not answer in time"};
      // Rounded up, or the last millisecond would be spent spinning.
      const std::uint64_t left_ms = (deadline_ns - now + ns_per_ms - 1) / ns_per_ms;
      wait_ms = static_cast<int>(std::min<std::uint64_t>(left_ms, 1'000'000));
    }
    const int ready = ::poll(&target, 1, wait_ms);
    if (ready > 0) return {};
    if (ready < 0 && errno != EINTR) return system_error("poll", errno);
  }
}

}  // namespace micro_swarm
