#include "supervisor/cancel_grace.hpp"

#include <fcntl.h>
#include <unistd.h>

#include <cstdlib>
#include <string>

#include "common/posix.hpp"

namespace micro_swarm {

std::optional<std::uint64_t> run_delay_ns(pid_t pid) {
  const std::string path = "/proc/" + std::to_string(pid) + "/schedstat";
  const UniqueFd file(::open(path.c_str(), O_RDONLY | O_CLOEXEC));
  char text[96] = {};
  if (!file || ::read(file.get(), text, sizeof text - 1) <= 0) return std::nullopt;
  char* second = nullptr;  // "RUN_NS DELAY_NS SLICES"
  std::strtoull(text, &second, 10);
  if (second == text) return std::nullopt;
  char* end = nullptr;
  const std::uint64_t delay = std::strtoull(second, &end, 10);
  if (end == second) return std::nullopt;
  return delay;
}

}  // namespace micro_swarm
