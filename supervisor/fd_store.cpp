#include "supervisor/fd_store.hpp"

#include <unistd.h>

#include <utility>

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

bool FdStore::move(std::uint32_t from, std::uint32_t to) noexcept {
  if (get(from) < 0 || to >= fds_.size()) return false;
  if (from == to) return true;
  UniqueFd fd(fds_[from]);
  fds_[from] = -1;
  --size_;
  return keep(to, std::move(fd));
}

}  // namespace micro_swarm
