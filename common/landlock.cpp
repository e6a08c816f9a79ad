#include "common/landlock.hpp"

#include <fcntl.h>
#include <linux/landlock.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "common/posix.hpp"

namespace micro_swarm::landlock {

namespace {

// Newer than the headers of Debian 12.
constexpr std::uint64_t access_truncate = 1ull << 14;    // ABI 3
constexpr std::uint64_t access_ioctl_dev = 1ull << 15;   // ABI 5
constexpr std::uint64_t net_bind_tcp = 1ull << 0;        // ABI 4
constexpr std::uint64_t net_connect_tcp = 1ull << 1;     // ABI 4
constexpr std::uint64_t scope_abstract_socket = 1 << 0;  // ABI 6
constexpr std::uint64_t scope_signal = 1 << 1;           // ABI 6

struct RulesetAttributes {
  std::uint64_t handled_access_fs = 0;
  std::uint64_t handled_access_net = 0;
  std::uint64_t scoped = 0;
};

constexpr std::uint64_t read_access =
    LANDLOCK_ACCESS_FS_EXECUTE | LANDLOCK_ACCESS_FS_READ_FILE | LANDLOCK_ACCESS_FS_READ_DIR;
constexpr std::uint64_t make_access =
    LANDLOCK_ACCESS_FS_REMOVE_DIR | LANDLOCK_ACCESS_FS_REMOVE_FILE | LANDLOCK_ACCESS_FS_MAKE_DIR |
    LANDLOCK_ACCESS_FS_MAKE_REG | LANDLOCK_ACCESS_FS_MAKE_SOCK | LANDLOCK_ACCESS_FS_MAKE_FIFO |
    LANDLOCK_ACCESS_FS_MAKE_SYM | LANDLOCK_ACCESS_FS_REFER;
constexpr std::uint64_t write_access =
    read_access | make_access | LANDLOCK_ACCESS_FS_WRITE_FILE | access_truncate | access_ioctl_dev;
constexpr std::uint64_t device_nodes = LANDLOCK_ACCESS_FS_MAKE_CHAR | LANDLOCK_ACCESS_FS_MAKE_BLOCK;
constexpr std::uint64_t file_access = LANDLOCK_ACCESS_FS_EXECUTE | LANDLOCK_ACCESS_FS_READ_FILE |
                                      LANDLOCK_ACCESS_FS_WRITE_FILE | access_truncate |
                                      access_ioctl_dev;

/// The kernel refuses what it does not know.
RulesetAttributes attributes(int abi, bool tcp) {
  RulesetAttributes wanted{write_access | device_nodes, net_bind_tcp | net_connect_tcp,
                           scope_abstract_socket | scope_signal};
  if (abi < 2) wanted.handled_access_fs &= ~std::uint64_t{LANDLOCK_ACCESS_FS_REFER};
  if (abi < 3) wanted.handled_access_fs &= ~access_truncate;
  if (abi < 5) wanted.handled_access_fs &= ~access_ioctl_dev;
  if (abi < 4 || tcp) wanted.handled_access_net = 0;
  if (abi < 6) wanted.scoped = 0;
  return wanted;
}

Result<void> allow(int ruleset, const std::string& path, std::uint64_t access) {
  const auto opened =
      posix_call("open " + path, [&] { return ::open(path.c_str(), O_PATH | O_CLOEXEC); });
  if (!opened) return opened.error();
  const UniqueFd file(*opened);
  struct stat there {};
  if (::fstat(file.get(), &there) != 0) return system_error("stat " + path, errno);
  landlock_path_beneath_attr rule{};
  rule.allowed_access = S_ISDIR(there.st_mode) ? access : access & file_access;
  rule.parent_fd = file.get();
  if (rule.allowed_access == 0) return {};
  const auto added = posix_call("landlock_add_rule " + path, [&] {
    return ::syscall(SYS_landlock_add_rule, ruleset, LANDLOCK_RULE_PATH_BENEATH, &rule, 0);
  });
  if (!added) return added.error();
  return {};
}

}  // namespace

int abi() noexcept {
  const long version =
      ::syscall(SYS_landlock_create_ruleset, nullptr, 0, LANDLOCK_CREATE_RULESET_VERSION);
  return version > 0 ? static_cast<int>(version) : 0;
}

std::string missing_with(int abi) {
  if (abi >= 6) return {};
  const std::string has = "Landlock ABI " + std::to_string(abi) + " ";
  if (abi <= 0) return "no Landlock: files, tracing and signals are left to uids and seccomp";
  if (abi < 3) return has + "does not bar signals, TCP and truncating files";
  if (abi < 4) return has + "does not bar signals and TCP";
  return has + "does not bar signals";
}

Result<void> restrict(const Rules& rules) {
  const RulesetAttributes wanted = attributes(abi(), rules.tcp);
  const auto made = posix_call("landlock_create_ruleset", [&] {
    return static_cast<int>(::syscall(SYS_landlock_create_ruleset, &wanted, sizeof wanted, 0));
  });
  if (!made) return made.error();
  const UniqueFd ruleset(*made);
  for (const std::string& path : rules.readable)
    if (auto done = allow(*made, path, wanted.handled_access_fs & read_access); !done) return done;
  for (const std::string& path : rules.writable)
    if (auto done = allow(*made, path, wanted.handled_access_fs & write_access); !done) return done;
  const auto entered = posix_call("landlock_restrict_self", [&] {
    return ::syscall(SYS_landlock_restrict_self, ruleset.get(), 0);
  });
  if (!entered) return entered.error();
  return {};
}

}  // namespace micro_swarm::landlock
