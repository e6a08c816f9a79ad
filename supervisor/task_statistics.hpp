#pragma once

// What tasks' time goes into, by priority and by capability, and how busy the agents are. Heap of
// one supervisor: the next one begins anew.

#include <algorithm>
#include <array>
#include <deque>
#include <functional>
#include <memory>
#include <nlohmann/json.hpp>

#include "supervisor/latency_histogram.hpp"
#include "supervisor/scheduling/types.hpp"

namespace micro_swarm {

/// The stages of an attempt. They follow each other without a gap.
enum class Stage : std::uint8_t {
  queue,      ///< acceptance to the first dispatch
  dispatch,   ///< dispatch to the start of the handler
  execution,  ///< the handler
  handback,   ///< end of the handler to the supervisor having its answer
};
inline constexpr unsigned stages = 4;

class TaskStatistics {
 public:
  explicit TaskStatistics(std::uint64_t now) { samples_.push_back({now, 0, 0}); }

  // The hot path: no clock is read here, nothing is looked up. A first task of its priority and
  // capability costs 19 KiB.
  void dispatched(PartyId agent, std::uint64_t now) noexcept {
    if (busy_since_ns_[agent] == 0) busy_since_ns_[agent] = now;
  }
  void queued(Priority priority, std::uint16_t capability, std::uint64_t queue_ns) {
    if (auto* at = at_stages(priority, capability)) record(*at, Stage::queue, queue_ns);
  }
  /// `waited_ns`, `worked_ns`: what the agent says of dispatch and execution; input. 0, 0 = it does
  /// not say: all is execution.
  void answered(Priority priority, std::uint16_t capability, std::uint64_t round_trip_ns,
                std::uint64_t waited_ns, std::uint64_t worked_ns) {
    auto* at = at_stages(priority, capability);
    if (at == nullptr) return;
    if (waited_ns == 0 && worked_ns == 0) return record(*at, Stage::execution, round_trip_ns);
    waited_ns = std::min(waited_ns, round_trip_ns);
    worked_ns = std::min(worked_ns, round_trip_ns - waited_ns);
    record(*at, Stage::dispatch, waited_ns);
    record(*at, Stage::execution, worked_ns);
    record(*at, Stage::handback, round_trip_ns - waited_ns - worked_ns);
  }
  /// The agent has nothing in flight any more.
  void idle(PartyId agent, std::uint64_t now) noexcept {
    if (busy_since_ns_[agent] == 0) return;
    busy_ns_ += now - std::min(now, busy_since_ns_[agent]);
    busy_since_ns_[agent] = 0;
  }

  /// Now and then: rates are those since the oldest sample, about `window_ns` ago. `ended`: tasks
  /// that have ended, ever.
  void sample(std::uint64_t now, std::uint64_t ended);
  static constexpr std::uint64_t window_ns = 10'000'000'000;

  /// For `status`: rates, and the stages by priority and by capability.
  nlohmann::json to_json(std::uint64_t now, std::uint64_t ended, std::uint32_t live_agents,
                         const std::function<std::string(std::uint16_t)>& capability_name) const;

 private:
  using Stages = std::array<LatencyHistogram, stages>;
  static void record(Stages& at, Stage stage, std::uint64_t ns) noexcept {
    at[static_cast<unsigned>(stage)].record(ns);
  }
  Stages* at_stages(Priority priority, std::uint16_t capability) {
    const std::size_t index = static_cast<std::size_t>(priority) * capabilities_max + capability;
    if (index >= stages_.size()) return nullptr;
    if (!stages_[index]) stages_[index] = std::make_unique<Stages>();
    return stages_[index].get();
  }
  std::uint64_t busy_ns(std::uint64_t now) const;

  /// By priority and capability; a group's histograms are sums, made when somebody asks.
  std::array<std::unique_ptr<Stages>, priorities * capabilities_max> stages_;
  std::array<std::uint64_t, agents_max> busy_since_ns_{};  ///< 0 = it has nothing in flight
  std::uint64_t busy_ns_ = 0;                              ///< of all agents, up to then
  struct Sample {
    std::uint64_t at_ns;
    std::uint64_t ended;
    std::uint64_t busy_ns;
  };
  std::deque<Sample> samples_;  ///< oldest first, never empty
};

nlohmann::json to_json(const LatencyHistogram& histogram);

}  // namespace micro_swarm
