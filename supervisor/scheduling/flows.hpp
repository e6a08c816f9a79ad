#pragma once

// Whose turn it is: tasks of one client and category are a flow, with its share of each class and
// its limits.

#include <array>
#include <cstdint>
#include <unordered_map>
#include <vector>

#include "supervisor/scheduling/types.hpp"

namespace micro_swarm::scheduling {

struct Usage {
  std::uint32_t live = 0;     ///< accepted and not ended
  std::uint32_t running = 0;  ///< of these, in flight
  std::uint32_t queued() const { return live - running; }
};

struct Flow {
  std::uint64_t client = 0;
  CategoryId category = 0;
  std::uint32_t share = 0;  ///< whose virtual time it moves
  std::uint32_t live = 0;
};

class Flows {
 public:
  explicit Flows(const Settings& settings);

  /// The flow of such a task, made when it is new.
  std::uint32_t of(const TaskSpec& spec);
  const Flow& at(std::uint32_t flow) const { return flows_[flow]; }

  void came(std::uint32_t flow);
  void left(std::uint32_t flow);
  void started(std::uint32_t flow);
  void stopped(std::uint32_t flow);

  /// Its client or its category runs as many as it may.
  bool client_is_full(std::uint32_t flow) const {
    return client_running_max_ != 0 && usage_of_client(flow).running >= client_running_max_;
  }
  bool category_is_full(std::uint32_t flow) const {
    const CategoryLimits& limits = categories_[flows_[flow].category];
    return limits.running_max != 0 &&
           by_category_[flows_[flow].category].running >= limits.running_max;
  }
  bool is_held_back(std::uint32_t flow) const {
    return client_is_full(flow) || category_is_full(flow);
  }

  /// Its place among the flows of a class; with fair share off, all have the same.
  std::uint64_t virtual_time(std::uint32_t flow, unsigned level) const {
    return virtual_times_[flows_[flow].share][level];
  }
  /// It has something in the class again: no earlier than where the class is.
  void join(std::uint32_t flow, unsigned level);
  /// One of its tasks was dispatched.
  void charge(std::uint32_t flow, unsigned level);

  Usage usage_of(std::uint64_t client) const;
  const Usage& usage_of_category(CategoryId category) const { return by_category_[category]; }
  std::size_t size() const { return index_.size(); }

 private:
  struct Key {
    std::uint64_t client;
    CategoryId category;
    friend bool operator==(const Key&, const Key&) = default;
  };
  struct Hash {
    std::size_t operator()(const Key& key) const {
      return std::hash<std::uint64_t>()(key.client * 0x9e3779b97f4a7c15u ^ key.category);
    }
  };
  const Usage& usage_of_client(std::uint32_t flow) const { return *clients_of_[flow]; }
  void sweep();

  FairShare fair_share_;
  std::uint32_t client_running_max_;
  std::vector<CategoryLimits> categories_;
  std::vector<Flow> flows_;
  std::vector<Usage*> clients_of_;                                    // by flow
  std::vector<std::array<std::uint64_t, priorities>> virtual_times_;  // by share
  std::vector<std::uint32_t> free_;
  std::unordered_map<Key, std::uint32_t, Hash> index_;
  std::unordered_map<std::uint64_t, Usage> by_client_;
  std::vector<Usage> by_category_;
  std::array<std::uint64_t, priorities> class_time_{};
  std::size_t sweep_at_ = 256;
};

}  // namespace micro_swarm::scheduling
