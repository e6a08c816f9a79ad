#pragma once

#include <cstddef>
#include <nlohmann/json.hpp>
#include <string_view>

#include "common/result.hpp"

/// The control socket's language: newline-delimited JSON, described in docs/control-protocol.md.
namespace micro_swarm {

/// Version of every object on the control socket and of `--format json`.
inline constexpr int control_schema = 1;

/// A request line, its newline included; longer ones get one error reply and the connection ends.
inline constexpr std::size_t control_request_bytes_max = std::size_t{1} << 20;

/// Descriptors beside one reply line (posix.hpp carries up to 16 a message).
inline constexpr std::size_t control_fds_per_line_max = 16;

/// {"schema":1,"error":{"code":"refused","exit":5,"message":"..."},"end":true}
nlohmann::json control_error(const Error& error);

/// The Error of a reply object that has an "error" member. Unknown codes become ErrorCode::protocol
/// with the text kept.
Error error_of_control_reply(const nlohmann::json& reply);

/// A reply line's text: UTF-8 that is not valid is replaced, so sending can never throw.
std::string control_line(const nlohmann::json& object);

/// Joins the lines of an answer: arrays of the same name grow, other members are replaced.
void merge_control_line(nlohmann::json line, nlohmann::json& whole);

}  // namespace micro_swarm
