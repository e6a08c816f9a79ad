#pragma once

#include <sys/types.h>

#include <cstdint>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "common/posix.hpp"

namespace micro_swarm {

/// A command with its standard streams on non-blocking pipes. It leads a process group of its own,
/// which ends with this object, and dies with the thread that started it. Its orphans outside the
/// group are root's to find.
class ChildProcess {
 public:
  enum class Errors { ours, piped };

  /// `argv` is looked for in $PATH; `environment` is all that it gets. Returns when it runs. Error
  /// (system, with the errno): it cannot be run.
  static Result<ChildProcess> start(std::vector<std::string> argv,
                                    std::vector<std::string> environment, Errors errors);
  ChildProcess(ChildProcess&& other) noexcept
      : input(std::move(other.input)),
        output(std::move(other.output)),
        errors(std::move(other.errors)),
        pid_(std::exchange(other.pid_, -1)),
        pidfd_(std::move(other.pidfd_)) {}
  ChildProcess& operator=(ChildProcess&&) = delete;
  ~ChildProcess() { end(); }

  UniqueFd input;   ///< to be written; SIGPIPE is the caller's to ignore
  UniqueFd output;  ///< to be read
  UniqueFd errors;  ///< Errors::piped: to be read

  pid_t pid() const noexcept { return pid_; }
  /// Readable once it has ended.
  int pidfd() const noexcept { return pidfd_.get(); }
  void signal_group(int number) const noexcept;
  /// Whether it ends within `timeout_ms`.
  bool wait(int timeout_ms) const noexcept;
  /// Kills what is left of the group; the status as of waitpid. Call it once.
  int end() noexcept;

 private:
  ChildProcess() noexcept = default;

  pid_t pid_ = -1;
  UniqueFd pidfd_;
};

/// "exit code 3" or "killed by SIGSEGV".
std::string end_text(int status);

/// What a non-blocking descriptor has: -1 nothing just now, 0 its end.
ssize_t read_available(int fd, std::string& text);

}  // namespace micro_swarm
