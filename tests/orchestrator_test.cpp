// The orchestrator API against real swarms: what it promises, what it refuses, and who dies with
// whom.

#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <boost/test/unit_test.hpp>
#include <fstream>
#include <map>
#include <nlohmann/json.hpp>
#include <string>

#include "common/config_check.hpp"
#include "supervisor/orchestrator/agent_factory.hpp"
#include "supervisor/orchestrator/swarm_builder.hpp"
#include "supervisor/orchestrator/task_builder.hpp"
#include "tests/fault_swarm.hpp"

namespace micro_swarm::testing {
namespace {

using nlohmann::json;

template <class Value>
Value must(Result<Value> result) {
  BOOST_REQUIRE_MESSAGE(result.has_value(), fault_text(result));
  return std::move(*result);
}
void must(Result<void> result) { BOOST_REQUIRE_MESSAGE(result.has_value(), fault_text(result)); }

/// A runtime directory of its own, in which nothing may be left.
struct Place {
  SwarmBuilder builder() const {
    FaultToleranceConfig faults;
    faults.supervisor_restarts_max = 1000;
    faults.intensity = 1000;
    SwarmBuilder made;
    made.name("test")
        .binary(SwarmProcess::binary())
        .runtime_directory(directory.path())
        .fault_tolerance(faults)
        .monitoring({.level = LogLevel::warn, .log_file = log()});
    return made;
  }
  std::filesystem::path log() const { return directory.path() / "log"; }
  std::string log_text() const {
    std::ifstream file(log());
    return {std::istreambuf_iterator<char>(file), {}};
  }
  void check_nothing_left() const {
    for (const auto& entry : std::filesystem::directory_iterator(directory.path()))
      BOOST_TEST((entry.path() == log()), "left behind: " << entry.path());
  }
  TemporaryDirectory directory;
};

Task task(std::string capability, std::string_view payload = {},
          Priority priority = Priority::normal) {
  return must(TaskBuilder()
                  .requires_capability(std::move(capability))
                  .payload(payload)
                  .priority(priority)
                  .build());
}

TaskResult wait_for_result(SwarmOrchestrator& swarm, SubmissionId id) {
  auto result = must(swarm.wait_task_result(id, patience_ms));
  BOOST_REQUIRE_MESSAGE(result.has_value(), "no result in time");
  return std::move(*result);
}

template <class Value>
ErrorCode code_of(const Result<Value>& result) {
  BOOST_REQUIRE(!result.has_value());
  return result.error().code;
}

BOOST_AUTO_TEST_CASE(memory_is_written_by_one_and_handed_on) {
  const Place place;
  auto swarm = must(place.builder().build());
  BOOST_TEST((code_of(swarm.memory().allocate(10)) == ErrorCode::usage));
  must(swarm.bootstrap_default_agents(1));
  must(swarm.initialize());
  MemoryManager memory = swarm.memory();
  const auto text = [](std::string_view of) { return std::as_bytes(std::span(of)); };
  const auto read = [&](const auto& region, std::size_t offset, std::size_t bytes) {
    std::string copy(bytes, ' ');
    must(memory.read(region, offset, std::as_writable_bytes(std::span(copy))));
    return copy;
  };

  Region region = must(memory.allocate(11));
  must(memory.write(region, 0, text("hello world")));
  must(memory.write(region, 6, text("there")));
  BOOST_TEST(read(region, 0, 11) == "hello there");
  BOOST_TEST((code_of(memory.write(region, 7, text("world"))) == ErrorCode::too_large));
  std::array<std::byte, 2> two{};
  BOOST_TEST((code_of(memory.read(region, 10, two)) == ErrorCode::too_large));
  BOOST_TEST((code_of(memory.allocate(0)) == ErrorCode::usage));
  BOOST_TEST((code_of(memory.transfer(std::move(region), 300)) == ErrorCode::not_found));
  BOOST_TEST(read(region, 0, 11) == "hello there");

  // There is no agent 200: what is given to it comes back, and is the same.
  must(memory.transfer(std::move(region), 200, 5));
  BOOST_TEST((code_of(memory.write(region, 0, two)) == ErrorCode::usage));
  auto back = must(memory.receive(patience_ms));
  BOOST_REQUIRE(back.has_value());
  BOOST_TEST((back->refusal() == TransferRefusal::gone));
  BOOST_TEST(back->tag() == 5u);
  BOOST_TEST(read(*back, 6, 5) == "there");
  Region next = must(memory.write(*back, 6, text("again")));
  BOOST_TEST(read(next, 0, 11) == "hello again");
  BOOST_TEST(read(*back, 0, 11) == "hello there");
  must(memory.free(*back));
  BOOST_TEST((code_of(memory.free(*back)) == ErrorCode::usage));
  BOOST_TEST(must(memory.own_stats()).copies == 1u);

  must(memory.give(0, text("for agent 0")));
  must(memory.share(next, std::vector<PartyId>{0}));
  BOOST_TEST((code_of(memory.write(next, 0, two)) == ErrorCode::usage));
  BOOST_TEST(wait_for([&] { return must(memory.stats()).tokens_out == 3; }));
  must(memory.free(next));
  must(memory.set_pool_bytes(8 << 20));
  BOOST_TEST(must(memory.stats()).pool_bytes == 8u << 20);
  BOOST_TEST((code_of(memory.set_pool_bytes(1)) == ErrorCode::usage));
  // The agent, once it has joined, and this client.
  BOOST_TEST(wait_for([&] { return must(memory.garbage_collect()).parties_asked == 2; }));
  must(swarm.shutdown());
}

BOOST_AUTO_TEST_CASE(a_swarm_from_start_to_end) {
  const Place place;
  auto swarm = must(place.builder().max_agents(4).build());
  BOOST_TEST(!swarm.is_running());
  BOOST_TEST(must(swarm.bootstrap_default_agents(2)).size() == 2u);
  const auto ids = must(swarm.register_agent(AgentFactory::create_generic("other", 1, {"echo"})));
  BOOST_TEST(ids == std::vector<PartyId>{2}, boost::test_tools::per_element());
  must(swarm.initialize());
  BOOST_TEST(swarm.is_running());

  std::map<SubmissionId, std::string> wanted;
  // Results that are not taken keep their regions: fewer than the pool has.
  for (int i = 0; i < 100; ++i) {
    const std::string text = "task " + std::to_string(i) + std::string(i % 50, '.');
    wanted.emplace(must(swarm.submit_task(task("echo", text, static_cast<Priority>(i % 4)))), text);
  }
  auto region = must(swarm.allocate(200'000));
  std::fill(region.bytes().begin(), region.bytes().end(), std::byte{'r'});
  auto large = must(TaskBuilder().requires_capability("echo").payload(std::move(region)).build());
  wanted.emplace(must(swarm.submit_task(std::move(large))), std::string(200'000, 'r'));
  // Nothing but process_cycle() and get_task_result(), neither of which waits.
  BOOST_REQUIRE(wait_for([&] {
    must(swarm.process_cycle());
    return swarm.tasks_in_flight() == 0;
  }));
  for (const auto& [id, text] : wanted) {
    const auto result = must(swarm.get_task_result(id));
    BOOST_REQUIRE(result.has_value());
    BOOST_TEST(result->is_done());
    BOOST_TEST((result->text() == text));
    BOOST_TEST((code_of(swarm.get_task_result(id)) == ErrorCode::not_found));
  }

  BOOST_REQUIRE(wait_for([&] { return must(swarm.metrics()).agents_live == 3; }));
  const SwarmMetrics metrics = must(swarm.metrics());
  BOOST_TEST(metrics.tasks_accepted == 101u);
  BOOST_TEST(metrics.tasks_done == 101u);
  BOOST_TEST(metrics.accept_to_end.count == 101u);
  BOOST_TEST(must(swarm.scheduler_stats()).dispatched == 101u);
  BOOST_TEST(must(swarm.memory_stats()).pool_bytes == MemoryConfig{}.pool_size);
  const CoordinationStats coordination = must(swarm.coordination_stats());
  BOOST_TEST(coordination.topology == "star");
  BOOST_TEST(coordination.clients == 1u);
  const json exported = json::parse(must(swarm.export_status()));
  BOOST_TEST(exported.at("schema") == 1);
  BOOST_TEST(exported.at("agents").size() == 3u);
  BOOST_TEST(exported.at("status").at("name") == "test");

  must(swarm.shutdown());
  BOOST_TEST(!swarm.is_running());
  place.check_nothing_left();
  // And once more with the same object.
  must(swarm.initialize());
  BOOST_TEST(wait_for_result(swarm, must(swarm.submit_task(task("hash", "x")))).is_done());
  must(swarm.shutdown(true));
  place.check_nothing_left();
}

BOOST_AUTO_TEST_CASE(supervisors_and_agents_die_and_every_task_ends) {
  const Place place;
  auto swarm = must(place.builder().build());
  must(swarm.bootstrap_default_agents(2));
  must(swarm.initialize());
  std::map<SubmissionId, std::string> wanted;
  for (int round = 0; round < 10; ++round) {
    for (int i = 0; i < 100; ++i) {
      const std::string text = std::to_string(round) + "/" + std::to_string(i);
      wanted.emplace(must(swarm.submit_task(task("echo", text))), text);
    }
    const json status = must(swarm.request({{"verb", "status"}}));
    ::kill(status.at("supervisor_pid").get<pid_t>(), SIGKILL);
    const json agents = must(swarm.request({{"verb", "agent.list"}})).at("agents");
    if (const pid_t agent = agents.at(static_cast<std::size_t>(round % 2)).at("pid").get<pid_t>();
        agent > 1)
      ::kill(agent, SIGKILL);
  }
  for (const auto& [id, text] : wanted) {
    const TaskResult result = wait_for_result(swarm, id);
    BOOST_TEST(result.is_done());
    BOOST_TEST(result.text() == text);
  }
  BOOST_TEST(must(swarm.coordination_stats()).supervisor_epoch >= 2u);
  must(swarm.shutdown());
  place.check_nothing_left();
}

/// A process of its own that has a swarm; it tells root's pid and then does nothing.
struct Owner {
  explicit Owner(const Place& place) {
    int ends[2];
    BOOST_REQUIRE(::pipe2(ends, O_CLOEXEC) == 0);
    const UniqueFd from(ends[0]), to(ends[1]);
    pid = ::fork();
    if (pid == 0) {
      auto swarm = place.builder().build();
      if (!swarm || !swarm->bootstrap_default_agents(2) || !swarm->initialize()) ::_exit(1);
      auto status = swarm->request({{"verb", "status"}});
      const pid_t found = status ? status->at("root_pid").get<pid_t>() : 0;
      if (::write(to.get(), &found, sizeof found) != sizeof found) ::_exit(1);
      for (;;) ::pause();
    }
    BOOST_REQUIRE(pid > 0);
    pollfd told{from.get(), POLLIN, 0};
    BOOST_REQUIRE(::poll(&told, 1, static_cast<int>(patience_ms)) == 1);
    BOOST_REQUIRE(::read(from.get(), &root, sizeof root) == sizeof root);
  }
  void kill() {
    ::kill(pid, SIGKILL);
    BOOST_TEST(::waitpid(pid, nullptr, 0) == pid);
  }
  pid_t pid = 0;
  pid_t root = 0;
};

BOOST_AUTO_TEST_CASE(a_killed_orchestrator_leaves_no_swarm) {
  // Root becomes ours when its parent dies.
  BOOST_REQUIRE(::prctl(PR_SET_CHILD_SUBREAPER, 1) == 0);
  for (int round = 0; round < 6; ++round) {
    const Place place;
    Owner owner(place);
    // The swarm answers as soon as its supervisor is there; the template and the agents follow.
    std::vector<pid_t> members;
    BOOST_REQUIRE(wait_for([&] {
      members = children_of(owner.root);
      return members.size() >= 4u;
    }));
    // In every second round its supervisor cannot be the one that notices.
    if (round % 2 == 1) ::kill(members.front(), SIGKILL);
    owner.kill();
    int status = 0;
    BOOST_TEST(::waitpid(owner.root, &status, 0) == owner.root);
    BOOST_TEST((WIFEXITED(status) && WEXITSTATUS(status) == 0), place.log_text());
    for (const pid_t member : members) BOOST_TEST(process_start_ticks(member) == 0u);
    place.check_nothing_left();
  }
  BOOST_REQUIRE(::prctl(PR_SET_CHILD_SUBREAPER, 0) == 0);
}

BOOST_AUTO_TEST_CASE(kinds_of_agents_come_to_a_running_swarm) {
  const Place place;
  auto swarm = must(place.builder().max_agents(6).build());
  must(swarm.initialize());  // with no agent at all
  BOOST_TEST((code_of(swarm.submit_task(task("echo"))) == ErrorCode::not_found));
  BOOST_TEST(must(swarm.bootstrap_default_agents(2)).size() == 2u);
  BOOST_TEST(wait_for_result(swarm, must(swarm.submit_task(task("echo", "1")))).text() == "1");
  // A capability that no configuration has named.
  const auto ids =
      must(swarm.register_agent(AgentFactory::create_neural("digits", MS_DIGITS_MODEL)));
  BOOST_TEST(ids == std::vector<PartyId>{2}, boost::test_tools::per_element());
  const std::string picture(28 * 28 * 4, '\0');
  BOOST_TEST(wait_for_result(swarm, must(swarm.submit_task(task("digits", picture)))).is_done());

  const std::string broken = (place.directory.path() / "broken.onnx").string();
  std::ofstream(broken) << "this is no model";
  BOOST_TEST((code_of(swarm.register_agent(AgentFactory::create_neural("broken", broken))) ==
              ErrorCode::model));
  BOOST_TEST((code_of(swarm.register_agent(AgentFactory::create_generic("many", 100))) ==
              ErrorCode::refused));
  const auto ask = [&](json agent) {
    return swarm.request({{"verb", "agent.register"}, {"agent", std::move(agent)}});
  };
  BOOST_TEST((code_of(ask({{"name", "x"}, {"kind", "neural"}, {"model", "relative.onnx"}})) ==
              ErrorCode::usage));
  BOOST_TEST((code_of(ask({{"name", "x"}, {"nonsense", 1}})) == ErrorCode::usage));
  BOOST_TEST((code_of(ask({{"name", "x"}, {"count", 255}})) == ErrorCode::config));
  BOOST_TEST((code_of(ask({{"name", "generic"}, {"count", 3}})) == ErrorCode::refused));
  // Asked again, as after a lost answer.
  BOOST_TEST(must(ask({{"name", "generic"}, {"count", 2}})).at("agents") == json({0, 1}));
  BOOST_TEST(wait_for_result(swarm, must(swarm.submit_task(task("echo", "2")))).text() == "2");
  BOOST_TEST(must(swarm.coordination_stats()).supervisor_epoch == 1u);
  std::filesystem::remove(broken);
  must(swarm.shutdown());
  place.check_nothing_left();
}

BOOST_AUTO_TEST_CASE(a_kind_is_registered_whole_whatever_supervisors_die) {
  const Place place;
  auto swarm = must(place.builder().build());
  must(swarm.bootstrap_default_agents(1));
  must(swarm.initialize());
  constexpr std::uint32_t kinds = 12;
  for (std::uint32_t i = 0; i < kinds; ++i) {
    const json status = must(swarm.request({{"verb", "status"}}));
    const pid_t supervisor = status.at("supervisor_pid").get<pid_t>();
    // A process of its own, or the kill would always come before or after.
    const pid_t killer = ::fork();
    if (killer == 0) {
      ::usleep(i * 150);
      ::kill(supervisor, SIGKILL);
      ::_exit(0);
    }
    const std::string name = "kind" + std::to_string(i);
    BOOST_TEST(
        must(swarm.register_agent(AgentFactory::create_generic(name, 2, {name, "echo"}))).size() ==
        2u);
    BOOST_TEST(::waitpid(killer, nullptr, 0) == killer);
    BOOST_REQUIRE(
        wait_for([&] { return must(swarm.coordination_stats()).supervisor_epoch >= i + 2; }));
  }
  BOOST_REQUIRE(wait_for([&] { return must(swarm.metrics()).agents_live == 1 + 2 * kinds; }));
  BOOST_TEST(must(swarm.metrics()).agents_configured == 1 + 2 * kinds);
  const json agents = must(swarm.request({{"verb", "agent.list"}})).at("agents");
  for (std::uint32_t i = 0; i < kinds; ++i)
    BOOST_TEST(agents.at(1 + 2 * i).at("name") == "kind" + std::to_string(i));
  for (int i = 0; i < 100; ++i)
    BOOST_TEST(wait_for_result(swarm, must(swarm.submit_task(task("echo", "x")))).is_done());
  must(swarm.shutdown());
  place.check_nothing_left();
}

BOOST_AUTO_TEST_CASE(destruction_stops_the_swarm_in_order) {
  const Place place;
  pid_t root = 0;
  {
    auto swarm = must(place.builder().build());
    must(swarm.bootstrap_default_agents(1));
    must(swarm.initialize());
    root = must(swarm.request({{"verb", "status"}})).at("root_pid").get<pid_t>();
    must(swarm.submit_task(task("sleep", "100")));
  }
  BOOST_TEST(::waitpid(root, nullptr, WNOHANG) == -1);  // reaped
  place.check_nothing_left();
}

BOOST_AUTO_TEST_CASE(a_swarm_that_is_killed_is_reported_and_can_be_started_again) {
  const Place place;
  auto swarm = must(place.builder().build());
  must(swarm.bootstrap_default_agents(1));
  must(swarm.initialize());
  const SubmissionId lost = must(swarm.submit_task(task("sleep", "60000")));
  ::kill(must(swarm.request({{"verb", "status"}})).at("root_pid").get<pid_t>(), SIGKILL);
  auto result = swarm.wait_task_result(lost, patience_ms);
  BOOST_TEST((code_of(result) == ErrorCode::not_running));
  BOOST_TEST(result.error().message.find("exit code 137") != std::string::npos,
             result.error().message);
  BOOST_TEST((code_of(swarm.process_cycle()) == ErrorCode::not_running));
  BOOST_TEST((code_of(swarm.metrics()) == ErrorCode::not_running));
  BOOST_TEST((code_of(swarm.submit_task(task("echo"))) == ErrorCode::not_running));
  BOOST_TEST((code_of(swarm.shutdown()) == ErrorCode::system));
  must(swarm.initialize());
  BOOST_TEST(wait_for_result(swarm, must(swarm.submit_task(task("echo", "x")))).text() == "x");
  must(swarm.shutdown());
  place.check_nothing_left();
}

BOOST_AUTO_TEST_CASE(what_is_wrong_is_refused_before_anything_runs) {
  const Place place;
  BOOST_TEST((code_of(place.builder().name("No Good").build()) == ErrorCode::config));
  BOOST_TEST((code_of(place.builder().max_agents(257).build()) == ErrorCode::config));
  BOOST_TEST((code_of(place.builder().max_agents(0).build()) == ErrorCode::config));
  auto mesh = place.builder().topology(Topology::mesh).build();
  BOOST_TEST((code_of(mesh) == ErrorCode::config));
  BOOST_TEST(mesh.error().message.starts_with("swarm.topology: "), mesh.error().message);
  TasksConfig tasks;
  tasks.queue_size = 1;
  BOOST_TEST((code_of(place.builder().tasks_config(tasks).build()) == ErrorCode::config));
  SchedulerConfig scheduling;
  scheduling.deadline_slack_ms = 4'000'000'000;
  BOOST_TEST((code_of(place.builder().scheduler_config(scheduling).build()) == ErrorCode::config));
  CategorySpec category;
  category.name = "Not a name";
  BOOST_TEST((code_of(place.builder().category(category).build()) == ErrorCode::config));
  MemoryConfig memory;
  memory.region_size = 5000;
  BOOST_TEST((code_of(place.builder().memory_config(memory).build()) == ErrorCode::config));

  auto swarm = must(place.builder().max_agents(3).build());
  must(swarm.bootstrap_default_agents(2));
  BOOST_TEST((code_of(swarm.bootstrap_default_agents(1)) == ErrorCode::config));  // name used twice
  BOOST_TEST((code_of(swarm.register_agent(AgentFactory::create_generic("many", 2))) ==
              ErrorCode::refused));
  BOOST_TEST((code_of(swarm.register_agent(AgentFactory::create_neural("lost", "no/such.onnx"))) ==
              ErrorCode::config));
  BOOST_TEST(
      (code_of(swarm.register_agent(AgentFactory::from_command("idle", {}))) == ErrorCode::config));
  BOOST_TEST((code_of(swarm.register_agent(AgentFactory::create_quantum("qubits", 25))) ==
              ErrorCode::config));
  BOOST_TEST((code_of(TaskBuilder().payload("x").build()) == ErrorCode::usage));
  BOOST_TEST((code_of(swarm.submit_task(task("echo"))) == ErrorCode::usage));
  BOOST_TEST((code_of(swarm.process_cycle()) == ErrorCode::usage));
  BOOST_TEST((code_of(swarm.metrics()) == ErrorCode::usage));
  BOOST_TEST((code_of(swarm.shutdown()) == ErrorCode::usage));
  must(swarm.initialize());
  BOOST_TEST((code_of(swarm.initialize()) == ErrorCode::usage));
  Task unknown = task("no-such-thing", "kept");
  BOOST_TEST((code_of(swarm.submit_task(std::move(unknown))) == ErrorCode::not_found));
  BOOST_TEST(unknown.payload.size() == 4u);
  BOOST_TEST((code_of(swarm.get_task_result(4711)) == ErrorCode::not_found));
  BOOST_TEST((code_of(swarm.request({{"verb", "nonsense"}})) == ErrorCode::usage));

  auto same_name = must(place.builder().build());
  BOOST_TEST((code_of(same_name.initialize()) == ErrorCode::refused));
  BOOST_TEST(!same_name.is_running());
  must(swarm.shutdown());
  place.check_nothing_left();
}

BOOST_AUTO_TEST_CASE(a_swarm_that_cannot_start_says_why) {
  const Place place;
  auto missing = must(place.builder().binary(place.directory.path() / "none").build());
  auto started = missing.initialize();
  BOOST_TEST((code_of(started) == ErrorCode::system));
  BOOST_TEST(started.error().message.find("none") != std::string::npos);

  auto other = must(place.builder().binary("/bin/true").build());
  started = other.initialize();
  BOOST_TEST((code_of(started) == ErrorCode::not_running));
  BOOST_TEST(started.error().message.find("exit code 0") != std::string::npos,
             started.error().message);

  const std::string model = (place.directory.path() / "broken.onnx").string();
  std::ofstream(model) << "this is no model";
  auto broken = must(place.builder().build());
  must(broken.register_agent(AgentFactory::create_neural("broken", model)));
  // Found out before or after it has joined.
  Result<void> result = broken.initialize();
  if (result) {
    const auto id = broken.submit_task(task("broken"));
    if (id)
      result = broken.wait_task_result(*id, patience_ms).error();
    else
      result = id.error();
  }
  BOOST_TEST((code_of(result) == ErrorCode::model), fault_text(result));
  BOOST_TEST(result.error().message.find("broken") != std::string::npos);
}

BOOST_AUTO_TEST_CASE(nothing_of_this_process_leaks_into_the_swarm) {
  const Place place;
  int ends[2];
  BOOST_REQUIRE(::pipe(ends) == 0);  // without CLOEXEC
  const UniqueFd reading(ends[0]);
  UniqueFd writing(ends[1]);
  ::signal(SIGTERM, SIG_IGN);
  sigset_t blocked, before;
  ::sigfillset(&blocked);
  ::sigprocmask(SIG_SETMASK, &blocked, &before);
  auto swarm = must(place.builder().build());
  must(swarm.bootstrap_default_agents(1));
  must(swarm.initialize());
  ::sigprocmask(SIG_SETMASK, &before, nullptr);
  ::signal(SIGTERM, SIG_DFL);
  writing.reset();
  pollfd end{reading.get(), POLLIN, 0};
  BOOST_TEST(::poll(&end, 1, static_cast<int>(patience_ms)) == 1);
  BOOST_TEST((end.revents & POLLHUP) != 0);  // no writer is left
  // SIGTERM still drains it.
  const pid_t root = must(swarm.request({{"verb", "status"}})).at("root_pid").get<pid_t>();
  BOOST_TEST(::getpgid(root) == root);
  ::kill(root, SIGTERM);
  BOOST_REQUIRE(wait_for([&] { return !swarm.process_cycle().has_value(); }));
  must(swarm.shutdown());
  place.check_nothing_left();
}

BOOST_AUTO_TEST_CASE(it_starts_from_a_process_without_standard_descriptors_or_child_signals) {
  const Place place;
  const pid_t child = ::fork();
  if (child == 0) {
    ::signal(SIGCHLD, SIG_IGN);  // the kernel reaps the swarm
    for (const int fd : {0, 3, 4, 5}) ::close(fd);
    auto swarm = place.builder().build();
    if (!swarm || !swarm->bootstrap_default_agents(1) || !swarm->initialize()) ::_exit(1);
    auto made = TaskBuilder().requires_capability("echo").payload("x").build();
    auto id = swarm->submit_task(std::move(*made));
    if (!id) ::_exit(2);
    auto result = swarm->wait_task_result(*id, patience_ms);
    if (!result || !*result || (*result)->text() != "x") ::_exit(3);
    ::_exit(swarm->shutdown() ? 0 : 4);
  }
  int status = 0;
  BOOST_TEST(::waitpid(child, &status, 0) == child);
  BOOST_TEST(WEXITSTATUS(status) == 0, place.log_text());
  place.check_nothing_left();
}

BOOST_AUTO_TEST_CASE(kinds_of_agents_as_json_are_as_strict_as_a_configuration_file) {
  const Config none;
  const AgentSpec spec =
      AgentFactory::from_command("tool", {"/bin/cat", "-u"}, 3, {}, {{"A", "b"}});
  const AgentSpec whole = must(check_agent(none, spec));
  BOOST_TEST(whole.capabilities == std::vector<std::string>{"tool"},
             boost::test_tools::per_element());
  const AgentSpec again = must(agent_from_json(agent_to_json(whole)));
  BOOST_TEST(agent_to_json(again) == agent_to_json(whole));

  const auto refused = [](const json& object) {
    const auto result = agent_from_json(object);
    return result ? std::string() : result.error().message;
  };
  BOOST_TEST(refused(json::array()) == "agent: expected an object");
  BOOST_TEST(refused({{"cuont", 3}}) == "agent.cuont: unknown key; did you mean \"count\"?");
  BOOST_TEST(refused({{"count", -1}}).starts_with("agent.count: "));
  BOOST_TEST(refused({{"count", 257}}).starts_with("agent.count: "));
  BOOST_TEST(refused({{"count", "2"}}).starts_with("agent.count: "));
  BOOST_TEST(refused({{"kind", "quantom"}}).starts_with("agent.kind: "));
  BOOST_TEST(refused({{"qubits", 4}}).starts_with("agent.qubits: only agents of kind"));
  BOOST_TEST(refused({{"kind", "quantum"}, {"qubits", 25}}).starts_with("agent.qubits: expected"));
  const AgentSpec qubits = must(check_agent(none, AgentFactory::create_quantum("qubits", 4)));
  BOOST_TEST(must(agent_from_json(agent_to_json(qubits))).qubits == 4u);
  BOOST_TEST(refused({{"name", 7}}).starts_with("agent: a member has the wrong type"));
  BOOST_TEST(refused({{"capabilities", {1, 2}}}).starts_with("agent: a member has the wrong type"));

  AgentSpec bad = whole;
  bad.name = "Not A Name";
  BOOST_TEST((code_of(check_agent(none, bad)) == ErrorCode::config));
  bad = whole;
  bad.capabilities = {"x", "x"};
  const auto twice = check_agent(none, bad);
  BOOST_TEST(twice.error().message == "agent.capabilities: \"x\" is there twice",
             twice.error().message);
}

}  // namespace
}  // namespace micro_swarm::testing
