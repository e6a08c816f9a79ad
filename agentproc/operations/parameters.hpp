#pragma once

// A request's parameters: read by name and type, and nothing may be left over. Private to this
// folder.

#include <cstdint>
#include <initializer_list>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <string_view>

#include "common/result.hpp"

namespace micro_swarm::operations {

class Parameters {
 public:
  explicit Parameters(std::string_view text);

  /// One of the words; the first of them where it is not there.
  std::string word(const char* key, std::initializer_list<std::string_view> allowed);
  /// The same, but it has to be there.
  std::string required_word(const char* key, std::initializer_list<std::string_view> allowed);
  std::optional<double> number(const char* key);
  double required_number(const char* key);
  std::uint64_t whole_number(const char* key, std::uint64_t otherwise, std::uint64_t min,
                             std::uint64_t max);
  bool flag(const char* key);

  /// The first thing that was wrong, or that there is a key nobody asked for. Error: usage.
  Result<void> finish();

 private:
  const nlohmann::json* take(const char* key);
  void wrong(std::string text);

  nlohmann::json object_;
  std::vector<std::string> known_;
  std::optional<std::string> problem_;
};

}  // namespace micro_swarm::operations
