// A script that stays: one line for each task on its standard input, one line back.

#include <poll.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <optional>

#include "agentproc/child_process.hpp"
#include "agentproc/script_agent.hpp"
#include "agentproc/script_line.hpp"
#include "common/log.hpp"
#include "ipc/task_names.hpp"

namespace micro_swarm {

namespace {

/// Scripts lost in a row without an answer in between. At the next task the agent ends: then starts
/// are the supervisor's affair, with their backoff and their end.
constexpr unsigned in_vain_max = 5;
/// At the end of the agent, whose socket is closed by then, from the end of its input on.
constexpr int end_grace_ms = 250;

class StdioHandler final : public Handler {
 public:
  explicit StdioHandler(ScriptSetting setting) : setting_(std::move(setting)) {}
  ~StdioHandler() override {
    if (!child_) return;
    child_->input.reset();
    child_->wait(end_grace_ms);
  }

  Result<void> start() {
    received_.clear();
    auto child =
        ChildProcess::start(setting_.argv, setting_.environment, ChildProcess::Errors::ours);
    if (!child) return child.error();
    child_.emplace(std::move(*child));
    return {};
  }

  Outcome handle(TaskContext& task) override {
    if (auto ready = make_ready(); !ready) return task.fail(ready.error());
    const Outcome outcome = ask(task);
    for (const std::string& name : written_) setting_.files.remove(name);
    written_.clear();
    return outcome;
  }

 private:
  /// A script that waits for a line.
  Result<void> make_ready() {
    if (child_) {
      // It was not asked anything.
      const bool has_ended = child_->wait(0);
      if (read_available(child_->output.get(), received_) >= 0 || has_ended || !received_.empty())
        broken(received_.empty() ? ended_between_tasks : said_between_tasks());
    }
    if (child_) return {};
    if (in_vain_ >= in_vain_max) {
      log::error("the script gave no answer {} times in a row, the agent gives up", in_vain_);
      ::_exit(to_int(ExitCode::failed));
    }
    return start();
  }

  static inline const std::string ended_between_tasks = "ended between two tasks";
  std::string said_between_tasks() const {
    return "said something between two tasks: \"" + head_of(received_, 200) + "\"";
  }

  /// Ends it; the next task gets a new one. Returns the whole sentence.
  std::string broken(std::string why) {
    const bool was_alive = !child_->wait(0);
    const int status = child_->end();
    child_.reset();
    ++in_vain_;
    ++started_again_;
    if (!was_alive) why += " (" + end_text(status) + ")";
    log::warn("the script {}; it will be started for the {}. time", why, started_again_ + 1);
    return "the script " + why;
  }

  Outcome fail(TaskContext& task, std::string why) { return task.fail(broken(std::move(why))); }

  Result<ScriptBytes> bytes_for(const std::string& name, std::span<const std::byte> bytes) {
    if (bytes.size() <= script_line_payload_bytes_max) return ScriptBytes{bytes, {}};
    auto path = setting_.files.write(name, bytes);
    if (!path) return path.error();
    written_.push_back(name);
    return ScriptBytes{{}, std::move(*path)};
  }

  Result<std::string> request_for(TaskContext& task) {
    ScriptRequest request{task.task(), task.attempt(), task.capability(), {}, {}};
    for (const TaskInput& input : task.inputs()) {
      auto bytes = bytes_for("input-" + std::to_string(request.inputs.size() + 1), input.bytes);
      if (!bytes) return bytes.error();
      request.inputs.push_back({input.task, name_of(input.state), std::move(*bytes)});
    }
    auto payload = bytes_for("payload", task.payload());
    if (!payload) return payload.error();
    request.payload = std::move(*payload);
    return script_request_line(request);
  }

  Outcome ask(TaskContext& task) {
    const auto request = request_for(task);
    if (!request) return task.fail(request.error());
    std::string_view rest = *request;
    bool takes_more = true;  // its input is open
    bool is_second = false;
    // What it does before it has read anything of the task has to do with its last one.
    const auto has_not_seen_it = [&] {
      return !is_second && is_unread(request->size() - rest.size());
    };
    const auto ask_another = [&](const std::string& why) {
      broken(why);
      is_second = true;
      takes_more = true;
      rest = *request;
      return make_ready();
    };
    for (;;) {
      if (task.cancelled()) {
        stop_script(*child_, setting_.stop_grace_ms, task);
        child_.reset();
        return Outcome::cancelled;
      }
      if (!received_.empty() && has_not_seen_it()) {
        if (auto ready = ask_another(said_between_tasks()); !ready) return task.fail(ready.error());
      }
      while (const auto line = next_line()) {
        auto answer = read_script_answer(*line, task.task());
        if (!answer) return fail(task, answer.error().message);
        if (answer->kind != ScriptAnswer::Kind::progress) return answered(task, *answer);
        task.report_progress();
      }
      if (received_.size() > script_line_bytes_max)
        return fail(task, "answered with a line of more than " +
                              std::to_string(script_line_bytes_max) +
                              " bytes; larger results go into a file (result_path)");
      std::array<pollfd, 3> targets{
          pollfd{child_->pidfd(), POLLIN, 0}, pollfd{child_->output.get(), POLLIN, 0},
          pollfd{takes_more && !rest.empty() ? child_->input.get() : -1, POLLOUT, 0}};
      ::poll(targets.data(), targets.size(), script_look_ms);
      if (targets[2].revents != 0) {
        const ssize_t written = ::write(child_->input.get(), rest.data(), rest.size());
        if (written > 0) rest.remove_prefix(static_cast<std::size_t>(written));
        // It may have answered without reading all; if it is dead, that is seen below.
        if (written < 0 && errno != EAGAIN && errno != EINTR) takes_more = false;
      }
      if (targets[0].revents == 0 && targets[1].revents == 0) continue;
      const ssize_t got = read_available(child_->output.get(), received_);
      if (got > 0) continue;  // what it says counts before its death
      if (targets[0].revents == 0 && got < 0) continue;
      // An output that ends is mostly that of a script that is exiting right now.
      if (!child_->wait(script_look_ms)) return fail(task, "closed its output before it answered");
      if (!has_not_seen_it()) return fail(task, "ended before it answered");
      if (auto ready = ask_another(ended_between_tasks); !ready) return task.fail(ready.error());
    }
  }

  /// None of the bytes that were written to the script's input have been read.
  bool is_unread(std::size_t written) const {
    int left = -1;
    return ::ioctl(child_->input.get(), FIONREAD, &left) == 0 && left >= 0 &&
           static_cast<std::size_t>(left) == written;
  }

  std::optional<std::string> next_line() {
    const std::size_t end = received_.find('\n');
    if (end == std::string::npos || end > script_line_bytes_max) return std::nullopt;
    std::string line = received_.substr(0, end);
    received_.erase(0, end + 1);
    return line;
  }

  Outcome answered(TaskContext& task, const ScriptAnswer& answer) {
    static_cast<void>(read_available(child_->output.get(), received_));
    if (!received_.empty())
      return fail(task, "said more after its answer: \"" + head_of(received_, 200) + "\"");
    in_vain_ = 0;
    switch (answer.kind) {
      case ScriptAnswer::Kind::error: return task.fail(answer.text);
      case ScriptAnswer::Kind::path: return take_file(task, answer.text);
      default: break;
    }
    const auto done = task.set_result(std::string_view(answer.text));
    return done ? Outcome::done : task.fail(done.error());
  }

  /// Read straight into the memory it is handed over in.
  Outcome take_file(TaskContext& task, const std::string& path) {
    const auto read = [&]() -> Result<void> {
      std::size_t size_bytes = 0;
      const auto file = setting_.files.open(path, size_bytes);
      if (!file) return file.error();
      auto buffer = task.result_buffer(size_bytes);
      if (!buffer) return buffer.error();
      for (auto rest = *buffer; !rest.empty();) {
        const auto got = posix_call("read " + path,
                                    [&] { return ::read(file->get(), rest.data(), rest.size()); });
        if (!got) return got.error();
        if (*got == 0)
          return Error{ErrorCode::protocol, path + " became shorter while it was read", 0};
        rest = rest.subspan(static_cast<std::size_t>(*got));
      }
      return {};
    };
    const auto done = read();
    setting_.files.remove_path(path);
    if (done) return Outcome::done;
    return task.fail(done.error().code == ErrorCode::cancelled
                         ? done.error()
                         : with_context(done.error(), "the script's result_path"));
  }

  ScriptSetting setting_;
  std::optional<ChildProcess> child_;
  std::string received_;
  std::vector<std::string> written_;
  unsigned in_vain_ = 0;
  unsigned started_again_ = 0;
};

}  // namespace

Result<std::unique_ptr<Handler>> make_stdio_handler(ScriptSetting setting) {
  auto handler = std::make_unique<StdioHandler>(std::move(setting));
  if (auto started = handler->start(); !started) return started.error();
  return std::unique_ptr<Handler>(std::move(handler));
}

}  // namespace micro_swarm
