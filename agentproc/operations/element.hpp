#pragma once

// Elements of tensors: their types by name, and how to walk over pieces of them. Private to this
// folder.

#include <cmath>
#include <cstdint>
#include <cstring>
#include <limits>
#include <span>
#include <string>
#include <type_traits>

#include "agentproc/operations/operations.hpp"
#include "agentproc/operations/parameters.hpp"

namespace micro_swarm::operations {

inline std::string read_type(Parameters& parameters, const char* key = "type") {
  return parameters.required_word(key, {"float32", "float64", "int8", "int16", "int32", "int64",
                                        "uint8", "uint16", "uint32", "uint64"});
}

/// What one computes with: holds every value of the type exactly.
template <class T>
using Wide = std::conditional_t<std::is_floating_point_v<T>, double, long double>;

/// The nearest value of the type; what is beyond its range becomes its end, no number becomes 0.
template <class T>
T narrow(Wide<T> value) {
  if constexpr (std::is_floating_point_v<T>) {
    return static_cast<T>(value);
  } else {
    if (std::isnan(value)) return 0;
    value = std::nearbyint(value);
    constexpr auto low = static_cast<Wide<T>>(std::numeric_limits<T>::min());
    constexpr auto high = static_cast<Wide<T>>(std::numeric_limits<T>::max());
    return value <= low    ? std::numeric_limits<T>::min()
           : value >= high ? std::numeric_limits<T>::max()
                           : static_cast<T>(value);
  }
}

/// Calls `f` with a value of the type of that name.
template <class F>
auto with_type(const std::string& type, F&& f) {
  if (type == "float32") return f(float{});
  if (type == "float64") return f(double{});
  if (type == "int8") return f(std::int8_t{});
  if (type == "int16") return f(std::int16_t{});
  if (type == "int32") return f(std::int32_t{});
  if (type == "int64") return f(std::int64_t{});
  if (type == "uint8") return f(std::uint8_t{});
  if (type == "uint16") return f(std::uint16_t{});
  if (type == "uint32") return f(std::uint32_t{});
  return f(std::uint64_t{});
}

inline constexpr std::size_t elements_between_looks = std::size_t{1} << 20;

/// How many there are. Error (usage): a piece that is not of whole elements.
template <class T>
Result<std::size_t> count_of(Pieces data) {
  std::size_t count = 0;
  for (const auto piece : data) {
    if (piece.size() % sizeof(T) != 0)
      return Error{ErrorCode::usage,
                   std::to_string(piece.size()) + " bytes are no whole number of elements of " +
                       std::to_string(sizeof(T)) + " bytes",
                   0};
    count += piece.size() / sizeof(T);
  }
  return count;
}

/// Calls `f(value)` for each; elements need not be aligned. Errors: usage, cancelled.
template <class T, class F>
Result<void> for_each(Pieces data, Output& output, F&& f) {
  if (const auto count = count_of<T>(data); !count) return count.error();
  for (const auto piece : data)
    for (std::size_t at = 0; at < piece.size();) {
      if (!output.go_on()) return Error{ErrorCode::cancelled, "cancelled", 0};
      const std::size_t end = at + std::min(piece.size() - at, elements_between_looks * sizeof(T));
      for (; at < end; at += sizeof(T)) {
        T value;
        std::memcpy(&value, piece.data() + at, sizeof value);
        f(value);
      }
    }
  return {};
}

inline Result<void> answer(Output& output, std::string_view text) {
  auto room = output.room(text.size());
  if (!room) return room.error();
  std::memcpy(room->data(), text.data(), text.size());
  return {};
}

}  // namespace micro_swarm::operations
