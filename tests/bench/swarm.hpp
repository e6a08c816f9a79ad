#pragma once

// Real swarms for benchmarks: started, fed and looked at only as any user of the product could.

#include <chrono>
#include <functional>
#include <string>

#include "ipc/client.hpp"
#include "tests/swarm_process.hpp"

namespace micro_swarm::bench {

/// $MICROSWARM_BINARY, where it is not set, becomes the `microswarm` of the same build.
void use_binary_beside_this_program();

/// A configuration: warnings only, no limit on restarts, and `tables` (more TOML).
std::string swarm_toml(const std::string& tables);

/// Connects to the swarm just started; waits until `agents` are live. Throws.
Client join(SwarmProcess& swarm, unsigned agents);

/// The one live agent.
pid_t only_agent(SwarmProcess& swarm);

/// What parties may spin just now: 0 when the swarm found more runnable than there are cores.
std::uint64_t spin_us(SwarmProcess& swarm);

/// One task: returns nanoseconds from before submit() until its result is there. Throws unless it
/// is done, and the very one.
double run_one(Client& client, TaskRequest&& request);

/// `count` tasks made by `make(i)`, at most `in_flight` at a time, each result checked for being
/// done and given to `check`. `idle_us`: instead of waiting for results in next_result(), which
/// spins and is rung, the client sleeps so long between looks and leaves the cores to the swarm.
struct Feed {
  std::uint64_t count = 0;
  std::size_t in_flight = 1;
  std::uint32_t idle_us = 0;
};
void run_many(Client& client, const Feed& feed,
              const std::function<TaskRequest(std::uint64_t i)>& make,
              const std::function<bool(std::uint64_t i, const TaskResult& result)>& check = {});

/// A task that does nothing.
TaskRequest noop();

}  // namespace micro_swarm::bench
