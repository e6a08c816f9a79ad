// recovery: how long the work stands still when a process is killed.

#include <signal.h>

#include <filesystem>
#include <fstream>

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

std::string beside_the_tests(const char* name) {
  const auto self = std::filesystem::read_symlink("/proc/self/exe");
  return (self.parent_path() / "tests" / name).string();
}

/// It runs under a seccomp filter, the last thing that containment puts on it.
bool is_contained(pid_t pid) {
  std::ifstream file("/proc/" + std::to_string(pid) + "/status");
  for (std::string line; std::getline(file, line);)
    if (line == "Seccomp:\t2") return true;
  return false;
}

// The same of contained agents beside what the kernel takes for a death and a bare program's start:
// one that is somebody else's program, which its replacement has to load, and a built-in one, whose
// replacement waits as a spare.
void contained(const Options& options, const Tell& tell) {
  const std::string bare = beside_the_tests("bare_child");
  const auto measure = [&](const std::string& agent, const char* name, double limit,
                           const std::string& note) {
    SwarmProcess swarm(swarm_toml("[[agent]]\ncapabilities = [\"noop\"]\n" + agent));
    Client client = join(swarm, 1);
    std::uint64_t deaths = 0;
    Windows windows = alternate(
        options.quick ? 2 : 41, [&] { return kill_to_pidfd_ns() + exec_to_first_word_ns(bare); },
        [&] {
          run_one(client, noop());
          const pid_t victim = only_agent(swarm);
          if (!is_contained(victim)) throw std::runtime_error("the agent is not contained");
          const std::uint64_t start_ns = now_ns();
          ::kill(victim, SIGKILL);
          run_one(client, noop());
          const std::uint64_t end_ns = now_ns();
          if (!swarm.wait_for_live(1) || only_agent(swarm) == victim ||
              swarm.counter("agents_died") != ++deaths)
            throw std::runtime_error("the killed agent was not replaced");
          return static_cast<double>(end_ns - start_ns);
        });
    tell(windows.figure(name, "us", 1e-3, ratio_at_most(limit), note));
  };
  const std::string limits = "SIGKILL to pidfd readable + fork and exec of a bare program";
  measure("name = \"external\"\nkind = \"external\"\ncommand = [\"" +
              beside_the_tests("noop_agent") + "\"]\n",
          "recovery.contained_external", 5, limits);
  measure("name = \"built-in\"\n", "recovery.contained_spare", 1.5, limits);
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
          {"recovery.worker", "recovery.contained_external", "recovery.contained_spare",
           "recovery.supervisor"},
          [](const Options& options, const Tell& tell) {
            worker(options, tell);
            contained(options, tell);
            supervisor(options, tell);
          }};
}

}  // namespace micro_swarm::bench
