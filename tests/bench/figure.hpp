#pragma once

// What a benchmark says: a figure, the limit of the machine it was measured beside, and the goal.

#include <functional>
#include <optional>
#include <string>
#include <vector>

namespace micro_swarm::bench {

struct Goal {
  enum class Of { ratio, value };
  enum class Bound { at_most, at_least };
  Of of = Of::ratio;
  Bound bound = Bound::at_most;
  double limit = 0;

  bool met_by(double value, double ratio) const;
  std::string text() const;
};
inline Goal ratio_at_most(double limit) { return {Goal::Of::ratio, Goal::Bound::at_most, limit}; }
inline Goal ratio_at_least(double limit) { return {Goal::Of::ratio, Goal::Bound::at_least, limit}; }
inline Goal value_at_most(double limit) { return {Goal::Of::value, Goal::Bound::at_most, limit}; }

struct Figure {
  std::string name;  ///< group.what
  double value = 0;  ///< median over the windows
  std::string unit;
  std::optional<double> reference;  ///< in the same unit, median over the same windows
  std::optional<double> ratio;      ///< median of the windows' ratios, not the ratio of the medians
  std::optional<Goal> goal;
  /// (third quartile - first quartile) / median, of the ratios where there are any, else the
  /// values.
  double spread = 0;
  std::string note;  ///< table only

  std::optional<bool> met() const;
};

struct Options {
  bool quick = false;  ///< only shows that it works: a few short windows
};

/// Runs and tells each figure as it is there. Throws std::runtime_error when a reply is wrong or
/// a process does not do its part.
using Tell = std::function<void(const Figure&)>;
struct Group {
  std::string name;
  std::vector<std::string> figures;
  std::function<void(const Options&, const Tell&)> run;
};

Group ring_group();
Group task_group();
Group memory_group();
Group recovery_group();
Group scheduler_group();
Group idle_group();
Group journal_group();
Group cache_group();
Group agent_group();
Group quantum_group();
Group neural_group();

}  // namespace micro_swarm::bench
