#include "agentproc/operations/parameters.hpp"

#include <algorithm>

namespace micro_swarm::operations {

Parameters::Parameters(std::string_view text)
    : object_(nlohmann::json::parse(text, nullptr, false)) {
  if (!object_.is_object()) wrong("are no object of JSON");
}

void Parameters::wrong(std::string text) {
  if (!problem_) problem_ = "the parameters " + std::move(text);
}

const nlohmann::json* Parameters::take(const char* key) {
  known_.emplace_back(key);
  if (!object_.is_object()) return nullptr;
  const auto found = object_.find(key);
  return found == object_.end() ? nullptr : &*found;
}

std::string Parameters::word(const char* key, std::initializer_list<std::string_view> allowed) {
  const auto* value = take(key);
  if (value == nullptr) return std::string(*allowed.begin());
  if (value->is_string()) {
    const auto& text = value->get_ref<const std::string&>();
    if (std::find(allowed.begin(), allowed.end(), text) != allowed.end()) return text;
  }
  std::string list;
  for (const std::string_view one : allowed) list += (list.empty() ? "" : ", ") + std::string(one);
  wrong(std::string("have a wrong \"") + key + "\"; allowed: " + list);
  return std::string(*allowed.begin());
}

std::string Parameters::required_word(const char* key,
                                      std::initializer_list<std::string_view> allowed) {
  if (object_.is_object() && !object_.contains(key)) {
    std::string list;
    for (const std::string_view one : allowed)
      list += (list.empty() ? "" : ", ") + std::string(one);
    wrong(std::string("lack \"") + key + "\": one of " + list);
  }
  return word(key, allowed);
}

std::optional<double> Parameters::number(const char* key) {
  const auto* value = take(key);
  if (value == nullptr) return std::nullopt;
  if (value->is_number()) return value->get<double>();
  wrong(std::string("have a \"") + key + "\" that is no number");
  return std::nullopt;
}

double Parameters::required_number(const char* key) {
  if (const auto value = number(key)) return *value;
  wrong(std::string("lack \"") + key + "\": a number");
  return 0;
}

std::uint64_t Parameters::whole_number(const char* key, std::uint64_t otherwise, std::uint64_t min,
                                       std::uint64_t max) {
  const auto* value = take(key);
  if (value == nullptr) return otherwise;
  if (value->is_number_unsigned() && value->get<std::uint64_t>() >= min &&
      value->get<std::uint64_t>() <= max)
    return value->get<std::uint64_t>();
  wrong(std::string("have a wrong \"") + key + "\": a whole number from " + std::to_string(min) +
        " to " + std::to_string(max));
  return otherwise;
}

bool Parameters::flag(const char* key) {
  const auto* value = take(key);
  if (value == nullptr) return false;
  if (value->is_boolean()) return value->get<bool>();
  wrong(std::string("have a \"") + key + "\" that is neither true nor false");
  return false;
}

Result<void> Parameters::finish() {
  if (object_.is_object())
    for (const auto& item : object_.items())
      if (std::find(known_.begin(), known_.end(), item.key()) == known_.end()) {
        std::string list;
        for (const std::string& one : known_) list += (list.empty() ? "" : ", ") + one;
        wrong("have \"" + item.key() + "\", which means nothing here; known: " + list);
      }
  if (problem_) return Error{ErrorCode::usage, *problem_, 0};
  return {};
}

}  // namespace micro_swarm::operations
