#pragma once

#include <cstdint>
#include <deque>

namespace micro_swarm {

/// Which submissions are under way. Numbers grow by one, so they are a window with holes.
class ClientNumbers {
 public:
  /// The number the next submission will have.
  std::uint64_t next() const noexcept { return first_ + open_.size(); }
  void submitted() {
    open_.push_back(1);
    ++count_;
  }
  /// False: not under way (any more).
  bool finish(std::uint64_t number) {
    if (number < first_ || number >= next() || open_[number - first_] == 0) return false;
    open_[number - first_] = 0;
    --count_;
    while (!open_.empty() && open_.front() == 0) {
      open_.pop_front();
      ++first_;
    }
    return true;
  }
  bool is_open(std::uint64_t number) const noexcept {
    return number >= first_ && number < next() && open_[number - first_] != 0;
  }
  std::size_t count() const noexcept { return count_; }

 private:
  std::uint64_t first_ = 1;
  std::size_t count_ = 0;
  std::deque<std::uint8_t> open_;
};

}  // namespace micro_swarm
