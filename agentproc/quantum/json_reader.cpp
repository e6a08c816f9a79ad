#include "agentproc/quantum/json_reader.hpp"

#include <algorithm>
#include <cmath>
#include <set>
#include <vector>

#include "agentproc/quantum/circuit.hpp"
#include "agentproc/quantum/limits.hpp"
#include "common/edit_distance.hpp"

namespace micro_swarm::quantum {

namespace {

using nlohmann::json;

/// What the parser itself lets pass; thrown out of it and caught just outside.
struct Refusal {
  Error error;
};

class Strict {
 public:
  bool operator()(int depth, json::parse_event_t event, const json& parsed) {
    if (event == json::parse_event_t::object_start || event == json::parse_event_t::array_start) {
      if (depth >= static_cast<int>(json_depth_max))
        throw Refusal{{ErrorCode::too_large,
                       "the payload is nested deeper than " + std::to_string(json_depth_max), 0}};
      keys_.emplace_back();
    } else if (event == json::parse_event_t::object_end ||
               event == json::parse_event_t::array_end) {
      keys_.pop_back();
    } else if (event == json::parse_event_t::key &&
               !keys_.back().insert(parsed.get<std::string>()).second) {
      throw Refusal{wrong("the payload", "the key \"" + parsed.get<std::string>().substr(0, 40) +
                                             "\" is there twice in one object")};
    }
    return true;
  }

 private:
  std::vector<std::set<std::string>> keys_;  ///< of the objects that are open
};

}  // namespace

Result<json> parse_object(std::string_view text) {
  if (text.size() > payload_bytes_max)
    return Error{ErrorCode::too_large,
                 "the payload has more than " + std::to_string(payload_bytes_max) + " bytes", 0};
  try {
    Strict strict;
    json document = json::parse(text, std::ref(strict));
    if (!document.is_object()) return wrong("the payload", "is no JSON object");
    return Result<json>(boost::system::in_place_value, std::move(document));
  } catch (const Refusal& refusal) {
    return refusal.error;
  } catch (const json::exception& e) {
    return wrong("the payload", std::string("neither JSON nor OpenQASM: ") + e.what());
  }
}

Result<JsonObject> JsonObject::of(const json& value, std::string place) {
  JsonObject object(value, std::move(place));
  if (!value.is_object()) return wrong(object.place(), "expected an object");
  return object;
}

std::string JsonObject::place_of(std::string_view key) const {
  return place_.empty() ? std::string(key) : place_ + "." + std::string(key);
}

const json* JsonObject::find(std::string_view key) const {
  const auto found = object_->find(key);
  return found == object_->end() ? nullptr : &*found;
}

Result<void> JsonObject::check_keys(std::initializer_list<std::string_view> known) const {
  for (const auto& item : object_->items()) {
    if (std::find(known.begin(), known.end(), item.key()) != known.end()) continue;
    const std::string key = item.key().substr(0, 40);
    std::string text = "unknown key";
    if (const auto near = nearest(key, {known.begin(), known.end()}); !near.empty())
      text += "; did you mean \"" + near + "\"?";
    return wrong(place_of(key), text);
  }
  return {};
}

Result<std::uint64_t> JsonObject::integer(std::string_view key, std::uint64_t min,
                                          std::uint64_t max, const std::uint64_t* fallback) const {
  if (const json* value = find(key)) return integer_in(*value, place_of(key), min, max);
  if (fallback != nullptr) return *fallback;
  return wrong(place(), "has no \"" + std::string(key) + "\"");
}

Result<bool> JsonObject::flag(std::string_view key) const {
  const json* value = find(key);
  if (value == nullptr) return false;
  if (!value->is_boolean()) return wrong(place_of(key), "expected true or false");
  return value->get<bool>();
}

Result<const json*> JsonObject::array(std::string_view key) const {
  const json* value = find(key);
  if (value != nullptr && !value->is_array()) return wrong(place_of(key), "expected an array");
  return value;
}

Result<std::uint64_t> integer_in(const json& value, const std::string& place, std::uint64_t min,
                                 std::uint64_t max) {
  if (value.is_number_unsigned()) {
    const auto number = value.get<std::uint64_t>();
    if (number >= min && number <= max) return number;
  }
  std::string shown = value.dump(-1, ' ', true, json::error_handler_t::replace);
  if (shown.size() > 40) shown = "what is there";
  return wrong(place, shown + " is no whole number from " + std::to_string(min) + " to " +
                          std::to_string(max));
}

Result<double> number_in(const json& value, const std::string& place) {
  if (!value.is_number()) return wrong(place, "expected a number");
  const auto number = value.get<double>();
  if (!std::isfinite(number)) return wrong(place, "is not finite");
  return number;
}

}  // namespace micro_swarm::quantum
