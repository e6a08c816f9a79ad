#pragma once

#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <spawn.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <nlohmann/json.hpp>
#include <stdexcept>
#include <string>
#include <string_view>
#include <vector>

#include "common/posix.hpp"
#include "tests/swarm_process.hpp"

namespace micro_swarm {

/// What a command said and how it ended (-signal if by one).
struct CommandEnd {
  int code = -1;
  std::string out;
  std::string err;

  nlohmann::json json() const {
    const auto object = nlohmann::json::parse(out, nullptr, false);
    if (!object.is_object()) throw std::runtime_error("no JSON object: " + out + err);
    return object;
  }
};

/// A real command with its input and outputs on pipes. The caller's environment is the command's.
class Command {
 public:
  explicit Command(std::vector<std::string> argv, std::string_view input = {}) : input_(input) {
    std::array<UniqueFd, 3> theirs;
    for (int i = 0; i < 3; ++i) {
      int ends[2];
      if (::pipe2(ends, O_CLOEXEC) != 0) throw std::runtime_error("pipe2");
      theirs[static_cast<std::size_t>(i)].reset(ends[i == 0 ? 0 : 1]);
      ours_[static_cast<std::size_t>(i)].reset(ends[i == 0 ? 1 : 0]);
      ::fcntl(ours_[static_cast<std::size_t>(i)].get(), F_SETFL, O_NONBLOCK);
    }
    posix_spawn_file_actions_t actions;
    ::posix_spawn_file_actions_init(&actions);
    for (int i = 0; i < 3; ++i)
      ::posix_spawn_file_actions_adddup2(&actions, theirs[static_cast<std::size_t>(i)].get(), i);
    std::vector<char*> pointers;
    for (auto& arg : argv) pointers.push_back(arg.data());
    pointers.push_back(nullptr);
    const int error =
        ::posix_spawnp(&pid_, argv.front().c_str(), &actions, nullptr, pointers.data(), environ);
    ::posix_spawn_file_actions_destroy(&actions);
    if (error != 0) throw std::runtime_error("posix_spawn " + argv.front());
    if (input_.empty()) ours_[0].reset();
  }
  ~Command() {
    if (pid_ <= 0) return;
    ::kill(pid_, SIGKILL);
    ::waitpid(pid_, nullptr, 0);
  }
  Command(const Command&) = delete;
  Command& operator=(const Command&) = delete;

  pid_t pid() const { return pid_; }
  const std::string& out() const { return end_.out; }

  /// Feeds and reads until its output holds `text`, or it has ended; false then.
  bool read_until(std::string_view text) {
    while (end_.out.find(text) == std::string::npos)
      if (!exchange()) return end_.out.find(text) != std::string::npos;
    return true;
  }

  CommandEnd wait() {
    while (exchange()) {
    }
    int status = 0;
    ::waitpid(pid_, &status, 0);
    pid_ = -1;
    end_.code = WIFEXITED(status) ? WEXITSTATUS(status) : -WTERMSIG(status);
    return end_;
  }

 private:
  static constexpr int patience_ms = 60'000;

  /// One turn of reading and feeding; false when both outputs have ended.
  bool exchange() {
    if (!ours_[1] && !ours_[2]) return false;
    std::array<pollfd, 3> targets{pollfd{ours_[0].get(), POLLOUT, 0},
                                  pollfd{ours_[1].get(), POLLIN, 0},
                                  pollfd{ours_[2].get(), POLLIN, 0}};
    if (::poll(targets.data(), targets.size(), patience_ms) <= 0)
      throw std::runtime_error("a command does not end: " + end_.out + end_.err);
    if (targets[0].revents != 0) feed();
    if (targets[1].revents != 0) drain(ours_[1], end_.out);
    if (targets[2].revents != 0) drain(ours_[2], end_.err);
    return true;
  }

  void feed() {
    struct sigaction ignore {};
    struct sigaction before {};
    ignore.sa_handler = SIG_IGN;
    ::sigaction(SIGPIPE, &ignore, &before);
    const ssize_t size = ::write(ours_[0].get(), input_.data(), input_.size());
    ::sigaction(SIGPIPE, &before, nullptr);
    if (size > 0) input_.remove_prefix(static_cast<std::size_t>(size));
    if (input_.empty() || (size < 0 && errno != EAGAIN)) ours_[0].reset();
  }

  static void drain(UniqueFd& fd, std::string& text) {
    std::array<char, 65536> block;
    const ssize_t size = ::read(fd.get(), block.data(), block.size());
    if (size > 0)
      text.append(block.data(), static_cast<std::size_t>(size));
    else if (size == 0 || errno != EAGAIN)
      fd.reset();
  }

  std::string_view input_;
  std::array<UniqueFd, 3> ours_;
  pid_t pid_ = -1;
  CommandEnd end_;
};

/// `microswarm ARGS...` to its end.
inline CommandEnd microswarm(std::vector<std::string> args, std::string_view input = {}) {
  args.insert(args.begin(), SwarmProcess::binary());
  return Command(std::move(args), input).wait();
}

}  // namespace micro_swarm
