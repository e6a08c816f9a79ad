#include "examples/digits/tally.hpp"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <stdexcept>
#include <utility>

namespace micro_swarm::digits {
namespace {

/// Nearest rank. Reorders `values`.
double percentile(std::vector<float>& values, double share) {
  if (values.empty()) return 0;
  const auto rank = static_cast<std::size_t>(std::ceil(share * static_cast<double>(values.size())));
  const auto place =
      values.begin() + static_cast<std::ptrdiff_t>(std::max<std::size_t>(rank, 1) - 1);
  std::nth_element(values.begin(), place, values.end());
  return static_cast<double>(*place);
}

}  // namespace

Tally::Tally(std::vector<Scores> expected, std::vector<std::uint8_t> labels)
    : expected_(std::move(expected)), labels_(std::move(labels)) {
  if (expected_.size() != labels_.size()) throw std::logic_error("a label for each picture");
}

void Tally::submitted(std::uint64_t number, std::size_t picture, std::uint64_t at_ns) {
  if (tasks_.empty()) first_number_ = number;
  if (number != first_number_ + tasks_.size()) throw std::logic_error("numbers grow by one");
  tasks_.push_back({at_ns, static_cast<std::uint32_t>(picture), false});
}

void Tally::answered(std::uint64_t number, bool done, unsigned attempts,
                     std::span<const std::byte> bytes, std::uint64_t at_ns) {
  const std::uint64_t index = number - first_number_;
  if (index >= tasks_.size() || tasks_[index].answered) {
    ++counts_.doubled;
    return;
  }
  Task& task = tasks_[index];
  task.answered = true;
  ++answered_;
  last_answer_ns_ = std::max(last_answer_ns_, at_ns);
  latencies_us_.push_back(static_cast<float>(at_ns - task.submitted_ns) / 1000.0f);
  if (attempts > 1) ++counts_.run_again;
  if (!done) {
    ++counts_.failed;
    return;
  }
  const Scores& expected = expected_[task.picture];
  Scores scores;
  if (bytes.size() != sizeof scores) {
    ++counts_.different;
    return;
  }
  std::memcpy(scores.data(), bytes.data(), sizeof scores);
  if (std::memcmp(scores.data(), expected.data(), sizeof scores) != 0) ++counts_.different;
  if (best_digit(scores) == labels_[task.picture]) ++counts_.right;
}

Tally::Figures Tally::figures() const {
  Figures figures;
  figures.counts = counts_;
  figures.submitted = tasks_.size();
  figures.answered = answered_;
  figures.lost = waiting();
  if (answered_ != 0)
    figures.seconds = static_cast<double>(last_answer_ns_ - tasks_.front().submitted_ns) / 1e9;
  std::vector<float> latencies = latencies_us_;
  figures.latency_p50_us = percentile(latencies, 0.50);
  figures.latency_p99_us = percentile(latencies, 0.99);
  return figures;
}

}  // namespace micro_swarm::digits
