#include "shm/memfd.hpp"

#include <fcntl.h>
#include <linux/magic.h>
#include <linux/memfd.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/statfs.h>
#include <unistd.h>

#include <array>
#include <boost/interprocess/exceptions.hpp>
#include <cstdio>
#include <string>

namespace micro_swarm {

namespace {

// Newer than the headers of Debian 12.
#ifndef MFD_NOEXEC_SEAL
#define MFD_NOEXEC_SEAL 0x0008U
#endif

/// What Boost.Interprocess wants to see of a mappable object.
struct MemfdMappable {
  int fd;
  boost::interprocess::mapping_handle_t get_mapping_handle() const {
    boost::interprocess::mapping_handle_t handle{};
    handle.handle = fd;
    handle.is_xsi = false;
    return handle;
  }
};

Result<void> advise(const Mapping& mapping, int advice, std::string_view what) {
  if (::madvise(mapping.data(), mapping.size_bytes(), advice) != 0)
    return system_error(what, errno);
  return {};
}

Result<void> add_seals(int fd, unsigned seals) {
  if (::fcntl(fd, F_ADD_SEALS, seals) != 0) return system_error("fcntl(F_ADD_SEALS)", errno);
  return {};
}

constexpr unsigned size_seals = F_SEAL_GROW | F_SEAL_SHRINK | F_SEAL_SEAL;
constexpr unsigned writer_seals = size_seals | F_SEAL_FUTURE_WRITE;

}  // namespace

Result<Mapping> Mapping::map(int fd, std::uint64_t size_bytes, Access access) {
  namespace bip = boost::interprocess;
  try {
    return Mapping(bip::mapped_region(
        MemfdMappable{fd}, access == Access::read_only ? bip::read_only : bip::read_write, 0,
        static_cast<std::size_t>(size_bytes)));
  } catch (const bip::interprocess_exception& e) {
    return Error{ErrorCode::system, std::string("mmap: ") + e.what(), e.get_native_error()};
  }
}

Result<void> Mapping::keep_from_children() const {
  return advise(*this, MADV_DONTFORK, "madvise(MADV_DONTFORK)");
}

Result<void> Mapping::give_to_children() const {
  return advise(*this, MADV_DOFORK, "madvise(MADV_DOFORK)");
}

Result<UniqueFd> create_memfd(const char* name, std::uint64_t size_bytes) {
  constexpr unsigned flags = MFD_CLOEXEC | MFD_ALLOW_SEALING;
  int raw = ::memfd_create(name, flags | MFD_NOEXEC_SEAL);
  if (raw < 0 && errno == EINVAL) raw = ::memfd_create(name, flags);  // before Linux 6.3
  if (raw < 0)
    return with_context(system_error("memfd_create", errno),
                        "this kernel must allow sealable memfds (see `microswarm doctor`)");
  UniqueFd fd(raw);
  if (::ftruncate(fd.get(), static_cast<off_t>(size_bytes)) != 0)
    return system_error("ftruncate(memfd)", errno);
  if (::fchmod(fd.get(), 0444) != 0) return system_error("fchmod(memfd)", errno);
  return fd;
}

Result<void> take_pages(int fd, std::uint64_t size_bytes) {
  const auto taken = posix_call(
      "fallocate(memfd)", [&] { return ::fallocate(fd, 0, 0, static_cast<off_t>(size_bytes)); });
  if (!taken)
    return with_context(taken.error(), "no memory for " + std::to_string(size_bytes) + " bytes");
  return {};
}

Result<void> seal_one_writer(int fd) { return add_seals(fd, writer_seals); }
Result<void> seal_size(int fd) { return add_seals(fd, size_seals); }

Result<void> verify_memfd(int fd, std::uint64_t size_bytes, SealKind kind) {
  const auto wrong = [](std::string text) {
    return Error{ErrorCode::protocol, "shared memory refused: " + std::move(text), 0};
  };
  struct statfs fs {};
  if (::fstatfs(fd, &fs) != 0 || fs.f_type != TMPFS_MAGIC) return wrong("not a memfd");
  const int seals = ::fcntl(fd, F_GET_SEALS);
  if (seals < 0) return wrong("it takes no seals");
  const unsigned needed = kind == SealKind::one_writer ? writer_seals : size_seals;
  if ((static_cast<unsigned>(seals) & needed) != needed) {
    char text[96];
    std::snprintf(text, sizeof text, "seals are 0x%x, 0x%x are needed", seals, needed);
    return wrong(text);
  }
  struct stat st {};
  if (::fstat(fd, &st) != 0) return system_error("fstat(memfd)", errno);
  if (static_cast<std::uint64_t>(st.st_size) != size_bytes)
    return wrong("size is " + std::to_string(st.st_size) + " bytes, expected " +
                 std::to_string(size_bytes));
  return {};
}

Result<UniqueFd> reopen_read_only(int fd) {
  std::array<char, 32> path{};
  std::snprintf(path.data(), path.size(), "/proc/self/fd/%d", fd);
  const int reopened = ::open(path.data(), O_RDONLY | O_CLOEXEC);
  if (reopened < 0) return system_error("open(/proc/self/fd/N) read-only", errno);
  return UniqueFd(reopened);
}

}  // namespace micro_swarm
