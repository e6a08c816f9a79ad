#pragma once

// Named operations on bytes and tensors (docs/operations.md). A request is a line of JSON, the
// parameters, and the data behind it; data may come in pieces, each of whole elements. A function
// of its arguments each; one thread.

#include <cstddef>
#include <span>
#include <string_view>

#include "common/result.hpp"

namespace micro_swarm::operations {

/// Where the result goes, and whether to go on.
class Output {
 public:
  /// Room for the result; asking again starts over. Errors: too_large, timed_out, cancelled.
  virtual Result<std::span<std::byte>> room(std::size_t size_bytes) = 0;
  /// Only so much of the room is the result.
  virtual void shrink(std::size_t size_bytes) = 0;
  /// False: nobody wants the result any more. Called at least every few milliseconds.
  virtual bool go_on() = 0;

 protected:
  ~Output() = default;
};

using Pieces = std::span<const std::span<const std::byte>>;

/// What stands in a payload: the parameters' line, without its end, and the data behind it.
struct Request {
  std::string_view parameters;
  std::span<const std::byte> data;
};
/// Error (usage): no line of JSON at the beginning, or one of more than 4096 bytes.
Result<Request> split(std::span<const std::byte> payload);

/// Errors: usage (parameters, sizes), protocol (damaged data), too_large, timed_out, cancelled,
/// system (no memory). What the output has then means nothing.
using Function = Result<void> (*)(std::string_view parameters, Pieces data, Output& output);

struct Operation {
  std::string_view name;
  Function run;
};
std::span<const Operation> all();

}  // namespace micro_swarm::operations
