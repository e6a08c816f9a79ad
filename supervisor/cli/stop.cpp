#include <poll.h>

#include <memory>

#include "supervisor/cli/cli.hpp"

namespace micro_swarm::cli {

using nlohmann::json;

namespace {

struct Options {
  bool force = false;
  std::uint32_t timeout_ms = 60'000;
};

Result<int> stop(const Cli& shared, const Options& chosen) {
  auto client = ControlClient::connect(shared.name);
  if (!client) return client.error();
  // Opened before the order is given: afterwards the pid may soon be somebody else's.
  const pid_t root = client->root_pid();
  const UniqueFd root_alive(root > 0 ? pidfd_open(root) : -1);

  const auto answer = client->request({{"verb", "stop"}, {"force", chosen.force}},
                                      {.timeout_ms = chosen.timeout_ms});
  // A swarm that was quicker to go than to answer has done what it was asked.
  if (!answer && answer.error().code != ErrorCode::not_running) return answer.error();

  if (root_alive) {
    pollfd target{root_alive.get(), POLLIN, 0};
    const auto ready =
        posix_call("poll", [&] { return ::poll(&target, 1, static_cast<int>(chosen.timeout_ms)); });
    if (!ready) return ready.error();
    if (*ready == 0)
      return Error{ErrorCode::timed_out, "swarm " + shared.name + " still drains after " +
                                             std::to_string(chosen.timeout_ms) +
                                             " ms; use --force to end it at once"};
  }
  const auto printed = shared.format == OutputFormat::json
                           ? print_json({{"name", shared.name}, {"state", "stopped"}})
                           : print("swarm " + shared.name + " stopped\n");
  if (!printed) return printed.error();
  return to_int(ExitCode::ok);
}

}  // namespace

void add_stop(CLI::App& app, Cli& shared) {
  auto* verb = app.add_subcommand("stop", "Drain the swarm, end it and wait until it is gone");
  const auto options = std::make_shared<Options>();
  verb->add_flag("--force", options->force, "Do not wait for tasks that run");
  verb->add_option("--timeout-ms", options->timeout_ms, "How long to wait, 1 to 86400000")
      ->check(CLI::Range(1, 86'400'000))
      ->option_text("N");
  add_swarm_options(*verb, shared);
  verb->callback([&shared, options] {
    shared.command = [&shared, options] { return stop(shared, *options); };
  });
}

}  // namespace micro_swarm::cli
