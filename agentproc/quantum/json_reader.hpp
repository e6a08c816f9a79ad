#pragma once

// Strict reading of JSON that a stranger wrote: every error names its place.

#include <cstdint>
#include <initializer_list>
#include <nlohmann/json.hpp>
#include <string>
#include <string_view>

#include "common/result.hpp"

namespace micro_swarm::quantum {

/// Text to an object. Errors (usage, too_large): not JSON, not an object, a key twice, nested
/// deeper than json_depth_max, longer than payload_bytes_max.
Result<nlohmann::json> parse_object(std::string_view text);

/// One object of a document; `place` is how errors call it, empty for the whole document.
class JsonObject {
 public:
  /// Error: not an object.
  static Result<JsonObject> of(const nlohmann::json& value, std::string place);

  /// "gates[2].qubits".
  std::string place_of(std::string_view key) const;
  /// "gates[2]", or "the payload".
  std::string place() const { return place_.empty() ? "the payload" : place_; }
  /// Null: it is not there.
  const nlohmann::json* find(std::string_view key) const;
  /// Error: there is a key that is not among these.
  Result<void> check_keys(std::initializer_list<std::string_view> known) const;
  /// A whole number from `min` to `max`; without a fallback it must be there.
  Result<std::uint64_t> integer(std::string_view key, std::uint64_t min, std::uint64_t max,
                                const std::uint64_t* fallback = nullptr) const;
  Result<std::uint64_t> integer_or(std::string_view key, std::uint64_t min, std::uint64_t max,
                                   std::uint64_t fallback) const {
    return integer(key, min, max, &fallback);
  }
  Result<bool> flag(std::string_view key) const;  ///< false where it is not there
  /// An array; null where it is not there.
  Result<const nlohmann::json*> array(std::string_view key) const;

 private:
  JsonObject(const nlohmann::json& object, std::string place)
      : object_(&object), place_(std::move(place)) {}
  const nlohmann::json* object_;
  std::string place_;
};

/// A whole number from `min` to `max`.
Result<std::uint64_t> integer_in(const nlohmann::json& value, const std::string& place,
                                 std::uint64_t min, std::uint64_t max);
/// A finite number.
Result<double> number_in(const nlohmann::json& value, const std::string& place);

/// "gates[2]".
inline std::string element_place(const std::string& place, std::size_t index) {
  return place + "[" + std::to_string(index) + "]";
}

}  // namespace micro_swarm::quantum
