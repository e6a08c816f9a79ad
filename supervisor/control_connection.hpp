#pragma once

#include <boost/asio/io_context.hpp>
#include <boost/asio/posix/stream_descriptor.hpp>
#include <deque>
#include <memory>
#include <set>
#include <string>
#include <vector>

#include "supervisor/control_server.hpp"

/// One client of the control socket. Private to control_*.cpp.
namespace micro_swarm::control_detail {

class Connection;

/// What the connections of one server share.
struct Shared {
  Shared(boost::asio::io_context& io_context, ControlHandler a_handler, ControlLimits some_limits)
      : io(io_context), handler(std::move(a_handler)), limits(some_limits) {}

  boost::asio::io_context& io;
  ControlHandler handler;
  ControlLimits limits;
  ControlCounters counters;
  std::size_t output_bytes = 0;  ///< unsent, all connections
  std::set<std::shared_ptr<Connection>> connections;
};

/// Reads requests one at a time, in order; while one is being answered, what else arrives waits in
/// `input_` (bounded) and then in the kernel.
///
///   reading ──line──▶ answering ──end──▶ reading          (any number of times)
///      └── end of input, with nothing left to answer or to send ──▶ closed
///   from anywhere: client gone, output limit, oversized line ──▶ closed
class Connection : public std::enable_shared_from_this<Connection> {
 public:
  struct Peer {
    pid_t pid = 0;
    uid_t uid = 0;
  };

  Connection(std::shared_ptr<Shared> shared, UniqueFd socket, Peer peer);

  void start();
  void close();

  // For the reply that is being given:
  bool send_line(const std::string& line, std::vector<UniqueFd> fds);
  void end_answer();
  bool is_gone() const { return gone_; }
  void on_gone(std::function<void()> callback);
  void on_drained(std::function<void()> callback);
  std::size_t buffered_bytes() const { return output_bytes_; }
  const Peer& peer() const { return peer_; }

 private:
  struct Output {
    std::string bytes;
    std::size_t sent = 0;
    std::vector<UniqueFd> fds;  ///< leave with the first byte
  };

  void wait_readable();
  void wait_writable();
  void watch_for_hangup();
  void read_some();
  void take_requests();
  void take_request(std::string_view line);
  void refuse_oversized();
  void flush();
  void client_went();
  void finish_if_idle();
  void post(std::function<void()> callback);

  std::shared_ptr<Shared> shared_;
  boost::asio::posix::stream_descriptor socket_;
  Peer peer_;

  std::string input_;
  std::size_t scanned_ = 0;  ///< no newline before this offset of input_
  bool reading_ = false;     ///< a wait for readability is under way
  bool at_end_of_input_ = false;

  bool answering_ = false;
  bool taking_ = false;       ///< take_requests() is on the stack
  bool take_posted_ = false;  ///< ... or on its way
  std::function<void()> on_gone_;
  std::function<void()> on_drained_;

  std::deque<Output> output_;
  std::size_t output_bytes_ = 0;
  bool writing_ = false;  ///< a wait for writability is under way
  bool gone_ = false;     ///< the client takes nothing any more
  bool ending_ = false;   ///< takes no more requests; closes once the output is out
  bool closed_ = false;
};

/// Why a request line is not one, or empty. Nesting is bounded because a tree of a million levels
/// would overflow the stack of whoever copies it.
std::string parse_request(std::string_view line, nlohmann::json& request);

}  // namespace micro_swarm::control_detail
