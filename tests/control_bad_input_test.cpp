// What clients may do wrong, by mistake or not: it costs them at most their own connection.

#include <fcntl.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include <boost/test/unit_test.hpp>
#include <filesystem>
#include <nlohmann/json.hpp>
#include <random>
#include <string>
#include <vector>

#include "ipc/control_protocol.hpp"
#include "tests/control_fixture.hpp"

using namespace micro_swarm;
using namespace micro_swarm::control_test;

namespace {

struct TightFixture : Fixture {
  TightFixture() : Fixture(ControlLimits{4, 1 << 20, 2 << 20}) {}
};

}  // namespace

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

BOOST_FIXTURE_TEST_CASE(another_user_is_refused, Fixture,
                        *boost::unit_test::precondition([](boost::unit_test::test_unit_id) {
                          return boost::test_tools::assertion_result(::geteuid() == 0);
                        })) {
  // Mode and directory keep others out already; this is what is left if somebody widens them.
  std::filesystem::permissions(directory.path(), std::filesystem::perms(0755));
  std::filesystem::permissions(endpoint.socket_path(), std::filesystem::perms(0666));
  constexpr uid_t nobody = 65534;
  const pid_t child = ::fork();
  if (child == 0) {
    if (::setuid(nobody) != 0) ::_exit(2);
    RawClient client(endpoint);
    client.write_some("{\"verb\":\"echo\"}\n");
    while (!client.ended()) client.wait_and_read();
    ::_exit(client.has_line() && client.take_line()["error"]["code"] == "refused" ? 0 : 1);
  }
  run_until([&] { return server->counters().refused_peer == 1; });
  int status = -1;
  BOOST_REQUIRE(::waitpid(child, &status, 0) == child);
  BOOST_TEST(status == 0);
  BOOST_TEST(handled == 0);
}
