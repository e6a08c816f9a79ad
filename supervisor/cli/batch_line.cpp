#include "supervisor/cli/batch_line.hpp"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <array>
#include <functional>
#include <limits>
#include <map>
#include <nlohmann/json.hpp>

#include "common/base64.hpp"
#include "common/size_text.hpp"
#include "ipc/task_names.hpp"

namespace micro_swarm::cli {

using nlohmann::json;

namespace {

constexpr std::uint64_t day_ms = 86'400'000;

Error usage(std::string text) { return Error{ErrorCode::usage, std::move(text), 0}; }

Result<std::string> text_in(const std::string& name, const json& value) {
  if (!value.is_string()) return usage(name + " must be a text");
  return value.get<std::string>();
}

Result<std::uint64_t> number_in(const std::string& name, const json& value, std::uint64_t max) {
  if (!value.is_number_unsigned() || value.get<std::uint64_t>() > max)
    return usage(name + " must be a whole number from 0 to " + std::to_string(max) + ", not " +
                 value.dump(-1, ' ', false, json::error_handler_t::replace));
  return value.get<std::uint64_t>();
}

template <class T>
Result<void> number_into(T& target, const std::string& name, const json& value,
                         std::uint64_t max = std::numeric_limits<T>::max()) {
  const auto number = number_in(name, value, max);
  if (!number) return number.error();
  target = static_cast<T>(*number);
  return {};
}

Result<void> text_into(std::string& target, const std::string& name, const json& value) {
  auto text = text_in(name, value);
  if (!text) return text.error();
  target = std::move(*text);
  return {};
}

template <class T, std::size_t n>
Result<void> choice_into(T& target, const std::string& name, const json& value,
                         const std::array<std::pair<std::string_view, T>, n>& choices) {
  std::string known;
  for (const auto& [word, meaning] : choices) {
    if (value == word) {
      target = meaning;
      return {};
    }
    known += (known.empty() ? "" : ", ") + std::string(word);
  }
  return usage(name + " must be one of " + known);
}

Result<void> names_into(std::vector<std::string>& target, const json& value) {
  const Error wrong = usage("depends_on must be an array of names of other lines");
  if (!value.is_array()) return wrong;
  for (const json& name : value) {
    if (!name.is_string()) return wrong;
    target.push_back(name.get<std::string>());
  }
  if (target.size() > task_dependencies_max)
    return usage("depends_on has " + std::to_string(target.size()) + " names, and at most " +
                 std::to_string(task_dependencies_max) + " are allowed");
  return {};
}

Result<std::vector<std::byte>> read_file(const std::string& name, std::uint64_t bytes_max) {
  const auto opened =
      posix_call("open " + name, [&] { return ::open(name.c_str(), O_RDONLY | O_CLOEXEC); });
  if (!opened) return opened.error();
  const UniqueFd file(*opened);
  std::vector<std::byte> bytes;
  std::array<std::byte, 65536> block;
  for (;;) {
    const auto got =
        posix_call("read " + name, [&] { return ::read(file.get(), block.data(), block.size()); });
    if (!got) return got.error();
    if (*got == 0) return bytes;
    bytes.insert(bytes.end(), block.begin(), block.begin() + *got);
    if (bytes.size() > bytes_max)
      return Error{ErrorCode::too_large,
                   name + " is larger than the pool of " + exact_size_text(bytes_max), 0};
  }
}

Result<void> payload_into(BatchLine& line, const std::string& member, const json& value,
                          std::uint64_t bytes_max) {
  const auto text = text_in(member, value);
  if (!text) return text.error();
  if (member == "payload") {
    const auto bytes = std::as_bytes(std::span(text->data(), text->size()));
    line.payload.assign(bytes.begin(), bytes.end());
    return {};
  }
  if (member == "payload_base64") {
    auto bytes = base64_decode(*text);
    if (!bytes) return usage("payload_base64 is no base64");
    line.payload = std::move(*bytes);
    return {};
  }
  auto bytes = read_file(*text, bytes_max);
  if (!bytes) return bytes.error();
  line.payload = std::move(*bytes);
  return {};
}

using Take = std::function<Result<void>(BatchLine&, const std::string& member, const json& value)>;

const std::map<std::string, Take>& members() {
  using Line = BatchLine;
  using Name = const std::string&;
  using Value = const json&;
  static constexpr std::array<std::pair<std::string_view, Priority>, priorities> priority_words{
      {{"critical", Priority::critical},
       {"high", Priority::high},
       {"normal", Priority::normal},
       {"low", Priority::low}}};
  static constexpr std::array<std::pair<std::string_view, OnDependencyFailure>, 3> policy_words{
      {{"fail", OnDependencyFailure::fail},
       {"skip", OnDependencyFailure::skip},
       {"run", OnDependencyFailure::run}}};
  static const std::map<std::string, Take> all{
      {"name", [](Line& l, Name n, Value v) { return text_into(l.name, n, v); }},
      {"capability", [](Line& l, Name n, Value v) { return text_into(l.capability, n, v); }},
      {"priority",
       [](Line& l, Name n, Value v) { return choice_into(l.priority, n, v, priority_words); }},
      {"category", [](Line& l, Name n, Value v) { return text_into(l.category, n, v); }},
      {"depends_on", [](Line& l, Name, Value v) { return names_into(l.depends_on, v); }},
      {"on_dependency_failure",
       [](Line& l, Name n, Value v) {
         return choice_into(l.options.on_dependency_failure, n, v, policy_words);
       }},
      {"timeout_ms",
       [](Line& l, Name n, Value v) { return number_into(l.timeout_ms, n, v, day_ms); }},
      {"deadline_ms",
       [](Line& l, Name n, Value v) { return number_into(l.options.deadline_ms, n, v, day_ms); }},
      {"retries",
       [](Line& l, Name n, Value v) { return number_into(l.options.retries, n, v, 255); }},
      {"retry_backoff_ms",
       [](Line& l, Name n, Value v) {
         return number_into(l.options.retry_backoff_ms, n, v, day_ms);
       }},
      {"min_version",
       [](Line& l, Name n, Value v) { return number_into(l.options.min_version, n, v); }},
      {"cpu_slots",
       [](Line& l, Name n, Value v) { return number_into(l.options.cpu_slots, n, v); }},
      {"resource_regions",
       [](Line& l, Name n, Value v) { return number_into(l.options.resource_regions, n, v); }},
      {"resource_bytes",
       [](Line& l, Name n, Value v) { return number_into(l.options.resource_bytes, n, v); }},
  };
  return all;
}

bool is_payload(const std::string& member) {
  return member == "payload" || member == "payload_base64" || member == "payload_file";
}

Result<void> take_all(BatchLine& line, const json& object, std::uint64_t payload_bytes_max) {
  bool has_payload = false;
  for (const auto& [member, value] : object.items()) {
    if (is_payload(member)) {
      if (has_payload)
        return usage("only one of payload, payload_base64 and payload_file can be the payload");
      has_payload = true;
      if (auto taken = payload_into(line, member, value, payload_bytes_max); !taken) return taken;
      continue;
    }
    const auto known = members().find(member);
    if (known == members().end()) return usage("unknown member \"" + member + "\"");
    if (auto taken = known->second(line, member, value); !taken) return taken;
  }
  if (line.capability.empty()) return usage("capability is missing");
  if (line.category.size() > task_category_bytes_max)
    return usage("category has at most " + std::to_string(task_category_bytes_max) + " bytes");
  return {};
}

}  // namespace

bool BatchLine::has_options() const {
  return !depends_on.empty() || !category.empty() || options.deadline_ms != 0 ||
         options.retries != 0 || options.retry_backoff_ms != 0 || options.min_version != 0 ||
         options.cpu_slots != 0 || options.resource_regions != 0 || options.resource_bytes != 0;
}

Result<BatchLine> parse_batch_line(std::string_view text, std::uint64_t line,
                                   std::uint64_t payload_bytes_max) {
  const std::string where = "line " + std::to_string(line);
  const json object = json::parse(text, nullptr, false);
  if (!object.is_object())
    return usage(where + ": it must be one JSON object, such as {\"capability\":\"echo\"}");
  BatchLine parsed;
  parsed.line = line;
  if (auto taken = take_all(parsed, object, payload_bytes_max); !taken)
    return with_context(taken.error(), where);
  return parsed;
}

}  // namespace micro_swarm::cli
