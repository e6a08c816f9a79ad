#include "supervisor/cli/render.hpp"

#include <algorithm>
#include <array>
#include <cmath>
#include <cstdint>
#include <cstdio>
#include <ctime>

#include "common/size_text.hpp"

namespace micro_swarm::cli {

using nlohmann::json;

namespace {

/// What every answer carries for programs, not for people.
bool is_framing(std::string_view name) {
  return name == "schema" || name == "end" || name == "fds";
}

std::string on_one_line(std::string text) {
  for (char& c : text)
    if (static_cast<unsigned char>(c) < 0x20 || c == 0x7f) c = '?';
  return text;
}

std::string duration_text(double ns) {
  constexpr std::array<std::pair<double, const char*>, 3> units{
      {{1e9, "s"}, {1e6, "ms"}, {1e3, "us"}}};
  std::array<char, 32> text{};
  for (const auto& [unit, name] : units)
    if (std::abs(ns) >= unit) {
      std::snprintf(text.data(), text.size(), "%.3g %s", ns / unit, name);
      // %g would write 1234 s as 1.23e+03.
      if (ns / unit >= 1000) std::snprintf(text.data(), text.size(), "%.0f %s", ns / unit, name);
      return text.data();
    }
  std::snprintf(text.data(), text.size(), "%.0f ns", ns);
  return text.data();
}

/// Characters, not bytes: continuation bytes of UTF-8 take no column.
std::size_t width_of(std::string_view text) {
  return static_cast<std::size_t>(std::count_if(text.begin(), text.end(), [](char c) {
    return (static_cast<unsigned char>(c) & 0xc0) != 0x80;
  }));
}

bool is_table(const json& value) {
  return value.is_array() && !value.empty() &&
         std::all_of(value.begin(), value.end(), [](const json& row) { return row.is_object(); });
}

std::vector<std::string> names_in_order(const json& objects,
                                        const std::vector<std::string>& first) {
  std::vector<std::string> names;
  const auto add = [&names](const std::string& name) {
    if (std::find(names.begin(), names.end(), name) == names.end()) names.push_back(name);
  };
  for (const auto& name : first)
    if (std::any_of(objects.begin(), objects.end(),
                    [&name](const json& object) { return object.contains(name); }))
      add(name);
  for (const auto& object : objects)
    for (const auto& item : object.items())
      if (!is_framing(item.key())) add(item.key());
  return names;
}

std::string spaces(std::size_t count) { return std::string(count, ' '); }

/// Tables, and objects that would make a long line.
bool is_block(const std::string& name, const json& value) {
  constexpr std::size_t line_columns_max = 80;
  return is_table(value) ||
         (value.is_object() && width_of(cell_text(name, value)) > line_columns_max);
}

std::string block_text(const json& value, const std::vector<std::string>& first) {
  if (is_table(value)) return table_text(value, first);
  std::size_t width = 0;
  for (const auto& item : value.items()) width = std::max(width, width_of(item.key()));
  std::string text;
  for (const auto& item : value.items())
    text += "  " + on_one_line(item.key()) + spaces(width - width_of(item.key()) + 2) +
            cell_text(item.key(), item.value()) + "\n";
  return text;
}

}  // namespace

std::string cell_text(std::string_view name, const json& value) {
  if (value.is_null()) return "-";
  if (value.is_boolean()) return value.get<bool>() ? "yes" : "no";
  if (value.is_string()) {
    const auto& text = value.get_ref<const std::string&>();
    return text.empty() ? "-" : on_one_line(text);
  }
  if (value.is_number_unsigned() && name.ends_with("_bytes"))
    return rounded_size_text(value.get<std::uint64_t>());
  if (value.is_number() && name.ends_with("_ns")) return duration_text(value.get<double>());
  if (value.is_number_float()) {
    std::array<char, 32> text{};
    std::snprintf(text.data(), text.size(), "%.6g", value.get<double>());
    return text.data();
  }
  if (value.is_array()) {
    std::string text;
    for (const auto& item : value) text += (text.empty() ? "" : ", ") + cell_text(name, item);
    return text.empty() ? "-" : text;
  }
  if (value.is_object()) {
    std::string text;
    for (const auto& item : value.items())
      text += (text.empty() ? "" : " ") + item.key() + "=" + cell_text(item.key(), item.value());
    return text.empty() ? "-" : text;
  }
  return value.dump();
}

std::string table_text(const json& rows, const std::vector<std::string>& first) {
  const auto names = names_in_order(rows, first);
  std::vector<std::vector<std::string>> lines;
  std::vector<bool> is_number(names.size(), true);
  lines.emplace_back();
  for (const auto& name : names) lines.front().push_back(on_one_line(name));
  for (const auto& row : rows) {
    auto& line = lines.emplace_back();
    for (std::size_t i = 0; i < names.size(); ++i) {
      const auto value = row.find(names[i]);
      line.push_back(value == row.end() ? "-" : cell_text(names[i], *value));
      if (value != row.end() && !value->is_number() && !value->is_null()) is_number[i] = false;
    }
  }
  std::vector<std::size_t> widths(names.size(), 0);
  for (const auto& line : lines)
    for (std::size_t i = 0; i < line.size(); ++i)
      widths[i] = std::max(widths[i], width_of(line[i]));

  std::string text;
  for (const auto& line : lines) {
    for (std::size_t i = 0; i < line.size(); ++i) {
      const std::string fill = spaces(widths[i] - width_of(line[i]));
      const bool is_last = i + 1 == line.size();
      text += is_number[i] ? fill + line[i] : line[i] + (is_last ? "" : fill);
      text += is_last ? "\n" : "  ";
    }
  }
  return text;
}

std::string object_text(const json& object, const std::vector<std::string>& first) {
  const auto names = names_in_order(json::array({object}), first);
  // {"task":{...}} is that task.
  if (names.size() == 1 && object[names.front()].is_object())
    return object_text(object[names.front()], first);

  std::size_t width = 0;
  for (const auto& name : names)
    if (!is_block(name, object[name])) width = std::max(width, width_of(name));
  std::string fields;
  std::string blocks;
  for (const auto& name : names) {
    const json& value = object[name];
    if (is_block(name, value))
      blocks += "\n" + on_one_line(name) + "\n" + block_text(value, first);
    else
      fields +=
          on_one_line(name) + spaces(width - width_of(name) + 2) + cell_text(name, value) + "\n";
  }
  return fields.empty() && !blocks.empty() ? blocks.substr(1) : fields + blocks;
}

std::string event_text(const json& event) {
  std::string text;
  if (const auto time = event.find("time_ms"); time != event.end() && time->is_number()) {
    const auto ms = time->get<std::int64_t>();
    const std::time_t seconds = static_cast<std::time_t>(ms / 1000);
    std::tm utc{};
    ::gmtime_r(&seconds, &utc);
    std::array<char, 40> date{};
    std::array<char, 48> stamp{};
    std::strftime(date.data(), date.size(), "%Y-%m-%dT%H:%M:%S", &utc);
    std::snprintf(stamp.data(), stamp.size(), "%s.%03dZ ", date.data(),
                  static_cast<int>(ms % 1000));
    text += stamp.data();
  }
  if (const auto kind = event.find("event"); kind != event.end()) text += cell_text("event", *kind);
  for (const auto& item : event.items())
    if (!is_framing(item.key()) && item.key() != "event" && item.key() != "time_ms" &&
        item.key() != "sequence")
      text += " " + item.key() + "=" + cell_text(item.key(), item.value());
  return text + "\n";
}

bool is_printable_text(std::string_view bytes) {
  if (std::any_of(bytes.begin(), bytes.end(), [](char c) {
        return (static_cast<unsigned char>(c) < 0x20 && c != '\n' && c != '\t') || c == 0x7f;
      }))
    return false;
  // dump() checks the UTF-8 for us.
  try {
    (void)json(std::string(bytes)).dump();
    return true;
  } catch (const json::exception&) {
    return false;
  }
}

}  // namespace micro_swarm::cli
