#pragma once

// The template socket: SEQPACKET between the supervisor and one template process.
// supervisor -> template: first one `TemplateSpec` packet (JSON text, up to 16 KiB: the kind's name,
// "kind": generic|neural|external, capabilities as [{"name","id"}], model path, command, environment,
// log level), then SpawnRequest packets with fds [party socket, stdout/stderr pipe write end].
// template -> supervisor: one TemplateReady after the spec was loaded (or its error), then one
// SpawnReply per request with the pidfd beside it (none on error).

#include <cstdint>
#include <type_traits>

namespace micro_swarm {

inline constexpr std::size_t template_spec_bytes_max = 16384;

struct SpawnRequest {
  std::uint16_t party = 0;
  std::uint16_t incarnation = 0;
  std::uint32_t reserved = 0;
};
static_assert(std::is_trivially_copyable_v<SpawnRequest>);

enum class TemplateMessageKind : std::uint32_t { ready = 1, load_failed, spawned, spawn_failed };

struct TemplateMessage {
  TemplateMessageKind kind{};
  std::uint16_t party = 0;
  std::uint16_t incarnation = 0;
  std::int32_t pid = 0;
  std::int32_t sys_errno = 0;
  char text[240] = {};  ///< load_failed: why
};
static_assert(std::is_trivially_copyable_v<TemplateMessage>);

/// Body of a template process. `socket` and `log_pipe` (its stdout and stderr, may be -1) are its
/// only descriptors besides what it opens itself. Returns when the socket closes (the swarm ends).
/// Precondition: single-threaded, PR_SET_PDEATHSIG set by the caller.
[[noreturn]] void template_main(int socket, int log_pipe);

}  // namespace micro_swarm
