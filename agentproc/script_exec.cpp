// A fresh command for each task: the payload on its standard input, the result from its output.

#include <poll.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>

#include "agentproc/child_process.hpp"
#include "agentproc/script_agent.hpp"
#include "agentproc/script_line.hpp"
#include "common/find_program.hpp"

namespace micro_swarm {

namespace {

/// What of its standard error is kept for the reason of a failure.
constexpr std::size_t errors_kept_bytes = 4096;
constexpr std::size_t errors_told_bytes = 1000;

/// To our own standard error, which the supervisor logs under the agent's name. A log that takes
/// nothing just now does not hold the task up.
void pass_on(std::string_view text) {
  constexpr std::size_t piece = 4096;  // a pipe that is writable takes so much at once
  while (!text.empty()) {
    pollfd target{STDERR_FILENO, POLLOUT, 0};
    if (::poll(&target, 1, 0) != 1) return;
    const ssize_t written = ::write(STDERR_FILENO, text.data(), std::min(text.size(), piece));
    if (written <= 0) return;
    text.remove_prefix(static_cast<std::size_t>(written));
  }
}

/// One run of the command.
class Run {
 public:
  Run(ChildProcess child, TaskContext& task, std::uint64_t output_bytes_max)
      : child_(std::move(child)),
        task_(task),
        rest_(task.payload_text()),
        output_bytes_max_(output_bytes_max) {
    if (rest_.empty()) child_.input.reset();
  }

  Outcome outcome(int stop_grace_ms) {
    for (;;) {
      if (task_.cancelled()) {
        stop_script(child_, stop_grace_ms, task_);
        return Outcome::cancelled;
      }
      task_.report_progress();  // the command cannot; how long it may take is the task's timeout
      const bool has_ended = exchange();
      if (output_.size() > output_bytes_max_) {
        child_.end();
        return task_.fail("its output is larger than the pool of " +
                          std::to_string(output_bytes_max_) +
                          " bytes: raise memory.pool_size, or write less");
      }
      if (has_ended) return ended();
    }
  }

 private:
  /// Both ways at once: a command may write before it has read all. True: it has ended.
  bool exchange() {
    std::array<pollfd, 4> targets{
        pollfd{child_.pidfd(), POLLIN, 0}, pollfd{child_.input.get(), POLLOUT, 0},
        pollfd{child_.output.get(), POLLIN, 0}, pollfd{child_.errors.get(), POLLIN, 0}};
    ::poll(targets.data(), targets.size(), script_look_ms);
    if (targets[1].revents != 0) feed();
    if (targets[2].revents != 0) read(child_.output, output_);
    if (targets[3].revents != 0) read_errors();
    return targets[0].revents != 0;
  }

  void feed() {
    const ssize_t written = ::write(child_.input.get(), rest_.data(), rest_.size());
    if (written > 0) rest_.remove_prefix(static_cast<std::size_t>(written));
    // EPIPE: it does not want the rest, which is its own affair.
    if (rest_.empty() || (written < 0 && errno != EAGAIN && errno != EINTR)) child_.input.reset();
  }

  static ssize_t read(UniqueFd& from, std::string& text) {
    if (!from) return 0;
    const ssize_t got = read_available(from.get(), text);
    if (got == 0) from.reset();
    return got;
  }

  void read_errors() {
    std::string text;
    read(child_.errors, text);
    pass_on(text);
    errors_ += text;
    if (errors_.size() > errors_kept_bytes) errors_.erase(0, errors_.size() - errors_kept_bytes);
  }

  /// What it has written is in the pipes; what it left running writes no more.
  Outcome ended() {
    const int status = child_.end();
    while (output_.size() <= output_bytes_max_ && read(child_.output, output_) > 0) {
    }
    // As much as a pipe holds: somebody outside its group may go on for ever.
    for (int i = 0; i < 16 && child_.errors; ++i) read_errors();
    if (status != 0) {
      std::string why = end_text(status);
      if (const std::string said = tail_of(errors_, errors_told_bytes); !said.empty())
        why += ": " + said;
      return task_.fail(why);
    }
    const auto done = task_.set_result(std::string_view(output_));
    return done ? Outcome::done : task_.fail(done.error());
  }

  ChildProcess child_;
  TaskContext& task_;
  std::string_view rest_;
  std::string output_;
  std::string errors_;
  std::uint64_t output_bytes_max_;
};

class ExecHandler final : public Handler {
 public:
  explicit ExecHandler(ScriptSetting setting) : setting_(std::move(setting)) {}

  void started(const AgentEnvironment& environment) override { environment_ = environment; }

  Outcome handle(TaskContext& task) override {
    const Outcome outcome = run(task);
    for (std::size_t i = 0; i < task.inputs().size(); ++i) setting_.files.remove(input_name(i));
    return outcome;
  }

 private:
  static std::string input_name(std::size_t i) { return "input-" + std::to_string(i + 1); }

  Outcome run(TaskContext& task) {
    auto environment = setting_.environment;
    environment.push_back("MICROSWARM_TASK=" + std::to_string(task.task()));
    environment.push_back("MICROSWARM_ATTEMPT=" + std::to_string(task.attempt()));
    environment.push_back("MICROSWARM_CAPABILITY=" + std::string(task.capability()));
    environment.push_back("MICROSWARM_INPUTS=" + std::to_string(task.inputs().size()));
    for (std::size_t i = 0; i < task.inputs().size(); ++i)
      if (auto path = setting_.files.write(input_name(i), task.inputs()[i].bytes); !path)
        return task.fail(path.error());
    auto child =
        ChildProcess::start(setting_.argv, std::move(environment), ChildProcess::Errors::piped);
    if (!child) return task.fail(child.error());
    return Run(std::move(*child), task, pool_bytes_of(environment_))
        .outcome(setting_.stop_grace_ms);
  }

  ScriptSetting setting_;
  AgentEnvironment environment_;
};

}  // namespace

Result<std::unique_ptr<Handler>> make_exec_handler(ScriptSetting setting) {
  if (const auto program = find_program(setting.argv.front()); !program) return program.error();
  return std::unique_ptr<Handler>(std::make_unique<ExecHandler>(std::move(setting)));
}

}  // namespace micro_swarm
