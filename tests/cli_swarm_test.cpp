// Every verb against a real swarm.

#include <sys/socket.h>
#include <sys/un.h>

#include <boost/test/unit_test.hpp>
#include <filesystem>
#include <fstream>

#include "tests/cli_command.hpp"

using namespace micro_swarm;
using nlohmann::json;

namespace {

bool holds(const std::string& text, std::string_view part) {
  return text.find(part) != std::string::npos;
}

struct Fixture {
  Fixture() {
    ::setenv("MICROSWARM_NAME", "test", 1);
    BOOST_REQUIRE_MESSAGE(swarm.wait_for_live(2), swarm.log());
  }
  ~Fixture() { ::unsetenv("MICROSWARM_NAME"); }

  std::string path(const std::string& name) const { return (swarm.directory() / name).string(); }
  std::string id_of(const std::vector<std::string>& submit, std::string_view input = {}) const {
    const auto end = microswarm(submit, input);
    BOOST_REQUIRE_MESSAGE(end.code == 0, end.err);
    BOOST_REQUIRE(end.out.ends_with('\n'));
    return end.out.substr(0, end.out.size() - 1);
  }

  SwarmProcess swarm{
      "[memory]\npool_size = \"4MiB\"\n"
      "[tasks]\nattempts_max = 2\ncancel_grace_ms = 50\n"
      "[supervision]\nintensity = 1000\nbackoff_initial_ms = 1\nbackoff_max_ms = 5\n"
      "[[agent]]\nname = \"worker\"\ncount = 2\n"
      "capabilities = [\"noop\", \"echo\", \"hash\", \"sleep\", \"spin\", \"fill\", \"fail\", "
      "\"fault.crash\"]\n"};
};

}  // namespace

BOOST_FIXTURE_TEST_SUITE(looking, Fixture)

BOOST_AUTO_TEST_CASE(status_agents_regions_and_events_in_both_formats) {
  const auto status = microswarm({"status", "--format", "json"}).json();
  BOOST_TEST(status["schema"] == 1);
  BOOST_TEST(status["name"] == "test");
  BOOST_TEST(status["root_pid"] == swarm.root());
  BOOST_TEST(!status.contains("end"));
  BOOST_TEST(holds(microswarm({"status"}).out, " 4.0 MiB\n"));

  const auto agents = microswarm({"agent", "list", "--format", "json"}).json()["agents"];
  BOOST_TEST(agents.size() == 2u);
  BOOST_TEST(agents[0]["kind"] == "generic");
  BOOST_TEST(holds(microswarm({"agent", "list"}).out, "generic"));

  const auto agent = microswarm({"agent", "show", "1", "--format", "json"});
  BOOST_TEST(agent.code == 0, agent.err);
  BOOST_TEST(agent.json()["agent"]["id"] == 1);
  const auto none = microswarm({"agent", "show", "200"});
  BOOST_TEST(none.code == 1);
  BOOST_TEST(holds(none.err, "no agent 200"), none.err);

  const auto regions = microswarm({"region", "list", "--format", "json"});
  BOOST_TEST(regions.code == 0, regions.err);
  BOOST_TEST(regions.json()["banks"].is_array());
  BOOST_TEST(microswarm({"region", "list"}).code == 0);

  ::kill(swarm.agents().at(0), SIGKILL);
  BOOST_REQUIRE(
      swarm.wait_until([](const json& now) { return now["counters"]["agents_restarted"] == 1; }));
  BOOST_REQUIRE(swarm.wait_for_live(2));
  const auto events = microswarm({"events", "--format", "json"});
  BOOST_TEST(events.code == 0, events.err);
  std::istringstream lines(events.out);
  int count = 0;
  std::uint64_t last = 0;
  for (std::string line; std::getline(lines, line); ++count) {
    const json event = json::parse(line);
    BOOST_TEST(event["schema"] == 1);
    BOOST_TEST(event["sequence"].get<std::uint64_t>() > last);
    last = event["sequence"];
  }
  BOOST_TEST(count > 0);
  const auto later = microswarm({"events", "--since", std::to_string(last)});
  BOOST_TEST(later.code == 0);
  BOOST_TEST(later.out.empty(), later.out);
}

BOOST_AUTO_TEST_CASE(regions_say_who_holds_them_for_what_and_since_when) {
  // More than the two agents take at once, so that the last one waits.
  for (int i = 0; i < 8; ++i) id_of({"task", "submit", "sleep", "--file", "-"}, "60000");
  const auto id = id_of({"task", "submit", "echo", "--file", "-"},
                        std::string(300, 'x'));  // too long to travel in the message
  const auto list = [](std::vector<std::string> more) {
    std::vector<std::string> words{"region", "list", "--format", "json"};
    words.insert(words.end(), more.begin(), more.end());
    const auto end = microswarm(words);
    BOOST_REQUIRE_MESSAGE(end.code == 0, end.err);
    return end.json()["regions"];
  };
  const auto payloads = list({"--state", "payload", "--held-by", "256"});
  BOOST_REQUIRE(payloads.size() == 1u);
  BOOST_TEST(payloads[0]["state"] == "held");
  BOOST_TEST(payloads[0]["holders"][0]["as"] == "payload");
  BOOST_TEST(payloads[0]["holders"][0]["party"] == 256);
  BOOST_TEST(std::to_string(payloads[0]["holders"][0]["task"].get<std::uint64_t>()) == id);
  const auto age_ms = payloads[0]["age_ms"].get<std::uint64_t>();
  BOOST_TEST(list({"--older-than-ms", "1000000"}).empty());
  BOOST_TEST(list({"--older-than-ms", std::to_string(age_ms)}).size() == 1u);
  BOOST_TEST(list({"--held-by", "0"}).empty());
  BOOST_TEST(list({"--state", "in_transit"}).empty());
  BOOST_TEST(microswarm({"region", "list", "--held-by", "900"}).code == 2);
  BOOST_TEST(microswarm({"region", "list", "--state", "lost"}).code == 2);

  // Killed and replaced: the new one finds the same holder, and the same age.
  ::kill(swarm.supervisor(), SIGKILL);
  const auto again = list({"--state", "payload"});
  BOOST_REQUIRE(again.size() == 1u);
  BOOST_TEST(again[0]["holders"] == payloads[0]["holders"]);
  BOOST_TEST(again[0]["age_ms"].get<std::uint64_t>() >= age_ms);
}

BOOST_AUTO_TEST_CASE(entries_of_the_cache_are_put_read_and_erased) {
  const std::string bytes(100'000, 'w');
  BOOST_TEST(microswarm({"cache", "get", "weights"}).code != 0);
  const auto put = microswarm({"cache", "put", "weights", "-", "--priority", "high"}, bytes);
  BOOST_REQUIRE_MESSAGE(put.code == 0, put.err);
  const auto again = microswarm({"cache", "put", "weights", "-"}, bytes);
  BOOST_TEST(holds(again.err, "duplicate"), again.err);
  BOOST_TEST(microswarm({"cache", "get", "weights"}).out == bytes);
  const auto listed = microswarm({"cache", "list", "--format", "json"}).json();
  BOOST_REQUIRE(listed["entries"].size() == 1u);
  BOOST_TEST(listed["entries"][0]["bytes"] == bytes.size());
  BOOST_TEST(listed["entries"][0]["priority"] == "high");
  const auto regions =
      microswarm({"region", "list", "--state", "cached", "--format", "json"}).json();
  BOOST_REQUIRE(regions["regions"].size() == 1u);
  BOOST_TEST(regions["regions"][0]["holders"][0]["as"] == "cached");
  const auto set = microswarm({"cache", "set", "--policy", "lfu", "--capacity", "1MiB"});
  BOOST_TEST(set.code == 0, set.err);
  const auto shown = microswarm({"cache", "show", "--format", "json"}).json();
  BOOST_TEST(shown["policy"] == "lfu");
  BOOST_TEST(shown["capacity_bytes"] == 1u << 20);
  BOOST_TEST(shown["policies"]["lru"]["hits"].get<int>() >= 1);
  if (std::getenv("MS_TEST_DURABLE") == nullptr) {
    const auto spill = microswarm({"cache", "set", "--on-eviction", "spill"});
    BOOST_TEST(holds(spill.err, "state_dir"), spill.err);
  }
  BOOST_TEST(microswarm({"cache", "erase", "weights"}).code == 0);
  BOOST_TEST(microswarm({"cache", "erase", "weights"}).code != 0);
}

BOOST_AUTO_TEST_CASE(the_pools_bytes_add_up_and_every_process_is_counted) {
  id_of({"task", "submit", "fill", "--file", "-"}, "100000");
  const auto check = [&] {
    const auto shown = microswarm({"memory", "show", "--format", "json"});
    BOOST_REQUIRE_MESSAGE(shown.code == 0, shown.err);
    const auto answer = shown.json();
    const auto& pool = answer["pool"];
    std::uint64_t sum = 0;
    for (const char* part : {"free_bytes", "held_bytes", "in_transit_bytes", "cached_bytes",
                             "leased_idle_bytes", "rounding_bytes"})
      sum += pool[part].get<std::uint64_t>();
    BOOST_TEST(sum == pool["pool_bytes"].get<std::uint64_t>());
    BOOST_TEST(answer["processes"].size() == 5u);  // root, supervisor, template, two agents
    for (const auto& process : answer["processes"]) {
      BOOST_TEST(process["memory_bytes"].get<std::uint64_t>() > 100'000u);
      BOOST_TEST(process["page_table_bytes"].get<std::uint64_t>() > 0u);
    }
    BOOST_TEST(answer["total_bytes"].get<std::uint64_t>() <
               answer["planned_bytes"].get<std::uint64_t>());
  };
  check();
  ::kill(swarm.agents().front(), SIGKILL);
  BOOST_REQUIRE(swarm.wait_until([](const auto& status) {
    return status.at("counters").at("agents_died") == 1 && status.at("agents").at("live") == 2;
  }));
  check();
}

BOOST_AUTO_TEST_CASE(followed_events_go_on_over_a_new_supervisor) {
  Command follower({SwarmProcess::binary(), "events", "--follow", "--format", "json"});
  BOOST_REQUIRE(
      swarm.wait_until([](const json& status) { return status["control"]["connections"] == 2; }));
  const auto before = swarm.status()["epoch"].get<unsigned>();
  ::kill(swarm.supervisor(), SIGKILL);
  BOOST_REQUIRE(
      swarm.wait_until([&](const json& status) { return status["epoch"] == before + 1; }));
  const pid_t victim = swarm.agents().at(0);
  ::kill(victim, SIGKILL);
  BOOST_TEST(follower.read_until("\"pid\":" + std::to_string(victim)), follower.out());
  // Each event once, in order, over both supervisors.
  std::istringstream lines(follower.out());
  std::uint64_t last = 0;
  for (std::string line; std::getline(lines, line);) {
    const json event = json::parse(line, nullptr, false);
    if (event.is_discarded()) break;  // the last one is still coming
    BOOST_TEST(event["sequence"].get<std::uint64_t>() > last);
    last = event["sequence"];
  }
}

BOOST_AUTO_TEST_CASE(a_second_swarm_of_the_name_is_refused) {
  const auto end = microswarm({"run", "--name", "test"});
  BOOST_TEST(end.code == 5);
  BOOST_TEST(holds(end.err, "swarm test already runs (pid " + std::to_string(swarm.root()) + ")"),
             end.err);
  BOOST_TEST(microswarm({"status"}).code == 0);
}

BOOST_AUTO_TEST_SUITE_END()

BOOST_FIXTURE_TEST_SUITE(tasks, Fixture)

BOOST_AUTO_TEST_CASE(a_result_comes_back_as_it_is) {
  const auto small = microswarm({"task", "submit", "echo", "--file", "-", "--wait"}, "hello");
  BOOST_TEST(small.code == 0, small.err);
  BOOST_TEST(small.out == "hello");
  const auto empty = microswarm({"task", "submit", "echo", "--wait"});
  BOOST_TEST(empty.code == 0, empty.err);
  BOOST_TEST(empty.out.empty());

  std::string bytes(1'000'000, '\0');
  for (std::size_t i = 0; i < bytes.size(); ++i) bytes[i] = static_cast<char>(i * 7 + i / 251);
  std::ofstream(path("payload"), std::ios::binary) << bytes;
  const auto from_file =
      microswarm({"task", "submit", "echo", "--file", path("payload"), "--wait"});
  BOOST_TEST(from_file.code == 0, from_file.err);
  BOOST_TEST((from_file.out == bytes));
  const auto from_pipe = microswarm({"task", "submit", "echo", "--file", "-", "--wait", "--output",
                                     path("result"), "--priority", "critical"},
                                    bytes);
  BOOST_TEST(from_pipe.code == 0, from_pipe.err);
  BOOST_TEST(from_pipe.out.empty());
  std::ifstream written(path("result"), std::ios::binary);
  BOOST_TEST((std::string(std::istreambuf_iterator<char>(written), {}) == bytes));
}

BOOST_AUTO_TEST_CASE(json_says_how_it_ended) {
  const auto text =
      microswarm({"task", "submit", "echo", "--file", "-", "--wait", "--format", "json"}, "hi");
  BOOST_TEST(text.json()["state"] == "done");
  BOOST_TEST(text.json()["result_base64"] == "aGk=");
  BOOST_TEST(text.json()["result_text"] == "hi");
  BOOST_TEST(text.json()["size"] == 2);
  BOOST_TEST(text.json()["attempts"] == 1);
  const auto binary = microswarm(
      {"task", "submit", "echo", "--file", "-", "--wait", "--format", "json"}, "\x01\xff");
  BOOST_TEST(binary.json()["result_base64"] == "Af8=");
  BOOST_TEST(!binary.json().contains("result_text"));
}

BOOST_AUTO_TEST_CASE(a_task_ends_without_its_submitter) {
  // Whether the task or its submitter ends first: the result is kept.
  for (const std::size_t size : {std::size_t{3}, std::size_t{300'000}}) {
    const std::string payload(size, 'p');
    const auto id = id_of({"task", "submit", "echo", "--file", "-"}, payload);
    const auto waited = microswarm({"task", "wait", id, "--format", "json"});
    BOOST_TEST(waited.code == 0, waited.err);
    BOOST_TEST(waited.json()["task"]["state"] == "done");
    const auto result = microswarm({"task", "result", id});
    BOOST_TEST(result.code == 0, result.err);
    BOOST_TEST((result.out == payload));
    const auto again = microswarm({"task", "result", id, "--output", path("again")});
    BOOST_TEST(again.code == 0, again.err);
    BOOST_TEST(std::filesystem::file_size(path("again")) == size);
    const auto shown = microswarm({"task", "show", id, "--format", "json"});
    BOOST_TEST(shown.json()["task"]["capability"] == "echo");
    BOOST_TEST(microswarm({"task", "show", id}).code == 0);
  }
  const auto list = microswarm({"task", "list", "--state", "done", "--format", "json"});
  BOOST_TEST(list.json()["tasks"].size() == 2u);
  const auto one = microswarm({"task", "list", "--limit", "1", "--format", "json"});
  BOOST_TEST(one.json()["tasks"].size() == 1u);
  const auto json_id = microswarm({"task", "submit", "noop", "--format", "json"});
  BOOST_TEST(json_id.json()["id"].is_number_unsigned());
  const auto unknown = microswarm({"task", "show", "5"});
  BOOST_TEST(unknown.code == 1);
  BOOST_TEST(holds(unknown.err, "no task 5"), unknown.err);
}

BOOST_AUTO_TEST_CASE(how_a_task_ended_is_the_exit_code) {
  const auto failed = microswarm({"task", "submit", "fail", "--file", "-", "--wait"}, "on purpose");
  BOOST_TEST(failed.code == 1);
  BOOST_TEST(holds(failed.err, "failed: on purpose"), failed.err);
  BOOST_TEST(failed.out.empty());

  const auto timed_out = microswarm(
      {"task", "submit", "sleep", "--file", "-", "--timeout-ms", "50", "--wait"}, "60000");
  BOOST_TEST(timed_out.code == 124, timed_out.err);

  const auto dead = microswarm({"task", "submit", "fault.crash", "--wait", "--format", "json"});
  BOOST_TEST(dead.code == 7, dead.err);
  BOOST_TEST(dead.json()["state"] == "dead_letter");

  const auto id = id_of({"task", "submit", "sleep", "--file", "-"}, "60000");
  const auto impatient = microswarm({"task", "wait", id, "--timeout-ms", "20"});
  BOOST_TEST(impatient.code == 124);
  const auto early = microswarm({"task", "result", id});
  BOOST_TEST(early.code == 1);
  BOOST_TEST(holds(early.err, "has not ended"), early.err);
  BOOST_TEST(microswarm({"task", "cancel", id}).code == 0);
  BOOST_TEST(microswarm({"task", "wait", id}).code == 6);
  BOOST_TEST(microswarm({"task", "result", id}).code == 6);
}

BOOST_AUTO_TEST_CASE(what_cannot_be_done_is_refused_clearly) {
  const auto unknown = microswarm({"task", "submit", "fly", "--wait"});
  BOOST_TEST(unknown.code == 1);
  BOOST_TEST(holds(unknown.err, "fly"), unknown.err);

  std::ofstream(path("huge"), std::ios::binary) << std::string(5 << 20, 'h');
  const auto huge = microswarm({"task", "submit", "echo", "--file", path("huge"), "--wait"});
  BOOST_TEST(huge.code == 5, huge.err);
  BOOST_TEST(holds(huge.err, "pool"), huge.err);
  const auto endless =
      Command({"sh", "-c", "cat /dev/zero | \"$0\" task submit echo --file - --wait",
               SwarmProcess::binary()})
          .wait();
  BOOST_TEST(endless.code == 5, endless.err);
  BOOST_TEST(holds(endless.err, "memory.pool_size"), endless.err);

  const auto missing = microswarm({"task", "submit", "echo", "--file", path("none")});
  BOOST_TEST(missing.code == 1);
  BOOST_TEST(holds(missing.err, path("none")), missing.err);
  const auto directory = microswarm({"task", "submit", "echo", "--file", "/tmp"});
  BOOST_TEST(directory.code == 2);
  // Nothing of it is left in the pool.
  BOOST_TEST(
      swarm.wait_until([](const json& status) { return status["memory"]["tokens_out"] == 0; }));
}

BOOST_AUTO_TEST_CASE(waiting_goes_on_over_a_new_supervisor) {
  const std::string duration = path("duration");
  std::ofstream(duration) << "3000";
  const auto id = id_of({"task", "submit", "sleep", "--file", duration});
  Command waiter({SwarmProcess::binary(), "task", "wait", id, "--format", "json"});
  Command submitter({SwarmProcess::binary(), "task", "submit", "sleep", "--file", duration,
                     "--wait", "--format", "json"});
  BOOST_REQUIRE(swarm.wait_until([](const json& status) {
    return status["tasks"]["running"] == 2 && status["control"]["connections"] >= 2;
  }));
  ::kill(swarm.supervisor(), SIGKILL);
  const auto waited = waiter.wait();
  BOOST_TEST(waited.code == 0, waited.err);
  BOOST_TEST(waited.json()["task"]["state"] == "done");
  const auto submitted = submitter.wait();
  BOOST_TEST(submitted.code == 0, submitted.err);
  BOOST_TEST(submitted.json()["attempts"] == 1);
}

BOOST_AUTO_TEST_SUITE_END()

BOOST_FIXTURE_TEST_CASE(a_client_that_talks_nonsense_costs_the_swarm_nothing, Fixture) {
  const auto connect = [this] {
    UniqueFd socket(::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0));
    const std::string name = swarm.runtime() + "/test.sock";
    sockaddr_un address{};
    address.sun_family = AF_UNIX;
    name.copy(address.sun_path, sizeof(address.sun_path) - 1);
    BOOST_REQUIRE(
        ::connect(socket.get(), reinterpret_cast<const sockaddr*>(&address), sizeof(address)) == 0);
    return socket;
  };
  const auto say = [](const UniqueFd& socket, std::string_view text) {
    return ::send(socket.get(), text.data(), text.size(), MSG_NOSIGNAL);
  };
  const pid_t supervisor = swarm.supervisor();
  const auto id = id_of({"task", "submit", "sleep", "--file", "-"}, "300");

  const UniqueFd garbage = connect();
  say(garbage, "\x01\xff{]\n{\"verb\":\"status\"\n[1,2]\n");
  {
    const UniqueFd half = connect();
    say(half, "{\"verb\":\"stop\",");
  }
  const UniqueFd flood = connect();
  const std::string block(1 << 20, 'x');
  ssize_t sent = 0;
  for (int i = 0; i < 100 && sent >= 0; ++i) sent = say(flood, block);
  BOOST_TEST(sent == -1);

  BOOST_TEST(swarm.wait_until([](const json& status) {
    const json& control = status["control"];
    return control["malformed"] == 3 && control["half_requests"] == 1 && control["oversized"] == 1;
  }));
  BOOST_TEST(microswarm({"task", "wait", id}).code == 0);
  BOOST_TEST(swarm.supervisor() == supervisor);
}

BOOST_AUTO_TEST_CASE(a_result_that_nobody_fetches_is_given_up_in_time) {
  ::setenv("MICROSWARM_NAME", "test", 1);
  SwarmProcess swarm("[tasks]\nresult_ttl_ms = 300\n[swarm]\nagents = 1\n");
  BOOST_REQUIRE(swarm.wait_for_live(1));
  const auto submit = [](std::string_view capability, const std::string& input) {
    const auto end = microswarm({"task", "submit", std::string(capability), "--file", "-"}, input);
    BOOST_REQUIRE_MESSAGE(end.code == 0, end.err);
    return end.out.substr(0, end.out.size() - 1);
  };
  const auto expired = [&](unsigned count) {
    return swarm.wait_until(
        [&](const auto& status) { return status.at("counters").at("results_expired") == count; });
  };
  const std::string first = submit("fill", "100000");
  const std::string small = submit("echo", "in the record");
  BOOST_TEST(expired(1));
  const auto gone = microswarm({"task", "result", first});
  BOOST_TEST(gone.code != 0);
  BOOST_TEST(holds(gone.err, "result_ttl_ms"), gone.err);
  BOOST_TEST(microswarm({"region", "list", "--format", "json"}).json()["regions_in_use"] == 0);
  BOOST_TEST(microswarm({"task", "result", small}).out == "in the record");  // takes no room

  // The next supervisor goes on counting from the task's end.
  submit("fill", "100000");
  ::kill(swarm.supervisor(), SIGKILL);
  BOOST_TEST(expired(2));
  ::unsetenv("MICROSWARM_NAME");
}

BOOST_FIXTURE_TEST_SUITE(ending, Fixture)

BOOST_AUTO_TEST_CASE(stop_waits_until_it_is_gone) {
  const auto end = microswarm({"stop", "--format", "json"});
  BOOST_TEST(end.code == 0, end.err);
  BOOST_TEST(end.json()["state"] == "stopped");
  BOOST_TEST(swarm.wait() == 0);
  BOOST_TEST(swarm.leftovers().empty());
  BOOST_TEST(microswarm({"status"}).code == 3);
}

BOOST_AUTO_TEST_CASE(a_forced_stop_does_not_wait_for_tasks) {
  (void)id_of({"task", "submit", "sleep", "--file", "-"}, "600000");
  const auto end = microswarm({"stop", "--force", "--timeout-ms", "20000"});
  BOOST_TEST(end.code == 0, end.err);
  swarm.wait();
  BOOST_TEST(swarm.leftovers().empty());
}

BOOST_AUTO_TEST_CASE(who_waits_for_a_task_hears_that_the_swarm_is_gone) {
  const auto id = id_of({"task", "submit", "sleep", "--file", "-"}, "600000");
  Command waiter({SwarmProcess::binary(), "task", "wait", id});
  BOOST_REQUIRE(
      swarm.wait_until([](const json& status) { return status["control"]["connections"] >= 2; }));
  BOOST_TEST(microswarm({"stop", "--force"}).code == 0);
  const auto end = waiter.wait();
  BOOST_TEST((end.code == 3 || end.code == 6), end.code << ": " << end.err);
  swarm.wait();
}

BOOST_AUTO_TEST_SUITE_END()
