// A swarm as an object of a program, from start to end:
//
//   basic_swarm [MODEL.onnx]       (default: examples/digits/digits.onnx)
//
// Builds a swarm, registers a neural and generic agents, submits tasks of different priorities,
// prints what they gave, what the swarm measured, and its exported status. Exit code 0 only if
// every result is right.

#include <unistd.h>

#include <algorithm>
#include <array>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <map>
#include <string>
#include <vector>

#include "supervisor/orchestrator/agent_factory.hpp"
#include "supervisor/orchestrator/swarm_builder.hpp"
#include "supervisor/orchestrator/task_builder.hpp"

using namespace micro_swarm;

namespace {

constexpr std::uint32_t patience_ms = 30'000;

[[noreturn]] void fail(const std::string& what, const Error& error) {
  std::fprintf(stderr, "basic_swarm: %s: %s\n", what.c_str(), error.message.c_str());
  std::exit(to_int(exit_code_of(error.code)));
}

template <class Value>
Value must(Result<Value> result, const char* what) {
  if (!result) fail(what, result.error());
  return std::move(*result);
}
void must(Result<void> result, const char* what) {
  if (!result) fail(what, result.error());
}

/// Mesh is what the swarm is meant to be; a version that has no links for it says so.
SwarmOrchestrator build_swarm() {
  SchedulerConfig scheduling;
  scheduling.strategy = Strategy::load_balanced;
  TasksConfig tasks;
  tasks.queue_size = 1'000;
  MemoryConfig memory;
  memory.pool_size = 4u << 20;
  FaultToleranceConfig faults;
  faults.intensity = 100;
  SwarmBuilder builder;
  builder.name("basic-" + std::to_string(::getpid()))
      .max_agents(64)
      .topology(Topology::mesh)
      .scheduler_config(scheduling)
      .tasks_config(tasks)
      .memory_config(memory)
      .fault_tolerance(faults)
      .monitoring({.level = LogLevel::warn, .log_file = {}});
  auto built = builder.build();
  if (built) return std::move(*built);
  if (built.error().message.find("topology") == std::string::npos) fail("build", built.error());
  std::printf("topology: %s\n", built.error().message.c_str());
  return must(builder.topology(Topology::star).build(), "build");
}

/// 28 x 28 pixels, 0 (paper) to 1 (ink): an upright stroke, which is a one.
std::vector<std::byte> picture_of_a_one() {
  std::array<float, 28 * 28> pixels{};
  for (std::size_t row = 4; row < 24; ++row)
    for (std::size_t column = 13; column < 16; ++column) pixels[row * 28 + column] = 1.0f;
  std::vector<std::byte> bytes(sizeof pixels);
  std::memcpy(bytes.data(), pixels.data(), sizeof pixels);
  return bytes;
}

std::size_t best_digit(std::span<const std::byte> result) {
  std::array<float, 10> scores{};
  if (result.size() != sizeof scores) return scores.size();
  std::memcpy(scores.data(), result.data(), sizeof scores);
  return static_cast<std::size_t>(std::max_element(scores.begin(), scores.end()) - scores.begin());
}

struct Expected {
  std::string what;
  std::string text;  ///< of the result; empty = the picture's digit
};

}  // namespace

int main(int argc, char** argv) {
  const std::string model = argc > 1 ? argv[1] : "examples/digits/digits.onnx";

  SwarmOrchestrator swarm = build_swarm();
  must(swarm.register_agent(AgentFactory::create_neural("digits", model, 2)), "register digits");
  must(swarm.register_agent(AgentFactory::create_generic("generic", 2)), "register generic");
  must(swarm.register_agent(AgentFactory::create_quantum("qubits", 4)), "register qubits");
  must(swarm.initialize(), "initialize");

  std::map<SubmissionId, Expected> expected;
  const auto submit = [&](TaskBuilder& builder, Expected wanted) {
    Task task = must(builder.build(), "task");
    const SubmissionId id = must(swarm.submit_task(std::move(task)), "submit");
    expected.emplace(id, std::move(wanted));
    return id;
  };

  submit(TaskBuilder().requires_capability("digits").payload(picture_of_a_one()), {"digit", ""});
  for (const Priority priority :
       {Priority::low, Priority::normal, Priority::high, Priority::critical}) {
    const std::string text = "an echo of priority " + std::string(name_of(priority));
    submit(
        TaskBuilder().requires_capability("echo").payload(text).priority(priority).timeout(20'000),
        {"echo", text});
  }
  // Two bits that are the same whenever they are looked at, and one look.
  submit(TaskBuilder()
             .requires_capability("quantum.run")
             .payload("OPENQASM 2.0; include \"qelib1.inc\"; qreg q[2]; x q[0]; cx q[0], q[1];"),
         {"a circuit", R"({"bits":2,"counts":{"11":1024},"qubits":2,"seed":0,"shots":1024})"});
  // Written where the agent reads it: not copied on its way.
  Region region = must(swarm.allocate(100'000), "allocate");
  std::fill(region.bytes().begin(), region.bytes().end(), std::byte{'x'});
  submit(TaskBuilder().requires_capability("echo").payload(std::move(region)),
         {"a large echo", std::string(100'000, 'x')});

  // A graph: the last task reads what the two before it made, wherever they ran.
  std::vector<Task> graph;
  graph.push_back(must(TaskBuilder().requires_capability("echo").payload("to").build(), "task"));
  graph.push_back(must(TaskBuilder().requires_capability("echo").payload("geth").build(), "task"));
  graph.push_back(must(TaskBuilder()
                           .requires_capability("concat")
                           .payload("er")
                           .depends_on_entry(0)
                           .depends_on_entry(1)
                           .retries(2)
                           .build(),
                       "task"));
  const SubmissionId first = must(swarm.submit_tasks(graph), "submit a graph");
  expected.emplace(first, Expected{"one end of a graph", "to"});
  expected.emplace(first + 1, Expected{"another", "geth"});
  expected.emplace(first + 2, Expected{"what depends on both", "together"});

  int wrong = 0;
  for (const auto& [id, wanted] : expected) {
    auto result = must(swarm.wait_task_result(id, patience_ms), "result");
    const bool is_digit = wanted.text.empty();
    const bool right =
        result && result->is_done() &&
        (is_digit ? best_digit(result->bytes()) == 1 : result->text() == wanted.text);
    wrong += right ? 0 : 1;
    std::printf("task %llu (%s): %s, %s\n", static_cast<unsigned long long>(id),
                wanted.what.c_str(),
                result ? std::string(name_of(result->state())).c_str() : "no result in time",
                right ? "right" : "WRONG");
  }

  const SwarmMetrics metrics = must(swarm.metrics(), "metrics");
  std::printf(
      "metrics: %llu agents live, %llu tasks accepted, %llu done, p50 %.1f us from acceptance "
      "to end\n",
      static_cast<unsigned long long>(metrics.agents_live),
      static_cast<unsigned long long>(metrics.tasks_accepted),
      static_cast<unsigned long long>(metrics.tasks_done),
      static_cast<double>(metrics.accept_to_end.p50_ns) / 1000);
  const SchedulerStats scheduling = must(swarm.scheduler_stats(), "scheduler_stats");
  std::printf("scheduler: %llu dispatched, %llu ready, %llu running, room for %llu tasks\n",
              static_cast<unsigned long long>(scheduling.dispatched),
              static_cast<unsigned long long>(scheduling.tasks_ready),
              static_cast<unsigned long long>(scheduling.tasks_running),
              static_cast<unsigned long long>(scheduling.task_records));
  const MemoryStats memory = must(swarm.memory_stats(), "memory_stats");
  std::printf("memory: %llu bytes of pool, %llu of %llu regions leased\n",
              static_cast<unsigned long long>(memory.pool_bytes),
              static_cast<unsigned long long>(memory.leased_regions),
              static_cast<unsigned long long>(memory.pool_regions));
  const CoordinationStats coordination = must(swarm.coordination_stats(), "coordination_stats");
  std::printf("coordination: %s, supervisor %llu, %llu clients\n", coordination.topology.c_str(),
              static_cast<unsigned long long>(coordination.supervisor_epoch),
              static_cast<unsigned long long>(coordination.clients));
  std::printf("%s\n", must(swarm.export_status(), "export_status").c_str());

  must(swarm.shutdown(), "shutdown");
  std::printf("%s\n", wrong == 0 ? "all results are right" : "some results are WRONG");
  return wrong == 0 ? 0 : 1;
}
