#pragma once

// The template socket: SEQPACKET between the supervisor and one template process.
//
// supervisor -> template: first one TemplateSpec packet (JSON) with the descriptor [supervisor's
//   segment], which may be missing, then SpawnRequest packets with the descriptors [party socket,
//   stdout/stderr pipe write end]; the pipe may be missing.
// template -> supervisor: one TemplateMessage `ready` or `load_failed` after the spec (after
//   load_failed the template exits), then one `spawned` (with the pidfd beside it) or
//   `spawn_failed` per SpawnRequest, in their order.
//
// The supervisor's end is kept by root, so a template outlives supervisors; answers nobody read
// yet wait for the next one. The template ends when that end is closed.

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <type_traits>
#include <vector>

#include "common/config.hpp"
#include "common/result.hpp"

namespace micro_swarm {

inline constexpr std::size_t template_spec_bytes_max = 16384;

/// What a template must know to make agents of one kind.
struct TemplateSpec {
  struct Capability {
    std::string name;
    std::uint16_t id = 0;  ///< index in the supervisor's capability table
  };
  std::string name;  ///< of the agent kind
  AgentKind kind = AgentKind::generic;
  std::vector<Capability> capabilities;
  std::string model;                                    ///< neural: path of the ONNX file
  std::map<std::string, std::string> models;            ///< neural: instead, one by capability
  std::vector<std::string> plugins;                     ///< generic: shared libraries
  std::vector<std::string> command;                     ///< external: argv, never empty
  std::map<std::string, std::string> environment;       ///< external: added to its environment
  AgentInterface interface = AgentInterface::protocol;  ///< external: what the command speaks
  std::string files_directory;      ///< external: where files are exchanged with scripts; absolute
  std::uint32_t stop_grace_ms = 0;  ///< external: from SIGTERM to SIGKILL of a script
  std::uint32_t batch_max = 1;      ///< neural, as in AgentSpec
  std::uint32_t batch_delay_us = 0;
  std::uint32_t qubits = qubits_default;  ///< quantum: of its largest circuit
  LogLevel log_level = LogLevel::info;
  ContainmentOptions containment;
  /// Bytes of shared memory that one agent may have to map.
  std::uint64_t shared_bytes = 0;
  /// Neural, where the swarm runs as uid 0: whom to become before the model is parsed.
  std::optional<std::uint32_t> uid;
  std::optional<std::uint32_t> gid;  ///< default: the same number as `uid`
};

/// One packet. Errors name the kind: too_large (more than template_spec_bytes_max), config (a text
/// that is not UTF-8).
Result<std::string> encode_template_spec(const TemplateSpec& spec);
/// Error (protocol): not what encode_template_spec writes.
Result<TemplateSpec> decode_template_spec(std::string_view packet);

struct SpawnRequest {
  std::uint16_t party = 0;
  std::uint16_t incarnation = 0;
  std::uint32_t uid = 0;  ///< whom the agent becomes, its group, too; 0: the template's
};
static_assert(sizeof(SpawnRequest) == 8 && std::is_trivially_copyable_v<SpawnRequest>);

enum class TemplateMessageKind : std::uint32_t { ready = 1, load_failed, spawned, spawn_failed };

struct TemplateMessage {
  TemplateMessageKind kind{};
  std::uint16_t party = 0;
  std::uint16_t incarnation = 0;
  std::int32_t pid = 0;        ///< spawned: of the agent; ready: of the template
  std::int32_t sys_errno = 0;  ///< spawn_failed
  char text[240] = {};         ///< load_failed, spawn_failed: why; NUL-terminated
};
static_assert(sizeof(TemplateMessage) == 256 && std::is_trivially_copyable_v<TemplateMessage>);

}  // namespace micro_swarm
