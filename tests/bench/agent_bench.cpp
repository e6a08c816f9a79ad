// agent: what a task costs when its agent is somebody else's program.

#include <signal.h>
#include <spawn.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <filesystem>
#include <stdexcept>

#include "common/clock.hpp"
#include "common/posix.hpp"
#include "tests/bench/partner.hpp"
#include "tests/bench/swarm.hpp"
#include "tests/bench/windows.hpp"

namespace micro_swarm::bench {

namespace {

std::string external_agent(const std::string& name, const std::string& command,
                           const std::string& capability, const std::string& more = "") {
  return "[[agent]]\nname = \"" + name + "\"\nkind = \"external\"\ncommand = [" + command +
         "]\ncapabilities = [\"" + capability + "\"]\n" + more;
}

TaskRequest task_for(std::string_view capability) {
  TaskRequest request;
  request.capability = capability;
  return request;
}

// A built-in agent and one in C, in the same swarm, by turns.
void c_round_trip(const Options& options, const Tell& tell) {
  const std::string program =
      (std::filesystem::read_symlink("/proc/self/exe").parent_path() / "tests" / "noop_agent")
          .string();
  SwarmProcess swarm(swarm_toml("[[agent]]\nname = \"built-in\"\ncapabilities = [\"noop\"]\n" +
                                external_agent("c", "\"" + program + "\"", "c.noop")));
  Client client = join(swarm, 2);
  const std::uint64_t round_trips = options.quick ? 20 : 2'000;
  const auto median_of = [&](std::string_view capability) {
    std::vector<double> times_ns;
    for (std::uint64_t i = 0; i < round_trips; ++i)
      times_ns.push_back(run_one(client, task_for(capability)));
    return median(times_ns);
  };
  tell(alternate(
           options.quick ? 2 : 25, [&] { return median_of("noop"); },
           [&] { return median_of("c.noop"); })
           .figure("agent.c_round_trip", "us", 1e-3, ratio_at_most(1.05),
                   "the same task, done by a built-in agent of the same swarm"));
}

/// The Python of the socket: 64 requests under way, each answered by one send().
class SocketWorker {
 public:
  SocketWorker() {
    int ends[2];
    if (::socketpair(AF_UNIX, SOCK_SEQPACKET, 0, ends) != 0) throw std::runtime_error("socketpair");
    ours_.reset(ends[0]);
    const UniqueFd theirs(ends[1]);
    ::fcntl(ours_.get(), F_SETFD, FD_CLOEXEC);
    std::array<std::string, 3> words{MS_PYTHON, MS_BENCH_DIR "/noop_agent.py",
                                     std::to_string(theirs.get())};
    std::array<char*, 4> argv{words[0].data(), words[1].data(), words[2].data(), nullptr};
    if (::posix_spawn(&pid_, MS_PYTHON, nullptr, nullptr, argv.data(), environ) != 0)
      throw std::runtime_error("posix_spawn " MS_PYTHON);
  }
  ~SocketWorker() {
    ours_.reset();
    ::waitpid(pid_, nullptr, 0);
  }
  SocketWorker(const SocketWorker&) = delete;
  SocketWorker& operator=(const SocketWorker&) = delete;

  /// Tasks a nanosecond.
  double run(std::uint64_t tasks, std::uint64_t in_flight) {
    const std::uint64_t start_ns = now_ns();
    std::uint64_t sent = 0;
    for (std::uint64_t answered = 0; answered < tasks; ++answered) {
      for (; sent < tasks && sent < answered + in_flight; ++sent)
        if (::send(ours_.get(), &sent, sizeof sent, 0) != sizeof sent)
          throw std::runtime_error("the socket worker is gone");
      std::uint64_t number = 0;
      if (::recv(ours_.get(), &number, sizeof number, 0) != sizeof number || number != answered)
        throw std::runtime_error("the socket worker answers another request");
    }
    return static_cast<double>(tasks) / static_cast<double>(now_ns() - start_ns);
  }

 private:
  UniqueFd ours_;
  pid_t pid_ = -1;
};

void python_tasks(const Options& options, const Tell& tell) {
  constexpr std::uint64_t in_flight = 64;
  const std::uint64_t tasks = options.quick ? 500 : 20'000;
  SocketWorker worker;
  SwarmProcess swarm(swarm_toml(
      "[tasks]\nin_flight_per_agent = 16\n" +
      external_agent("py", "\"" MS_PYTHON "\", \"" MS_BENCH_DIR "/noop_agent.py\"", "py.noop",
                     "environment = { PYTHONPATH = \"" MS_PYTHON_MODULE_DIR "\" }\n")));
  Client client = join(swarm, 1);
  tell(alternate(
           options.quick ? 2 : 15, [&] { return worker.run(tasks, in_flight); },
           [&] {
             const std::uint64_t start_ns = now_ns();
             run_many(client, {tasks, in_flight, 20}, [](auto) { return task_for("py.noop"); });
             return static_cast<double>(tasks) / static_cast<double>(now_ns() - start_ns);
           })
           .figure(
               "agent.python_tasks", "k/s", 1e6, ratio_at_least(3),
               "a Python that answers one request a recv() on a UNIX socket; 64 in flight both"));
}

}  // namespace

Group agent_group() {
  return {"agent",
          {"agent.c_round_trip", "agent.python_tasks"},
          [](const Options& options, const Tell& tell) {
            c_round_trip(options, tell);
            python_tasks(options, tell);
          }};
}

}  // namespace micro_swarm::bench
