#include "supervisor/log_pipe.hpp"

#include <fcntl.h>
#include <unistd.h>

namespace micro_swarm {

Result<std::pair<UniqueFd, UniqueFd>> make_log_pipe() {
  int ends[2];
  if (::pipe2(ends, O_CLOEXEC) != 0) return system_error("pipe2", errno);
  ::fcntl(ends[0], F_SETFL, O_NONBLOCK);
  return std::pair{UniqueFd(ends[0]), UniqueFd(ends[1])};
}

}  // namespace micro_swarm
