// Clients that die without a word, too many of them, and many one after the other.

#include <array>
#include <deque>

#include "tests/fault_swarm.hpp"

namespace micro_swarm::testing {
namespace {

/// A process that attaches, submits `tasks` tasks with results of `size_bytes`, and then never
/// reads. With `holds_one` half of them have large payloads instead, and it first takes one result
/// and holds it. SIGKILLed by the destructor or kill().
class DoomedClient {
 public:
  DoomedClient(int tasks, std::size_t size_bytes, bool holds_one = true) {
    int ends[2];
    BOOST_REQUIRE_EQUAL(::pipe2(ends, O_CLOEXEC), 0);
    const UniqueFd ready(ends[0]);
    UniqueFd tell(ends[1]);
    pid_ = ::fork();
    BOOST_REQUIRE(pid_ >= 0);
    if (pid_ == 0) run(tasks, size_bytes, holds_one, tell.get());
    tell.reset();
    char said = '?';
    BOOST_REQUIRE_EQUAL(::read(ready.get(), &said, 1), 1);
    BOOST_REQUIRE_EQUAL(said, 'r');
  }
  ~DoomedClient() { kill(); }
  DoomedClient(const DoomedClient&) = delete;
  DoomedClient& operator=(const DoomedClient&) = delete;

  void kill() {
    if (pid_ <= 0) return;
    ::kill(pid_, SIGKILL);
    ::waitpid(pid_, nullptr, 0);
    pid_ = -1;
  }

 private:
  [[noreturn]] static void run(int tasks, std::size_t size_bytes, bool holds_one, int tell) {
    const auto say = [tell](char what) {
      [[maybe_unused]] const ssize_t size = ::write(tell, &what, 1);
    };
    auto client = Client::connect("test", patience_ms);
    if (!client) {
      say('c');
      ::_exit(1);
    }
    const std::string text = std::to_string(size_bytes);
    const std::string large(30'000, 'p');
    for (int i = 0; i < tasks; ++i) {
      TaskRequest request;
      // Who holds nothing has its payloads in no region either.
      const bool fills = i % 2 == 0 || !holds_one;
      request.capability = fills ? "fill" : "echo";
      const std::string& payload = fills ? text : large;
      request.payload = std::as_bytes(std::span(payload.data(), payload.size()));
      if (!client->submit(std::move(request), patience_ms)) {
        say('s');
        ::_exit(1);
      }
    }
    Result<std::optional<TaskResult>> held = std::optional<TaskResult>();
    if (holds_one) {
      held = client->next_result(patience_ms);
      if (!held || !*held || !(*held)->is_done()) say('n');
    }
    say('r');
    for (;;) ::pause();
  }

  pid_t pid_ = -1;
};

BOOST_AUTO_TEST_CASE(what_a_killed_client_had_comes_back) {
  FaultSwarm swarm(R"(
[swarm]
agents = 2
[tasks]
queue_size = 64
)");
  BOOST_REQUIRE(swarm.wait_for_live(2));
  {
    DoomedClient doomed(40, 100'000);
    doomed.kill();
  }
  // What it had submitted is done, for nobody.
  BOOST_REQUIRE(swarm.wait_until([](const auto& s) {
    return s.at("clients") == 0 && s.at("tasks").at("ready") == 0 &&
           s.at("tasks").at("running") == 0;
  }));
  const auto status = swarm.status();
  BOOST_TEST(status.at("tasks").at("done") == 40);
  BOOST_TEST(status.at("counters").at("clients_left") == 1);
  BOOST_TEST(swarm.ask({{"verb", "task.list"}}).at("tasks").size() == 40u);

  // Its unread results are kept as long as the records are: new tasks take those.
  TaskClient client(swarm);
  for (int i = 0; i < 80; ++i) BOOST_TEST(client.run("fill", "100000").is_done());
  BOOST_TEST(swarm.wait_until([](const auto& s) { return s.at("memory").at("tokens_out") == 0; }),
             swarm.ask({{"verb", "region.list"}}).dump());
  BOOST_TEST(swarm.ask({{"verb", "region.list"}}).at("regions_in_use") == 0);
  swarm.finish();
}

BOOST_AUTO_TEST_CASE(a_client_killed_with_all_in_flight_loses_nothing_of_others) {
  FaultSwarm swarm("[swarm]\nagents = 2\n");
  BOOST_REQUIRE(swarm.wait_for_live(2));
  TaskClient client(swarm);
  for (int round = 0; round < 10; ++round) {
    DoomedClient doomed(200, 1'000);
    const auto number = client.submit("echo", "mine");
    doomed.kill();
    const TaskResult result = client.result_of(number);
    BOOST_TEST((result.is_done() && result.text() == "mine"));
  }
  BOOST_TEST(swarm.wait_until([](const auto& s) {
    return s.at("clients") == 1 && s.at("tasks").at("running") == 0 &&
           s.at("tasks").at("ready") == 0;
  }));
  swarm.finish();
}

BOOST_AUTO_TEST_CASE(tasks_of_a_dead_client_are_cancelled_where_that_is_wanted) {
  FaultSwarm swarm(R"(
[swarm]
agents = 1
[tasks]
in_flight_per_agent = 1
when_client_dies = "cancel"
)");
  BOOST_REQUIRE(swarm.wait_for_live(1));
  TaskClient client(swarm);
  const auto first = client.submit("sleep", "60000");
  const TaskId first_id = client.id_of(first);
  swarm.require_in_hand(0, first_id);
  DoomedClient doomed(10, 1'000, false);
  BOOST_REQUIRE(swarm.wait_until([](const auto& s) { return s.at("tasks").at("ready") == 10; }));
  doomed.kill();
  BOOST_TEST(swarm.wait_until([](const auto& s) { return s.at("tasks").at("cancelled") == 10; }));
  BOOST_TEST(swarm.status().at("tasks").at("running") == 1);  // the living one's
  BOOST_TEST(swarm.cancel(first_id) == "asked");
  BOOST_TEST((client.result_of(first).state() == TaskState::cancelled));
  swarm.finish();
}

BOOST_AUTO_TEST_CASE(results_nobody_fetches_give_way_when_the_pool_is_full) {
  FaultSwarm swarm(R"(
[swarm]
agents = 1
[memory]
pool_size = "2MiB"
[tasks]
in_flight_per_agent = 1
)");
  BOOST_REQUIRE(swarm.wait_for_live(1));
  TaskClient client(swarm);
  // The agent is busy until the client is dead, so that its results end with the supervisor: more
  // of them than the pool has room for.
  const auto first = client.submit("sleep", "60000");
  const TaskId first_id = client.id_of(first);
  swarm.require_in_hand(0, first_id);
  {
    DoomedClient doomed(40, 120'000, false);
    doomed.kill();
  }
  BOOST_REQUIRE(swarm.wait_until(
      [](const auto& s) { return s.at("clients") == 1 && s.at("tasks").at("ready") == 40; }));
  BOOST_TEST(swarm.cancel(first_id) == "asked");
  BOOST_TEST((client.result_of(first).state() == TaskState::cancelled));
  // Each wants the room of several of those.
  for (int i = 0; i < 10; ++i) {
    const TaskResult result = client.run("fill", "500000");
    BOOST_TEST(result.is_done(), "fill " << i << ": " << result.text());
  }
  // Fair share lets the living client's go before the dead one's.
  BOOST_TEST(swarm.wait_until([](const auto& s) { return s.at("tasks").at("done") == 50; }));
  const auto status = swarm.status();
  BOOST_TEST(status.at("tasks").at("failed") == 0);
  BOOST_TEST(status.at("counters").at("results_evicted") > 0);
  swarm.finish();
}

BOOST_AUTO_TEST_CASE(the_64th_client_is_refused_and_a_place_that_is_left_can_be_taken) {
  FaultSwarm swarm("[swarm]\nagents = 1\n");
  BOOST_REQUIRE(swarm.wait_for_live(1));
  {
    std::deque<Client> clients;
    for (PartyId i = 0; i < clients_max; ++i) clients.push_back(TaskClient::connect());
    BOOST_TEST(clients.size() == 63u);
    BOOST_TEST(swarm.status().at("clients") == 63);
    const auto refused = Client::connect("test", patience_ms);
    BOOST_REQUIRE(refused.has_error());
    BOOST_TEST((refused.error().code == ErrorCode::refused));
    BOOST_TEST(to_int(exit_code_of(refused.error().code)) == 5);
    BOOST_TEST(refused.error().message.find("all 63 client places are taken") != std::string::npos,
               refused.error().message);
    BOOST_TEST(swarm.counter("clients_refused") == 1u);

    clients.pop_front();
    BOOST_TEST(swarm.wait_until([](const auto& s) { return s.at("clients") == 62; }));
    TaskClient late(swarm);
    late.check_echo("late");
    // All of them work.
    for (Client& client : clients) {
      TaskRequest request;
      request.capability = "noop";
      BOOST_REQUIRE(client.submit(std::move(request), patience_ms).has_value());
    }
    for (Client& client : clients) {
      auto result = client.next_result(patience_ms);
      BOOST_REQUIRE(result.has_value() && result->has_value());
      BOOST_TEST((*result)->is_done());
    }
  }
  BOOST_TEST(swarm.wait_until([](const auto& s) { return s.at("clients") == 0; }));
  swarm.finish();
}

BOOST_AUTO_TEST_CASE(places_are_used_again_without_a_trace) {
  FaultSwarm swarm("[swarm]\nagents = 2\n");
  BOOST_REQUIRE(swarm.wait_for_live(2));
  const std::string fds_of_root = "/proc/" + std::to_string(swarm.root()) + "/fd";
  const std::string fds_of_supervisor = "/proc/" + std::to_string(swarm.supervisor()) + "/fd";
  // Both are not dumpable, so it takes privileges to look.
  const bool may_look = ::access(fds_of_root.c_str(), R_OK) == 0;
  const auto fds = [&](const std::string& directory) {
    return may_look ? entries_in(directory) : 0;
  };
  const std::string large(100'000, 'y');
  const auto cycle = [&] {
    TaskClient client(swarm);
    client.check_echo("short");
    client.check_echo(large);
    static_cast<void>(client.submit("echo", "unread"));
  };
  const auto settled = [&] {
    return swarm.wait_until([](const auto& s) {
      return s.at("clients") == 0 && s.at("tasks").at("ready") == 0 &&
             s.at("tasks").at("running") == 0;
    });
  };
  cycle();
  BOOST_REQUIRE(settled());
  const std::size_t root_before = fds(fds_of_root);
  const std::size_t supervisor_before = fds(fds_of_supervisor);
  const std::size_t own_before = entries_in("/proc/self/fd");
  for (int i = 0; i < 200; ++i) cycle();
  BOOST_REQUIRE(settled());
  BOOST_TEST(swarm.counter("clients_left") == 201u);
  // Banks come and go with what is stored in them: a few more or less is no leak, 200 would be.
  BOOST_TEST(wait_for([&] { return fds(fds_of_root) <= root_before + 8; }),
             fds(fds_of_root) << " of root, " << root_before << " before");
  BOOST_TEST(wait_for([&] { return fds(fds_of_supervisor) <= supervisor_before + 8; }),
             fds(fds_of_supervisor) << " of the supervisor, " << supervisor_before << " before");
  BOOST_TEST(entries_in("/proc/self/fd") == own_before);
  if (!may_look) BOOST_TEST_MESSAGE("the descriptors of root could not be counted");
  swarm.finish();
}

}  // namespace
}  // namespace micro_swarm::testing
