#pragma once

// Between root and the supervisor: one SEQPACKET socketpair per supervisor, fixed-size messages.
// Root takes five kinds, from the supervisor only, and parses nothing an agent sent. A request that
// was sent is as good as done: root serves what a dead supervisor sent before it starts the next.
// One packet holds up to root_batch_max requests, served in order, and their descriptors in the
// same order: all of a packet is done, or none of it.

#include <sys/types.h>

#include <cstddef>
#include <cstdint>
#include <type_traits>

#include "common/ids.hpp"

namespace micro_swarm {

enum class RootRequestKind : std::uint32_t {
  spawn_template = 1,  ///< key = template number; fds: the template's end of its socket,
                       ///< [write end of the pipe for its stdout and stderr]
  keep_fd,             ///< key = fd store key; fd. What was kept under the key is closed.
  drop_fd,             ///< key
  quit,                ///< value = exit code: kill what is left, remove socket and lock, exit
  move_fd,             ///< key, value = another key: what is kept there is kept here, and only here
};
struct RootRequest {
  RootRequestKind kind{};
  std::uint32_t key = 0;
  std::int64_t value = 0;
};
static_assert(sizeof(RootRequest) == 16 && std::is_trivially_copyable_v<RootRequest>);
inline constexpr std::size_t root_batch_max = 8;

enum class RootEventKind : std::uint32_t {
  reaped = 1,        ///< pid, status as of waitpid
  template_started,  ///< key = template number, pid; pid 0: it was not, status = errno
  signal,            ///< status = SIGTERM or SIGINT: drain; SIGHUP: reload
};
struct RootEvent {
  RootEventKind kind{};
  std::uint32_t key = 0;
  std::int32_t pid = 0;
  std::int32_t status = 0;
  std::uint64_t sequence = 0;  ///< counts events from 1, without a gap unless more than
                               ///< root_events_max had nobody to take them
};
static_assert(sizeof(RootEvent) == 24 && std::is_trivially_copyable_v<RootEvent>);

/// How many events root remembers.
inline constexpr std::uint32_t root_events_max = 1024;

/// The fd store: keys by purpose. Root knows numbers only; the supervisor gives them meaning.
inline constexpr std::uint32_t templates_max = 64;
namespace fd_key {
inline constexpr std::uint32_t party_socket = 0;                          // + party
inline constexpr std::uint32_t segment = party_socket + parties_max;      // + party
inline constexpr std::uint32_t bell = segment + parties_max;              // + party
inline constexpr std::uint32_t pidfd = bell + parties_max;                // + party
inline constexpr std::uint32_t log_pipe = pidfd + parties_max;            // + party
inline constexpr std::uint32_t pending_segment = log_pipe + parties_max;  // + party: registered,
                                                                          //   not yet in the roster
inline constexpr std::uint32_t template_socket = pending_segment + parties_max;  // + template
inline constexpr std::uint32_t template_log = template_socket + templates_max;
inline constexpr std::uint32_t bank = template_log + templates_max;  // + bank number
inline constexpr std::uint32_t control_channel = bank + 4096;        // of `run --control-fd`
inline constexpr std::uint32_t kind_changes =
    control_channel + 1;  // agent kinds added, models swapped
inline constexpr std::uint32_t count = kind_changes + 1;
}  // namespace fd_key

}  // namespace micro_swarm
