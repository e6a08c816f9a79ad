#include "supervisor/task_statistics.hpp"

#include <algorithm>

#include "common/clock.hpp"
#include "ipc/task_names.hpp"

namespace micro_swarm {

using nlohmann::json;

namespace {

constexpr std::uint64_t sample_interval_ns = ns_per_s;

const char* name_of(Stage stage) {
  switch (stage) {
    case Stage::queue: return "queue";
    case Stage::dispatch: return "dispatch";
    case Stage::execution: return "execution";
    case Stage::handback: return "return";
  }
  return "unknown";
}

}  // namespace

json to_json(const LatencyHistogram& h) {
  return {{"count", h.count()},
          {"p50_ns", h.quantile_ns(0.50)},
          {"p90_ns", h.quantile_ns(0.90)},
          {"p99_ns", h.quantile_ns(0.99)},
          {"p999_ns", h.quantile_ns(0.999)},
          {"max_ns", h.quantile_ns(1.0)}};
}

std::uint64_t TaskStatistics::busy_ns(std::uint64_t now) const {
  std::uint64_t sum = busy_ns_;
  for (const std::uint64_t since : busy_since_ns_)
    if (since != 0) sum += elapsed_ns(now, since);
  return sum;
}

void TaskStatistics::sample(std::uint64_t now, std::uint64_t ended) {
  if (elapsed_ns(now, samples_.back().at_ns) < sample_interval_ns) return;
  samples_.push_back({now, ended, busy_ns(now)});
  while (samples_.size() > 1 && elapsed_ns(now, samples_[1].at_ns) >= window_ns)
    samples_.pop_front();
}

json TaskStatistics::to_json(
    std::uint64_t now, std::uint64_t ended, std::uint32_t live_agents,
    const std::function<std::string(std::uint16_t)>& capability_name) const {
  const Sample& since = samples_.front();
  const auto passed_ns = static_cast<double>(std::max<std::uint64_t>(now - since.at_ns, 1));
  const double busy = static_cast<double>(busy_ns(now) - since.busy_ns) / passed_ns;
  json answer = {{"window_ms", (now - since.at_ns) / ns_per_ms},
                 {"throughput_per_s",
                  static_cast<double>(ended - std::min(ended, since.ended)) * 1e9 / passed_ns},
                 {"utilisation", live_agents == 0 ? 0.0 : std::min(busy / live_agents, 1.0)}};

  const auto group = [this](auto&& belongs) {
    json of_stages;
    for (unsigned stage = 0; stage < stages; ++stage) {
      LatencyHistogram sum;
      for (std::size_t i = 0; i < stages_.size(); ++i)
        if (stages_[i] && belongs(i)) sum.add((*stages_[i])[stage]);
      of_stages[name_of(static_cast<Stage>(stage))] = micro_swarm::to_json(sum);
    }
    return of_stages;
  };
  const auto is_used = [this](auto&& belongs) {
    for (std::size_t i = 0; i < stages_.size(); ++i)
      if (stages_[i] && belongs(i)) return true;
    return false;
  };
  answer["priorities"] = json::array();
  for (unsigned priority = 0; priority < priorities; ++priority) {
    const auto belongs = [&](std::size_t i) { return i / capabilities_max == priority; };
    if (!is_used(belongs)) continue;
    json row = group(belongs);
    row["priority"] = micro_swarm::name_of(static_cast<Priority>(priority));
    answer["priorities"].push_back(std::move(row));
  }
  answer["capabilities"] = json::array();
  for (std::uint16_t capability = 0; capability < capabilities_max; ++capability) {
    const auto belongs = [&](std::size_t i) { return i % capabilities_max == capability; };
    if (!is_used(belongs)) continue;
    json row = group(belongs);
    row["capability"] = capability_name(capability);
    answer["capabilities"].push_back(std::move(row));
  }
  return answer;
}

}  // namespace micro_swarm
