#pragma once

// Nameless shared memory: memfds with seals, mapped once.

#include <boost/interprocess/mapped_region.hpp>
#include <cstdint>
#include <span>

#include "common/posix.hpp"

namespace micro_swarm {

/// A mapping of a memfd, unmapped by the destructor. Owned by one process; a forked child has it
/// too unless `keep_from_children` was called (MADV_DONTFORK).
class Mapping {
 public:
  Mapping() noexcept = default;

  enum class Access { read_only, read_write };
  /// Maps `size_bytes` from offset 0. Errors: ErrorCode::system with the errno (EPERM where a seal
  /// forbids writing).
  static Result<Mapping> map(int fd, std::uint64_t size_bytes, Access access);

  std::byte* data() const noexcept { return static_cast<std::byte*>(region_.get_address()); }
  std::uint64_t size_bytes() const noexcept { return region_.get_size(); }
  explicit operator bool() const noexcept { return region_.get_size() != 0; }

  /// A fork must not carry the one writable mapping along (it would make two writers).
  Result<void> keep_from_children() const;
  /// Undoes keep_from_children, around the one fork that is meant to inherit the mapping.
  Result<void> give_to_children() const;

 private:
  explicit Mapping(boost::interprocess::mapped_region region) noexcept
      : region_(std::move(region)) {}
  boost::interprocess::mapped_region region_;
};

/// Creates a memfd of `size_bytes` (sparse), CLOEXEC, sealable, not executable where the kernel
/// knows that (MFD_NOEXEC_SEAL), mode 0444 so that no other uid can reopen it for writing.
/// `name` is what /proc shows, nothing can open it by it.
Result<UniqueFd> create_memfd(const char* name, std::uint64_t size_bytes);

/// Takes all pages of the memory now, zeroed, so that no store into it can fail later (SIGBUS).
/// They count as this process's group's. Errors (system): the machine, or the memory limit of the
/// group, has no room; what was taken so far goes back when the descriptor is closed.
Result<void> take_pages(int fd, std::uint64_t size_bytes);

/// Seals against resizing, new writers and further seals. The owner maps read-write BEFORE:
/// afterwards nobody can, itself included.
Result<void> seal_one_writer(int fd);
/// Seals against resizing only: for bell pages, which several parties write.
Result<void> seal_size(int fd);

enum class SealKind { one_writer, shared_bell };
/// What a receiver of a descriptor checks before it maps it: that it is a memfd (tmpfs), has the
/// seals, and has exactly the size. Errors: ErrorCode::protocol naming what is wrong.
Result<void> verify_memfd(int fd, std::uint64_t size_bytes, SealKind kind);

/// The same file, opened read-only: what is handed to others.
Result<UniqueFd> reopen_read_only(int fd);

}  // namespace micro_swarm
