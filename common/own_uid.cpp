#include "common/own_uid.hpp"

#include <grp.h>
#include <linux/capability.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <fstream>
#include <string>

#include "common/posix.hpp"

namespace micro_swarm {

namespace {

/// Of uids or gids: whether one line of the map has both.
bool are_mapped(const char* map, std::uint64_t first, std::uint64_t last) {
  std::ifstream file(map);
  for (std::uint64_t inside = 0, outside = 0, count = 0; file >> inside >> outside >> count;)
    if (first >= inside && last < inside + count) return true;
  return false;
}

bool has_capabilities() {
  __user_cap_header_struct header{_LINUX_CAPABILITY_VERSION_3, 0};
  __user_cap_data_struct sets[2]{};
  if (::syscall(SYS_capget, &header, sets) != 0) return false;
  constexpr std::uint32_t needed = 1u << CAP_SETUID | 1u << CAP_SETGID | 1u << CAP_KILL;
  return (sets[0].effective & needed) == needed;
}

Result<void> must(const char* what, int result) {
  if (result != 0) return system_error(what, errno);
  return {};
}

Error missing(std::string text) { return Error{ErrorCode::system, std::move(text), 0}; }

}  // namespace

Result<void> can_give_uids(uid_t first, uid_t last) {
  if (::geteuid() != 0) return missing("the swarm does not run as uid 0");
  if (!has_capabilities())
    return missing("the swarm lacks one of the capabilities SETUID, SETGID, KILL");
  if (!are_mapped("/proc/self/uid_map", first, last) ||
      !are_mapped("/proc/self/gid_map", first, last))
    return missing("the uids " + std::to_string(first) + " to " + std::to_string(last) +
                   " do not exist in this container; set containment.uid_base to others");
  return {};
}

Result<void> become_uid(uid_t uid, std::optional<gid_t> gid_or_same) {
  const gid_t gid = gid_or_same.value_or(uid);
  if (auto done = must("setgroups", ::setgroups(0, nullptr)); !done) return done;
  if (auto done = must("setresgid", ::setresgid(gid, gid, gid)); !done) return done;
  return must("setresuid", ::setresuid(uid, uid, uid));
}

std::string closed_to_others(const std::filesystem::path& path) {
  struct stat status {};
  if (::stat(path.c_str(), &status) != 0) return {};  // whoever needs it says so
  if ((status.st_mode & (S_ISDIR(status.st_mode) ? S_IXOTH : S_IROTH | S_IXOTH)) == 0)
    return path.string();
  std::error_code failure;  // of a path that is not absolute, or goes away: the other one tells
  for (const auto& way : {path, std::filesystem::canonical(path, failure)})
    for (auto above = way.parent_path(); !above.empty(); above = above.parent_path()) {
      if (::stat(above.c_str(), &status) == 0 && (status.st_mode & S_IXOTH) == 0)
        return above.string();
      if (above == above.parent_path()) break;
    }
  return {};
}

}  // namespace micro_swarm
