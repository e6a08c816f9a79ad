#pragma once

// What an agent may no longer do once it is an agent: docs/security.md says what each layer stops.

#include <optional>
#include <string>

#include "agentproc/syscall_filter.hpp"
#include "ipc/template_protocol.hpp"

namespace micro_swarm {

/// Put together in a template, entered by each of its agents.
class Containment {
 public:
  /// Makes what agents of the kind have in common and looks what this kernel has; tries the paths
  /// that are named. Error (config, system): with what it is about, and what to change.
  static Result<Containment> plan(const TemplateSpec& spec);

  /// What this kernel does not have of it, one sentence each, ";" between; "": it has all, or the
  /// kind is not contained.
  std::string missing() const;

  /// The calling process, single-threaded, with no_new_privs set, becomes `uid` (0: it stays who it
  /// is), dies with `root`, its parent, and is contained for life. `files`: the directory that is
  /// its own, made by prepare(); may be empty. Order: identity, death signal (which a change of
  /// identity clears), dumpable, limits, Landlock, seccomp. Error (system): it must not go on.
  Result<void> enter(std::uint32_t uid, pid_t root, const std::string& files) const;

 private:
  Result<void> limit(bool has_own_uid) const;
  Result<void> enter_landlock(const std::string& files) const;

  ContainmentOptions options_;
  bool is_external_ = false;
  std::uint64_t data_max_ = 0, address_space_max_ = 0;  ///< bytes
  int landlock_abi_ = 0;
  std::optional<SyscallFilter> filter_;
};

}  // namespace micro_swarm
