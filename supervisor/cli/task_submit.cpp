#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <map>
#include <memory>
#include <optional>

#include "common/clock.hpp"
#include "common/size_text.hpp"
#include "ipc/client.hpp"
#include "supervisor/cli/task_batch.hpp"
#include "supervisor/cli/task_result.hpp"
#include "supervisor/tasks.hpp"

namespace micro_swarm::cli {

using nlohmann::json;

namespace {

/// From the submission to hearing what became of it.
constexpr std::uint32_t acceptance_ms = 10'000;
constexpr std::uint32_t look_again_first_ms = 1;
constexpr std::uint32_t look_again_last_ms = 100;

struct Options {
  std::string capability;
  std::optional<std::string> file;
  Priority priority = Priority::normal;
  std::uint32_t timeout_ms = 0;
  bool wait = false;
  std::string output;
  std::uint32_t deadline_ms = 0;
  std::uint32_t retries = 0;
  std::uint32_t retry_backoff_ms = 0;
  std::uint32_t min_version = 0;
  std::string category;
  std::vector<TaskId> after;
  OnDependencyFailure on_dependency_failure = OnDependencyFailure::fail;
  std::optional<BatchOptions> batch;

  bool has_task_options() const {
    return deadline_ms != 0 || retries != 0 || retry_backoff_ms != 0 || min_version != 0 ||
           !category.empty() || !after.empty();
  }
  TaskOptions task_options() const {
    TaskOptions options;
    for (const TaskId id : after) options.depends_on.push_back(TaskDependency::task(id));
    options.on_dependency_failure = on_dependency_failure;
    options.category = category;
    options.deadline_ms = deadline_ms;
    options.retries = static_cast<std::uint16_t>(retries);
    options.retry_backoff_ms = retry_backoff_ms;
    options.min_version = static_cast<std::uint16_t>(min_version);
    return options;
  }
};

struct Payload {
  Region region;
  std::vector<std::byte> bytes;  ///< where the size was not known beforehand
};

Result<std::uint64_t> pool_bytes(const Cli& shared) {
  auto client = ControlClient::connect(shared.name);
  if (!client) return client.error();
  const auto size = swarm_size(*client);
  if (!size) return size.error();
  return size->pool_bytes;
}

/// A file straight into the memory it is handed over in.
Result<Payload> read_file(Client& client, int fd, std::size_t size, const std::string& name) {
  Payload payload;
  auto region = client.allocate(size);
  if (!region) return with_context(region.error(), name);
  payload.region = std::move(*region);
  for (auto rest = payload.region.bytes(); !rest.empty();) {
    const auto got =
        posix_call("read " + name, [&] { return ::read(fd, rest.data(), rest.size()); });
    if (!got) return got.error();
    if (*got == 0)
      return Error{ErrorCode::usage, name + ": became shorter while it was read; try again"};
    rest = rest.subspan(static_cast<std::size_t>(*got));
  }
  return payload;
}

/// A pipe may never end, hence the limit.
Result<Payload> read_stream(const Cli& shared, int fd, const std::string& name) {
  const auto limit = pool_bytes(shared);
  if (!limit) return limit.error();
  Payload payload;
  std::array<std::byte, 65536> block;
  for (;;) {
    const auto got =
        posix_call("read " + name, [&] { return ::read(fd, block.data(), block.size()); });
    if (!got) return got.error();
    if (*got == 0) return payload;
    payload.bytes.insert(payload.bytes.end(), block.begin(), block.begin() + *got);
    if (payload.bytes.size() > *limit)
      return Error{ErrorCode::too_large, name + ": the payload is larger than the pool of " +
                                             exact_size_text(*limit) +
                                             "; raise memory.pool_size, or submit less at a time"};
  }
}

Result<Payload> read_payload(const Cli& shared, Client& client, const Options& chosen) {
  if (!chosen.file) return Payload{};
  const bool is_standard_input = *chosen.file == "-";
  const std::string name = is_standard_input ? "standard input" : *chosen.file;
  UniqueFd opened;
  if (!is_standard_input) {
    const auto fd =
        posix_call("open " + name, [&] { return ::open(name.c_str(), O_RDONLY | O_CLOEXEC); });
    if (!fd) return fd.error();
    opened.reset(*fd);
  }
  const int fd = is_standard_input ? STDIN_FILENO : opened.get();
  struct stat there {};
  if (::fstat(fd, &there) != 0) return system_error(name, errno);
  if (S_ISDIR(there.st_mode)) return Error{ErrorCode::usage, name + " is a directory"};
  // Redirected input may stand anywhere in its file, and files in /proc say 0.
  if (is_standard_input || !S_ISREG(there.st_mode) || there.st_size == 0)
    return read_stream(shared, fd, name);
  return read_file(client, fd, static_cast<std::size_t>(there.st_size), name);
}

Error refusal_of(const TaskResult& result) {
  std::string text = "the swarm refused the task: " + std::string(text_of(result.refusal_reason()));
  if (result.retry_after_ms() > 0)
    text += "; try again in " + std::to_string(result.retry_after_ms()) + " ms";
  return Error{*result.refusal(), std::move(text), 0};
}

Result<int> print_end(const Cli& shared, const Options& chosen, const TaskResult& result) {
  if (result.refusal()) return refusal_of(result);
  const auto bytes = result.bytes();
  const TaskEnd end{result.task_id(),
                    std::string(name_of(result.state())),
                    {bytes.begin(), bytes.end()},
                    result.attempts()};
  if (auto printed = print_result(shared, end, chosen.output); !printed) return printed.error();
  return exit_code_of_state(end.state);
}

Result<int> wait_and_print(const Cli& shared, const Options& chosen, Client& client) {
  for (;;) {
    const auto result = client.next_result(Client::forever);
    if (!result) return result.error();
    if (*result) return print_end(shared, chosen, **result);
  }
}

/// Leaves as soon as the task is on record: from then on it ends without us.
Result<int> print_id(const Cli& shared, Client& client, std::uint64_t number) {
  auto control = ControlClient::connect(shared.name);
  if (!control) return control.error();
  const json request{{"verb", "task.find"},
                     {"client", client.party()},
                     {"incarnation", client.incarnation()},
                     {"number", number}};
  const std::uint64_t deadline = now_ns() + acceptance_ms * ns_per_ms;
  for (std::uint32_t delay_ms = look_again_first_ms;;
       delay_ms = std::min(2 * delay_ms, look_again_last_ms)) {
    const auto answer = ask(*control, request);
    if (answer && answer->object.contains("id")) {
      const json& id = answer->object["id"];
      const auto printed = shared.format == OutputFormat::json
                               ? print_json({{"id", id}, {"state", "accepted"}})
                               : print(id.dump() + "\n");
      if (!printed) return printed.error();
      return to_int(ExitCode::ok);
    }
    if (!answer && answer.error().code != ErrorCode::not_found) return answer.error();
    // Not yet taken from the ring, or refused: then that is the result.
    const auto result = client.next_result(delay_ms);
    if (!result) return result.error();
    if (*result && (*result)->refusal()) return refusal_of(**result);
    if (now_ns() >= deadline)
      return Error{
          ErrorCode::timed_out,
          "the swarm did not say within " + std::to_string(acceptance_ms) +
              " ms that it accepted the task; `microswarm task list` shows whether it did"};
  }
}

Result<int> submit(const Cli& shared, const Options& chosen) {
  auto client = Client::connect(shared.name);
  if (!client) return client.error();
  auto payload = read_payload(shared, *client, chosen);
  if (!payload) return payload.error();

  TaskRequest request;
  request.capability = chosen.capability;
  request.priority = chosen.priority;
  request.timeout_ms = chosen.timeout_ms;
  request.is_detached = !chosen.wait;
  request.region = std::move(payload->region);
  request.payload = payload->bytes;
  const TaskOptions options = chosen.task_options();
  if (chosen.has_task_options()) request.options = &options;
  const auto number = client->submit(std::move(request));
  if (!number) return number.error();
  return chosen.wait ? wait_and_print(shared, chosen, *client) : print_id(shared, *client, *number);
}

}  // namespace

void add_task_submit(CLI::App& task, Cli& shared) {
  static const std::map<std::string, Priority> priorities_by_name{{"critical", Priority::critical},
                                                                  {"high", Priority::high},
                                                                  {"normal", Priority::normal},
                                                                  {"low", Priority::low}};
  static const std::map<std::string, OnDependencyFailure> policies_by_name{
      {"fail", OnDependencyFailure::fail},
      {"skip", OnDependencyFailure::skip},
      {"run", OnDependencyFailure::run}};
  auto* verb = task.add_subcommand("submit",
                                   "Hand a task in; prints its id, or with --wait its "
                                   "result and exits as `task wait` does. With --batch many of "
                                   "them, and their ends as they come");
  const auto options = std::make_shared<Options>();
  std::vector<CLI::Option*> of_one;
  const auto add = [&](auto&&... arguments) {
    of_one.push_back(verb->add_option(std::forward<decltype(arguments)>(arguments)...));
    return of_one.back();
  };
  add("capability", options->capability, "What is to be done");
  add("--file", options->file, "The payload; - is standard input; default: none")
      ->option_text("FILE");
  add("--priority", options->priority, "critical, high, normal or low")
      ->transform(CLI::CheckedTransformer(priorities_by_name))
      ->option_text("PRIORITY");
  add("--timeout-ms", options->timeout_ms, "From acceptance to the end; 0 = the swarm's default")
      ->check(CLI::Range(0, 86'400'000))
      ->option_text("N");
  add("--deadline-ms", options->deadline_ms,
      "From acceptance; the earlier goes first in its class, and a late one is timed out")
      ->check(CLI::Range(0, 86'400'000))
      ->option_text("N");
  add("--retries", options->retries, "Run again so often when its agent says that it failed")
      ->check(CLI::Range(0, 255))
      ->option_text("N");
  add("--retry-backoff-ms", options->retry_backoff_ms,
      "Wait so long before the first retry; twice as long each time, with jitter")
      ->check(CLI::Range(0, 86'400'000))
      ->option_text("N");
  add("--min-version", options->min_version, "Only agents of this version or a later one")
      ->check(CLI::Range(0, 65'535))
      ->option_text("N");
  add("--category", options->category, "Name of a [[category]] of the configuration")
      ->option_text("NAME");
  auto* after = add("--after", options->after,
                    "Tasks that must have ended first; it reads their "
                    "results")
                    ->check(whole_number())
                    ->expected(1, static_cast<int>(task_dependencies_max))
                    ->option_text("ID...");
  add("--on-dependency-failure", options->on_dependency_failure,
      "fail, skip (cancelled) or run when one of them did not end well")
      ->transform(CLI::CheckedTransformer(policies_by_name))
      ->needs(after)
      ->option_text("POLICY");
  auto* wait = verb->add_flag("--wait", options->wait, "Wait for the end and print the result");
  of_one.push_back(wait);
  add("--output", options->output, "Write the result to a file instead")
      ->needs(wait)
      ->option_text("FILE");
  auto* batch = verb->add_option_function<std::string>(
      "--batch",
      [options](const std::string& file) {
        if (!options->batch) options->batch.emplace();
        options->batch->file = file;
      },
      "Tasks from a file, a JSON object a line; - is standard input");
  batch->option_text("FILE");
  for (CLI::Option* option : of_one) batch->excludes(option);
  verb->add_option_function<std::uint32_t>(
          "--chunk",
          [options](std::uint32_t lines) {
            if (!options->batch) options->batch.emplace();
            options->batch->chunk = lines;
          },
          "Hand in at most so many lines together (1000)")
      ->check(CLI::Range(1, 100'000))
      ->needs(batch)
      ->option_text("N");
  add_swarm_options(*verb, shared);
  verb->callback([&shared, options] {
    if (!options->batch && options->capability.empty())
      throw CLI::RequiredError("capability, or --batch,");
    shared.command = [&shared, options] {
      return options->batch ? submit_lines(shared, *options->batch) : submit(shared, *options);
    };
  });
}

}  // namespace micro_swarm::cli
