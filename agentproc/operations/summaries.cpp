#include <algorithm>
#include <vector>

#include "agentproc/operations/element.hpp"
#include "agentproc/operations/families.hpp"

namespace micro_swarm::operations {

namespace {

constexpr std::uint64_t bins_max = 65'536;

/// Neumaier's sum: what rounding loses of each addend is kept beside it (Neumaier 1974,
/// "Rundungsfehleranalyse einiger Verfahren zur Summation endlicher Summen").
class Sum {
 public:
  void add(long double value) {
    const long double next = sum_ + value;
    lost_ += std::abs(sum_) >= std::abs(value) ? (sum_ - next) + value : (value - next) + sum_;
    sum_ = next;
  }
  double value() const {
    // Beyond every number the rest is no number.
    return static_cast<double>(std::isfinite(sum_) ? sum_ + lost_ : sum_);
  }

 private:
  long double sum_ = 0, lost_ = 0;
};

Error empty() { return Error{ErrorCode::usage, "there are no elements", 0}; }

/// All of them as doubles. Errors: usage, cancelled, system.
Result<std::vector<double>> values_of(const std::string& type, Pieces data, Output& output) {
  std::vector<double> values;
  auto done = with_type(type, [&](auto zero) -> Result<void> {
    using T = decltype(zero);
    const auto count = count_of<T>(data);
    if (!count) return count.error();
    values.reserve(*count);
    return for_each<T>(data, output,
                       [&](T value) { values.push_back(static_cast<double>(value)); });
  });
  if (!done) return done.error();
  return values;
}

/// Between the two nearest, as R's type 7; reorders.
double quantile(std::vector<double>& values, double q) {
  const double at = q * static_cast<double>(values.size() - 1);
  const auto below = values.begin() + static_cast<std::ptrdiff_t>(at);
  std::nth_element(values.begin(), below, values.end());
  if (below + 1 == values.end()) return *below;
  const double above = *std::min_element(below + 1, values.end());
  return *below + (above - *below) * (at - std::floor(at));
}

}  // namespace

/// {"count": n, "value": x}
Result<void> tensor_reduce(std::string_view text, Pieces data, Output& output) {
  Parameters parameters(text);
  const std::string type = read_type(parameters);
  const std::string function =
      parameters.required_word("function", {"sum", "product", "min", "max", "mean"});
  if (auto read = parameters.finish(); !read) return read;
  Sum sum;
  long double product = 1, least = 0, most = 0;
  std::uint64_t count = 0;
  auto done = with_type(type, [&](auto zero) {
    using T = decltype(zero);
    return for_each<T>(data, output, [&](T value) {
      const auto wide = static_cast<long double>(value);
      sum.add(wide);
      product *= wide;
      least = count == 0 || wide < least ? wide : least;
      most = count == 0 || wide > most ? wide : most;
      ++count;
    });
  });
  if (!done) return done;
  if (count == 0 && function != "sum" && function != "product") return empty();
  const double value = function == "sum"       ? sum.value()
                       : function == "product" ? static_cast<double>(product)
                       : function == "min"     ? static_cast<double>(least)
                       : function == "max"     ? static_cast<double>(most)
                                               : sum.value() / static_cast<double>(count);
  return answer(output, nlohmann::json{{"count", count}, {"value", value}}.dump());
}

/// {"count", "min", "max", "mean", "deviation" (of the whole), "lower", "median", "upper"}
Result<void> tensor_statistics(std::string_view text, Pieces data, Output& output) {
  Parameters parameters(text);
  const std::string type = read_type(parameters);
  if (auto read = parameters.finish(); !read) return read;
  auto values = values_of(type, data, output);
  if (!values) return values.error();
  if (std::any_of(values->begin(), values->end(), [](double x) { return std::isnan(x); }))
    return Error{ErrorCode::usage, "among the elements is one that is no number (tensor.filter)",
                 0};
  if (values->empty()) return empty();
  const auto count = static_cast<double>(values->size());
  Sum sum, squares;
  for (const double value : *values) sum.add(value);
  const double mean = sum.value() / count;
  for (const double value : *values) squares.add((value - mean) * (value - mean));
  const auto [least, most] = std::minmax_element(values->begin(), values->end());
  const double min = *least, max = *most;
  return answer(output, nlohmann::json{{"count", values->size()},
                                       {"min", min},
                                       {"max", max},
                                       {"mean", mean},
                                       {"deviation", std::sqrt(squares.value() / count)},
                                       {"lower", quantile(*values, 0.25)},
                                       {"median", quantile(*values, 0.5)},
                                       {"upper", quantile(*values, 0.75)}}
                            .dump());
}

/// {"low", "high", "counts": [...], "below", "above", "not_numbers"}; each bin has its lower edge,
/// the last one both.
Result<void> tensor_histogram(std::string_view text, Pieces data, Output& output) {
  Parameters parameters(text);
  const std::string type = read_type(parameters);
  const std::uint64_t bins = parameters.whole_number("bins", 10, 1, bins_max);
  auto low = parameters.number("low"), high = parameters.number("high");
  if (auto read = parameters.finish(); !read) return read;
  const auto values = values_of(type, data, output);
  if (!values) return values.error();
  if (!low || !high) {
    double least = 0, most = 0;
    bool any = false;
    for (const double value : *values) {
      if (!std::isfinite(value)) continue;
      least = any ? std::min(least, value) : value;
      most = any ? std::max(most, value) : value;
      any = true;
    }
    if (!any) return empty();
    if (!low) low = least;
    if (!high) high = most;
  }
  if (!(*low <= *high))
    return Error{ErrorCode::usage, "the parameters have a \"low\" above \"high\"", 0};
  std::vector<std::uint64_t> counts(bins);
  std::uint64_t below = 0, above = 0, not_numbers = 0;
  const double scale = *high > *low ? static_cast<double>(bins) / (*high - *low) : 0;
  for (const double value : *values) {
    if (std::isnan(value))
      ++not_numbers;
    else if (value < *low)
      ++below;
    else if (value > *high)
      ++above;
    else
      ++counts[std::min(bins - 1, static_cast<std::uint64_t>((value - *low) * scale))];
  }
  return answer(output, nlohmann::json{{"low", *low},
                                       {"high", *high},
                                       {"counts", counts},
                                       {"below", below},
                                       {"above", above},
                                       {"not_numbers", not_numbers}}
                            .dump());
}

}  // namespace micro_swarm::operations
