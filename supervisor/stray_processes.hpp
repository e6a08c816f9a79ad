#pragma once

// Processes nobody asked for: what agents leave behind when they die. Root is a child subreaper,
// so whatever an agent forked, however deep and with or without setsid, becomes a child of root
// once everybody above it is dead. There it is found.

#include <sys/types.h>

#include <cstddef>
#include <cstdint>
#include <functional>
#include <span>
#include <vector>

namespace micro_swarm {

/// One process as /proc/PID/stat shows it. {pid, start_ticks} names one life of it.
struct ProcessInfo {
  pid_t pid = 0;
  pid_t parent = 0;
  pid_t group = 0;
  pid_t session = 0;
  char state = '?';  ///< 'Z': dead, not reaped yet
  std::uint64_t start_ticks = 0;
};

/// False: there is no such process (or no /proc). Allocates nothing.
bool read_process(pid_t pid, ProcessInfo& info) noexcept;

/// Direct children of a single-threaded process, zombies too: fills `out` and returns how many it
/// holds; children that start or end meanwhile may be missed, so ask until the answer is empty.
/// -1 with errno: /proc is not readable. Allocates nothing.
int list_children(pid_t parent, std::span<pid_t> out) noexcept;

namespace detail {
/// /proc/PID/task/PID/children; -1 with ENOENT where the kernel lacks CONFIG_PROC_CHILDREN.
int list_children_from_kernel(pid_t parent, std::span<pid_t> out) noexcept;
/// The same from the parent field of every process there is.
int list_children_by_scan(pid_t parent, std::span<pid_t> out) noexcept;
}  // namespace detail

/// Kills and counts strays: children of root that are neither known nor of a known session. Used
/// by the supervisor; root itself, when it quits, kills every child it has.
///
/// A process counts as an agent's descendant by its no_new_privs flag, which every template sets
/// and nobody can clear: orphans that a PID-1 root gets from elsewhere (say, out of `docker exec`)
/// are reaped by root but never killed. Tested by root.strays.
class StraySweeper {
 public:
  explicit StraySweeper(pid_t root_pid);

  /// One pass, which waits for nothing; returns how many processes it killed. `is_known(pid)` says
  /// whether a pid is the supervisor, a template, or a party that lives (or is being started).
  /// Call it at every death root reports: what a killed stray leaves behind shows up at its own.
  /// Precondition: no spawn_template and no SpawnRequest is unanswered, else the newborn, whose pid
  /// nobody has told yet, would be taken for a stray.
  unsigned sweep(const std::function<bool(pid_t)>& is_known);

 private:
  bool is_stray(const ProcessInfo& info, const std::function<bool(pid_t)>& is_known) const;

  struct Life {
    pid_t pid;
    std::uint64_t start_ticks;
    friend bool operator==(const Life&, const Life&) = default;
  };
  pid_t root_pid_;
  std::vector<pid_t> children_;
  std::vector<Life> killed_;  ///< may still be seen until their death is through
};

}  // namespace micro_swarm
