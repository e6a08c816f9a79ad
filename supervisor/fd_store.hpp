#pragma once

#include <array>
#include <cstddef>
#include <cstdint>

#include "common/posix.hpp"
#include "supervisor/root_protocol.hpp"

namespace micro_swarm {

/// Descriptors under numbers: what root keeps for supervisors, who inherit them by fork with the
/// same descriptor numbers. Root knows keys only; what they mean is fd_key's business.
/// Owner: root. Fixed size, allocates nothing. A supervisor reads its inherited copy and owns the
/// descriptors it finds there; what it closes stays open in root until it asks for drop_fd.
class FdStore {
 public:
  FdStore() noexcept { fds_.fill(-1); }
  ~FdStore();
  FdStore(const FdStore&) = delete;
  FdStore& operator=(const FdStore&) = delete;

  /// Takes `fd`; what was kept under the key is closed. False (and `fd` is closed): no such key.
  bool keep(std::uint32_t key, UniqueFd fd) noexcept;
  /// Closes what is kept under the key. False: no such key, or nothing was there.
  bool drop(std::uint32_t key) noexcept;

  /// What is kept under `from` is kept under `to`, in place of what was. False: there is nothing.
  bool move(std::uint32_t from, std::uint32_t to) noexcept;

  /// The descriptor kept under the key, -1 for none.
  int get(std::uint32_t key) const noexcept { return key < fds_.size() ? fds_[key] : -1; }
  std::size_t size() const noexcept { return size_; }

  /// Calls f(key, fd) for each, by ascending key.
  template <class F>
  void for_each(F&& f) const {
    for (std::uint32_t key = 0; key < fds_.size(); ++key)
      if (fds_[key] >= 0) f(key, fds_[key]);
  }

 private:
  std::array<int, fd_key::count> fds_;
  std::size_t size_ = 0;
};

}  // namespace micro_swarm
