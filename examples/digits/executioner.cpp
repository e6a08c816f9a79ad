#include "examples/digits/executioner.hpp"

#include <signal.h>

#include <algorithm>
#include <condition_variable>
#include <fstream>
#include <utility>

#include "common/clock.hpp"
#include "common/posix.hpp"

namespace micro_swarm::digits {
namespace {

const ControlRequestOptions patient{.timeout_ms = 15'000};

/// Sleeps; false when asked to stop meanwhile.
bool sleep_until(const std::stop_token& stop, std::uint64_t at_ns) {
  std::mutex mutex;
  std::condition_variable_any bell;
  std::unique_lock lock(mutex);
  const std::uint64_t now = now_ns();
  if (now < at_ns)
    bell.wait_for(lock, stop, std::chrono::nanoseconds(at_ns - now), [] { return false; });
  return !stop.stop_requested();
}

/// A dead process that waits to be reaped is still a child, but can no longer be killed.
bool is_running_child(pid_t pid, pid_t parent) {
  std::ifstream file("/proc/" + std::to_string(pid) + "/status");
  bool running = false;
  bool child = false;
  for (std::string line; std::getline(file, line);) {
    if (line.starts_with("State:")) running = line.find_first_of("ZX") == std::string::npos;
    if (line.starts_with("PPid:")) child = std::stol(line.substr(5)) == parent;
  }
  return running && child;
}

}  // namespace

Result<std::vector<Worker>> list_workers(ControlClient& control) {
  std::vector<Worker> workers;
  const auto listed = control.stream(
      {{"verb", "agent.list"}},
      [&](ControlLine& line) {
        for (const auto& agent : line.object.value("agents", nlohmann::json::array()))
          workers.push_back({agent.value("id", 0), agent.value("pid", 0),
                             agent.value("incarnation", 0u), agent.value("state", "") == "live"});
        return true;
      },
      patient);
  if (!listed) return listed.error();
  return workers;
}

Result<void> wait_for_workers(ControlClient& control, std::size_t count, std::size_t lives,
                              std::uint32_t timeout_ms) {
  const std::uint64_t deadline_ns = now_ns() + timeout_ms * ns_per_ms;
  for (;;) {
    const auto workers = list_workers(control);
    if (!workers) return workers.error();
    std::size_t live = 0;
    std::size_t begun = 0;
    for (const Worker& worker : *workers) {
      live += worker.live ? 1 : 0;
      begun += worker.incarnation;
    }
    if (live == count && begun >= lives) return {};
    if (now_ns() > deadline_ns)
      return Error{ErrorCode::timed_out, std::to_string(live) + " of " + std::to_string(count) +
                                             " workers are up, in " + std::to_string(begun) +
                                             " of " + std::to_string(lives) + " lives, after " +
                                             std::to_string(timeout_ms) + " ms"};
    std::this_thread::sleep_for(std::chrono::milliseconds(10));
  }
}

Executioner::Executioner(const Endpoint& endpoint, pid_t root_pid, std::vector<Strike> plan,
                         unsigned seed)
    : endpoint_(endpoint),
      root_pid_(root_pid),
      plan_(std::move(plan)),
      random_(seed),
      start_ns_(now_ns()),
      thread_([this](const std::stop_token& stop) { run(stop); }) {}

Executioner::Report Executioner::report() {
  const std::lock_guard lock(mutex_);
  Report copy = report_;
  report_.new_deeds.clear();
  return copy;
}

void Executioner::say(std::string text) {
  const std::uint64_t at_ns = now_ns();
  const std::lock_guard lock(mutex_);
  report_.new_deeds.push_back({at_ns, std::move(text)});
}

void Executioner::run(const std::stop_token& stop) {
  std::optional<Error> error;
  auto control = ControlClient::connect(endpoint_);
  if (!control) {
    error = control.error();
  } else {
    for (const Strike& next : plan_) {
      const auto at_ns = start_ns_ + static_cast<std::uint64_t>(next.at_seconds * 1e9);
      if (!sleep_until(stop, at_ns)) return;
      const auto struck = strike(*control, next);
      if (struck) continue;
      error = struck.error();
      break;
    }
  }
  const std::lock_guard lock(mutex_);
  report_.error = error;
  report_.finished = true;
}

Result<void> Executioner::strike(ControlClient& control, const Strike& strike) {
  if (strike.workers != 0)
    if (const auto killed = kill_workers(control, strike.workers); !killed) return killed.error();
  if (strike.supervisor) return kill_supervisor(control);
  return {};
}

Result<void> Executioner::kill_workers(ControlClient& control, unsigned count) {
  auto workers = list_workers(control);
  if (!workers) return workers.error();
  std::erase_if(*workers, [](const Worker& worker) { return !worker.live; });
  std::shuffle(workers->begin(), workers->end(), random_);
  std::string line;
  for (const Worker& worker : *workers) {
    if (count == 0) break;
    const auto killed = kill_child(worker.pid);
    if (!killed) return killed.error();
    if (!*killed) continue;  // gone by itself between the answer and now
    --count;
    line += (line.empty() ? "SIGKILL to worker " : ", ") + std::to_string(worker.id) + " (pid " +
            std::to_string(worker.pid) + ")";
    const std::lock_guard lock(mutex_);
    ++report_.workers_killed;
  }
  if (!line.empty()) say(std::move(line));
  return {};
}

Result<void> Executioner::kill_supervisor(ControlClient& control) {
  const auto before = control.request({{"verb", "status"}}, patient);
  if (!before) return before.error();
  const pid_t pid = before->object.value("supervisor_pid", 0);
  const std::uint64_t killed_ns = now_ns();
  const auto killed = kill_child(pid);
  if (!killed) return killed.error();
  if (!*killed) return Error{ErrorCode::not_found, "the supervisor was gone before it was killed"};
  say("SIGKILL to the supervisor (pid " + std::to_string(pid) + ")");
  {
    const std::lock_guard lock(mutex_);
    ++report_.supervisors_killed;
  }
  // The connection breaks, waits in the listening socket that root keeps, and asks the new one.
  const auto after = control.request({{"verb", "status"}}, patient);
  if (!after) return after.error();
  const pid_t successor = after->object.value("supervisor_pid", 0);
  if (successor == pid) return Error{ErrorCode::system, "the killed supervisor still answers"};
  say("a new supervisor (pid " + std::to_string(successor) + ") answers after " +
      std::to_string((now_ns() - killed_ns) / ns_per_ms) + " ms");
  return {};
}

/// Only a child of our swarm's root: the pidfd pins the process before its parent is looked at.
Result<bool> Executioner::kill_child(pid_t pid) {
  if (pid <= 0) return Error{ErrorCode::protocol, "the swarm named no process"};
  const UniqueFd process(pidfd_open(pid));
  if (!process) {
    if (errno == ESRCH) return false;
    return system_error("pidfd_open", errno);
  }
  if (!is_running_child(pid, root_pid_)) return false;
  if (pidfd_send_signal(process.get(), SIGKILL) == 0) return true;
  if (errno == ESRCH) return false;
  return system_error("pidfd_send_signal", errno);
}

}  // namespace micro_swarm::digits
