#pragma once

#include <sys/types.h>

#include <boost/asio/io_context.hpp>
#include <cstdint>
#include <functional>
#include <memory>
#include <nlohmann/json_fwd.hpp>
#include <vector>

#include "common/posix.hpp"
#include "common/result.hpp"

namespace micro_swarm {

/// The answer to one request. The handler may keep it (it is shared) and go on sending after it
/// returned, as `task.wait` and `events` do; the connection takes its next request when the answer
/// has ended. Dropping the last pointer without finish() or fail() ends it with an error.
/// Used from the server's io_context thread only.
class ControlReply {
 public:
  virtual ~ControlReply() = default;

  /// One line that is not the last. `object` must be a JSON object; "schema" is added. `fds` ride
  /// with the line and are closed here in any case. False: the client is gone, nothing was sent.
  virtual bool send(nlohmann::json object, std::vector<UniqueFd> fds = {}) = 0;

  /// The last line ("end": true is added).
  virtual bool finish(nlohmann::json object, std::vector<UniqueFd> fds = {}) = 0;

  /// The last line is an error.
  virtual bool fail(const Error& error) = 0;

  /// The client has closed (or was closed for reading too slowly): stop working for it.
  virtual bool is_gone() const = 0;

  /// Called once, from the io_context and never from inside send(), when the client goes before the
  /// answer ended. Replaces an earlier callback; dropped when the answer ends.
  virtual void on_gone(std::function<void()> callback) = 0;

  /// Bytes accepted by send() that the client has not taken yet. More than
  /// ControlLimits::output_bytes_max closes the connection, so long answers should look here.
  virtual std::size_t buffered_bytes() const = 0;

  /// Called once when the buffered bytes have all been handed to the kernel: the way to produce a
  /// long answer piece by piece.
  virtual void on_drained(std::function<void()> callback) = 0;

  virtual pid_t peer_pid() const = 0;
  virtual uid_t peer_uid() const = 0;
};

/// Called with each well-formed request: a JSON object whose "verb" is a string. May throw
/// nlohmann::json::exception for members of the wrong type: the client gets it as a usage error.
using ControlHandler =
    std::function<void(const nlohmann::json& request, const std::shared_ptr<ControlReply>& reply)>;

struct ControlLimits {
  std::size_t connections_max = 256;
  std::size_t output_bytes_max = std::size_t{16} << 20;        ///< unsent, one connection
  std::size_t output_bytes_max_total = std::size_t{64} << 20;  ///< unsent, all connections
};

struct ControlCounters {
  std::uint64_t accepted = 0;
  std::uint64_t refused_full = 0;
  std::uint64_t refused_peer = 0;     ///< neither our uid nor root
  std::uint64_t requests = 0;         ///< well-formed ones, handed to the handler
  std::uint64_t malformed = 0;        ///< lines that are no request; the connection goes on
  std::uint64_t oversized = 0;        ///< requests over 1 MiB; the connection ends
  std::uint64_t half_requests = 0;    ///< closed by the client in the middle of a line
  std::uint64_t slow_readers = 0;     ///< closed because the output limit was reached
  std::uint64_t gone_before_end = 0;  ///< client left before its answer ended
  std::uint64_t accept_failures = 0;  ///< accept() failed, e.g. no descriptors left
};

/// Serves the control socket. Transport only: knows framing, limits and peers, no verbs.
/// Everything from a client is input: whatever it sends costs it at most its own connection.
class ControlServer {
 public:
  /// `listening` is this process's descriptor of the already listening socket; root has its own.
  /// The server neither calls listen() nor unlinks the path, so its successor can go on with it.
  ControlServer(boost::asio::io_context& io, UniqueFd listening, ControlHandler handler,
                ControlLimits limits = {});
  ~ControlServer();
  ControlServer(const ControlServer&) = delete;
  ControlServer& operator=(const ControlServer&) = delete;

  void start();

  /// Serves the connections that come over a control channel (ipc/control_channel.hpp) too, and
  /// calls `on_end` once, from the io_context, when its other end is closed.
  void serve_channel(UniqueFd channel, std::function<void()> on_end);

  /// Accepts nobody any more, from nowhere; answers under way go on. close_all() ends those too,
  /// after trying once to hand over what is buffered.
  void stop_accepting();
  void close_all();

  const ControlCounters& counters() const;
  std::size_t connection_count() const;

 private:
  class Impl;
  std::shared_ptr<Impl> impl_;
};

}  // namespace micro_swarm
