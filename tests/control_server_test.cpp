#include "supervisor/control_server.hpp"

#include <fcntl.h>
#include <poll.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <array>
#include <boost/test/unit_test.hpp>
#include <cstring>
#include <functional>
#include <map>
#include <nlohmann/json.hpp>
#include <random>
#include <string>
#include <vector>

#include "common/clock.hpp"
#include "common/runtime_dir.hpp"
#include "ipc/control_protocol.hpp"
#include "tests/fault_text.hpp"
#include "tests/temporary_directory.hpp"

using namespace micro_swarm;
using nlohmann::json;

namespace {

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

struct TightFixture : Fixture {
  TightFixture() : Fixture(ControlLimits{4, 1 << 20, 2 << 20}) {}
};

}  // namespace

BOOST_FIXTURE_TEST_SUITE(answers, Fixture)

BOOST_AUTO_TEST_CASE(one_line_to_one_line) {
  RawClient client(endpoint);
  client.write("{\"verb\":\"echo\",\"text\":\"h\\u00e9\"}\n");
  const json reply = next_line(client);
  BOOST_TEST(reply["schema"] == 1);
  BOOST_TEST(reply["end"] == true);
  BOOST_TEST(reply["text"] == "h\u00e9");
  client.write("{\"verb\":\"fail\"}\r\n\n");
  const json refused = next_line(client);
  BOOST_TEST(refused["error"]["code"] == "refused");
  BOOST_TEST(refused["error"]["exit"] == 5);
  BOOST_TEST(refused["error"]["message"] == "no");
  BOOST_TEST(refused["end"] == true);
}

BOOST_AUTO_TEST_CASE(come_in_the_order_of_the_requests) {
  RawClient client(endpoint);
  std::string requests;
  for (int i = 0; i < 100; ++i)
    requests += "{\"verb\":\"echo\",\"text\":\"" + std::to_string(i) + "\"}\n";
  client.write(requests);
  for (int i = 0; i < 100; ++i) BOOST_TEST(next_line(client)["text"] == std::to_string(i));
}

BOOST_AUTO_TEST_CASE(a_request_may_arrive_byte_by_byte) {
  RawClient client(endpoint);
  for (const char c : std::string("{\"verb\":\"echo\",\"text\":\"slow\"}\n")) {
    client.write(std::string_view(&c, 1));
    io.poll();
    io.restart();
  }
  BOOST_TEST(next_line(client)["text"] == "slow");
}

BOOST_AUTO_TEST_CASE(many_lines_end_with_the_last) {
  RawClient client(endpoint);
  client.write("{\"verb\":\"lines\",\"count\":1000}\n");
  for (int i = 0; i < 1000; ++i) {
    const json line = next_line(client);
    BOOST_TEST(line["line"] == i);
    BOOST_TEST(!line.contains("end"));
  }
  BOOST_TEST(next_line(client)["end"] == true);
}

BOOST_AUTO_TEST_CASE(large_ones_arrive_whole) {
  RawClient client(endpoint);
  client.write("{\"verb\":\"big\",\"size\":9000000}\n");
  BOOST_TEST(next_line(client)["text"].get_ref<const std::string&>().size() == 9'000'000u);
}

BOOST_AUTO_TEST_CASE(long_ones_keep_to_the_readers_pace) {
  RawClient client(endpoint);
  client.write("{\"verb\":\"pump\",\"count\":400}\n");  // 40 MB, well over the output limit
  for (int i = 0; i < 400; ++i) BOOST_TEST(next_line(client)["text"].is_string());
  BOOST_TEST(next_line(client)["end"] == true);
  BOOST_TEST(server->counters().slow_readers == 0u);
}

BOOST_AUTO_TEST_CASE(descriptors_ride_along) {
  RawClient client(endpoint);
  client.write("{\"verb\":\"fd\"}\n{\"verb\":\"echo\"}\n");
  BOOST_TEST(next_line(client)["fds"] == 2);
  BOOST_TEST(!next_line(client).contains("fds"));
  const auto fds = client.take_fds();
  BOOST_REQUIRE(fds.size() == 2u);
  for (const auto& fd : fds) BOOST_TEST(::fcntl(fd.get(), F_GETFD) >= 0);
}

BOOST_AUTO_TEST_CASE(a_client_that_stops_sending_still_reads) {
  RawClient client(endpoint);
  client.write("{\"verb\":\"hold\"}\n");
  client.shut_down_sending();
  run_until([&] { return held != nullptr; });
  BOOST_TEST(held->peer_pid() == ::getpid());
  BOOST_TEST(held->peer_uid() == ::geteuid());
  held->send({{"still", "here"}});
  BOOST_TEST(next_line(client)["still"] == "here");
  BOOST_TEST(!held->is_gone());
  held->finish(json::object());
  BOOST_TEST(next_line(client)["end"] == true);
  BOOST_TEST(held->is_gone());
  wait_for_end(client);
  BOOST_TEST(gone == 0);
  BOOST_TEST(server->counters().half_requests == 0u);
}

BOOST_AUTO_TEST_CASE(who_waits_hears_that_the_client_went) {
  RawClient client(endpoint);
  client.write("{\"verb\":\"hold\"}\n{\"verb\":\"echo\"}\n");
  run_until([&] { return held != nullptr; });
  const auto reply = held;
  client.close();
  run_until([&] { return gone == 1; });
  BOOST_TEST(!reply->send({{"to", "nobody"}}));
  BOOST_TEST(reply->is_gone());
  run_until([&] { return server->connection_count() == 0; });
  BOOST_TEST(server->counters().gone_before_end == 1u);
}

BOOST_AUTO_TEST_CASE(a_dropped_request_is_answered) {
  RawClient client(endpoint);
  client.write("{\"verb\":\"drop\"}\n{\"verb\":\"throw\"}\n{\"verb\":\"lines\",\"count\":\"x\"}\n");
  BOOST_TEST(next_line(client)["error"]["code"] == "system");
  BOOST_TEST(next_line(client)["error"]["message"] == "the request failed: thrown");
  BOOST_TEST(next_line(client)["error"]["code"] == "usage");
  client.close();
  require_healthy();
}

BOOST_AUTO_TEST_CASE(bytes_that_are_no_text_are_replaced) {
  RawClient client(endpoint);
  client.write("{\"verb\":\"hold\"}\n");
  run_until([&] { return held != nullptr; });
  held->finish({{"text", "\xff\xfe"}});
  BOOST_TEST(next_line(client)["text"] == "\ufffd\ufffd");
}

BOOST_AUTO_TEST_CASE(closing_the_server_ends_all) {
  RawClient client(endpoint);
  client.write("{\"verb\":\"hold\"}\n");
  run_until([&] { return held != nullptr; });
  server->stop_accepting();
  server->close_all();
  BOOST_TEST(server->connection_count() == 0u);
  wait_for_end(client);
  run_until([&] { return gone == 1; });
}

BOOST_AUTO_TEST_CASE(a_new_server_takes_over_the_listening_socket) {
  // As root does: one descriptor stays open while servers come and go.
  auto listening = listen_control_socket(endpoint);
  BOOST_REQUIRE(listening.has_value());
  for (int life = 0; life < 3; ++life) {
    RawClient early(endpoint);
    early.write("{\"verb\":\"echo\",\"text\":\"early\"}\n");
    auto copy = duplicate(listening->get());
    server.emplace(io, std::move(*copy),
                   [this](const json& request, const std::shared_ptr<ControlReply>& reply) {
                     answer(request, reply);
                   });
    server->start();
    BOOST_TEST(next_line(early)["text"] == "early");
    early.close();
    require_healthy();
  }
}

BOOST_AUTO_TEST_SUITE_END()

BOOST_FIXTURE_TEST_SUITE(bad_input, Fixture)

BOOST_AUTO_TEST_CASE(garbage_is_answered_and_the_connection_goes_on) {
  RawClient client(endpoint);
  const std::vector<std::string> lines{
      "hello",
      "{",
      "[]",
      "42",
      "null",
      "{}",
      "{\"verb\":5}",
      "{\"verb\":\"echo\"}}",
      std::string("\0\xff\x01", 3),
      "\"\xc3\x28\"",
      "GET / HTTP/1.1",
      "{\"verb\":\"echo\",\"text\":" + std::string(100, '[') + std::string(100, ']') + "}"};
  for (const auto& line : lines) {
    client.write(line + "\n");
    const json reply = next_line(client);
    BOOST_TEST(reply["error"]["code"] == "protocol", line);
    BOOST_TEST(reply["end"] == true);
  }
  client.write("{\"verb\":\"echo\",\"text\":\"fine\"}\n");
  BOOST_TEST(next_line(client)["text"] == "fine");
  BOOST_TEST(server->counters().malformed == lines.size());
  BOOST_TEST(handled == 1);
}

BOOST_AUTO_TEST_CASE(half_a_message_is_counted) {
  RawClient client(endpoint);
  client.write("{\"verb\":\"echo\",\"te");
  client.close();
  run_until([&] { return server->counters().half_requests == 1; });
  BOOST_TEST(handled == 0);
  require_healthy();
}

BOOST_AUTO_TEST_CASE(a_request_over_the_limit_ends_the_connection) {
  RawClient client(endpoint);
  // 100 MB in one line; the server must neither keep it nor read it to the end.
  const std::string block(1 << 16, 'a');
  std::size_t sent = 0;
  bool hung_up = false;
  while (!hung_up && sent < 100'000'000) {
    const ssize_t size = client.write_some(block);
    hung_up = size < 0;
    if (!hung_up) sent += static_cast<std::size_t>(size);
    io.poll();
    io.restart();
  }
  BOOST_TEST(hung_up);
  BOOST_TEST(sent < 4u << 20);
  wait_for_end(client);
  BOOST_TEST(client.take_line()["error"]["code"] == "too_large");
  BOOST_TEST(server->counters().oversized == 1u);
  require_healthy();
}

BOOST_AUTO_TEST_CASE(the_largest_request_is_taken_and_one_byte_more_is_not) {
  const std::string head = "{\"verb\":\"echo\",\"text\":\"";
  const std::string tail = "\"}";
  for (const int extra : {0, 1}) {
    RawClient client(endpoint);
    const std::size_t filler = control_request_bytes_max - 1 - head.size() - tail.size();
    const std::string line =
        head + std::string(filler + static_cast<std::size_t>(extra), 'b') + tail + "\n";
    std::size_t sent = 0;
    run_until([&] {
      const ssize_t size = client.write_some(std::string_view(line).substr(sent));
      if (size > 0) sent += static_cast<std::size_t>(size);
      return sent == line.size() || size < 0;
    });
    const json reply = next_line(client);
    BOOST_TEST(reply.contains("error") == (extra == 1));
  }
}

BOOST_AUTO_TEST_CASE(a_flood_of_small_requests_leaves_room_for_others) {
  RawClient flooder(endpoint);
  std::string flood;
  for (int i = 0; i < 2'000; ++i) flood += "{\"verb\":\"echo\"}\n";
  flooder.write(flood);
  RawClient other(endpoint);
  other.write("{\"verb\":\"echo\",\"text\":\"me too\"}\n");
  BOOST_TEST(next_line(other)["text"] == "me too");
  BOOST_TEST(handled < 2'000);
}

BOOST_AUTO_TEST_CASE(anything_at_all_costs_only_its_sender) {
  const unsigned seed = std::random_device{}();
  BOOST_TEST_MESSAGE("seed " << seed);
  std::mt19937 random(seed);
  const std::vector<std::string> pieces{"{\"verb\":\"echo\"}\n",
                                        "{\"verb\":\"lines\",\"count\":50}\n",
                                        "{\"verb\":\"hold\"}\n",
                                        "{\"verb\":\"fd\"}\n",
                                        "{\"verb\":\"big\",\"size\":300000}\n",
                                        "{\"verb\":\"drop\"}\n",
                                        "\n\n\n",
                                        "{\"verb\"",
                                        ":",
                                        std::string(5000, '{'),
                                        std::string("\0\n\xff\n", 4)};
  for (int round = 0; round < 300; ++round) {
    std::vector<RawClient> clients;
    for (int i = 0; i < 4; ++i) clients.emplace_back(endpoint);
    for (int step = 0; step < 20; ++step) {
      RawClient& client = clients[random() % clients.size()];
      switch (random() % 8) {
        case 0:
          client.close();
          client = RawClient(endpoint);
          break;
        case 1: client.shut_down_sending(); break;
        case 2: client.read_some(); break;
        default: client.write_some(pieces[random() % pieces.size()]);
      }
      if (random() % 4 == 0) {
        io.poll();
        io.restart();
      }
    }
    clients.clear();
    held.reset();
    run_until([&] { return server->connection_count() == 0; });
  }
  require_healthy();
}

BOOST_AUTO_TEST_SUITE_END()

BOOST_FIXTURE_TEST_SUITE(limits, TightFixture)

BOOST_AUTO_TEST_CASE(a_reader_too_slow_is_let_go) {
  RawClient client(endpoint);
  client.write("{\"verb\":\"lines\",\"count\":1000000}\n");
  run_until([&] { return server->counters().slow_readers == 1; });
  run_until([&] { return server->connection_count() == 0; });
  require_healthy();
}

BOOST_AUTO_TEST_CASE(one_connection_too_many_hears_why) {
  std::vector<RawClient> clients;
  for (int i = 0; i < 4; ++i) clients.emplace_back(endpoint);
  run_until([&] { return server->connection_count() == 4; });
  RawClient extra(endpoint);
  const json refusal = next_line(extra);
  BOOST_TEST(refusal["error"]["code"] == "refused");
  wait_for_end(extra);
  BOOST_TEST(server->counters().refused_full == 1u);
  clients.pop_back();
  run_until([&] { return server->connection_count() == 3; });
  RawClient fourth(endpoint);
  fourth.write("{\"verb\":\"echo\",\"text\":\"in\"}\n");
  BOOST_TEST(next_line(fourth)["text"] == "in");
}

BOOST_AUTO_TEST_SUITE_END()

BOOST_FIXTURE_TEST_CASE(without_descriptors_clients_hear_why, Fixture) {
  rlimit before{};
  BOOST_REQUIRE(::getrlimit(RLIMIT_NOFILE, &before) == 0);
  RawClient client(endpoint);
  // No number is left below the limit: the lowest free one is at it.
  const UniqueFd probe(::open("/dev/null", O_RDONLY | O_CLOEXEC));
  const rlimit tight{static_cast<rlim_t>(probe.get()), before.rlim_max};
  BOOST_REQUIRE(::setrlimit(RLIMIT_NOFILE, &tight) == 0);
  const json refusal = next_line(client);
  ::setrlimit(RLIMIT_NOFILE, &before);
  BOOST_TEST(refusal["error"]["code"] == "refused");
  BOOST_TEST(server->counters().accept_failures >= 1u);
  client.close();
  require_healthy();
}

BOOST_AUTO_TEST_CASE(errors_keep_their_code_on_the_way) {
  for (const ErrorCode code : {ErrorCode::system, ErrorCode::not_found, ErrorCode::dead_letter,
                               ErrorCode::timed_out, ErrorCode::too_large}) {
    const Error back = error_of_control_reply(control_error({code, "why"}));
    BOOST_TEST((back.code == code));
    BOOST_TEST(back.message == "why");
  }
  BOOST_TEST((error_of_control_reply({{"error", {{"code", "new"}, {"message", "m"}}}}).code ==
              ErrorCode::protocol));
  BOOST_TEST((error_of_control_reply({{"error", 5}}).code == ErrorCode::protocol));
}
