#pragma once

// What the payloads of each category's unfinished tasks take of the pool, against the category's
// memory_quota. In this process alone: made anew from the records by a new supervisor.

#include <cstdint>
#include <vector>

#include "common/config.hpp"
#include "supervisor/scheduling/types.hpp"

namespace micro_swarm {

class CategoryMemory {
 public:
  CategoryMemory(const std::vector<CategorySpec>& categories, std::uint32_t tasks)
      : categories_(categories), used_(categories.size() + 1), charged_(tasks) {}

  std::uint64_t used(CategoryId category) const { return used_[category]; }
  /// Bytes; 0 = no limit.
  std::uint64_t quota(CategoryId category) const {
    return category == 0 ? 0 : categories_[category - 1u].memory_quota;
  }
  /// So many bytes more are within the quota.
  bool has_room(CategoryId category, std::uint64_t bytes) const {
    return quota(category) == 0 || used_[category] + bytes <= quota(category);
  }
  /// It has four fifths of its quota or more.
  bool is_over_soft_limit(CategoryId category) const {
    return quota(category) != 0 && used_[category] >= quota(category) / 5 * 4;
  }

  /// The task is live. True = with it the category came over its soft limit.
  bool charge(std::uint32_t slot, CategoryId category, std::uint32_t bytes) {
    const bool was_over = is_over_soft_limit(category);
    discharge(slot);
    charged_[slot] = {category, bytes};
    used_[category] += bytes;
    return !was_over && is_over_soft_limit(category);
  }
  /// The task is over.
  void discharge(std::uint32_t slot) {
    used_[charged_[slot].category] -= charged_[slot].bytes;
    charged_[slot] = {};
  }

 private:
  struct Charge {
    CategoryId category = 0;
    std::uint32_t bytes = 0;
  };
  const std::vector<CategorySpec>& categories_;
  std::vector<std::uint64_t> used_;  ///< by category; 0 = of none
  std::vector<Charge> charged_;      ///< by the task's slot
};

}  // namespace micro_swarm
