#include "supervisor/control_server.hpp"

#include <fcntl.h>

#include <boost/test/unit_test.hpp>
#include <nlohmann/json.hpp>
#include <string>

#include "ipc/control_protocol.hpp"
#include "tests/control_fixture.hpp"

using namespace micro_swarm;
using namespace micro_swarm::control_test;

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
