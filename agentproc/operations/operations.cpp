#include "agentproc/operations/operations.hpp"

#include <algorithm>

#include "agentproc/operations/families.hpp"

namespace micro_swarm::operations {

namespace {
constexpr std::size_t parameters_bytes_max = 4096;

constexpr Operation table[] = {{"bytes.hash", bytes_hash},
                               {"bytes.compress", bytes_compress},
                               {"bytes.decompress", bytes_decompress},
                               {"bytes.histogram", bytes_histogram},
                               {"tensor.map", tensor_map},
                               {"tensor.filter", tensor_filter},
                               {"tensor.convert", tensor_convert},
                               {"tensor.reduce", tensor_reduce},
                               {"tensor.statistics", tensor_statistics},
                               {"tensor.histogram", tensor_histogram}};
}  // namespace

std::span<const Operation> all() { return table; }

Result<Request> split(std::span<const std::byte> payload) {
  const auto head = payload.first(std::min(payload.size(), parameters_bytes_max));
  const auto end = std::find(head.begin(), head.end(), std::byte{'\n'});
  // A request whose data are all results of other tasks may leave out the line's end.
  if (head.empty() || head.front() != std::byte{'{'} ||
      (end == head.end() && payload.size() > parameters_bytes_max))
    return Error{ErrorCode::usage,
                 "the payload begins with a line of JSON, such as {\"type\":\"float32\"}, of at "
                 "most 4096 bytes; the data follow",
                 0};
  const auto bytes = static_cast<std::size_t>(end - head.begin());
  return Request{{reinterpret_cast<const char*>(payload.data()), bytes},
                 payload.subspan(std::min(bytes + 1, payload.size()))};
}

}  // namespace micro_swarm::operations
