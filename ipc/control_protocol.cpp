#include "ipc/control_protocol.hpp"

#include <array>

namespace micro_swarm {

namespace {

constexpr std::array codes{ErrorCode::system,      ErrorCode::usage,     ErrorCode::config,
                           ErrorCode::not_running, ErrorCode::refused,   ErrorCode::protocol,
                           ErrorCode::not_found,   ErrorCode::model,     ErrorCode::too_large,
                           ErrorCode::timed_out,   ErrorCode::cancelled, ErrorCode::dead_letter,
                           ErrorCode::gave_up};

std::string text_of(const nlohmann::json& object, const char* key) {
  const auto member = object.find(key);
  return member != object.end() && member->is_string() ? member->get<std::string>() : std::string();
}

}  // namespace

nlohmann::json control_error(const Error& error) {
  return {{"schema", control_schema},
          {"error",
           {{"code", std::string(name_of(error.code))},
            {"exit", to_int(exit_code_of(error.code))},
            {"message", error.message}}},
          {"end", true}};
}

Error error_of_control_reply(const nlohmann::json& reply) {
  const auto member = reply.find("error");
  if (member == reply.end() || !member->is_object())
    return Error{ErrorCode::protocol, "the swarm sent an error without saying which"};
  const std::string code = text_of(*member, "code");
  const std::string message = text_of(*member, "message");
  for (const ErrorCode known : codes)
    if (name_of(known) == code) return Error{known, message};
  return Error{ErrorCode::protocol, code + ": " + message};
}

std::string control_line(const nlohmann::json& object) {
  return object.dump(-1, ' ', false, nlohmann::json::error_handler_t::replace) + "\n";
}

void merge_control_line(nlohmann::json line, nlohmann::json& whole) {
  for (auto& item : line.items()) {
    nlohmann::json& target = whole[item.key()];
    if (target.is_array() && item.value().is_array())
      target.insert(target.end(), item.value().begin(), item.value().end());
    else
      target = std::move(item.value());
  }
}

}  // namespace micro_swarm
