#pragma once

#include <sys/types.h>

#include <filesystem>
#include <optional>
#include <string>

#include "common/result.hpp"

namespace micro_swarm {

/// Whether this process can start others under uids of their own, from `first` to `last`, and still
/// signal them: it is uid 0, has CAP_SETUID, CAP_SETGID and CAP_KILL (capabilities(7)), and its
/// user namespace has these uids (/proc/self/uid_map, user_namespaces(7)). Error (system): what is
/// missing, as a sentence.
Result<void> can_give_uids(uid_t first, uid_t last);

/// Becomes `uid`, with the group of the same number (or `gid`) and no others, for good; clears the
/// death signal (PR_SET_PDEATHSIG). Error (system).
Result<void> become_uid(uid_t uid, std::optional<gid_t> gid = std::nullopt);

/// The first that bars another uid of its mode bits (not of access lists): `path` itself, where
/// others may not pass it (a directory) or read and run it (a file), or a directory above that they
/// may not pass, of the way it is named by or of the one that symbolic links lead to. "": none, or
/// there is no such path.
std::string closed_to_others(const std::filesystem::path& path);

}  // namespace micro_swarm
