#pragma once

#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <string_view>

#include "shm/segment.hpp"

namespace micro_swarm {

/// What is known of an agent that died.
struct Death {
  PartyId agent = no_party;
  std::string_view kind;
  Incarnation incarnation = 0;
  pid_t pid = 0;
  std::uint64_t uptime_ns = 0;
  std::string_view killed_because;       ///< empty: not killed by the supervisor
  std::string_view last_line;            ///< that it wrote; empty: it wrote nothing
  const SegmentView* segment = nullptr;  ///< of the id's last registered life, which may be older
};

/// Who died, with what in hand, after how long, and its last flight-recorder events. What is read
/// from the dead segment is input: bounded, never an index.
nlohmann::json death_certificate(const Death& death);

/// And of what. `status` as of waitpid; none: nobody told, or it died before it had a pid we know.
void add_cause(nlohmann::json& certificate, std::optional<int> status);

/// A certificate in a sentence: of what, how old, whether it had been ready, its last line.
std::string death_text(const nlohmann::json& certificate);

/// "signal 9 (Killed)" or "exit code 3", from a status of waitpid.
std::string text_of_status(int status);

}  // namespace micro_swarm
