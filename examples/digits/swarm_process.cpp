#include "examples/digits/swarm_process.hpp"

#include <fcntl.h>
#include <poll.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <csignal>
#include <cstdlib>
#include <deque>
#include <fstream>
#include <utility>

#include "common/clock.hpp"

namespace micro_swarm::digits {
namespace {

constexpr const char* log_name = "swarm.log";
constexpr const char* config_name = "swarm.toml";
constexpr const char* runtime_name = "run";

/// In the child: only what is allowed between fork and exec.
[[noreturn]] void run_swarm(const char* binary, const char* config, const char* name, int log_fd,
                            pid_t parent) {
  ::prctl(PR_SET_PDEATHSIG, SIGTERM);
  if (::getppid() != parent) ::_exit(1);
  ::setpgid(0, 0);  // a Ctrl-C is the demo's, which then ends the swarm in order
  ::dup2(log_fd, STDOUT_FILENO);
  ::dup2(log_fd, STDERR_FILENO);
  ::execl(binary, binary, "run", "-c", config, "--name", name, static_cast<char*>(nullptr));
  ::_exit(127);
}

}  // namespace

Result<SwarmProcess> SwarmProcess::start(const std::filesystem::path& binary,
                                         const std::string& config_toml, const std::string& name) {
  if (::access(binary.c_str(), X_OK) != 0)
    return system_error(binary.string() + " (build it with scripts/build)", errno);
  std::string pattern =
      (std::filesystem::temp_directory_path() / "microswarm-digits-XXXXXX").string();
  if (::mkdtemp(pattern.data()) == nullptr) return system_error("mkdtemp " + pattern, errno);

  SwarmProcess swarm;
  swarm.directory_ = pattern;
  swarm.endpoint_ = {name, swarm.directory_ / runtime_name};
  const std::string config = swarm.directory_ / config_name;
  if (!(std::ofstream(config) << config_toml).flush())
    return Error{ErrorCode::system, config + " cannot be written"};
  std::filesystem::create_directory(swarm.endpoint_.directory);
  std::filesystem::permissions(swarm.endpoint_.directory, std::filesystem::perms::owner_all);
  ::setenv("MICROSWARM_RUNTIME_DIR", swarm.endpoint_.directory.c_str(), 1);

  const auto log = posix_call("open " + std::string(log_name), [&] {
    return ::open((swarm.directory_ / log_name).c_str(), O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC,
                  0600);
  });
  if (!log) return log.error();
  const UniqueFd log_fd(*log);
  const pid_t self = ::getpid();
  const auto child = posix_call("fork", [] { return ::fork(); });
  if (!child) return child.error();
  if (*child == 0) run_swarm(binary.c_str(), config.c_str(), name.c_str(), log_fd.get(), self);
  swarm.pid_ = *child;
  swarm.pidfd_ = UniqueFd(pidfd_open(*child));
  if (!swarm.pidfd_) return system_error("pidfd_open", errno);
  return swarm;
}

SwarmProcess::SwarmProcess(SwarmProcess&& other) noexcept
    : directory_(std::exchange(other.directory_, {})),
      endpoint_(std::move(other.endpoint_)),
      pid_(std::exchange(other.pid_, 0)),
      pidfd_(std::move(other.pidfd_)) {}

SwarmProcess::~SwarmProcess() {
  if (pid_ != 0) {
    ::kill(pid_, SIGTERM);
    if (!pidfd_ || !wait_ended(5'000)) ::kill(pid_, SIGKILL);
    ::waitpid(pid_, nullptr, 0);
  }
  std::error_code ignored;
  if (!directory_.empty()) std::filesystem::remove_all(directory_, ignored);
}

bool SwarmProcess::wait_ended(std::uint32_t timeout_ms) const {
  const std::uint64_t deadline_ns = now_ns() + timeout_ms * ns_per_ms;
  for (;;) {
    const std::uint64_t now = now_ns();
    pollfd watched{pidfd_.get(), POLLIN, 0};
    const int left_ms = now >= deadline_ns ? 0 : static_cast<int>((deadline_ns - now) / ns_per_ms);
    const int ready = ::poll(&watched, 1, left_ms);
    if (ready > 0) return true;
    if (ready == 0 && now_ns() + ns_per_ms > deadline_ns) return false;
  }
}

bool SwarmProcess::has_ended() const { return pid_ == 0 || wait_ended(0); }

Result<int> SwarmProcess::reap() {
  int status = 0;
  const auto waited =
      posix_call("waitpid", [&] { return ::waitpid(std::exchange(pid_, 0), &status, 0); });
  if (!waited) return waited.error();
  if (WIFSIGNALED(status))
    return Error{ErrorCode::system,
                 "the swarm was ended by signal " + std::to_string(WTERMSIG(status))};
  return WEXITSTATUS(status);
}

Result<int> SwarmProcess::stop(std::uint32_t timeout_ms) {
  if (pid_ == 0) return Error{ErrorCode::not_running, "the swarm has ended already"};
  ::kill(pid_, SIGTERM);
  if (!wait_ended(timeout_ms))
    return Error{ErrorCode::timed_out,
                 "the swarm did not end within " + std::to_string(timeout_ms) + " ms of SIGTERM"};
  return reap();
}

std::vector<std::string> SwarmProcess::leftovers() const {
  std::vector<std::string> names;
  std::error_code gone;
  for (const auto& entry : std::filesystem::directory_iterator(endpoint_.directory, gone))
    names.push_back(entry.path().filename());
  return names;
}

std::string SwarmProcess::log_tail(std::size_t lines_max) const {
  std::ifstream file(directory_ / log_name);
  std::deque<std::string> lines;
  for (std::string line; std::getline(file, line);) {
    lines.push_back(std::move(line));
    if (lines.size() > lines_max) lines.pop_front();
  }
  std::string text;
  for (const std::string& line : lines) text += line + "\n";
  return text;
}

}  // namespace micro_swarm::digits
