#include "agentproc/script_line.hpp"

#include <nlohmann/json.hpp>

#include "common/base64.hpp"

namespace micro_swarm {

namespace {

using ordered = nlohmann::ordered_json;

void add_bytes(ordered& object, const std::string& name, const ScriptBytes& value) {
  if (!value.path.empty()) {
    object[name + "_path"] = value.path;
    return;
  }
  ordered text = std::string(reinterpret_cast<const char*>(value.bytes.data()), value.bytes.size());
  try {
    static_cast<void>(text.dump());  // checks the UTF-8 for us
    object[name] = std::move(text);
  } catch (const nlohmann::json::exception&) {
    object[name + "_base64"] = base64_encode(value.bytes);
  }
}

bool is_continuation(char c) { return (static_cast<unsigned char>(c) & 0xc0) == 0x80; }

std::string_view without_newlines(std::string_view text) {
  while (text.ends_with('\n') || text.ends_with('\r')) text.remove_suffix(1);
  return text;
}

Error no_answer(std::string text) { return Error{ErrorCode::protocol, std::move(text), 0}; }

}  // namespace

std::string script_request_line(const ScriptRequest& request) {
  ordered object{{"task", request.task},
                 {"attempt", request.attempt},
                 {"capability", std::string(request.capability)}};
  if (!request.inputs.empty()) {
    ordered inputs = ordered::array();
    for (const ScriptInput& input : request.inputs) {
      ordered one{{"task", input.task}, {"state", std::string(input.state)}};
      add_bytes(one, "result", input.result);
      inputs.push_back(std::move(one));
    }
    object["inputs"] = std::move(inputs);
  }
  add_bytes(object, "payload", request.payload);
  return object.dump(-1, ' ', false, nlohmann::json::error_handler_t::replace) + "\n";
}

Result<ScriptAnswer> read_script_answer(std::string_view line, TaskId task) {
  const auto object = nlohmann::json::parse(line, nullptr, false);
  if (!object.is_object())
    return no_answer("answered with no JSON object: \"" + head_of(line, 200) + "\"");
  if (const auto id = object.find("task"); id != object.end() && *id != task)
    return no_answer("answered for task " +
                     id->dump(-1, ' ', false, nlohmann::json::error_handler_t::replace) +
                     ", and was asked for " + std::to_string(task));
  std::optional<ScriptAnswer> answer;
  for (const auto& [name, value] : object.items()) {
    ScriptAnswer found;
    if (name == "task") continue;
    if (name == "result" || name == "result_base64") {
      found.kind = ScriptAnswer::Kind::result;
    } else if (name == "result_path") {
      found.kind = ScriptAnswer::Kind::path;
    } else if (name == "error") {
      found.kind = ScriptAnswer::Kind::error;
    } else if (name == "progress") {
      found.kind = ScriptAnswer::Kind::progress;
    } else {
      return no_answer("answered with an unknown member \"" + head_of(name, 80) +
                       "\"; known are task, result, result_base64, result_path, error, progress");
    }
    if (answer)
      return no_answer(
          "answered with more than one of result, result_base64, result_path, error "
          "and progress");
    if (found.kind == ScriptAnswer::Kind::progress) {
      if (value != true) return no_answer("answered with a \"progress\" that is not true");
    } else if (!value.is_string()) {
      return no_answer("answered with a \"" + name + "\" that is no text");
    } else {
      found.text = value.get<std::string>();
    }
    if (name == "result_base64") {
      const auto bytes = base64_decode(found.text);
      if (!bytes) return no_answer("answered with a \"result_base64\" that is none");
      found.text.assign(reinterpret_cast<const char*>(bytes->data()), bytes->size());
    }
    answer = std::move(found);
  }
  if (!answer)
    return no_answer("answered without result, result_base64, result_path, error or progress");
  return std::move(*answer);
}

std::string head_of(std::string_view text, std::size_t bytes_max) {
  text = without_newlines(text);
  if (text.size() <= bytes_max) return std::string(text);
  std::size_t end = bytes_max;
  while (end > 0 && is_continuation(text[end])) --end;
  return std::string(text.substr(0, end)) + "...";
}

std::string tail_of(std::string_view text, std::size_t bytes_max) {
  text = without_newlines(text);
  if (text.size() <= bytes_max) return std::string(text);
  std::size_t start = text.size() - bytes_max;
  while (start < text.size() && is_continuation(text[start])) ++start;
  return "..." + std::string(text.substr(start));
}

}  // namespace micro_swarm
