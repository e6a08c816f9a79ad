#pragma once

// What became of every task of the demo. Pure bookkeeping: no swarm, no clock of its own.

#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

#include "examples/digits/classify_alone.hpp"

namespace micro_swarm::digits {

class Tally {
 public:
  /// `expected[i]` are the scores the model gives alone for picture i, `labels[i]` what it shows.
  Tally(std::vector<Scores> expected, std::vector<std::uint8_t> labels);

  /// Numbers grow by one from the first one on, as Client::submit gives them.
  void submitted(std::uint64_t number, std::size_t picture, std::uint64_t at_ns);

  /// Called for every result that arrives, also one that arrived before.
  void answered(std::uint64_t number, bool done, unsigned attempts,
                std::span<const std::byte> bytes, std::uint64_t at_ns);

  std::size_t waiting() const { return tasks_.size() - answered_; }
  std::size_t answered() const { return answered_; }

  struct Counts {
    std::size_t doubled = 0;    ///< results for a task that had one, or that nobody asked for
    std::size_t failed = 0;     ///< ended otherwise than done
    std::size_t different = 0;  ///< done, but not the very bytes the model gives alone
    std::size_t right = 0;      ///< the digit is the one the picture shows
    std::size_t run_again = 0;  ///< tasks that took more than one attempt
  };
  const Counts& counts() const { return counts_; }

  struct Figures {
    Counts counts;
    std::size_t submitted = 0;
    std::size_t answered = 0;   ///< tasks with at least one result
    std::size_t lost = 0;       ///< tasks without a result
    double seconds = 0;         ///< first submission to last result
    double latency_p50_us = 0;  ///< submission to result
    double latency_p99_us = 0;

    double accuracy() const { return ratio(counts.right, submitted); }
    double tasks_per_second() const {
      return seconds > 0 ? static_cast<double>(answered) / seconds : 0;
    }
  };
  Figures figures() const;

  static double ratio(std::size_t part, std::size_t whole) {
    return whole == 0 ? 0 : static_cast<double>(part) / static_cast<double>(whole);
  }

 private:
  struct Task {
    std::uint64_t submitted_ns = 0;
    std::uint32_t picture = 0;
    bool answered = false;
  };

  std::vector<Scores> expected_;
  std::vector<std::uint8_t> labels_;
  std::vector<Task> tasks_;  ///< by number - first_number_
  std::vector<float> latencies_us_;
  std::uint64_t first_number_ = 0;
  std::uint64_t last_answer_ns_ = 0;
  std::size_t answered_ = 0;
  Counts counts_;
};

}  // namespace micro_swarm::digits
