#pragma once

#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <spawn.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cstdlib>
#include <fstream>
#include <nlohmann/json.hpp>
#include <stdexcept>
#include <string>
#include <vector>

#include "common/posix.hpp"
#include "ipc/control_client.hpp"
#include "tests/temporary_directory.hpp"

namespace micro_swarm {

/// A real `microswarm run` in a runtime directory of its own, for tests. The binary is beside the
/// tests' directory (MICROSWARM_BINARY overrides). Ends it by SIGKILL of its root, by pid, if the
/// test has not stopped it. With MS_TEST_DURABLE in the environment it has a state directory,
/// with MS_TEST_GUARD it is in guard mode.
class SwarmProcess {
 public:
  explicit SwarmProcess(const std::string& toml, std::vector<std::string> extra_args = {}) {
    config_ = (directory_.path() / "swarm.toml").string();
    log_ = (directory_.path() / "log").string();
    std::ofstream(config_) << (std::getenv("MS_TEST_GUARD") == nullptr ? toml : with_guard(toml));
    args_ = {binary(), "run", "-c", config_, "--name", "test"};
    args_.insert(args_.end(), extra_args.begin(), extra_args.end());
    state_ = (directory_.path() / "state").string();
    if (std::getenv("MS_TEST_DURABLE") != nullptr)
      args_.insert(args_.end(), {"--state-dir", state_});
    start();
  }
  /// Again in the same directory, after the end of the one before.
  void start() {
    ::setenv("MICROSWARM_RUNTIME_DIR", runtime().c_str(), 1);
    std::vector<char*> argv;
    for (auto& arg : args_) argv.push_back(arg.data());
    argv.push_back(nullptr);
    posix_spawn_file_actions_t actions;
    ::posix_spawn_file_actions_init(&actions);
    ::posix_spawn_file_actions_addopen(&actions, 2, log_.c_str(), O_WRONLY | O_CREAT | O_APPEND,
                                       0600);
    const int error =
        ::posix_spawn(&pid_, binary().c_str(), &actions, nullptr, argv.data(), environ);
    ::posix_spawn_file_actions_destroy(&actions);
    if (error != 0) throw std::runtime_error("posix_spawn " + binary());
  }
  ~SwarmProcess() {
    if (pid_ > 0) {
      ::kill(pid_, SIGKILL);
      ::waitpid(pid_, nullptr, 0);
    }
  }
  SwarmProcess(const SwarmProcess&) = delete;
  SwarmProcess& operator=(const SwarmProcess&) = delete;

  static std::string binary() {
    if (const char* set = std::getenv("MICROSWARM_BINARY")) return set;
    std::string self(4096, '\0');
    const ssize_t size = ::readlink("/proc/self/exe", self.data(), self.size());
    self.resize(size > 0 ? static_cast<std::size_t>(size) : 0);
    const auto tests = std::filesystem::path(self).parent_path();
    return (tests.parent_path() / "microswarm").string();
  }

  pid_t root() const { return pid_; }
  std::string runtime() const { return directory_.path().string(); }
  const std::filesystem::path& directory() const { return directory_.path(); }
  std::string log() const {
    std::ifstream file(log_);
    return {std::istreambuf_iterator<char>(file), {}};
  }

  nlohmann::json ask(nlohmann::json request) {
    auto client = ControlClient::connect("test", 10'000);
    if (!client) throw std::runtime_error(client.error().message + "\n" + log());
    auto answer = client->request(request, {.timeout_ms = 10'000, .reconnect_ms = 10'000});
    if (!answer) throw std::runtime_error(answer.error().message);
    return std::move(answer->object);
  }
  nlohmann::json status() { return ask({{"verb", "status"}}); }
  pid_t supervisor() { return status().at("supervisor_pid").get<pid_t>(); }
  std::vector<pid_t> agents() {
    std::vector<pid_t> pids;
    const nlohmann::json answer = ask({{"verb", "agent.list"}});
    for (const auto& agent : answer.at("agents"))
      if (agent.at("state") == "live") pids.push_back(agent.at("pid").get<pid_t>());
    return pids;
  }
  std::uint64_t counter(const std::string& name) {
    return status().at("counters").at(name).get<std::uint64_t>();
  }

  /// Polls the swarm until `holds(status)`; false after `timeout_ms`. Waiting for the product to
  /// get somewhere, never for time to pass.
  template <class Holds>
  bool wait_until(Holds&& holds, std::uint32_t timeout_ms = 10'000) {
    for (std::uint32_t waited = 0; waited < timeout_ms; waited += 5) {
      if (holds(status())) return true;
      ::poll(nullptr, 0, 5);
    }
    return false;
  }
  bool wait_for_live(unsigned agents, std::uint32_t timeout_ms = 20'000) {
    return wait_until([&](const auto& s) { return s.at("agents").at("live") == agents; },
                      timeout_ms);
  }

  /// Precondition: it has not been waited for. (-1 would be everybody.)
  void signal(int number) const {
    if (pid_ <= 0) throw std::logic_error("the swarm has ended already");
    ::kill(pid_, number);
  }
  /// SIGTERM, then the exit code (or -signal).
  int stop() {
    signal(SIGTERM);
    return wait();
  }
  int wait() {
    int status = 0;
    ::waitpid(pid_, &status, 0);
    pid_ = -1;
    return WIFEXITED(status) ? WEXITSTATUS(status) : -WTERMSIG(status);
  }
  /// What is left in the runtime directory beside the test's own files.
  std::vector<std::string> leftovers() const {
    std::vector<std::string> names;
    for (const auto& entry : std::filesystem::directory_iterator(directory_.path()))
      if (entry.path() != config_ && entry.path() != log_ && entry.path() != state_)
        names.push_back(entry.path().filename().string());
    return names;
  }

 private:
  static std::string with_guard(std::string toml) {
    constexpr std::string_view table = "[memory]\n";
    const std::size_t at = toml.find(table);
    if (at == std::string::npos) return toml + "\n[memory]\nguard = true\n";
    return toml.insert(at + table.size(), "guard = true\n");
  }

  TemporaryDirectory directory_;
  std::string config_, log_, state_;
  std::vector<std::string> args_;
  pid_t pid_ = -1;
};

}  // namespace micro_swarm
