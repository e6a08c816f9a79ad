#include "supervisor/control_connection.hpp"

#include <poll.h>
#include <sys/socket.h>

#include <array>
#include <boost/asio/post.hpp>
#include <nlohmann/json.hpp>

#include "ipc/control_protocol.hpp"

namespace micro_swarm::control_detail {

namespace {

constexpr std::size_t read_bytes = 64 * 1024;
/// Requests taken before others get their turn on the loop.
constexpr int requests_per_turn = 16;
constexpr int nesting_max = 32;

/// The answer to one request, as the handler sees it.
class Reply final : public ControlReply {
 public:
  explicit Reply(const std::shared_ptr<Connection>& connection)
      : connection_(connection), peer_(connection->peer()) {}

  ~Reply() override {
    if (!ended_) fail(Error{ErrorCode::system, "the swarm dropped this request without an answer"});
  }

  bool send(nlohmann::json object, std::vector<UniqueFd> fds) override {
    return put(std::move(object), std::move(fds), false);
  }

  bool finish(nlohmann::json object, std::vector<UniqueFd> fds) override {
    return put(std::move(object), std::move(fds), true);
  }

  bool fail(const Error& error) override { return put(control_error(error), {}, true); }

  bool is_gone() const override {
    const auto connection = connection_.lock();
    return ended_ || !connection || connection->is_gone();
  }

  void on_gone(std::function<void()> callback) override {
    if (const auto connection = connection_.lock(); connection && !ended_)
      connection->on_gone(std::move(callback));
  }

  std::size_t buffered_bytes() const override {
    const auto connection = connection_.lock();
    return connection ? connection->buffered_bytes() : 0;
  }

  void on_drained(std::function<void()> callback) override {
    if (const auto connection = connection_.lock(); connection && !ended_)
      connection->on_drained(std::move(callback));
  }

  pid_t peer_pid() const override { return peer_.pid; }
  uid_t peer_uid() const override { return peer_.uid; }

 private:
  bool put(nlohmann::json object, std::vector<UniqueFd> fds, bool last) {
    const auto connection = connection_.lock();
    if (!connection || ended_) return false;
    if (!object.is_object()) object = nlohmann::json{{"value", std::move(object)}};
    object["schema"] = control_schema;
    if (!fds.empty()) object["fds"] = fds.size();
    if (last) object["end"] = true;
    const bool sent = connection->send_line(control_line(object), std::move(fds));
    if (last) {
      ended_ = true;
      connection->end_answer();
    }
    return sent;
  }

  std::weak_ptr<Connection> connection_;
  Connection::Peer peer_;
  bool ended_ = false;
};

bool is_too_deep(std::string_view line) {
  int depth = 0;
  bool in_string = false;
  for (std::size_t i = 0; i < line.size(); ++i) {
    const char c = line[i];
    if (in_string) {
      if (c == '\\')
        ++i;
      else if (c == '"')
        in_string = false;
    } else if (c == '"') {
      in_string = true;
    } else if (c == '{' || c == '[') {
      if (++depth > nesting_max) return true;
    } else if (c == '}' || c == ']') {
      --depth;
    }
  }
  return false;
}

}  // namespace

std::string parse_request(std::string_view line, nlohmann::json& request) {
  if (is_too_deep(line)) return "is nested deeper than " + std::to_string(nesting_max) + " levels";
  request = nlohmann::json::parse(line, nullptr, false);
  if (request.is_discarded()) return "is not JSON";
  if (!request.is_object()) return "is not a JSON object";
  const auto verb = request.find("verb");
  if (verb == request.end() || !verb->is_string()) return "has no \"verb\" text";
  return {};
}

Connection::Connection(std::shared_ptr<Shared> shared, UniqueFd socket, Peer peer)
    : shared_(std::move(shared)), socket_(shared_->io, socket.release()), peer_(peer) {}

void Connection::start() {
  watch_for_hangup();
  wait_readable();
}

void Connection::close() {
  if (closed_) return;
  const auto self = shared_from_this();
  closed_ = true;
  flush();
  client_went();
  boost::system::error_code ignored;
  socket_.close(ignored);
  shared_->connections.erase(self);
}

void Connection::post(std::function<void()> callback) {
  if (callback) boost::asio::post(shared_->io, std::move(callback));
}

// ---- input

/// Completes when both directions are shut, which end of file alone does not tell: a client may
/// shut down its sending half and still read.
void Connection::watch_for_hangup() {
  socket_.async_wait(boost::asio::posix::descriptor_base::wait_error,
                     [self = shared_from_this()](const boost::system::error_code& error) {
                       if (error || self->closed_) return;
                       // Asio may hand an event of a descriptor that was closed in the same round
                       // to the one that took its place: look before it is believed.
                       pollfd hangup{self->socket_.native_handle(), 0, 0};
                       if (::poll(&hangup, 1, 0) != 1) return self->watch_for_hangup();
                       self->client_went();
                       // Requests that do not even fit the buffer are not waited for.
                       if (self->input_.size() >= control_request_bytes_max)
                         self->at_end_of_input_ = true;
                       self->wait_readable();
                       self->finish_if_idle();
                     });
}

void Connection::wait_readable() {
  if (reading_ || closed_ || ending_ || at_end_of_input_) return;
  // Everything that is waiting was read before an answer began; with an answer under way, more than
  // one full request need not be buffered.
  if (input_.size() >= control_request_bytes_max) return;
  reading_ = true;
  socket_.async_wait(boost::asio::posix::descriptor_base::wait_read,
                     [self = shared_from_this()](const boost::system::error_code& error) {
                       self->reading_ = false;
                       if (!error && !self->closed_) self->read_some();
                     });
}

void Connection::read_some() {
  std::array<char, read_bytes> bytes;
  const ssize_t size =
      ::recv(socket_.native_handle(), bytes.data(), bytes.size(), MSG_DONTWAIT | MSG_CMSG_CLOEXEC);
  if (size > 0) {
    input_.append(bytes.data(), static_cast<std::size_t>(size));
  } else if (size == 0 || (errno != EAGAIN && errno != EINTR)) {
    at_end_of_input_ = true;
  }
  take_requests();
}

void Connection::take_requests() {
  take_posted_ = false;
  if (taking_ || closed_) return;
  taking_ = true;
  std::size_t taken = 0;
  for (int turn = 0; turn < requests_per_turn && !answering_ && !ending_ && !closed_; ++turn) {
    const std::size_t end = input_.find('\n', std::max(scanned_, taken));
    if (end == std::string::npos || end - taken >= control_request_bytes_max) {
      scanned_ = input_.size();
      if (input_.size() - taken >= control_request_bytes_max) refuse_oversized();
      break;
    }
    // The handler may end up in close(), which leaves input_ alone.
    take_request(std::string_view(input_).substr(taken, end - taken));
    taken = end + 1;
    scanned_ = taken;
  }
  input_.erase(0, taken);
  scanned_ -= std::min(scanned_, taken);
  taking_ = false;
  if (closed_) return;
  if (!answering_ && !ending_ && scanned_ < input_.size()) {
    take_posted_ = true;
    post([self = shared_from_this()] { self->take_requests(); });
    return;
  }
  wait_readable();
  finish_if_idle();
}

void Connection::take_request(std::string_view line) {
  if (!line.empty() && line.back() == '\r') line.remove_suffix(1);
  if (line.empty()) return;
  nlohmann::json request;
  if (const auto fault = parse_request(line, request); !fault.empty()) {
    ++shared_->counters.malformed;
    send_line(
        control_line(control_error(
            {ErrorCode::protocol,
             "this line " + fault + "; a request is one line such as {\"verb\":\"status\"}"})),
        {});
    return;
  }
  ++shared_->counters.requests;
  answering_ = true;
  const std::shared_ptr<ControlReply> reply = std::make_shared<Reply>(shared_from_this());
  try {
    shared_->handler(request, reply);
  } catch (const nlohmann::json::exception& error) {
    reply->fail({ErrorCode::usage,
                 std::string("a member of this request has the wrong type: ") + error.what()});
  } catch (const std::exception& error) {
    reply->fail({ErrorCode::system, std::string("the request failed: ") + error.what()});
  }
}

void Connection::refuse_oversized() {
  ++shared_->counters.oversized;
  ending_ = true;
  send_line(control_line(control_error(
                {ErrorCode::too_large, "a request is one line of at most " +
                                           std::to_string(control_request_bytes_max) +
                                           " bytes; hand large payloads over as regions"})),
            {});
}

// ---- answers and output

void Connection::end_answer() {
  answering_ = false;
  on_gone_ = nullptr;
  on_drained_ = nullptr;
  if (taking_ || take_posted_ || closed_) return;
  take_posted_ = true;
  post([self = shared_from_this()] { self->take_requests(); });
}

void Connection::on_gone(std::function<void()> callback) {
  if (gone_)
    post(std::move(callback));
  else
    on_gone_ = std::move(callback);
}

void Connection::on_drained(std::function<void()> callback) {
  if (output_.empty())
    post(std::move(callback));
  else
    on_drained_ = std::move(callback);
}

bool Connection::send_line(const std::string& line, std::vector<UniqueFd> fds) {
  if (gone_) return false;
  output_.push_back({line, 0, std::move(fds)});
  output_bytes_ += line.size();
  shared_->output_bytes += line.size();
  if (!writing_) flush();
  if (output_bytes_ > shared_->limits.output_bytes_max ||
      shared_->output_bytes > shared_->limits.output_bytes_max_total) {
    ++shared_->counters.slow_readers;
    ending_ = true;
    client_went();
    // Not here: the handler that sends may hold on to more of this connection than it knows.
    post([self = shared_from_this()] { self->close(); });
  }
  return !gone_;
}

void Connection::flush() {
  while (!output_.empty() && !gone_) {
    Output& next = output_.front();
    std::array<int, control_fds_per_line_max> fds{};
    std::size_t fd_count = 0;
    for (const UniqueFd& fd : next.fds)
      if (fd_count < fds.size()) fds[fd_count++] = fd.get();
    const auto rest = std::as_bytes(std::span(next.bytes)).subspan(next.sent);
    const ssize_t sent =
        send_with_fds(socket_.native_handle(), rest, std::span(fds).first(fd_count));
    if (sent < 0) {
      if (errno == EAGAIN) return wait_writable();
      return client_went();
    }
    next.fds.clear();
    next.sent += static_cast<std::size_t>(sent);
    output_bytes_ -= static_cast<std::size_t>(sent);
    shared_->output_bytes -= static_cast<std::size_t>(sent);
    if (next.sent == next.bytes.size()) output_.pop_front();
  }
  if (output_.empty()) post(std::exchange(on_drained_, nullptr));
}

void Connection::wait_writable() {
  if (writing_ || closed_) return;
  writing_ = true;
  socket_.async_wait(boost::asio::posix::descriptor_base::wait_write,
                     [self = shared_from_this()](const boost::system::error_code& error) {
                       self->writing_ = false;
                       if (error || self->closed_) return;
                       self->flush();
                       self->finish_if_idle();
                     });
}

// ---- ends

/// Idempotent. What was to be sent is void; whoever is answering learns it from on_gone().
void Connection::client_went() {
  if (gone_) return;
  gone_ = true;
  output_.clear();
  shared_->output_bytes -= std::exchange(output_bytes_, 0);
  on_drained_ = nullptr;
  if (!answering_) return;
  ++shared_->counters.gone_before_end;
  post(std::exchange(on_gone_, nullptr));
}

void Connection::finish_if_idle() {
  if (closed_ || take_posted_ || taking_) return;
  const bool nobody_listens = gone_ && at_end_of_input_;
  const bool all_said = output_.empty() && !answering_ && (at_end_of_input_ || ending_);
  if (!nobody_listens && !all_said) return;
  if (at_end_of_input_ && !input_.empty() && !ending_ && !answering_)
    ++shared_->counters.half_requests;
  close();
}

}  // namespace micro_swarm::control_detail
