#include "common/containment_json.hpp"

#include <limits>
#include <nlohmann/json.hpp>

namespace micro_swarm {

namespace {

Error usage(const std::string& text) { return Error{ErrorCode::usage, text, 0}; }

template <class Integer>
Result<bool> read_number(const nlohmann::json& object, const char* key, Integer& value) {
  const auto found = object.find(key);
  if (found == object.end()) return false;
  if (!found->is_number_unsigned() ||
      found->get<std::uint64_t>() > std::numeric_limits<Integer>::max())
    return usage(std::string(".") + key + ": expected a whole number");
  value = found->get<Integer>();
  return true;
}

}  // namespace

nlohmann::json containment_to_json(const AgentSpec& spec) {
  const ContainmentOptions& options = spec.containment;
  nlohmann::json object{{"contain", options.enabled}};
  if (!options.enabled) return object;
  object["memory_limit"] = options.memory_limit;
  object["processes_max"] = options.processes_max;
  if (options.uid) object["uid"] = *options.uid;
  if (spec.kind != AgentKind::external) return object;
  object["readable"] = options.readable;
  object["writable"] = options.writable;
  return object;
}

Result<void> containment_from_json(const nlohmann::json& object, AgentSpec& spec) {
  ContainmentOptions& options = spec.containment;
  options.enabled = object.value("contain", options.enabled);
  if (auto read = read_number(object, "memory_limit", options.memory_limit); !read)
    return read.error();
  if (auto read = read_number(object, "processes_max", options.processes_max); !read)
    return read.error();
  std::uint32_t uid = 0;
  auto has_uid = read_number(object, "uid", uid);
  if (!has_uid) return has_uid.error();
  if (*has_uid) options.uid = uid;
  for (const auto& [key, paths] :
       {std::pair{"readable", &options.readable}, std::pair{"writable", &options.writable}}) {
    *paths = object.value(key, *paths);
    if (object.contains(key) && spec.kind != AgentKind::external)
      return usage(std::string(".") + key + ": only agents of kind \"external\" open files");
    for (const std::string& path : *paths)
      if (!path.starts_with('/'))
        return usage(std::string(".") + key + ": " + path + " is not absolute");
  }
  return {};
}

}  // namespace micro_swarm
