#pragma once

// What the fault tests share: a real swarm that is watched for what it leaves behind, and a client
// that waits for the end of single tasks.

#include <boost/test/unit_test.hpp>
#include <filesystem>
#include <fstream>
#include <functional>
#include <map>
#include <set>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "fault_text.hpp"
#include "ipc/client.hpp"
#include "shm/segment.hpp"
#include "tests/swarm_process.hpp"

namespace micro_swarm::testing {

inline constexpr std::uint32_t patience_ms = 20'000;  ///< how long a failing test takes, no more

inline std::size_t entries_in(const std::string& directory) {
  std::size_t count = 0;
  for ([[maybe_unused]] const auto& entry : std::filesystem::directory_iterator(directory)) ++count;
  return count;
}

/// Direct children of a process; empty where the kernel does not tell.
inline std::vector<pid_t> children_of(pid_t parent) {
  const std::string pid = std::to_string(parent);
  std::ifstream file("/proc/" + pid + "/task/" + pid + "/children");
  std::vector<pid_t> children;
  for (pid_t child = 0; file >> child;) children.push_back(child);
  return children;
}

inline std::string command_name(pid_t pid) {
  std::ifstream file("/proc/" + std::to_string(pid) + "/comm");
  std::string name;
  std::getline(file, name);
  return name;
}

/// Until `is_true()`: waits for the product to get somewhere, never for time to pass.
inline bool wait_for(const std::function<bool()>& is_true, std::uint32_t timeout_ms = patience_ms) {
  for (std::uint32_t waited_ms = 0; waited_ms < timeout_ms; waited_ms += 5) {
    if (is_true()) return true;
    ::poll(nullptr, 0, 5);
  }
  return is_true();
}

/// BOOST_REQUIRE with a text that is only put together when it is needed.
template <class Text>
void require(bool holds, Text&& text) {
  if (!holds) BOOST_FAIL(text());
}

/// After the death of everybody and another start. Until the last of the dead is gone, its socket
/// may still take connections.
inline bool wait_until_it_answers(SwarmProcess& swarm) {
  return wait_for([&] {
    try {
      return swarm.status().at("root_pid") == swarm.root();
    } catch (const std::runtime_error&) {
      return false;
    }
  });
}

/// A swarm that must leave nothing behind: a test ends with finish(), or with an end of another
/// kind and then check_nothing_left().
class FaultSwarm : public SwarmProcess {
 public:
  explicit FaultSwarm(const std::string& toml, std::vector<std::string> extra_args = {},
                      std::size_t shm_before = entries_in("/dev/shm"))
      : SwarmProcess(toml, std::move(extra_args)), shm_before_(shm_before) {}

  /// {pid, start time} names one life; the number may be somebody else's later.
  void remember(pid_t pid) {
    if (const auto ticks = process_start_ticks(pid); pid > 1 && ticks != 0)
      lives_.emplace(pid, ticks);
  }
  void remember_all() {
    for (const pid_t pid : children_of(root())) remember(pid);
  }

  /// SIGTERM, exit code 0, and nothing is left.
  void finish() {
    remember_all();
    const int code = stop();
    if (code != 0) BOOST_ERROR("exit code " << code << "\n" << log());
    check_nothing_left();
  }
  bool none_left() const {
    for (const auto& [pid, ticks] : lives_)
      if (process_start_ticks(pid) == ticks) return false;
    return true;
  }
  void check_no_process_left() const {
    for (const auto& [pid, ticks] : lives_)
      BOOST_TEST(process_start_ticks(pid) != ticks,
                 "process " << pid << " (" << command_name(pid) << ") is left");
  }
  void check_nothing_left() const {
    for (const auto& name : leftovers()) BOOST_ERROR("left behind: " << name);
    check_no_process_left();
    BOOST_TEST(entries_in("/dev/shm") == shm_before_);
  }

  nlohmann::json agent(PartyId id) { return ask({{"verb", "agent.show"}, {"id", id}}).at("agent"); }
  /// Of a process there is: 0 and -1 are more than one to kill().
  pid_t agent_pid(PartyId id) {
    const auto pid = agent(id).at("pid").get<pid_t>();
    require(pid > 1, [&] { return "agent " + std::to_string(id) + " has no process\n" + log(); });
    return pid;
  }
  /// The agent's `number`th death certificate (from 1), once it is there.
  nlohmann::json certificate(PartyId id, std::size_t number = 1) {
    nlohmann::json certificates;
    require(wait_for([&] {
              certificates = agent(id).at("death_certificates");
              return certificates.size() >= number;
            }),
            [&] { return "no certificate " + std::to_string(number) + "\n" + log(); });
    return certificates.at(number - 1);
  }
  std::vector<nlohmann::json> events(std::string_view kind) {
    auto client = ControlClient::connect("test", 10'000);
    BOOST_REQUIRE_MESSAGE(client.has_value(), fault_text(client));
    std::vector<nlohmann::json> found;
    auto done = client->stream({{"verb", "events"}},
                               [&](ControlLine& line) {
                                 if (line.object.value("event", std::string()) == kind)
                                   found.push_back(line.object);
                                 return true;
                               },
                               {.timeout_ms = 10'000});
    BOOST_REQUIRE_MESSAGE(done.has_value(), fault_text(done));
    return found;
  }
  nlohmann::json task(TaskId id) { return ask({{"verb", "task.show"}, {"id", id}}).at("task"); }
  std::string task_state(TaskId id) { return task(id).at("state").get<std::string>(); }
  std::string cancel(TaskId id) {
    return ask({{"verb", "task.cancel"}, {"id", id}}).at("cancel").get<std::string>();
  }
  void wait_for_epoch(unsigned epoch) {
    require(wait_until([&](const auto& s) { return s.at("epoch") >= epoch; }, patience_ms),
            [&] { return log(); });
  }
  /// True when the agent works on the task itself, which may not be first in its ring.
  bool has_in_hand(PartyId id, TaskId task_id) {
    const auto shown = agent(id);
    return shown.contains("task_in_hand") && shown.at("task_in_hand") == task_id;
  }
  void require_in_hand(PartyId id, TaskId task_id) {
    require(wait_for([&] { return has_in_hand(id, task_id); }),
            [&] { return agent(id).dump() + "\n" + log(); });
  }

 private:
  std::size_t shm_before_;
  std::map<pid_t, std::uint64_t> lives_;
};

struct TaskOptions {
  std::uint32_t timeout_ms = 0;
  Priority priority = Priority::normal;
};

/// A client in this process; every wait has an end.
class TaskClient {
 public:
  explicit TaskClient(FaultSwarm& swarm) : swarm_(swarm), client_(connect()) {}

  static Client connect() {
    auto client = Client::connect("test", patience_ms);
    BOOST_REQUIRE_MESSAGE(client.has_value(), fault_text(client));
    return std::move(*client);
  }

  std::uint64_t submit(std::string_view capability, std::string_view payload = {},
                       TaskOptions options = {}) {
    TaskRequest request;
    request.capability = capability;
    request.payload = std::as_bytes(std::span(payload.data(), payload.size()));
    request.timeout_ms = options.timeout_ms;
    request.priority = options.priority;
    const auto number = client_.submit(std::move(request), patience_ms);
    require(number.has_value(), [&] { return fault_text(number) + "\n" + swarm_.log(); });
    return *number;
  }
  /// The id of a submission, once it is accepted.
  TaskId id_of(std::uint64_t number) {
    nlohmann::json answer;
    auto control = ControlClient::connect("test", 10'000);
    BOOST_REQUIRE(control.has_value());
    BOOST_REQUIRE(wait_for([&] {
      auto found = control->request({{"verb", "task.find"},
                                     {"client", client_.party()},
                                     {"incarnation", client_.incarnation()},
                                     {"number", number}},
                                    {.timeout_ms = 10'000});
      if (found) answer = found->object;
      return found.has_value();
    }));
    return answer.at("id").get<TaskId>();
  }
  /// How that submission ended. Others that end before are kept.
  TaskResult result_of(std::uint64_t number) {
    while (!results_.contains(number)) {
      auto next = client_.next_result(patience_ms);
      require(next.has_value(), [&] { return fault_text(next) + "\n" + swarm_.log(); });
      require(next->has_value(), [&] {
        return "no result of submission " + std::to_string(number) + "\n" +
               swarm_.ask({{"verb", "task.list"}}).dump(1) + "\n" + swarm_.log();
      });
      const auto arrived = (*next)->number();
      BOOST_TEST(results_.emplace(arrived, std::move(**next)).second,
                 "submission " << arrived << " ended twice");
    }
    return std::move(results_.extract(number).mapped());
  }
  /// Submits and waits.
  TaskResult run(std::string_view capability, std::string_view payload = {},
                 TaskOptions options = {}) {
    return result_of(submit(capability, payload, options));
  }
  void check_echo(std::string_view text) {
    const TaskResult result = run("echo", text);
    BOOST_TEST(result.is_done());
    BOOST_TEST(result.text() == text);
  }
  Client& client() { return client_; }

 private:
  FaultSwarm& swarm_;
  Client client_;
  std::map<std::uint64_t, TaskResult> results_;
};

}  // namespace micro_swarm::testing
