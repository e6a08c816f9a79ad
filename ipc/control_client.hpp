#pragma once

#include <sys/types.h>

#include <cstdint>
#include <deque>
#include <functional>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "common/posix.hpp"
#include "common/result.hpp"
#include "common/runtime_dir.hpp"

namespace micro_swarm {

/// One line of an answer and the descriptors that came with it (the callee may take them).
struct ControlLine {
  nlohmann::json object;
  std::vector<UniqueFd> fds;
};

struct ControlRequestOptions {
  /// For the whole answer; 0 = as long as it takes. Running out = ErrorCode::timed_out.
  std::uint32_t timeout_ms = 0;
  /// How long a broken connection is renewed before the error is reported; 0 = not at all.
  std::uint32_t reconnect_ms = 5'000;
  /// Called before the request is sent again to another supervisor: may patch it (a stream
  /// continues from where it was).
  std::function<void(nlohmann::json& request)> before_resend = {};
};

/// A blocking client of a swarm's control socket; one thread at a time.
/// When the supervisor is replaced in the middle of an answer (end of file before the line that
/// has "end"), the client connects again and repeats the request: root keeps the listening socket,
/// so the connection waits in its backlog for the new supervisor. Requests must therefore be
/// idempotent; all verbs are.
class ControlClient {
 public:
  /// Nobody listens there = ErrorCode::not_running naming the socket and how to start a swarm.
  /// `wait_ms` > 0: keep trying for so long, for callers that have just started one.
  static Result<ControlClient> connect(std::string_view name, std::uint32_t wait_ms = 0);
  static Result<ControlClient> connect(const Endpoint& endpoint, std::uint32_t wait_ms = 0);

  /// By a control channel (control_channel.hpp) instead of a socket file: for whoever started the
  /// swarm. Opens nothing yet; the first request waits for a supervisor to serve it. Once the swarm
  /// has ended requests fail with not_running, or with the error it ended of. `name` is for
  /// messages.
  static ControlClient through(UniqueFd channel, std::string name);

  /// Sends a request and returns its single (or last) line. An error reply comes back as Error.
  Result<ControlLine> request(const nlohmann::json& request,
                              const ControlRequestOptions& options = {});

  /// Calls `on_line` for each line but a bare error; it returns false to stop early, which ends the
  /// connection (the next request opens another). Success: the answer ended or was stopped.
  using LineCallback = std::function<bool(ControlLine& line)>;
  Result<void> stream(const nlohmann::json& request, const LineCallback& on_line,
                      const ControlRequestOptions& options = {});

  /// The process that called listen(): the swarm's root, 0 if the kernel does not say or the
  /// connection goes through a control channel.
  pid_t root_pid() const { return root_pid_; }
  const Endpoint& endpoint() const { return endpoint_; }
  /// How often a connection was renewed since connect().
  std::uint32_t reconnects() const { return reconnects_; }

 private:
  explicit ControlClient(Endpoint endpoint) : endpoint_(std::move(endpoint)) {}

  Result<void> open(std::uint64_t deadline_ns, bool until_started);
  Result<void> try_open();
  void close();
  Result<void> send_line(const std::string& line, std::uint64_t deadline_ns);
  Result<ControlLine> receive_line(std::uint64_t deadline_ns);
  Result<void> wait_ready(short events, std::uint64_t deadline_ns);

  std::string address() const;

  Endpoint endpoint_;
  UniqueFd channel_;  ///< -1 = connections are made to endpoint_
  UniqueFd socket_;
  std::string input_;
  std::size_t scanned_ = 0;
  std::deque<UniqueFd> input_fds_;
  pid_t root_pid_ = 0;
  std::uint32_t reconnects_ = 0;
};

}  // namespace micro_swarm
