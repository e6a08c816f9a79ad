#pragma once

// Alternating windows. What the machine can do moves from one moment to the next (a virtual
// machine's cores wander), so a figure is never compared with one taken at another time: each
// window takes the reference and the product one after the other and gives one ratio. The first
// window warms up and is dropped; the median of the others counts.

#include <algorithm>
#include <vector>

#include "tests/bench/figure.hpp"

namespace micro_swarm::bench {

inline double quantile(std::vector<double> values, double q) {
  if (values.empty()) return 0;
  std::sort(values.begin(), values.end());
  const double at = q * static_cast<double>(values.size() - 1);
  const auto below = static_cast<std::size_t>(at);
  const std::size_t above = std::min(below + 1, values.size() - 1);
  return values[below] + (values[above] - values[below]) * (at - static_cast<double>(below));
}
inline double median(const std::vector<double>& values) { return quantile(values, 0.5); }
inline double spread_of(const std::vector<double>& values) {
  const double middle = median(values);
  return middle == 0 ? 0 : (quantile(values, 0.75) - quantile(values, 0.25)) / middle;
}

/// What the windows gave. `references` is empty or as long as `values`.
struct Windows {
  std::vector<double> values, references;

  void add(double value, double reference) {
    values.push_back(value);
    references.push_back(reference);
  }
  void drop_first() {
    if (values.size() < 2) return;
    values.erase(values.begin());
    if (!references.empty()) references.erase(references.begin());
  }
  std::vector<double> ratios() const {
    std::vector<double> ratios;
    for (std::size_t i = 0; i < references.size(); ++i)
      if (references[i] != 0) ratios.push_back(values[i] / references[i]);
    return ratios;
  }
  /// `scale` turns what was measured into the unit.
  Figure figure(std::string name, std::string unit, double scale, std::optional<Goal> goal,
                std::string note) const {
    Figure figure;
    figure.name = std::move(name);
    figure.value = median(values) * scale;
    figure.unit = std::move(unit);
    figure.goal = goal;
    figure.note = std::move(note);
    const auto all = ratios();
    if (!all.empty()) {
      figure.reference = median(references) * scale;
      figure.ratio = median(all);
    }
    figure.spread = spread_of(all.empty() ? values : all);
    return figure;
  }
};

/// `count` windows and the one to drop. Both measure something of the same unit.
template <class Reference, class Measure>
Windows alternate(unsigned count, Reference&& reference, Measure&& measure) {
  Windows windows;
  for (unsigned i = 0; i <= count; ++i) {
    const double limit = reference();
    windows.add(measure(), limit);
  }
  windows.drop_first();
  return windows;
}

}  // namespace micro_swarm::bench
