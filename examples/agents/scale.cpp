// An agent in C++: doubles float32 values, in place from region to region.
#include <algorithm>
#include <micro_swarm/agent.hpp>

int main() {
  micro_swarm::agent::Agent agent;
  agent.on("scale", [](micro_swarm::agent::Task& task) {
    const auto in = task.view<float>();
    const auto out = task.result<float>(in.size());
    std::ranges::transform(in, out.begin(), [](float x) { return 2 * x; });
  });
  return agent.run();
}
