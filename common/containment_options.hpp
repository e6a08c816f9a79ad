#pragma once

// What one kind of agent may do on the machine beside its work (docs/security.md).

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

namespace micro_swarm {

inline constexpr std::uint64_t memory_limit_default = std::uint64_t{2} << 30;

struct ContainmentOptions {
  bool enabled = true;
  /// External: files and directories, with all that is below, that it may read and execute.
  std::vector<std::string> readable{"/"};
  /// External: and that it may write, too. Absolute once loaded, as `readable`.
  std::vector<std::string> writable;
  /// Bytes of private memory of each of its processes, beyond what it has from its template; 0 = no
  /// limit.
  std::uint64_t memory_limit = memory_limit_default;
  /// Processes and threads that one agent may have; holds where it has a uid of its own.
  std::uint32_t processes_max = 64;
  /// Whom its agents become where the swarm runs as uid 0; unset: one of containment.uid_base each.
  std::optional<std::uint32_t> uid;

  friend bool operator==(const ContainmentOptions&, const ContainmentOptions&) = default;
};

}  // namespace micro_swarm
