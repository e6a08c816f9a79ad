// idle: what a swarm costs that has nothing to do.

#include <poll.h>

#include <algorithm>

#include "common/clock.hpp"
#include "tests/bench/process_cost.hpp"
#include "tests/bench/references.hpp"
#include "tests/bench/swarm.hpp"
#include "tests/bench/windows.hpp"

namespace micro_swarm::bench {

namespace {

double start_ns(SwarmProcess& swarm, unsigned agents, std::uint64_t from_ns) {
  auto control = ControlClient::connect("test", 20'000);
  if (!control) throw std::runtime_error(control.error().message);
  for (;;) {
    auto status = control->request({{"verb", "status"}});
    if (!status) throw std::runtime_error(status.error().message);
    if (status->object.at("agents").at("live") == agents)
      return static_cast<double>(now_ns() - from_ns);
    if (now_ns() - from_ns > 30 * ns_per_s)
      throw std::runtime_error("the agents did not get live: " + swarm.log());
    ::poll(nullptr, 0, 1);
  }
}

std::uint64_t cpu_time_ns_of(const std::vector<pid_t>& pids) {
  std::uint64_t total = 0;
  for (const pid_t pid : pids) total += cpu_time_ns(pid);
  return total;
}

void measure(const Options& options, const Tell& tell) {
  const unsigned agents = options.quick ? 8 : 256;
  const std::string toml = swarm_toml("[swarm]\nagents = " + std::to_string(agents) + "\n");
  Windows starts;
  for (unsigned i = 0; i <= (options.quick ? 1u : 5u); ++i) {
    const double limit = fork_many_ns(agents);
    const std::uint64_t from_ns = now_ns();
    SwarmProcess swarm(toml);
    starts.add(start_ns(swarm, agents, from_ns), limit);
    swarm.stop();
  }
  starts.drop_first();
  tell(starts.figure(
      "idle.start", "ms", 1e-6, ratio_at_most(3),
      "forking as many; from `microswarm run` to all " + std::to_string(agents) + " agents live"));

  SwarmProcess swarm(toml);
  start_ns(swarm, agents, now_ns());
  const auto pids = process_tree(swarm.root());
  const auto agent_pids = swarm.agents();
  if (pids.size() < agents + 2 || agent_pids.size() != agents)
    throw std::runtime_error("not all processes of the swarm were found");
  // What is measured is time that passes with nothing to do.
  ::poll(nullptr, 0, options.quick ? 100 : 3'000);
  Windows cpu;
  for (unsigned i = 0; i <= (options.quick ? 1u : 10u); ++i) {
    const std::uint64_t ran_before = cpu_time_ns_of(pids);
    const std::uint64_t before = now_ns();
    ::poll(nullptr, 0, options.quick ? 200 : 1'000);
    const auto ran = static_cast<double>(cpu_time_ns_of(pids) - ran_before);
    cpu.values.push_back(100 * ran / static_cast<double>(now_ns() - before));
  }
  cpu.drop_first();
  // A mean, not a median: what happens only every few seconds counts too.
  double total = 0;
  for (const double value : cpu.values) total += value;
  Figure figure = cpu.figure("idle.cpu", "%", 1, value_at_most(1.5),
                             "of one core, all " + std::to_string(pids.size()) +
                                 " processes of the swarm; mean over the windows");
  figure.value = total / static_cast<double>(cpu.values.size());
  tell(figure);

  Windows memory;
  for (const pid_t pid : agent_pids) memory.values.push_back(static_cast<double>(memory_kib(pid)));
  tell(memory.figure("idle.memory", "KiB", 1, value_at_most(200),
                     "an agent's PSS + page tables; median over the agents"));
}

}  // namespace

Group idle_group() { return {"idle", {"idle.start", "idle.cpu", "idle.memory"}, measure}; }

}  // namespace micro_swarm::bench
