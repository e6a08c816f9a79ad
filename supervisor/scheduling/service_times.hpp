#pragma once

// How long agents take for what, as measured: moving averages with a weight of 1/8.

#include <array>
#include <cstdint>
#include <vector>

#include "supervisor/scheduling/types.hpp"

namespace micro_swarm::scheduling {

class ServiceTimes {
 public:
  void record(PartyId agent, std::uint16_t capability, std::uint64_t took_ns) {
    auto& own = by_agent_[agent];
    if (own.empty()) own.resize(capabilities_max);
    move(own[capability], took_ns);
    move(of_all_[capability], took_ns);
  }
  /// Of the capability on any agent; 0 = never measured.
  std::uint64_t estimate_ns(std::uint16_t capability) const { return of_all_[capability]; }
  /// On this agent; where it has not done it yet, what others take; 0 = never measured.
  std::uint64_t estimate_ns(PartyId agent, std::uint16_t capability) const {
    const auto& own = by_agent_[agent];
    return own.empty() || own[capability] == 0 ? of_all_[capability] : own[capability];
  }

 private:
  static void move(std::uint64_t& average, std::uint64_t sample) {
    if (sample == 0) sample = 1;
    average = average == 0 ? sample : average - average / 8 + sample / 8;
    if (average == 0) average = 1;
  }
  std::array<std::vector<std::uint64_t>, agents_max> by_agent_;
  std::array<std::uint64_t, capabilities_max> of_all_{};
};

}  // namespace micro_swarm::scheduling
