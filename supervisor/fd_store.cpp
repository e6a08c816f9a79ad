#include "supervisor/fd_store.hpp"

#include <unistd.h>

namespace micro_swarm {

FdStore::~FdStore() {
  for (const int fd : fds_)
    if (fd >= 0) ::close(fd);
}

bool FdStore::keep(std::uint32_t key, UniqueFd fd) noexcept {
  if (key >= fds_.size() || !fd) return false;
  drop(key);
  fds_[key] = fd.release();
  ++size_;
  return true;
}

bool FdStore::drop(std::uint32_t key) noexcept {
  if (get(key) < 0) return false;
  ::close(fds_[key]);
  fds_[key] = -1;
  --size_;
  return true;
}

}  // namespace micro_swarm
