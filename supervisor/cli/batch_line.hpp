#pragma once

// One line of `task submit --batch`: a JSON object that says one task. Pure, but for the file a
// payload may be read from.

#include <cstddef>
#include <string>
#include <string_view>
#include <vector>

#include "common/result.hpp"
#include "ipc/client.hpp"

namespace micro_swarm::cli {

struct BatchLine {
  std::uint64_t line = 0;  ///< in the input, from 1
  std::string name;        ///< empty = it has none
  std::string capability;
  Priority priority = Priority::normal;
  std::vector<std::byte> payload;
  std::uint32_t timeout_ms = 0;
  std::vector<std::string> depends_on;  ///< names of other lines
  std::string category;
  TaskOptions options;  ///< its `depends_on` and `category` are for the caller to fill

  bool has_options() const;
};

/// `payload_bytes_max`: a file larger than that is refused unread. Errors: usage, beginning with
/// "line N: "; of a file that cannot be read, system.
Result<BatchLine> parse_batch_line(std::string_view text, std::uint64_t line,
                                   std::uint64_t payload_bytes_max);

}  // namespace micro_swarm::cli
