#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "supervisor/cli/cli.hpp"

namespace micro_swarm::cli {

/// How one task ended, for printing.
struct TaskEnd {
  std::uint64_t id = 0;
  std::string state;             ///< "done", "failed", ...
  std::vector<std::byte> bytes;  ///< the result; of a failed task its message
  unsigned attempts = 0;         ///< executions
};

/// `task submit`, in a file of its own: it goes through the client library, the others do not.
void add_task_submit(CLI::App& task, Cli& shared);

/// 0 done, 1 failed, 6 cancelled, 7 dead letter, 124 timed out; 0 for a task that has not ended.
int exit_code_of_state(std::string_view state);

/// The state in an answer: {"state":...} or {"task":{"state":...}}.
std::string task_state_of(const nlohmann::json& answer);

/// The bytes of a task.result answer: "inline_base64", or "offset" and "size" in the descriptor
/// beside it. Errors: protocol; system where the memory cannot be read.
Result<std::vector<std::byte>> result_bytes(const ControlLine& answer);

/// Bytes to `output`, or as they are to standard output; with --format json an object with
/// "result_base64" and, where it is text, "result_text". A failed task's message goes to stderr.
Result<void> print_result(const Cli& shared, const TaskEnd& end, const std::string& output);

}  // namespace micro_swarm::cli
