#include "supervisor/control_server.hpp"

#include <fcntl.h>
#include <sys/socket.h>
#include <unistd.h>

#include <boost/asio/posix/stream_descriptor.hpp>
#include <boost/asio/steady_timer.hpp>
#include <chrono>
#include <optional>

#include "ipc/control_channel.hpp"
#include "ipc/control_protocol.hpp"
#include "supervisor/control_connection.hpp"

namespace micro_swarm {

using control_detail::Connection;

namespace {

constexpr int accepts_per_turn = 64;
/// After accept() failed for want of descriptors or memory: readiness alone would spin.
constexpr std::chrono::milliseconds accept_pause{100};

void refuse(const UniqueFd& socket, const Error& error) {
  const std::string line = control_line(control_error(error));
  // A client that does not take a line at once has no use for it.
  (void)send_with_fds(socket.get(), std::as_bytes(std::span(line)), {});
}

Connection::Peer peer_of(int socket) {
  ucred credentials{};
  socklen_t size = sizeof(credentials);
  if (::getsockopt(socket, SOL_SOCKET, SO_PEERCRED, &credentials, &size) != 0)
    return {0, static_cast<uid_t>(-1)};
  return {credentials.pid, credentials.uid};
}

}  // namespace

class ControlServer::Impl : public std::enable_shared_from_this<ControlServer::Impl> {
 public:
  Impl(boost::asio::io_context& io, UniqueFd listening, ControlHandler handler,
       ControlLimits limits)
      : shared(std::make_shared<control_detail::Shared>(io, std::move(handler), limits)),
        listening_(io, listening.release()),
        pause_(io),
        spare_(::open("/dev/null", O_RDONLY | O_CLOEXEC)) {}

  void wait_for_client() {
    listening_.async_wait(boost::asio::posix::descriptor_base::wait_read,
                          [self = shared_from_this()](const boost::system::error_code& error) {
                            if (!error && self->listening_.is_open()) self->accept_some();
                          });
  }

  void stop_accepting() {
    boost::system::error_code ignored;
    listening_.close(ignored);
    if (channel_) channel_->close(ignored);
    pause_.cancel();
  }

  void serve_channel(UniqueFd channel, std::function<void()> on_end) {
    channel_.emplace(shared->io, channel.release());
    on_channel_end_ = std::move(on_end);
    wait_for_channel();
  }

  const std::shared_ptr<control_detail::Shared> shared;

 private:
  void accept_some() {
    for (int turn = 0; turn < accepts_per_turn; ++turn) {
      UniqueFd socket(
          ::accept4(listening_.native_handle(), nullptr, nullptr, SOCK_NONBLOCK | SOCK_CLOEXEC));
      if (socket) {
        admit(std::move(socket));
      } else if (errno == EAGAIN) {
        break;
      } else if (errno != EINTR && errno != ECONNABORTED) {
        ++shared->counters.accept_failures;
        if (errno == EMFILE || errno == ENFILE) refuse_for_want_of_descriptors();
        return wait_after_failure();
      }
    }
    wait_for_client();
  }

  void admit(UniqueFd socket) {
    const auto peer = peer_of(socket.get());
    if (peer.uid != ::geteuid() && peer.uid != 0) {
      ++shared->counters.refused_peer;
      return refuse(socket, {ErrorCode::refused, "this swarm belongs to another user"});
    }
    if (shared->connections.size() >= shared->limits.connections_max) {
      ++shared->counters.refused_full;
      return refuse(socket, {ErrorCode::refused,
                             "all " + std::to_string(shared->limits.connections_max) +
                                 " control connections are in use; close some or try again"});
    }
    ++shared->counters.accepted;
    const auto connection = std::make_shared<Connection>(shared, std::move(socket), peer);
    shared->connections.insert(connection);
    connection->start();
  }

  void wait_for_channel() {
    channel_->async_wait(boost::asio::posix::descriptor_base::wait_read,
                         [self = shared_from_this()](const boost::system::error_code& error) {
                           if (!error && self->channel_->is_open()) self->read_channel();
                         });
  }

  void read_channel() {
    for (int turn = 0; turn < accepts_per_turn; ++turn) {
      std::optional<UniqueFd> connection;
      switch (receive_control_connection(channel_->native_handle(), connection)) {
        case ChannelRead::nothing: return wait_for_channel();
        case ChannelRead::connection: admit(std::move(*connection)); break;
        case ChannelRead::malformed: ++shared->counters.malformed; break;
        case ChannelRead::ended: {
          boost::system::error_code ignored;
          channel_->close(ignored);
          return on_channel_end_();
        }
      }
    }
    wait_for_channel();
  }

  /// Gives up a descriptor kept for this, so that the client hears why instead of waiting.
  void refuse_for_want_of_descriptors() {
    spare_.reset();
    const UniqueFd socket(
        ::accept4(listening_.native_handle(), nullptr, nullptr, SOCK_NONBLOCK | SOCK_CLOEXEC));
    if (socket)
      refuse(socket,
             {ErrorCode::refused,
              "the swarm has no descriptors left; raise the limit of open files (ulimit -n)"});
  }

  void wait_after_failure() {
    if (!spare_) spare_.reset(::open("/dev/null", O_RDONLY | O_CLOEXEC));
    pause_.expires_after(accept_pause);
    pause_.async_wait([self = shared_from_this()](const boost::system::error_code& error) {
      if (!error && self->listening_.is_open()) self->wait_for_client();
    });
  }

  boost::asio::posix::stream_descriptor listening_;
  boost::asio::steady_timer pause_;
  UniqueFd spare_;
  std::optional<boost::asio::posix::stream_descriptor> channel_;
  std::function<void()> on_channel_end_;
};

ControlServer::ControlServer(boost::asio::io_context& io, UniqueFd listening,
                             ControlHandler handler, ControlLimits limits)
    : impl_(std::make_shared<Impl>(io, std::move(listening), std::move(handler), limits)) {}

ControlServer::~ControlServer() {
  stop_accepting();
  close_all();
}

void ControlServer::start() { impl_->wait_for_client(); }

void ControlServer::serve_channel(UniqueFd channel, std::function<void()> on_end) {
  impl_->serve_channel(std::move(channel), std::move(on_end));
}

void ControlServer::stop_accepting() { impl_->stop_accepting(); }

void ControlServer::close_all() {
  const auto connections = impl_->shared->connections;
  for (const auto& connection : connections) connection->close();
}

const ControlCounters& ControlServer::counters() const { return impl_->shared->counters; }

std::size_t ControlServer::connection_count() const { return impl_->shared->connections.size(); }

}  // namespace micro_swarm
