#include "agentproc/quantum/sampling.hpp"

#include <algorithm>
#include <vector>

namespace micro_swarm::quantum {

Result<Counts> sample(const StateVector& state, std::uint64_t shots, Random& random, Watch& watch) {
  std::vector<double> fractions(shots);
  for (double& fraction : fractions) fraction = random.fraction();
  std::sort(fractions.begin(), fractions.end());  // so that one walk over the state finds them all
  const auto amplitudes = state.amplitudes();
  Counts counts;
  double sum = 0;
  std::size_t last = 0;  // that can come at all
  auto next = fractions.begin();
  constexpr std::size_t piece = std::size_t{1} << 20;
  for (std::size_t begin = 0; begin < amplitudes.size() && next != fractions.end();
       begin += piece) {
    const std::size_t end = std::min(begin + piece, amplitudes.size());
    for (std::size_t i = begin; i < end; ++i) {
      const double probability = std::norm(amplitudes[i]);
      if (probability == 0) continue;
      last = i;
      sum += probability;
      const auto first = next;
      while (next != fractions.end() && *next < sum) ++next;
      if (next != first) counts[i] += static_cast<std::uint64_t>(next - first);
    }
    if (!watch.worked(end - begin)) return stopped();
  }
  // What rounding has left over.
  if (next != fractions.end()) counts[last] += static_cast<std::uint64_t>(fractions.end() - next);
  return counts;
}

std::uint64_t ones_of(std::uint64_t shots, double probability, Random& random) {
  std::uint64_t ones = 0;
  for (std::uint64_t i = 0; i < shots; ++i) ones += random.fraction() < probability ? 1 : 0;
  return ones;
}

}  // namespace micro_swarm::quantum
