#pragma once

#include <nlohmann/json.hpp>
#include <string>
#include <string_view>
#include <vector>

/// JSON answers as text for people. Pure.
namespace micro_swarm::cli {

/// One value in a cell, on one line, control characters replaced. The name's unit decides how a
/// number is written: *_bytes as sizes, *_ns as times.
std::string cell_text(std::string_view name, const nlohmann::json& value);

/// Rows (objects) under a line of column names: `first` columns that occur, then the others.
std::string table_text(const nlohmann::json& rows, const std::vector<std::string>& first);

/// An object: "name  value" lines, then a block for each array of objects (a table) and each large
/// object in it. An object whose only member is an object is shown as that.
std::string object_text(const nlohmann::json& object, const std::vector<std::string>& first);

/// One event of `events`: time, kind, then its fields as name=value.
std::string event_text(const nlohmann::json& event);

/// Whether bytes are text that a terminal shows as it is (UTF-8 without control characters other
/// than newline and tab).
bool is_printable_text(std::string_view bytes);

}  // namespace micro_swarm::cli
