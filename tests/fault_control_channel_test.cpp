// `run --control-fd`: whoever starts a swarm talks to it by a channel of its own, over the deaths
// of supervisors, and takes it along when it goes.

#include <sys/socket.h>

#include "common/clock.hpp"
#include "ipc/control_channel.hpp"
#include "ipc/control_protocol.hpp"
#include "tests/fault_swarm.hpp"

namespace micro_swarm::testing {
namespace {

using nlohmann::json;

constexpr const char* toml = R"(
[swarm]
agents = 1
[supervision]
supervisor_restarts_max = 1000
[log]
level = "warn"
)";

struct Channel {
  Channel() {
    auto pair = seqpacket_pair();
    BOOST_REQUIRE(pair.has_value());
    mine = std::move(pair->first);
    theirs = std::move(pair->second);
    ::fcntl(theirs.get(), F_SETFD, 0);
  }
  std::vector<std::string> args() const { return {"--control-fd", std::to_string(theirs.get())}; }
  UniqueFd mine, theirs;
};

/// A swarm that this process has started and talks to by a channel.
struct ChannelSwarm {
  ChannelSwarm() : swarm(toml, channel.args()) { channel.theirs.reset(); }
  ControlClient client() {
    auto mine = duplicate(channel.mine.get());
    BOOST_REQUIRE(mine.has_value());
    return ControlClient::through(std::move(*mine), "test");
  }
  void wait_until_up() {
    BOOST_REQUIRE(swarm.wait_for_live(1));
    swarm.remember_all();
  }
  Channel channel;
  FaultSwarm swarm;
};

json ask(ControlClient& client, const json& request) {
  auto answer = client.request(request, {.timeout_ms = patience_ms, .reconnect_ms = patience_ms});
  BOOST_REQUIRE_MESSAGE(answer.has_value(), fault_text(answer));
  return answer->object;
}

Error fault_of(ControlClient& client) {
  auto answer = client.request({{"verb", "status"}}, {.timeout_ms = patience_ms});
  BOOST_REQUIRE(!answer.has_value());
  return answer.error();
}

BOOST_AUTO_TEST_CASE(requests_wait_in_the_channel_until_somebody_serves_them) {
  ChannelSwarm started;
  // Sent before there is a supervisor, and without a look at any file.
  ControlClient client = started.client();
  BOOST_TEST(ask(client, {{"verb", "status"}}).at("name") == "test");
  BOOST_TEST(client.reconnects() == 0u);
  started.wait_until_up();

  auto attached = client.request({{"verb", "attach"}}, {.timeout_ms = patience_ms});
  BOOST_REQUIRE_MESSAGE(attached.has_value(), fault_text(attached));
  BOOST_REQUIRE_EQUAL(attached->fds.size(), 1u);
  auto party = Client::attach(std::move(attached->fds.front()), patience_ms);
  BOOST_REQUIRE_MESSAGE(party.has_value(), fault_text(party));
  TaskRequest request;
  request.capability = "noop";
  BOOST_REQUIRE(party->submit(std::move(request), patience_ms).has_value());
  auto result = party->next_result(patience_ms);
  BOOST_REQUIRE(result.has_value() && result->has_value());
  BOOST_TEST((*result)->is_done());
  started.swarm.finish();
}

BOOST_AUTO_TEST_CASE(a_request_is_answered_whatever_supervisors_die_under_it) {
  ChannelSwarm started;
  started.wait_until_up();
  ControlClient client = started.client();
  constexpr unsigned deaths = 12;
  for (unsigned epoch = 1; epoch <= deaths; ++epoch) {
    json status = ask(client, {{"verb", "status"}});
    while (status.at("epoch") < epoch) status = ask(client, {{"verb", "status"}});
    ::kill(status.at("supervisor_pid").get<pid_t>(), SIGKILL);
    // Some of these connections reach the dying one, some wait for its successor.
    for (int i = 0; i < 20; ++i) BOOST_TEST(ask(client, {{"verb", "status"}}).contains("epoch"));
    BOOST_TEST(ask(client, {{"verb", "agent.list"}}).at("agents").size() == 1u);
  }
  BOOST_TEST(client.reconnects() >= 1u);
  started.swarm.remember_all();
  started.swarm.finish();
}

BOOST_AUTO_TEST_CASE(a_waiting_request_survives_the_supervisor_that_was_to_answer_it) {
  ChannelSwarm started;
  started.wait_until_up();
  TaskClient tasks(started.swarm);
  const auto number = tasks.submit("sleep", "1500");
  const TaskId id = tasks.id_of(number);
  ControlClient client = started.client();
  const pid_t supervisor = ask(client, {{"verb", "status"}}).at("supervisor_pid").get<pid_t>();
  auto other = started.client();
  ControlRequestOptions options{.timeout_ms = patience_ms, .reconnect_ms = patience_ms};
  std::size_t resent = 0;
  options.before_resend = [&](json&) { ++resent; };
  // The wait is under way when its supervisor dies: another connection served after it says so.
  auto connection = open_control_connection(started.channel.mine.get());
  BOOST_REQUIRE(connection.has_value());
  const std::string line = control_line({{"verb", "task.wait"}, {"id", id}});
  BOOST_REQUIRE(send_with_fds(connection->get(), std::as_bytes(std::span(line)), {}) > 0);
  static_cast<void>(ask(other, {{"verb", "status"}}));
  ::kill(supervisor, SIGKILL);
  std::array<std::byte, 4096> bytes;
  const auto got = receive_with_fds(connection->get(), bytes, false);
  BOOST_TEST(got.size <= 0);  // never half an answer
  auto answer = client.request({{"verb", "task.wait"}, {"id", id}}, options);
  BOOST_REQUIRE_MESSAGE(answer.has_value(), fault_text(answer));
  BOOST_TEST(answer->object.at("task").at("state") == "done");
  BOOST_TEST(tasks.result_of(number).is_done());
  started.swarm.remember_all();
  started.swarm.finish();
}

BOOST_AUTO_TEST_CASE(closing_the_channel_drains_and_stops_the_swarm) {
  ChannelSwarm started;
  started.wait_until_up();
  TaskClient tasks(started.swarm);
  const auto number = tasks.submit("sleep", "300");
  static_cast<void>(tasks.id_of(number));
  started.channel.mine.reset();
  BOOST_TEST(tasks.result_of(number).is_done());
  BOOST_TEST(started.swarm.wait() == 0);
  started.swarm.check_nothing_left();
}

/// A process that has the only other end of the channel, as an orchestrator does.
pid_t start_holder(ChannelSwarm& started) {
  const pid_t holder = ::fork();
  if (holder == 0)
    for (;;) ::pause();
  BOOST_REQUIRE(holder > 0);
  started.channel.mine.reset();
  return holder;
}

BOOST_AUTO_TEST_CASE(a_killed_owner_leaves_no_swarm) {
  ChannelSwarm started;
  started.wait_until_up();
  const pid_t holder = start_holder(started);
  ::kill(holder, SIGKILL);
  BOOST_TEST(::waitpid(holder, nullptr, 0) == holder);
  BOOST_TEST(started.swarm.wait() == 0);
  started.swarm.check_nothing_left();
}

BOOST_AUTO_TEST_CASE(an_owner_killed_together_with_the_supervisor_leaves_no_swarm) {
  ChannelSwarm started;
  started.wait_until_up();
  const pid_t supervisor = started.swarm.supervisor();
  const pid_t holder = start_holder(started);
  ::kill(supervisor, SIGKILL);
  ::kill(holder, SIGKILL);
  BOOST_TEST(::waitpid(holder, nullptr, 0) == holder);
  BOOST_TEST(started.swarm.wait() == 0);
  started.swarm.check_nothing_left();
}

BOOST_AUTO_TEST_CASE(an_owner_killed_before_there_is_a_supervisor_leaves_no_swarm) {
  ChannelSwarm started;
  started.channel.mine.reset();
  BOOST_TEST(started.swarm.wait() == 0);
  started.swarm.check_nothing_left();
}

BOOST_AUTO_TEST_CASE(nonsense_in_the_channel_costs_nobody_anything) {
  ChannelSwarm started;
  started.wait_until_up();
  const int channel = started.channel.mine.get();
  const UniqueFd null(::open("/dev/null", O_RDWR | O_CLOEXEC));
  auto pair = seqpacket_pair();
  BOOST_REQUIRE(pair.has_value());
  const std::array<std::byte, 4096> junk{};
  const int one[] = {null.get()};
  const int many[] = {null.get(), null.get(), pair->first.get()};
  const int other_kind[] = {pair->first.get()};
  const int itself[] = {channel};
  for (int i = 0; i < 50; ++i) {
    BOOST_TEST(send_with_fds(channel, {}, {}, true) >= 0);  // what the end looks like
    for (const std::span<const int> fds :
         {std::span<const int>(), std::span<const int>(one), std::span<const int>(many),
          std::span<const int>(other_kind), std::span<const int>(itself)}) {
      BOOST_TEST(send_with_fds(channel, std::span(junk).first(1), fds, true) > 0);
      BOOST_TEST(send_with_fds(channel, junk, fds, true) > 0);
    }
  }
  ControlClient client = started.client();
  const json status = ask(client, {{"verb", "status"}});
  BOOST_TEST(status.at("epoch") == 1u);
  BOOST_TEST(status.at("state") == "running");
  BOOST_TEST(status.at("control").at("malformed") >= 550u);
  started.swarm.finish();
}

BOOST_AUTO_TEST_CASE(a_swarm_that_cannot_start_says_why_by_the_channel) {
  Channel channel;
  FaultSwarm swarm("[swarm]\nagentz = 1\n", channel.args());
  channel.theirs.reset();
  auto client = ControlClient::through(std::move(channel.mine), "test");
  const Error error = fault_of(client);
  BOOST_TEST((error.code == ErrorCode::config));
  BOOST_TEST(error.message.find("did you mean \"agents\"?") != std::string::npos, error.message);
  BOOST_TEST(swarm.wait() == 2);
  BOOST_TEST((fault_of(client).code == ErrorCode::not_running));
}

BOOST_AUTO_TEST_CASE(a_name_that_is_taken_is_refused_by_the_channel) {
  ChannelSwarm started;
  started.wait_until_up();
  Channel channel;
  pid_t second = 0;
  {
    std::vector<std::string> args{SwarmProcess::binary(), "run", "--name", "test"};
    for (const auto& arg : channel.args()) args.push_back(arg);
    std::vector<char*> argv;
    for (auto& arg : args) argv.push_back(arg.data());
    argv.push_back(nullptr);
    BOOST_REQUIRE_EQUAL(::posix_spawn(&second, argv[0], nullptr, nullptr, argv.data(), environ), 0);
    channel.theirs.reset();
  }
  auto client = ControlClient::through(std::move(channel.mine), "test");
  const Error error = fault_of(client);
  BOOST_TEST((error.code == ErrorCode::refused));
  int status = 0;
  BOOST_TEST(::waitpid(second, &status, 0) == second);
  BOOST_TEST(WEXITSTATUS(status) == 5);
  started.swarm.finish();
}

BOOST_AUTO_TEST_CASE(a_model_that_does_not_load_is_told_by_the_channel) {
  Channel channel;
  const TemporaryDirectory directory;
  const std::string model = (directory.path() / "broken.onnx").string();
  std::ofstream(model) << "this is no model";
  FaultSwarm swarm("[[agent]]\nname = \"broken\"\nkind = \"neural\"\nmodel = \"" + model + "\"\n",
                   channel.args());
  channel.theirs.reset();
  auto client = ControlClient::through(std::move(channel.mine), "test");
  // Requests are answered until the model is found out.
  Result<ControlLine> answer = ControlLine{};
  while (answer) answer = client.request({{"verb", "status"}}, {.timeout_ms = patience_ms});
  BOOST_TEST((answer.error().code == ErrorCode::model), fault_text(answer));
  BOOST_TEST(answer.error().message.find("broken") != std::string::npos);
  BOOST_TEST(swarm.wait() == 1);
}

BOOST_AUTO_TEST_CASE(what_is_no_channel_is_refused) {
  for (const char* number : {"3", "1000"}) {
    const UniqueFd null(::open("/dev/null", O_RDWR));  // may well become 3
    FaultSwarm swarm(toml, {"--control-fd", number});
    BOOST_TEST(swarm.wait() == 2);
    BOOST_TEST(swarm.log().find("--control-fd: descriptor") != std::string::npos, swarm.log());
    swarm.check_nothing_left();
  }
  FaultSwarm swarm(toml, {"--control-fd", "0"});
  BOOST_TEST(swarm.wait() == 2);
}

}  // namespace
}  // namespace micro_swarm::testing
