#include "supervisor/orchestrator/swarm_launch.hpp"

#include <dlfcn.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <spawn.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cstdlib>
#include <string>
#include <vector>

#include "common/clock.hpp"
#include "ipc/control_channel.hpp"

namespace micro_swarm {

namespace {

constexpr const char* binary_name = "microswarm";
constexpr int channel_number = 3;
/// Beyond the drain: agents exit, root kills and reaps.
constexpr std::uint32_t end_patience_ms = 20'000;

std::filesystem::path directory_of_this_code() {
  Dl_info info{};
  if (::dladdr(reinterpret_cast<const void*>(&find_binary), &info) == 0 ||
      info.dli_fname == nullptr)
    return {};
  std::error_code failure;
  return std::filesystem::absolute(info.dli_fname, failure).parent_path();
}

std::filesystem::path directory_of_this_executable() {
  std::error_code failure;
  return std::filesystem::read_symlink("/proc/self/exe", failure).parent_path();
}

bool is_executable(const std::filesystem::path& path) {
  return std::filesystem::is_regular_file(path) && ::access(path.c_str(), X_OK) == 0;
}

/// Above the numbers that the child gives out, so that no dup2 there overwrites it.
Result<UniqueFd> out_of_the_way(int fd) {
  auto copy = posix_call("fcntl(F_DUPFD_CLOEXEC)",
                         [&] { return ::fcntl(fd, F_DUPFD_CLOEXEC, channel_number + 1); });
  if (!copy) return copy.error();
  return UniqueFd(*copy);
}

Result<UniqueFd> text_in_memory(const std::string& text) {
  auto created =
      posix_call("memfd_create", [] { return ::memfd_create("microswarm.toml", MFD_CLOEXEC); });
  if (!created) return created.error();
  UniqueFd file(*created);
  std::size_t written = 0;
  while (written < text.size()) {
    auto size = posix_call("write to a memfd", [&] {
      return ::write(file.get(), text.data() + written, text.size() - written);
    });
    if (!size) return size.error();
    written += static_cast<std::size_t>(*size);
  }
  return out_of_the_way(file.get());
}

std::vector<std::string> environment_of(const SwarmPlan& plan) {
  constexpr std::string_view directory = "MICROSWARM_RUNTIME_DIR=";
  std::vector<std::string> variables;
  for (char** at = environ; at != nullptr && *at != nullptr; ++at)
    if (plan.runtime_directory.empty() || !std::string_view(*at).starts_with(directory))
      variables.emplace_back(*at);
  if (!plan.runtime_directory.empty())
    variables.push_back(std::string(directory) + plan.runtime_directory.string());
  return variables;
}

std::vector<char*> pointers_to(std::vector<std::string>& texts) {
  std::vector<char*> pointers;
  for (std::string& text : texts) pointers.push_back(text.data());
  pointers.push_back(nullptr);
  return pointers;
}

/// posix_spawn's two objects, with what every swarm is started with.
struct SpawnSetup {
  SpawnSetup(int config, int channel, const std::filesystem::path& log_file) {
    ::posix_spawn_file_actions_init(&actions);
    ::posix_spawnattr_init(&attributes);
    const auto check = [this](int failure) {
      if (error == 0) error = failure;
    };
    check(::posix_spawn_file_actions_adddup2(&actions, config, STDIN_FILENO));
    if (!log_file.empty())
      check(::posix_spawn_file_actions_addopen(&actions, STDERR_FILENO, log_file.c_str(),
                                               O_WRONLY | O_CREAT | O_APPEND, 0600));
    check(::posix_spawn_file_actions_adddup2(&actions, channel, channel_number));
    // What else this process has open without CLOEXEC would stay open as long as the swarm.
    check(::posix_spawn_file_actions_addclosefrom_np(&actions, channel_number + 1));
    sigset_t none, all;
    ::sigemptyset(&none);
    ::sigfillset(&all);
    check(::posix_spawnattr_setsigmask(&attributes, &none));
    check(::posix_spawnattr_setsigdefault(&attributes, &all));
    // Ctrl-C is this process's to handle; the swarm stops when it ends.
    check(::posix_spawnattr_setpgroup(&attributes, 0));
    check(::posix_spawnattr_setflags(
        &attributes, POSIX_SPAWN_SETSIGMASK | POSIX_SPAWN_SETSIGDEF | POSIX_SPAWN_SETPGROUP));
  }
  ~SpawnSetup() {
    ::posix_spawn_file_actions_destroy(&actions);
    ::posix_spawnattr_destroy(&attributes);
  }
  SpawnSetup(const SpawnSetup&) = delete;
  SpawnSetup& operator=(const SpawnSetup&) = delete;

  posix_spawn_file_actions_t actions;
  posix_spawnattr_t attributes;
  int error = 0;
};

}  // namespace

Result<std::filesystem::path> find_binary(const std::filesystem::path& asked) {
  if (!asked.empty()) return asked;
  if (const char* set = std::getenv("MICROSWARM_BINARY"); set != nullptr && *set != '\0')
    return std::filesystem::path(set);
  std::string tried;
  for (const auto& directory : {directory_of_this_code(), directory_of_this_executable()}) {
    const auto path = directory / binary_name;
    if (is_executable(path)) return path;
    tried += (tried.empty() ? "" : ", ") + path.string();
  }
  return Error{ErrorCode::system,
               "there is no microswarm executable (tried " + tried +
                   "): name it with SwarmBuilder::binary or MICROSWARM_BINARY",
               ENOENT};
}

Result<LaunchedSwarm> LaunchedSwarm::start(const SwarmPlan& plan) {
  auto binary = find_binary(plan.binary);
  if (!binary) return binary.error();
  auto config = text_in_memory(to_toml(plan.config));
  if (!config) return config.error();
  auto pair = seqpacket_pair();
  if (!pair) return pair.error();
  auto theirs = out_of_the_way(pair->second.get());
  if (!theirs) return theirs.error();
  pair->second.reset();

  // As flags, name and level win over what this process's environment says.
  std::vector<std::string> arguments{binary->string(),
                                     "run",
                                     "-c",
                                     "/proc/self/fd/0",
                                     "--name",
                                     plan.config.swarm.name,
                                     "--log-level",
                                     std::string(name_of(plan.config.log.level)),
                                     "--control-fd",
                                     std::to_string(channel_number)};
  std::vector<std::string> environment = environment_of(plan);
  SpawnSetup setup(config->get(), theirs->get(), plan.log_file);
  LaunchedSwarm swarm;
  int error = setup.error;
  if (error == 0)
    error = ::posix_spawn(&swarm.pid_, binary->c_str(), &setup.actions, &setup.attributes,
                          pointers_to(arguments).data(), pointers_to(environment).data());
  if (error != 0) return system_error("cannot start " + binary->string(), error);
  swarm.pidfd_.reset(pidfd_open(swarm.pid_));
  swarm.channel_ = std::move(pair->first);
  swarm.patience_ms_ = plan.config.supervision.drain_timeout_ms + end_patience_ms;
  return swarm;
}

std::optional<int> LaunchedSwarm::wait(std::uint32_t timeout_ms) noexcept {
  if (exit_code_ || pid_ == 0) return exit_code_;
  const std::uint64_t deadline_ns = now_ns() + timeout_ms * ns_per_ms;
  if (pidfd_) {
    pollfd end{pidfd_.get(), POLLIN, 0};
    int ready = 0;
    do {
      const std::uint64_t now = now_ns();
      const std::uint64_t left_ns = deadline_ns > now ? deadline_ns - now : 0;
      ready = ::poll(&end, 1, static_cast<int>((left_ns + ns_per_ms - 1) / ns_per_ms));
    } while (ready < 0 && errno == EINTR);
    if (ready == 0) return std::nullopt;
  }
  int status = 0;
  pid_t reaped = 0;
  do {
    reaped = ::waitpid(pid_, &status, 0);
  } while (reaped < 0 && errno == EINTR);
  exit_code_ = reaped != pid_      ? -1
               : WIFEXITED(status) ? WEXITSTATUS(status)
                                   : 128 + WTERMSIG(status);
  return exit_code_;
}

void LaunchedSwarm::kill() noexcept {
  if (pid_ == 0 || exit_code_) return;
  if (pidfd_)
    pidfd_send_signal(pidfd_.get(), SIGKILL);
  else
    ::kill(pid_, SIGKILL);  // not reaped yet: the number is still its own
}

LaunchedSwarm::~LaunchedSwarm() {
  channel_.reset();
  if (pid_ == 0 || exit_code_ || wait(patience_ms_)) return;
  kill();
  wait(patience_ms_);
}

}  // namespace micro_swarm
