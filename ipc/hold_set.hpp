#pragma once

// Which of a party's holds are in use. Process-private bookkeeping over shared words: what counts
// after a death is the words alone (shm/recovery.hpp). One thread.

#include <cassert>
#include <cstdint>
#include <optional>
#include <vector>

#include "shm/hold_data.hpp"

namespace micro_swarm {

class HoldSet {
 public:
  HoldSet() noexcept = default;
  /// The first `used` holds carry inherited tokens; the others are empty.
  HoldSet(Hold* holds, std::uint32_t count, std::uint32_t used) noexcept
      : holds_(holds), count_(count), fresh_(used), in_use_(used) {}

  /// Number of an empty hold, the caller's until it is put back. nullopt: all are in use.
  /// Prefers those used before: an untouched hold may be an untouched page.
  std::optional<std::uint32_t> take() {
    std::uint32_t k = 0;
    if (!recycled_.empty()) {
      k = recycled_.back();
      recycled_.pop_back();
    } else if (fresh_ < count_) {
      k = fresh_++;
    } else {
      return std::nullopt;
    }
    ++in_use_;
    return k;
  }
  /// Its token is 0 again (passed or released).
  void put_back(std::uint32_t k) {
    assert(k < count_ && load(holds_[k].token) == 0);
    recycled_.push_back(k);
    --in_use_;
  }

  Hold& operator[](std::uint32_t k) const noexcept { return holds_[k]; }
  std::uint32_t in_use() const noexcept { return in_use_; }
  std::uint32_t capacity() const noexcept { return count_; }

 private:
  Hold* holds_ = nullptr;
  std::uint32_t count_ = 0;
  std::uint32_t fresh_ = 0;
  std::uint32_t in_use_ = 0;
  std::vector<std::uint32_t> recycled_;
};

}  // namespace micro_swarm
