#pragma once

// Landlock, the kernel's sandbox for unprivileged processes: landlock(7), and for what each ABI
// added, Documentation/userspace-api/landlock.rst.

#include <cstdint>
#include <span>
#include <string>

#include "common/result.hpp"

namespace micro_swarm::landlock {

/// 0: the kernel has none, or the sandbox around us hides it (errno says which).
int abi() noexcept;

/// What the domains that restrict() makes keep apart with an ABI: one sentence; "" where that is
/// all there is to keep apart (6 and later).
std::string missing_with(int abi);

struct Rules {
  /// Files, and directories with all that is below; they must exist.
  std::span<const std::string> readable;  ///< and executable
  std::span<const std::string> writable;  ///< and readable
  /// TCP, which is left as it is, or barred.
  bool tcp = false;
};

/// The calling thread, which must be the process's only one, enters a domain of its own, for life
/// and for all it starts: it opens no file but those of `rules`; it traces nobody outside, nor
/// looks into their memory and descriptors; and, from ABI 6 on, sends no signal and connects to no
/// abstract socket outside. Descriptors that are open already stay usable, memfds are not
/// concerned. Precondition: no_new_privs is set, abi() > 0. Error (system) names the path or call
/// that failed.
Result<void> restrict(const Rules& rules);

}  // namespace micro_swarm::landlock
