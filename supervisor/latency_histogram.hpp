#pragma once

#include <array>
#include <bit>
#include <cstdint>

namespace micro_swarm {

/// Counts durations in buckets of about 6 % width (16 per power of two, as HdrHistogram lays them
/// out), up to 2^40 ns. Recording is two instructions and one increment.
class LatencyHistogram {
 public:
  void record(std::uint64_t value_ns) noexcept {
    ++buckets_[index_of(value_ns)];
    ++count_;
  }
  void add(const LatencyHistogram& other) noexcept {
    for (std::uint32_t i = 0; i < buckets_.size(); ++i) buckets_[i] += other.buckets_[i];
    count_ += other.count_;
  }
  std::uint64_t count() const noexcept { return count_; }
  /// Upper edge of the bucket in which the `q` quantile (0..1) lies; 0 when empty.
  std::uint64_t quantile_ns(double q) const noexcept {
    if (count_ == 0) return 0;
    const auto rank = static_cast<std::uint64_t>(q * static_cast<double>(count_ - 1)) + 1;
    std::uint64_t seen = 0;
    for (std::uint32_t i = 0; i < buckets_.size(); ++i)
      if ((seen += buckets_[i]) >= rank) return upper_edge(i);
    return upper_edge(static_cast<std::uint32_t>(buckets_.size() - 1));
  }

 private:
  static constexpr std::uint32_t sub = 16;
  static std::uint32_t index_of(std::uint64_t v) noexcept {
    if (v < sub) return static_cast<std::uint32_t>(v);
    const auto exponent = static_cast<std::uint32_t>(std::bit_width(v)) - 5;  // v >> e in [16, 32)
    const std::uint32_t at = (exponent + 1) * sub + static_cast<std::uint32_t>(v >> exponent) - sub;
    return at < buckets_count ? at : buckets_count - 1;
  }
  static std::uint64_t upper_edge(std::uint32_t i) noexcept {
    if (i < sub) return i;
    const std::uint32_t exponent = i / sub - 1;
    return ((std::uint64_t{i % sub + sub} + 1) << exponent) - 1;
  }
  static constexpr std::uint32_t buckets_count = 37 * sub;
  std::array<std::uint64_t, buckets_count> buckets_{};
  std::uint64_t count_ = 0;
};

}  // namespace micro_swarm
