#pragma once

// A control server in the test's own thread, and clients that say what they like.

#include <fcntl.h>
#include <poll.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <array>
#include <boost/test/unit_test.hpp>
#include <cstring>
#include <functional>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <vector>

#include "common/clock.hpp"
#include "common/runtime_dir.hpp"
#include "ipc/control_protocol.hpp"
#include "supervisor/control_server.hpp"
#include "tests/fault_text.hpp"
#include "tests/temporary_directory.hpp"

namespace micro_swarm::control_test {

using nlohmann::json;

/// A client that says what it likes. Never blocks: the server under test runs in this thread.
class RawClient {
 public:
  explicit RawClient(const Endpoint& endpoint) {
    const std::string path = endpoint.socket_path();
    socket_ = UniqueFd(::socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0));
    sockaddr_un address{};
    address.sun_family = AF_UNIX;
    std::memcpy(address.sun_path, path.c_str(), path.size());
    BOOST_REQUIRE(::connect(socket_.get(), reinterpret_cast<const sockaddr*>(&address),
                            sizeof(address)) == 0);
  }

  /// Bytes taken by the kernel; -1 when the server has hung up.
  ssize_t write_some(std::string_view bytes) {
    const ssize_t size = ::send(socket_.get(), bytes.data(), bytes.size(), MSG_NOSIGNAL);
    if (size >= 0) return size;
    return errno == EAGAIN ? 0 : -1;
  }

  void write(std::string_view bytes) {
    BOOST_REQUIRE(write_some(bytes) == static_cast<ssize_t>(bytes.size()));
  }

  void read_some() {
    std::array<std::byte, 65536> bytes;
    for (;;) {
      const auto received = receive_with_fds(socket_.get(), bytes);
      for (int i = 0; i < received.fd_count; ++i) fds_.emplace_back(received.fds[i]);
      if (received.size > 0) {
        input_.append(reinterpret_cast<const char*>(bytes.data()),
                      static_cast<std::size_t>(received.size));
        continue;
      }
      if (received.size == 0 || errno != EAGAIN) ended_ = true;
      return;
    }
  }

  void wait_and_read() {
    pollfd target{socket_.get(), POLLIN, 0};
    ::poll(&target, 1, -1);
    read_some();
  }

  bool has_line() const { return input_.find('\n') != std::string::npos; }
  bool ended() const { return ended_; }
  std::size_t input_size() const { return input_.size(); }

  json take_line() {
    const std::size_t end = input_.find('\n');
    BOOST_REQUIRE(end != std::string::npos);
    const json line = json::parse(input_.substr(0, end));
    input_.erase(0, end + 1);
    return line;
  }

  std::vector<UniqueFd> take_fds() { return std::move(fds_); }
  void shut_down_sending() { ::shutdown(socket_.get(), SHUT_WR); }
  void close() { socket_.reset(); }

 private:
  UniqueFd socket_;
  std::string input_;
  std::vector<UniqueFd> fds_;
  bool ended_ = false;
};

/// A server in this very thread, with the verbs the tests need.
struct Fixture {
  Fixture() : Fixture(ControlLimits{}) {}
  explicit Fixture(ControlLimits limits) {
    endpoint = {"test", directory.path().string()};
    auto listening = listen_control_socket(endpoint);
    BOOST_REQUIRE_MESSAGE(listening.has_value(), fault_text(listening));
    server.emplace(
        io, std::move(*listening),
        [this](const json& request, const std::shared_ptr<ControlReply>& reply) {
          answer(request, reply);
        },
        limits);
    server->start();
  }

  void answer(const json& request, const std::shared_ptr<ControlReply>& reply) {
    ++handled;
    const std::string verb = request["verb"];
    if (verb == "echo") {
      reply->finish({{"text", request.value("text", "")}});
    } else if (verb == "lines") {
      for (int i = 0; i < request["count"].get<int>(); ++i) reply->send({{"line", i}});
      reply->finish(json::object());
    } else if (verb == "big") {
      reply->finish({{"text", std::string(request["size"].get<std::size_t>(), 'x')}});
    } else if (verb == "fd") {
      std::vector<UniqueFd> fds;
      for (int i = 0; i < 2; ++i) fds.emplace_back(::open("/dev/null", O_RDONLY | O_CLOEXEC));
      reply->finish({{"text", "take them"}}, std::move(fds));
    } else if (verb == "hold") {
      held = reply;
      held->on_gone([this] {
        ++gone;
        held.reset();
      });
    } else if (verb == "fail") {
      reply->fail({ErrorCode::refused, "no"});
    } else if (verb == "drop") {
      return;
    } else if (verb == "throw") {
      throw std::runtime_error("thrown");
    } else if (verb == "pump") {
      pump(reply, request["count"].get<int>());
    } else {
      reply->fail({ErrorCode::usage, "unknown verb"});
    }
  }

  /// A long answer that keeps to its client's pace.
  static void pump(const std::shared_ptr<ControlReply>& reply, int left) {
    if (left == 0) {
      reply->finish(json::object());
      return;
    }
    reply->send({{"text", std::string(100'000, 'y')}});
    reply->on_drained([reply, left] { pump(reply, left - 1); });
  }

  /// Runs the server until `done`, or fails after 10 s.
  void run_until(const std::function<bool()>& done) {
    const std::uint64_t deadline = now_ns() + 10 * ns_per_s;
    while (!done()) {
      BOOST_REQUIRE_MESSAGE(now_ns() < deadline, "nothing more happens");
      io.run_one_for(std::chrono::milliseconds(10));
      io.restart();
    }
  }

  json next_line(RawClient& client) {
    run_until([&] {
      client.read_some();
      return client.has_line() || client.ended();
    });
    return client.take_line();
  }

  void wait_for_end(RawClient& client) {
    run_until([&] {
      client.read_some();
      return client.ended();
    });
  }

  /// The server still works, for others and to the end.
  void require_healthy() {
    RawClient client(endpoint);
    client.write("{\"verb\":\"echo\",\"text\":\"well\"}\n");
    BOOST_TEST(next_line(client)["text"] == "well");
    client.close();
    run_until([&] { return server->connection_count() == 0; });
  }

  TemporaryDirectory directory;
  Endpoint endpoint;
  boost::asio::io_context io{1};
  std::optional<ControlServer> server;
  std::shared_ptr<ControlReply> held;
  int handled = 0;
  int gone = 0;
};

}  // namespace micro_swarm::control_test
