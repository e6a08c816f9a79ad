#include "tests/bench/swarm.hpp"

#include <time.h>

#include "common/clock.hpp"

namespace micro_swarm::bench {

namespace {

template <class Value>
Value or_throw(Result<Value> result, const char* what) {
  if (!result) throw std::runtime_error(std::string(what) + ": " + result.error().message);
  return std::move(*result);
}

constexpr std::uint32_t patience_ms = 20'000;

}  // namespace

void use_binary_beside_this_program() {
  const auto self = std::filesystem::read_symlink("/proc/self/exe");
  ::setenv("MICROSWARM_BINARY", (self.parent_path() / "microswarm").c_str(), 0);
}

std::string swarm_toml(const std::string& tables) {
  return "[log]\nlevel = \"warn\"\n"
         "[supervision]\nintensity = 1000000\nsupervisor_restarts_max = 1000\n"
         "stable_after_ms = 0\n" +
         tables;
}

Client join(SwarmProcess& swarm, unsigned agents) {
  if (!swarm.wait_for_live(agents, patience_ms))
    throw std::runtime_error("the swarm did not get its agents live: " + swarm.log());
  return or_throw(Client::connect("test"), "joining the swarm");
}

pid_t only_agent(SwarmProcess& swarm) {
  const auto agents = swarm.agents();
  if (agents.size() != 1) throw std::runtime_error("the swarm's one agent is not live");
  return agents.front();
}

std::uint64_t spin_us(SwarmProcess& swarm) {
  return swarm.status().at("spin_us").get<std::uint64_t>();
}

TaskRequest noop() {
  TaskRequest request;
  request.capability = "noop";
  return request;
}

double run_one(Client& client, TaskRequest&& request) {
  const std::uint64_t start_ns = now_ns();
  const auto number = or_throw(client.submit(std::move(request), patience_ms), "submitting");
  const auto result = or_throw(client.next_result(patience_ms), "waiting for a result");
  const std::uint64_t end_ns = now_ns();
  if (!result || result->number() != number || !result->is_done())
    throw std::runtime_error("a task did not come back done");
  return static_cast<double>(end_ns - start_ns);
}

void run_many(Client& client, const Feed& feed,
              const std::function<TaskRequest(std::uint64_t)>& make,
              const std::function<bool(std::uint64_t, const TaskResult&)>& check) {
  std::uint64_t submitted = 0, ended = 0;
  std::uint64_t first_number = 0;
  const auto take = [&](std::uint32_t timeout_ms) {
    auto result = or_throw(client.next_result(timeout_ms), "waiting for a result");
    if (!result) {
      if (timeout_ms != 0) throw std::runtime_error("a task did not end in time");
      return false;
    }
    const std::uint64_t i = result->number() - first_number;
    if (!result->is_done() || i >= submitted || (check && !check(i, *result)))
      throw std::runtime_error("a task did not come back done and right");
    ++ended;
    return true;
  };
  while (ended < feed.count) {
    while (submitted < feed.count && submitted - ended < feed.in_flight) {
      const auto number = or_throw(client.submit(make(submitted), patience_ms), "submitting");
      if (submitted == 0) first_number = number;
      ++submitted;
    }
    if (feed.idle_us == 0) {
      take(patience_ms);
      continue;
    }
    while (take(0)) {
    }
    const timespec idle{0, static_cast<long>(feed.idle_us) * 1000};
    ::nanosleep(&idle, nullptr);
  }
}

}  // namespace micro_swarm::bench
