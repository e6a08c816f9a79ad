
#include <cstdint>
#include <memory>
#include <optional>

#include "supervisor/cli/cli.hpp"
#include "supervisor/cli/render.hpp"
#include "supervisor/cli/task_result.hpp"

namespace micro_swarm::cli {

using nlohmann::json;

namespace {

const std::vector<std::string> columns{"id",       "state",         "capability",
                                       "priority", "agent",         "attempts",
                                       "client",   "payload_bytes", "result_bytes"};

struct ListOptions {
  std::optional<std::string> state;
  std::uint32_t limit = 100;
};

struct OneTask {
  std::uint64_t id = 0;
  std::uint32_t timeout_ms = 0;
  std::string output;
};

std::shared_ptr<OneTask> add_task_id(CLI::App& verb) {
  auto task = std::make_shared<OneTask>();
  verb.add_option("id", task->id, "Id of the task, as `task submit` and `task list` print it")
      ->required()
      ->check(whole_number());
  return task;
}

Result<int> wait_for(const Cli& shared, const OneTask& task) {
  auto client = ControlClient::connect(shared.name);
  if (!client) return client.error();
  json request{{"verb", "task.wait"}, {"id", task.id}, {"timeout_ms", task.timeout_ms}};
  ControlRequestOptions options;
  // The swarm keeps the time; this is for one that does not answer at all.
  constexpr std::uint32_t slack_ms = 15'000;
  if (task.timeout_ms > 0) options.timeout_ms = task.timeout_ms + slack_ms;
  auto answer = ask(*client, request, options);
  if (!answer) return answer.error();
  const std::string state = task_state_of(answer->object);
  const auto printed = shared.format == OutputFormat::json
                           ? print_json(std::move(answer->object))
                           : print(object_text(answer->object, columns));
  if (!printed) return printed.error();
  return exit_code_of_state(state);
}

unsigned attempts_of(const json& answer) {
  const json task = answer.value("task", json::object());
  const auto attempts = task.find("attempts");
  return attempts != task.end() && attempts->is_number_unsigned() ? attempts->get<unsigned>() : 0;
}

Result<int> fetch_result(const Cli& shared, const OneTask& task) {
  auto client = ControlClient::connect(shared.name);
  if (!client) return client.error();
  auto answer = ask(*client, {{"verb", "task.result"}, {"id", task.id}});
  if (!answer) return answer.error();
  const auto bytes = result_bytes(*answer);
  if (!bytes) return bytes.error();
  const std::string state = task_state_of(answer->object);
  const TaskEnd end{task.id, state, *bytes, attempts_of(answer->object)};
  if (auto printed = print_result(shared, end, task.output); !printed) return printed.error();
  return exit_code_of_state(state);
}

/// One sentence for people, which says it all; the numbers are for programs.
Result<int> explain(const Cli& shared, const OneTask& task) {
  auto client = ControlClient::connect(shared.name);
  if (!client) return client.error();
  auto answer = ask(*client, {{"verb", "task.explain"}, {"id", task.id}});
  if (!answer) return answer.error();
  json& why = answer->object;
  if (shared.format != OutputFormat::json && why.contains("text") && why["text"].is_string()) {
    const auto printed =
        print("task " + std::to_string(task.id) + " " + cell_text("state", why.value("state", "")) +
              ": " + cell_text("text", why["text"]) + "\n");
    if (!printed) return printed.error();
    return to_int(ExitCode::ok);
  }
  if (auto printed = print_json(std::move(why)); !printed) return printed.error();
  return to_int(ExitCode::ok);
}

void add_list(CLI::App& task, Cli& shared) {
  auto* list = task.add_subcommand("list", "Tasks on record, the newest first");
  const auto options = std::make_shared<ListOptions>();
  list->add_option("--state", options->state, "Only tasks in this state")
      ->check(CLI::IsMember({"pending", "ready", "running", "done", "failed", "cancelled",
                             "timed_out", "dead_letter"}))
      ->option_text("STATE");
  list->add_option("--limit", options->limit, "At most so many, 1 to 1000000")
      ->check(CLI::Range(1, 1'000'000))
      ->option_text("N");
  add_swarm_options(*list, shared);
  list->callback([&shared, options] {
    shared.command = [&shared, options] {
      json request{{"verb", "task.list"}, {"limit", options->limit}};
      if (options->state) request["state"] = *options->state;
      return ask_and_print(shared, request, columns);
    };
  });
}

}  // namespace

void add_task(CLI::App& app, Cli& shared) {
  auto* task = app.add_subcommand("task", "Work for the agents")->require_subcommand(1);
  add_task_submit(*task, shared);
  add_list(*task, shared);

  auto* show = task->add_subcommand("show", "One task");
  const auto shown = add_task_id(*show);
  add_swarm_options(*show, shared);
  show->callback([&shared, shown] {
    shared.command = [&shared, shown] {
      return ask_and_print(shared, {{"verb", "task.show"}, {"id", shown->id}}, columns);
    };
  });

  auto* wait = task->add_subcommand(
      "wait",
      "Wait until a task has ended; exits 0 done, 1 failed, 6 cancelled, 7 dead letter, "
      "124 timed out");
  const auto waited = add_task_id(*wait);
  wait->add_option("--timeout-ms", waited->timeout_ms, "How long; 0 = as long as it takes")
      ->check(CLI::Range(0, 86'400'000))
      ->option_text("N");
  add_swarm_options(*wait, shared);
  wait->callback([&shared, waited] {
    shared.command = [&shared, waited] { return wait_for(shared, *waited); };
  });

  auto* result = task->add_subcommand(
      "result", "Print the result of a task that has ended; exits as `task wait` does");
  const auto fetched = add_task_id(*result);
  result->add_option("--output", fetched->output, "Write the result to a file instead")
      ->option_text("FILE");
  add_swarm_options(*result, shared);
  result->callback([&shared, fetched] {
    shared.command = [&shared, fetched] { return fetch_result(shared, *fetched); };
  });

  auto* why =
      task->add_subcommand("explain", "Why a task is where it is, and when it is expected to run");
  const auto explained = add_task_id(*why);
  add_swarm_options(*why, shared);
  why->callback([&shared, explained] {
    shared.command = [&shared, explained] { return explain(shared, *explained); };
  });

  auto* requeue = task->add_subcommand(
      "requeue",
      "Try a dead letter again, with nothing held against it; its result is for "
      "`task result`");
  const auto requeued = add_task_id(*requeue);
  add_swarm_options(*requeue, shared);
  requeue->callback([&shared, requeued] {
    shared.command = [&shared, requeued] {
      return ask_and_print(shared, {{"verb", "task.requeue"}, {"id", requeued->id}}, columns);
    };
  });

  auto* cancel = task->add_subcommand("cancel", "Cancel a task, also one that runs");
  const auto cancelled = add_task_id(*cancel);
  add_swarm_options(*cancel, shared);
  cancel->callback([&shared, cancelled] {
    shared.command = [&shared, cancelled] {
      return ask_and_print(shared, {{"verb", "task.cancel"}, {"id", cancelled->id}}, columns);
    };
  });
}

}  // namespace micro_swarm::cli
