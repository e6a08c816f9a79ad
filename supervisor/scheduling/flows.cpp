#include "supervisor/scheduling/flows.hpp"

#include <algorithm>

namespace micro_swarm::scheduling {

namespace {
/// One task's step of virtual time at weight 1.
constexpr std::uint64_t stride = 1u << 20;
}  // namespace

Flows::Flows(const Settings& settings)
    : fair_share_(settings.fair_share),
      client_running_max_(settings.client_running_max),
      categories_(settings.categories),
      by_category_(settings.categories.size()) {}

std::uint32_t Flows::of(const TaskSpec& spec) {
  // A category that no longer is configured: its tasks are of none.
  const CategoryId category = spec.category < categories_.size() ? spec.category : CategoryId{0};
  const Key key{spec.client, category};
  if (const auto at = index_.find(key); at != index_.end()) return at->second;
  if (index_.size() >= sweep_at_) sweep();
  std::uint32_t flow = 0;
  if (free_.empty()) {
    flow = static_cast<std::uint32_t>(flows_.size());
    flows_.emplace_back();
    clients_of_.push_back(nullptr);
  } else {
    flow = free_.back();
    free_.pop_back();
  }
  const std::uint32_t share = fair_share_ == FairShare::client_category ? flow
                              : fair_share_ == FairShare::category      ? category
                                                                        : 0;
  flows_[flow] = Flow{spec.client, category, share, 0};
  if (share >= virtual_times_.size()) virtual_times_.resize(share + 1);
  if (fair_share_ == FairShare::client_category) virtual_times_[share] = {};
  clients_of_[flow] = &by_client_[spec.client];
  index_.emplace(key, flow);
  return flow;
}

void Flows::came(std::uint32_t flow) {
  ++flows_[flow].live;
  ++clients_of_[flow]->live;
  ++by_category_[flows_[flow].category].live;
}

void Flows::left(std::uint32_t flow) {
  --flows_[flow].live;
  --clients_of_[flow]->live;
  --by_category_[flows_[flow].category].live;
}

void Flows::started(std::uint32_t flow) {
  ++clients_of_[flow]->running;
  ++by_category_[flows_[flow].category].running;
}

void Flows::stopped(std::uint32_t flow) {
  --clients_of_[flow]->running;
  --by_category_[flows_[flow].category].running;
}

void Flows::join(std::uint32_t flow, unsigned level) {
  std::uint64_t& own = virtual_times_[flows_[flow].share][level];
  own = std::max(own, class_time_[level]);
}

void Flows::charge(std::uint32_t flow, unsigned level) {
  if (fair_share_ == FairShare::off) return;
  std::uint64_t& own = virtual_times_[flows_[flow].share][level];
  class_time_[level] = std::max(class_time_[level], own);
  const std::uint32_t weight = std::max(categories_[flows_[flow].category].weight, 1u);
  own += stride / weight;
}

Usage Flows::usage_of(std::uint64_t client) const {
  const auto at = by_client_.find(client);
  return at == by_client_.end() ? Usage{} : at->second;
}

/// Clients come and go; what they leave behind is not kept for ever.
void Flows::sweep() {
  std::erase_if(index_, [this](const auto& entry) {
    if (flows_[entry.second].live != 0) return false;
    free_.push_back(entry.second);
    return true;
  });
  std::erase_if(by_client_, [this](const auto& entry) {
    return entry.second.live == 0 &&
           std::none_of(index_.begin(), index_.end(),
                        [&](const auto& known) { return known.first.client == entry.first; });
  });
  sweep_at_ = std::max<std::size_t>(256, 2 * index_.size());
}

}  // namespace micro_swarm::scheduling
