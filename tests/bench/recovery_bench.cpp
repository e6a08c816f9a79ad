// recovery: how long the work stands still when a process is killed.

#include <signal.h>

#include "common/clock.hpp"
#include "tests/bench/references.hpp"
#include "tests/bench/swarm.hpp"
#include "tests/bench/windows.hpp"

namespace micro_swarm::bench {

namespace {

// From SIGKILL of the only agent until the client has the result of a task submitted at once: only
// its replacement can have run it.
void worker(const Options& options, const Tell& tell) {
  SwarmProcess swarm(swarm_toml("[swarm]\nagents = 1\n"));
  Client client = join(swarm, 1);
  std::uint64_t deaths = 0;
  Windows windows = alternate(
      options.quick ? 2 : 41, [] { return kill_to_pidfd_ns() + fork_to_first_instruction_ns(); },
      [&] {
        run_one(client, noop());
        const pid_t victim = only_agent(swarm);
        const std::uint64_t start_ns = now_ns();
        ::kill(victim, SIGKILL);
        run_one(client, noop());
        const std::uint64_t end_ns = now_ns();
        if (!swarm.wait_for_live(1) || only_agent(swarm) == victim ||
            swarm.counter("agents_died") != ++deaths)
          throw std::runtime_error("the killed agent was not replaced");
        return static_cast<double>(end_ns - start_ns);
      });
  tell(windows.figure("recovery.worker", "us", 1e-3, ratio_at_most(2.5),
                      "SIGKILL to pidfd readable + fork to first instruction"));
}

void supervisor(const Options& options, const Tell& tell) {
  const unsigned agents = options.quick ? 4 : 64;
  const std::uint64_t records = options.quick ? 500 : 10'000;
  SwarmProcess swarm(swarm_toml("[swarm]\nagents = " + std::to_string(agents) +
                                "\n[tasks]\nqueue_size = " + std::to_string(records) + "\n"));
  Client client = join(swarm, agents);
  run_many(client, {records, 256, 0}, [](auto) { return noop(); });
  Windows windows;
  std::vector<double> adoption_ns;
  for (unsigned i = 0; i <= (options.quick ? 2u : 15u); ++i) {
    const pid_t victim = swarm.supervisor();
    const auto epoch = client.supervisor_epoch();
    const std::uint64_t start_ns = now_ns();
    ::kill(victim, SIGKILL);
    run_one(client, noop());
    windows.values.push_back(static_cast<double>(now_ns() - start_ns));
    // A task may have slipped through the dying one; that is no measurement.
    if (client.supervisor_epoch() == epoch) windows.values.pop_back();
    if (!swarm.wait_until([&](const auto& s) {
          return s.at("epoch") > epoch && s.at("agents").at("live") == agents;
        }))
      throw std::runtime_error("the supervisor was not replaced: " + swarm.log());
  }
  if (windows.values.empty()) throw std::runtime_error("no supervisor was killed in time");
  windows.drop_first();
  tell(windows.figure("recovery.supervisor", "ms", 1e-6, value_at_most(5),
                      "SIGKILL to the result of the first task; " + std::to_string(agents) +
                          " agents, " + std::to_string(records) + " records"));
}

}  // namespace

Group recovery_group() {
  return {"recovery",
          {"recovery.worker", "recovery.supervisor"},
          [](const Options& options, const Tell& tell) {
            worker(options, tell);
            supervisor(options, tell);
          }};
}

}  // namespace micro_swarm::bench
