#include "tests/bench/output.hpp"

#include <cmath>
#include <cstdio>
#include <nlohmann/json.hpp>

namespace micro_swarm::bench {

namespace {

std::string number(double value) {
  char text[64];
  const double size = std::fabs(value);
  std::snprintf(text, sizeof text, size >= 1000 ? "%.0f" : size >= 10 ? "%.1f" : "%.3f", value);
  return text;
}

template <class Value>
nlohmann::json or_null(const std::optional<Value>& value) {
  return value ? nlohmann::json(*value) : nlohmann::json(nullptr);
}

}  // namespace

bool Goal::met_by(double value, double ratio) const {
  const double measured = of == Of::ratio ? ratio : value;
  return bound == Bound::at_most ? measured <= limit : measured >= limit;
}

std::string Goal::text() const {
  char text[64];
  std::snprintf(text, sizeof text, "%s %s %g", of == Of::ratio ? "ratio" : "value",
                bound == Bound::at_most ? "<=" : ">=", limit);
  return text;
}

std::optional<bool> Figure::met() const {
  if (!goal) return std::nullopt;
  return goal->met_by(value, ratio.value_or(0));
}

std::string to_json_line(const Figure& figure) {
  nlohmann::ordered_json line;
  line["name"] = figure.name;
  line["value"] = figure.value;
  line["unit"] = figure.unit;
  line["reference"] = or_null(figure.reference);
  line["ratio"] = or_null(figure.ratio);
  line["goal"] = figure.goal ? nlohmann::json(figure.goal->text()) : nlohmann::json(nullptr);
  line["met"] = or_null(figure.met());
  line["spread"] = figure.spread;
  return line.dump();
}

std::string table_head() {
  char text[256];
  std::snprintf(text, sizeof text, "%-36s %12s %-6s %12s %8s  %-15s %-4s %6s  %s", "figure",
                "value", "unit", "reference", "ratio", "goal", "met", "spread", "beside");
  return text;
}

std::string table_line(const Figure& figure) {
  const auto met = figure.met();
  char text[512];
  std::snprintf(text, sizeof text, "%-36s %12s %-6s %12s %8s  %-15s %-4s %5.0f%%  %s",
                figure.name.c_str(), number(figure.value).c_str(), figure.unit.c_str(),
                figure.reference ? number(*figure.reference).c_str() : "-",
                figure.ratio ? number(*figure.ratio).c_str() : "-",
                figure.goal ? figure.goal->text().c_str() : "-", met ? (*met ? "yes" : "NO") : "-",
                figure.spread * 100, figure.note.c_str());
  return text;
}

}  // namespace micro_swarm::bench
