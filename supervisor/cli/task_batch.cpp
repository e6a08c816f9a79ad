#include "supervisor/cli/task_batch.hpp"

#include <fcntl.h>

#include <algorithm>
#include <set>
#include <unordered_map>
#include <unordered_set>

#include "common/base64.hpp"
#include "common/clock.hpp"
#include "common/dependency_cycle.hpp"
#include "ipc/control_protocol.hpp"
#include "ipc/task_names.hpp"
#include "supervisor/cli/batch_line.hpp"
#include "supervisor/cli/line_input.hpp"
#include "supervisor/cli/render.hpp"
#include "supervisor/cli/task_result.hpp"

namespace micro_swarm::cli {

using nlohmann::json;

namespace {

constexpr std::size_t in_flight_max = 4'096;
/// What comes in one flow is handed in together, also if its writer stops for so long.
constexpr int pause_ms = 20;
/// How long the pool may stay full while nothing of ours ends.
constexpr std::uint64_t patience_ns = 30 * ns_per_s;
constexpr std::uint32_t room_ms = 50;
constexpr std::uint32_t look_again_last_ms = 100;

Error in_line(std::uint64_t line, const Error& error) {
  return with_context(error, "line " + std::to_string(line));
}
Error usage_in_line(std::uint64_t line, std::string text) {
  return in_line(line, Error{ErrorCode::usage, std::move(text), 0});
}

class BatchRun {
 public:
  BatchRun(Client client, ControlClient control, LineInput input, SwarmSize size,
           const BatchOptions& chosen)
      : client_(std::move(client)),
        control_(std::move(control)),
        input_(std::move(input)),
        size_(size),
        in_flight_max_(std::clamp<std::size_t>(size.records / 2, 1, in_flight_max)),
        chunk_lines_max_(std::min<std::size_t>(chosen.chunk, in_flight_max_)) {}

  Result<int> run() {
    std::optional<Error> wrong;
    while (!wrong && !(input_.is_over() && chunk_.empty())) {
      Result<void> done = gather();
      if (done && !chunk_.empty()) done = hand_in();
      if (!done) wrong = done.error();
    }
    while (!in_flight_.empty())
      if (auto taken = take_results(Client::forever); !taken) return taken.error();
    if (wrong) return std::move(*wrong);
    return exit_code_;
  }

 private:
  struct InFlight {
    std::uint64_t line;
    std::string name;
  };

  // ---- lines ----

  bool chunk_is_full() const {
    return chunk_.size() >= chunk_lines_max_ || chunk_bytes_ >= size_.pool_bytes / 4;
  }

  /// Until a chunk is full or its writer pauses; ends that come meanwhile are printed.
  Result<void> gather() {
    while (!chunk_is_full()) {
      if (auto line = input_.next()) {
        if (auto added = add(*line); !added) return added;
        continue;
      }
      if (input_.at_end()) return {};
      if (auto taken = take_results(0); !taken) return taken;
      if (!input_.wait(0)) {
        if (!chunk_.empty() && unresolved_.empty() && !input_.wait(pause_ms)) return {};
        if (in_flight_.empty())
          input_.wait(-1);
        else if (!input_.wait(0))
          if (auto taken = take_results(pause_ms); !taken) return taken;
        continue;
      }
      if (auto filled = input_.fill(); !filled) return filled;
    }
    return {};
  }

  Result<void> add(const std::string& text) {
    if (text.find_first_not_of(" \t") == std::string::npos) return {};
    auto line = parse_batch_line(text, input_.lines(), size_.pool_bytes);
    if (!line) return line.error();
    if (!is_known(line->capability))
      return in_line(line->line,
                     Error{ErrorCode::not_found,
                           "no agent has the capability \"" + line->capability + "\"", 0});
    if (!line->name.empty()) {
      if (numbers_.contains(line->name) || chunk_names_.contains(line->name))
        return usage_in_line(line->line,
                             "another line has the name \"" + line->name + "\" already");
      chunk_names_.emplace(line->name, static_cast<std::uint32_t>(chunk_.size()));
      unresolved_.erase(line->name);
    }
    for (const std::string& name : line->depends_on)
      if (!numbers_.contains(name) && !chunk_names_.contains(name)) unresolved_.insert(name);
    chunk_bytes_ += line->payload.size();
    chunk_.push_back(std::move(*line));
    return {};
  }

  bool is_known(const std::string& capability) {
    if (capabilities_.contains(capability)) return true;
    for (std::string& name : client_.capabilities()) capabilities_.insert(std::move(name));
    return capabilities_.contains(capability);
  }

  // ---- a chunk ----

  /// Fills in what lines say of each other.
  Result<void> resolve() {
    std::vector<std::vector<std::uint32_t>> edges(chunk_.size());
    for (std::size_t i = 0; i < chunk_.size(); ++i) {
      BatchLine& line = chunk_[i];
      line.options.category = line.category;
      line.options.depends_on.clear();
      for (const std::string& name : line.depends_on) {
        if (const auto here = chunk_names_.find(name); here != chunk_names_.end()) {
          line.options.depends_on.push_back(TaskDependency::batch_entry(here->second));
          edges[i].push_back(here->second);
        } else if (const auto before = numbers_.find(name); before != numbers_.end()) {
          line.options.depends_on.push_back(TaskDependency::submission(before->second));
        } else {
          return usage_in_line(line.line, "it depends on \"" + name +
                                              "\", which is the name of no line before it, nor of "
                                              "one of the " +
                                              std::to_string(chunk_lines_max_) +
                                              " that are handed in together");
        }
      }
    }
    const auto cycle = find_cycle(edges);
    if (!cycle) return {};
    std::string members;
    for (const std::uint32_t member : *cycle)
      members += "\"" + chunk_[member].name + "\" (line " + std::to_string(chunk_[member].line) +
                 ") waits for ";
    return usage_in_line(chunk_[cycle->front()].line,
                         members + "\"" + chunk_[cycle->front()].name + "\": none could ever run");
  }

  /// Nothing of it is on record, or all of it.
  Result<void> hand_in() {
    if (auto resolved = resolve(); !resolved) return resolved;
    while (in_flight_.size() + chunk_.size() > in_flight_max_)
      if (auto taken = take_results(Client::forever); !taken) return taken;
    for (;;) {
      if (auto sent = send(); !sent) return sent;
      auto accepted = await_acceptance();
      if (!accepted) return accepted.error();
      if (*accepted) break;
      // Full: it says when there may be room, and what ends before then makes some.
      if (auto taken = take_results(std::max(refused_.retry_after_ms(), 1u)); !taken) return taken;
    }
    for (std::size_t i = 0; i < chunk_.size(); ++i)
      if (!chunk_[i].name.empty()) numbers_.emplace(std::move(chunk_[i].name), first_ + i);
    chunk_.clear();
    chunk_names_.clear();
    unresolved_.clear();
    chunk_bytes_ = 0;
    return {};
  }

  Result<void> send() {
    std::vector<TaskRequest> requests(chunk_.size());
    for (std::size_t i = 0; i < chunk_.size(); ++i) {
      requests[i].capability = chunk_[i].capability;
      requests[i].priority = chunk_[i].priority;
      requests[i].timeout_ms = chunk_[i].timeout_ms;
      requests[i].payload = chunk_[i].payload;
      if (chunk_[i].has_options()) requests[i].options = &chunk_[i].options;
    }
    for (std::uint64_t last_end_ns = now_ns();;) {
      const auto sent = client_.submit_batch(requests, room_ms);
      if (sent) {
        first_ = sent->first_number;
        refusals_ = 0;
        is_decided_ = false;
        for (std::size_t i = 0; i < chunk_.size(); ++i)
          in_flight_.emplace(first_ + i, InFlight{chunk_[i].line, chunk_[i].name});
        return {};
      }
      const Error& error = sent.error();
      const bool no_room = error.code == ErrorCode::refused || error.code == ErrorCode::timed_out;
      // The memory it waits for may be that of ends that nobody has taken yet.
      const std::size_t before = in_flight_.size();
      if (no_room)
        if (auto taken = take_results(room_ms); !taken) return taken;
      if (in_flight_.size() != before) last_end_ns = now_ns();
      if (!no_room || now_ns() - last_end_ns > patience_ns)
        return with_context(error, "lines " + std::to_string(chunk_.front().line) + " to " +
                                       std::to_string(chunk_.back().line));
    }
  }

  /// True: it is on record. False: there is no room now, and nothing of it was taken.
  Result<bool> await_acceptance() {
    const json request{{"verb", "task.find"},
                       {"client", client_.party()},
                       {"incarnation", client_.incarnation()},
                       {"number", first_}};
    for (std::uint32_t delay_ms = 0;; delay_ms = std::min(2 * delay_ms + 1, look_again_last_ms)) {
      if (auto taken = take_results(delay_ms); !taken) return taken.error();
      if (is_decided_) return true;
      if (refusals_ == chunk_.size()) break;
      if (refusals_ != 0) continue;
      const auto answer = ask(control_, request);
      if (answer) return true;
      if (answer.error().code != ErrorCode::not_found) return answer.error();
    }
    const bool may_be_room = refused_.retry_after_ms() != 0;
    if (may_be_room) return false;
    const std::uint64_t which = refused_.refused_number() - first_;
    const BatchLine& line = chunk_[which < chunk_.size() ? which : 0];
    return in_line(line.line,
                   Error{*refused_.refusal(), std::string(text_of(refused_.refusal_reason())), 0});
  }

  // ---- ends ----

  /// The next end within the time, and all that are there already.
  Result<void> take_results(std::uint32_t timeout_ms) {
    if (in_flight_.empty()) return {};
    std::string lines;
    for (;; timeout_ms = 0) {
      auto result = client_.next_result(timeout_ms);
      if (!result) return result.error();
      if (!*result) break;
      note(**result, lines);
      if (in_flight_.empty()) break;
    }
    return lines.empty() ? Result<void>() : print(lines);
  }

  void note(TaskResult& result, std::string& lines) {
    const auto found = in_flight_.find(result.number());
    if (found == in_flight_.end()) return;
    if (result.refusal() && result.task_id() == 0) {
      ++refusals_;
      in_flight_.erase(found);
      refused_ = std::move(result);
      return;
    }
    if (result.number() >= first_) is_decided_ = true;
    const std::string state(name_of(result.state()));
    json line{{"schema", control_schema},
              {"line", found->second.line},
              {"id", result.task_id()},
              {"state", state},
              {"attempts", result.attempts()}};
    if (!found->second.name.empty()) line["name"] = found->second.name;
    if (is_printable_text(result.text()))
      line["result"] = result.text();
    else
      line["result_base64"] = base64_encode(result.bytes());
    lines += control_line(line);
    exit_code_ = std::max(exit_code_, exit_code_of_state(state));
    in_flight_.erase(found);
  }

  Client client_;
  ControlClient control_;
  LineInput input_;
  SwarmSize size_;
  std::size_t in_flight_max_;
  std::size_t chunk_lines_max_;

  std::vector<BatchLine> chunk_;
  std::uint64_t chunk_bytes_ = 0;
  std::unordered_map<std::string, std::uint32_t> chunk_names_;
  std::set<std::string> unresolved_;  ///< names that no line has had yet
  std::unordered_set<std::string> capabilities_;

  std::unordered_map<std::string, std::uint64_t> numbers_;  ///< by name, of what was accepted
  std::unordered_map<std::uint64_t, InFlight> in_flight_;   ///< by number
  // Of the chunk handed in last:
  std::uint64_t first_ = 0;
  bool is_decided_ = false;
  std::size_t refusals_ = 0;
  TaskResult refused_;
  int exit_code_ = to_int(ExitCode::ok);
};

}  // namespace

Result<SwarmSize> swarm_size(ControlClient& client) {
  const auto answer = ask(client, {{"verb", "status"}});
  if (!answer) return answer.error();
  const auto number = [&](const char* object, const char* member) -> Result<std::uint64_t> {
    const auto at = answer->object.find(object);
    if (at == answer->object.end() || !at->is_object() || !at->contains(member) ||
        !(*at)[member].is_number_unsigned())
      return Error{ErrorCode::protocol,
                   std::string("the swarm's status lacks ") + object + "." + member, 0};
    return (*at)[member].get<std::uint64_t>();
  };
  const auto pool_bytes = number("memory", "pool_bytes");
  if (!pool_bytes) return pool_bytes.error();
  const auto records = number("tasks", "records");
  if (!records) return records.error();
  return SwarmSize{*pool_bytes, *records};
}

Result<int> submit_lines(const Cli& shared, const BatchOptions& chosen) {
  const bool is_standard_input = chosen.file == "-";
  const std::string name = is_standard_input ? "standard input" : chosen.file;
  UniqueFd opened;
  if (!is_standard_input) {
    const auto fd = posix_call("open " + name,
                               [&] { return ::open(chosen.file.c_str(), O_RDONLY | O_CLOEXEC); });
    if (!fd) return fd.error();
    opened.reset(*fd);
  }
  auto control = ControlClient::connect(shared.name);
  if (!control) return control.error();
  const auto size = swarm_size(*control);
  if (!size) return size.error();
  auto client = Client::connect(shared.name);
  if (!client) return client.error();
  // Base64 takes a third more, and escapes in a text up to six times as much as it says.
  LineInput input(is_standard_input ? STDIN_FILENO : opened.get(), name,
                  6 * size->pool_bytes + 65'536);
  return BatchRun(std::move(*client), std::move(*control), std::move(input), *size, chosen).run();
}

}  // namespace micro_swarm::cli
