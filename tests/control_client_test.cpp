#include "ipc/control_client.hpp"

#include <fcntl.h>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <boost/asio/post.hpp>
#include <boost/test/unit_test.hpp>
#include <future>
#include <nlohmann/json.hpp>
#include <optional>
#include <thread>

#include "common/clock.hpp"
#include "supervisor/control_server.hpp"
#include "tests/fault_text.hpp"
#include "tests/temporary_directory.hpp"

using namespace micro_swarm;
using nlohmann::json;

namespace {

/// Plays root and its supervisors: keeps the listening socket while servers, each in a thread of
/// its own, come and go.
class Swarm {
 public:
  explicit Swarm(const Endpoint& endpoint) {
    auto listening = listen_control_socket(endpoint);
    BOOST_REQUIRE_MESSAGE(listening.has_value(), fault_text(listening));
    listening_ = std::move(*listening);
  }
  ~Swarm() { end_supervisor(); }

  void start_supervisor(ControlHandler handler) {
    auto copy = duplicate(listening_.get());
    BOOST_REQUIRE(copy.has_value());
    io_.emplace(1);
    server_.emplace(*io_, std::move(*copy), std::move(handler));
    server_->start();
    thread_ = std::thread([this] { io_->run(); });
  }

  /// As a SIGKILL looks to clients: every connection ends at once.
  void end_supervisor() {
    if (!thread_.joinable()) return;
    boost::asio::post(*io_, [this] {
      server_->stop_accepting();
      server_->close_all();
      io_->stop();
    });
    thread_.join();
    server_.reset();
    io_.reset();
  }

  void end_root() { listening_.reset(); }

 private:
  UniqueFd listening_;
  std::optional<boost::asio::io_context> io_;
  std::optional<ControlServer> server_;
  std::thread thread_;
};

struct Fixture {
  TemporaryDirectory directory;
  Endpoint endpoint{"test", directory.path().string()};
  Swarm swarm{endpoint};

  ControlClient connected() {
    auto client = ControlClient::connect(endpoint);
    BOOST_REQUIRE_MESSAGE(client.has_value(), fault_text(client));
    return std::move(*client);
  }
};

void echo(const json& request, const std::shared_ptr<ControlReply>& reply) {
  reply->finish({{"text", request.value("text", "")}});
}

}  // namespace

BOOST_AUTO_TEST_CASE(nobody_there_names_the_socket_and_what_to_do) {
  const TemporaryDirectory directory;
  const auto client = ControlClient::connect(Endpoint{"lab", directory.path().string()});
  BOOST_REQUIRE(client.has_error());
  BOOST_TEST((client.error().code == ErrorCode::not_running));
  BOOST_TEST(client.error().message.find(directory.path().string() + "/lab.sock") !=
             std::string::npos);
  BOOST_TEST(client.error().message.find("microswarm run --name lab") != std::string::npos);
}

BOOST_AUTO_TEST_CASE(a_stale_socket_is_nobody) {
  const TemporaryDirectory directory;
  const Endpoint endpoint{"lab", directory.path().string()};
  {
    auto left_behind = listen_control_socket(endpoint);
    BOOST_REQUIRE(left_behind.has_value());
  }
  const auto client = ControlClient::connect(endpoint);
  BOOST_REQUIRE(client.has_error());
  BOOST_TEST((client.error().code == ErrorCode::not_running));
}

BOOST_AUTO_TEST_CASE(a_swarm_that_is_about_to_start_is_waited_for) {
  const TemporaryDirectory directory;
  const Endpoint endpoint{"lab", directory.path().string()};
  auto later = std::async(std::launch::async,
                          [&] { return ControlClient::connect(endpoint, 10'000).has_value(); });
  Swarm swarm(endpoint);
  BOOST_TEST(later.get());
}

BOOST_FIXTURE_TEST_SUITE(answers, Fixture)

BOOST_AUTO_TEST_CASE(come_back) {
  swarm.start_supervisor(echo);
  auto client = connected();
  BOOST_TEST(client.root_pid() == ::getpid());
  for (const char* text : {"one", "two"}) {
    auto reply = client.request({{"verb", "echo"}, {"text", text}});
    BOOST_REQUIRE_MESSAGE(reply.has_value(), fault_text(reply));
    BOOST_TEST(reply->object["text"] == text);
  }
  BOOST_TEST(client.reconnects() == 0u);
}

BOOST_AUTO_TEST_CASE(errors_come_back_as_errors) {
  swarm.start_supervisor([](const json&, const std::shared_ptr<ControlReply>& reply) {
    reply->fail({ErrorCode::not_found, "no such task"});
  });
  auto client = connected();
  const auto reply = client.request({{"verb", "task.show"}});
  BOOST_REQUIRE(reply.has_error());
  BOOST_TEST((reply.error().code == ErrorCode::not_found));
  BOOST_TEST(reply.error().message == "no such task");
}

BOOST_AUTO_TEST_CASE(lines_and_their_descriptors_belong_together) {
  swarm.start_supervisor([](const json&, const std::shared_ptr<ControlReply>& reply) {
    for (int i = 0; i < 50; ++i) {
      std::vector<UniqueFd> fds;
      if (i % 3 == 0) fds.emplace_back(::open("/dev/null", O_RDONLY | O_CLOEXEC));
      reply->send({{"line", i}}, std::move(fds));
    }
    reply->finish(json::object());
  });
  auto client = connected();
  int lines = 0;
  const auto done = client.stream({{"verb", "x"}}, [&](ControlLine& line) {
    if (!line.object.contains("end"))
      BOOST_TEST(line.fds.size() == (line.object["line"].get<int>() % 3 == 0 ? 1u : 0u));
    ++lines;
    return true;
  });
  BOOST_REQUIRE_MESSAGE(done.has_value(), fault_text(done));
  BOOST_TEST(lines == 51);
}

BOOST_AUTO_TEST_CASE(a_stream_may_be_left_and_the_client_used_again) {
  swarm.start_supervisor([](const json& request, const std::shared_ptr<ControlReply>& reply) {
    if (request["verb"] == "echo") return echo(request, reply);
    for (int i = 0; i < 100; ++i) reply->send({{"line", i}});
    reply->finish(json::object());
  });
  auto client = connected();
  BOOST_TEST(client.stream({{"verb", "x"}}, [](ControlLine&) { return false; }).has_value());
  auto reply = client.request({{"verb", "echo"}, {"text", "again"}});
  BOOST_REQUIRE_MESSAGE(reply.has_value(), fault_text(reply));
  BOOST_TEST(reply->object["text"] == "again");
}

BOOST_AUTO_TEST_CASE(that_do_not_come_time_out) {
  std::shared_ptr<ControlReply> kept;
  swarm.start_supervisor(
      [&](const json&, const std::shared_ptr<ControlReply>& reply) { kept = reply; });
  auto client = connected();
  ControlRequestOptions options;
  options.timeout_ms = 20;
  const auto reply = client.request({{"verb", "x"}}, options);
  BOOST_REQUIRE(reply.has_error());
  BOOST_TEST((reply.error().code == ErrorCode::timed_out));
  swarm.end_supervisor();
}

BOOST_AUTO_TEST_CASE(requests_too_large_are_not_sent) {
  swarm.start_supervisor(echo);
  auto client = connected();
  const auto reply = client.request({{"verb", "echo"}, {"text", std::string(1 << 20, 'x')}});
  BOOST_REQUIRE(reply.has_error());
  BOOST_TEST((reply.error().code == ErrorCode::too_large));
}

BOOST_AUTO_TEST_SUITE_END()

BOOST_FIXTURE_TEST_SUITE(the_supervisor_is_replaced, Fixture)

BOOST_AUTO_TEST_CASE(while_a_request_waits) {
  std::promise<void> asked;
  std::shared_ptr<ControlReply> kept;
  swarm.start_supervisor([&](const json&, const std::shared_ptr<ControlReply>& reply) {
    kept = reply;
    asked.set_value();
  });
  auto client = connected();
  auto answer = std::async(std::launch::async, [&] {
    return client.request({{"verb", "echo"}, {"text", "kept on asking"}});
  });
  asked.get_future().wait();
  swarm.end_supervisor();
  kept.reset();
  swarm.start_supervisor(echo);
  auto reply = answer.get();
  BOOST_REQUIRE_MESSAGE(reply.has_value(), fault_text(reply));
  BOOST_TEST(reply->object["text"] == "kept on asking");
  BOOST_TEST(client.reconnects() == 1u);
}

BOOST_AUTO_TEST_CASE(between_two_requests) {
  swarm.start_supervisor(echo);
  auto client = connected();
  BOOST_TEST(client.request({{"verb", "echo"}}).has_value());
  swarm.end_supervisor();
  swarm.start_supervisor(echo);
  BOOST_TEST(client.request({{"verb", "echo"}}).has_value());
  BOOST_TEST(client.reconnects() == 1u);
}

BOOST_AUTO_TEST_CASE(in_the_middle_of_a_stream_which_goes_on_where_it_was) {
  std::promise<void> half_way;
  std::shared_ptr<ControlReply> kept;
  swarm.start_supervisor([&](const json&, const std::shared_ptr<ControlReply>& reply) {
    for (int i = 0; i < 5; ++i) reply->send({{"sequence", i}});
    kept = reply;
    half_way.set_value();
  });
  auto client = connected();
  std::vector<int> seen;
  int next = 0;
  ControlRequestOptions options;
  options.before_resend = [&](json& request) { request["since"] = next; };
  auto answer = std::async(std::launch::async, [&] {
    return client.stream(
        {{"verb", "events"}, {"since", 0}},
        [&](ControlLine& line) {
          if (!line.object.contains("sequence")) return true;
          seen.push_back(line.object["sequence"]);
          next = seen.back() + 1;
          return true;
        },
        options);
  });
  half_way.get_future().wait();
  swarm.end_supervisor();
  kept.reset();
  swarm.start_supervisor([](const json& request, const std::shared_ptr<ControlReply>& reply) {
    for (int i = request["since"]; i < 10; ++i) reply->send({{"sequence", i}});
    reply->finish(json::object());
  });
  const auto done = answer.get();
  BOOST_REQUIRE_MESSAGE(done.has_value(), fault_text(done));
  BOOST_REQUIRE(seen.size() == 10u);
  for (int i = 0; i < 10; ++i) BOOST_TEST(seen[static_cast<std::size_t>(i)] == i);
}

BOOST_AUTO_TEST_CASE(by_nobody_as_the_swarm_is_gone) {
  std::promise<void> asked;
  std::shared_ptr<ControlReply> kept;
  swarm.start_supervisor([&](const json&, const std::shared_ptr<ControlReply>& reply) {
    kept = reply;
    asked.set_value();
  });
  auto client = connected();
  auto answer = std::async(std::launch::async, [&] { return client.request({{"verb", "x"}}); });
  asked.get_future().wait();
  swarm.end_root();
  swarm.end_supervisor();
  const auto reply = answer.get();
  BOOST_REQUIRE(reply.has_error());
  BOOST_TEST((reply.error().code == ErrorCode::not_running));
}

BOOST_AUTO_TEST_CASE(again_and_again_until_patience_ends) {
  // Whoever answers hangs up on every request.
  auto listening = listen_control_socket(endpoint);
  BOOST_REQUIRE(listening.has_value());
  std::thread rude([fd = listening->get()] {
    pollfd target{fd, POLLIN, 0};
    while (::poll(&target, 1, -1) == 1 && (target.revents & POLLHUP) == 0)
      const UniqueFd client(::accept4(fd, nullptr, nullptr, SOCK_CLOEXEC));
  });
  auto client = connected();
  ControlRequestOptions options;
  options.reconnect_ms = 100;
  const auto reply = client.request({{"verb", "x"}}, options);
  BOOST_REQUIRE(reply.has_error());
  BOOST_TEST((reply.error().code == ErrorCode::system));
  BOOST_TEST(client.reconnects() > 0u);
  ::shutdown(listening->get(), SHUT_RDWR);
  rude.join();
}

BOOST_AUTO_TEST_SUITE_END()
