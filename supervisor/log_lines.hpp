#pragma once

#include <algorithm>
#include <cstdint>
#include <string>
#include <string_view>
#include <utility>

namespace micro_swarm {

/// What a child writes to its log pipe, cut into lines, and no more of them than a log should take
/// from one: who writes faster loses lines, which are counted, and is never held up by it. Decides,
/// and does nothing else; the time is told.
class LogLines {
 public:
  static constexpr std::size_t line_bytes_max = 1'000;  ///< longer ones are cut
  static constexpr std::uint64_t bytes_per_second = 1 << 20;
  static constexpr std::uint64_t burst_bytes = 4 << 20;

  /// Calls `line` with each line that ends here and is to be logged. Empty ones are not.
  template <class Line>
  void take(std::string_view bytes, std::uint64_t now_ns, Line&& line) {
    refill(now_ns);
    while (!bytes.empty()) {
      const std::size_t room = line_bytes_max - tail_.size();
      const std::size_t size = std::min({bytes.find('\n'), bytes.size(), room});
      tail_.append(bytes.substr(0, size));
      bytes.remove_prefix(size);
      if (!bytes.empty() && bytes.front() == '\n')
        bytes.remove_prefix(1);
      else if (tail_.size() < line_bytes_max)
        return;
      end_line(line);
    }
  }

  /// Nothing more comes: what has no end yet is a line, too.
  template <class Line>
  void finish(Line&& line) {
    end_line(line);
  }

  /// Of the lines so far, logged or not; "" once taken.
  std::string take_last() { return std::exchange(last_, {}); }
  /// Lines dropped since this was asked last, once lines are taken again.
  std::uint64_t take_unreported() { return std::exchange(unreported_, 0); }
  std::uint64_t dropped() const { return dropped_; }

 private:
  void refill(std::uint64_t now_ns) {
    constexpr std::uint64_t ns_per_second = 1'000'000'000;
    const std::uint64_t passed_ns =
        now_ns > refilled_ns_ ? std::min(now_ns - refilled_ns_, 10 * ns_per_second) : 0;
    refilled_ns_ = std::max(refilled_ns_, now_ns);
    budget_ = std::min(burst_bytes, budget_ + passed_ns * bytes_per_second / ns_per_second);
    // Not at each byte that becomes free: the log would hold as many reports as lines.
    if (budget_ >= burst_bytes / 4) is_dry_ = false;
  }

  template <class Line>
  void end_line(Line&& line) {
    if (tail_.empty()) return;
    if (tail_.size() >= budget_) is_dry_ = true;
    if (is_dry_) {
      ++dropped_;
      ++unreported_;
    } else {
      budget_ -= tail_.size() + 1;
      line(std::as_const(tail_));
    }
    last_.swap(tail_);
    tail_.clear();
  }

  std::string tail_;  ///< an unfinished line
  std::string last_;
  std::uint64_t budget_ = burst_bytes;
  std::uint64_t refilled_ns_ = 0;
  std::uint64_t dropped_ = 0;
  std::uint64_t unreported_ = 0;
  bool is_dry_ = false;
};

}  // namespace micro_swarm
