#include "common/size_text.hpp"

#include <array>
#include <charconv>
#include <limits>
#include <utility>

namespace micro_swarm {

namespace {
constexpr std::array<std::pair<std::string_view, unsigned>, 3> units{
    {{"GiB", 30u}, {"MiB", 20u}, {"KiB", 10u}}};
}  // namespace

std::optional<std::uint64_t> parse_size(std::string_view text) {
  std::uint64_t number = 0;
  const auto [rest, error] = std::from_chars(text.data(), text.data() + text.size(), number);
  if (error != std::errc{}) return std::nullopt;
  text.remove_prefix(static_cast<std::size_t>(rest - text.data()));
  if (text.empty()) return number;
  if (text.front() == ' ') text.remove_prefix(1);
  for (const auto& [unit, shift] : units) {
    if (text != unit) continue;
    if (number > (std::numeric_limits<std::uint64_t>::max() >> shift)) return std::nullopt;
    return number << shift;
  }
  return std::nullopt;
}

std::string exact_size_text(std::uint64_t bytes) {
  for (const auto& [unit, shift] : units)
    if (bytes != 0 && (bytes & ((std::uint64_t{1} << shift) - 1)) == 0)
      return std::to_string(bytes >> shift) + std::string(unit);
  return std::to_string(bytes);
}

std::string rounded_size_text(std::uint64_t bytes) {
  for (const auto& [unit, shift] : units) {
    if ((bytes >> shift) == 0) continue;
    std::uint64_t whole = bytes >> shift;
    const std::uint64_t remainder = bytes & ((std::uint64_t{1} << shift) - 1);
    std::uint64_t tenths = ((remainder >> (shift - 10)) * 10 + 512) >> 10;
    if (tenths == 10) {
      ++whole;
      tenths = 0;
    }
    return std::to_string(whole) + "." + std::to_string(tenths) + " " + std::string(unit);
  }
  return std::to_string(bytes) + " B";
}

}  // namespace micro_swarm
