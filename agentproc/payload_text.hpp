#pragma once

#include <charconv>
#include <cstdint>
#include <optional>
#include <string_view>

#include "agentproc/handler.hpp"

namespace micro_swarm {

/// A payload that is one decimal number; one newline behind it is forgiven.
inline std::optional<std::uint64_t> number_in(std::string_view text) {
  if (text.ends_with('\n')) text.remove_suffix(1);
  std::uint64_t value = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (error != std::errc() || end != text.data() + text.size()) return std::nullopt;
  return value;
}
inline std::optional<std::uint64_t> number_in(const TaskContext& task) {
  return number_in(task.payload_text());
}

}  // namespace micro_swarm
