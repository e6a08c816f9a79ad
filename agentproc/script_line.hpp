#pragma once

// The lines between an agent and its script: one JSON object a task, one back. Pure.

#include <cstddef>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "common/ids.hpp"
#include "common/result.hpp"

namespace micro_swarm {

/// Payloads and inputs up to here are in the line, larger ones in files.
inline constexpr std::size_t script_line_payload_bytes_max = std::size_t{64} << 10;
/// The longest answer; what is larger is for result_path.
inline constexpr std::size_t script_line_bytes_max = std::size_t{1} << 20;

/// Bytes as a script is given them: where they lie, or the path of a file that holds them.
struct ScriptBytes {
  std::span<const std::byte> bytes;
  std::string path;  ///< empty: in the line
};

struct ScriptInput {
  TaskId task = 0;
  std::string_view state;
  ScriptBytes result;
};

struct ScriptRequest {
  TaskId task = 0;
  unsigned attempt = 0;
  std::string_view capability;
  std::vector<ScriptInput> inputs;
  ScriptBytes payload;
};

/// With its newline. The payload is the last member, for scripts that cut it out.
std::string script_request_line(const ScriptRequest& request);

struct ScriptAnswer {
  enum class Kind { result, path, error, progress };
  Kind kind = Kind::error;
  std::string text;  ///< the result's bytes, its path, or why it failed
};

/// Error (protocol): not an answer to `task`, and why.
Result<ScriptAnswer> read_script_answer(std::string_view line, TaskId task);

/// At most `bytes_max` of the start or the end, without half characters and newlines at the end.
std::string head_of(std::string_view text, std::size_t bytes_max);
std::string tail_of(std::string_view text, std::size_t bytes_max);

}  // namespace micro_swarm
