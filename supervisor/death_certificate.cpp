#include "supervisor/death_certificate.hpp"

#include <sys/wait.h>

#include <algorithm>
#include <cstdio>
#include <cstring>

#include "common/clock.hpp"

namespace micro_swarm {

namespace {
std::string_view name_of(FlightCode code) {
  switch (code) {
    case FlightCode::none: return "none";
    case FlightCode::registered: return "registered";
    case FlightCode::live: return "live";
    case FlightCode::dispatch_received: return "dispatch_received";
    case FlightCode::dispatch_skipped: return "dispatch_skipped";
    case FlightCode::handler_started: return "handler_started";
    case FlightCode::handler_finished: return "handler_finished";
    case FlightCode::completed: return "completed";
    case FlightCode::bank_mapped: return "bank_mapped";
    case FlightCode::cancel_seen: return "cancel_seen";
    case FlightCode::drain_seen: return "drain_seen";
    case FlightCode::parked: return "parked";
    case FlightCode::guard_write_after_hand_over: return "guard_write_after_hand_over";
    case FlightCode::guard_touch_after_release: return "guard_touch_after_release";
    case FlightCode::guard_write_past_end: return "guard_write_past_end";
    case FlightCode::guard_address: return "guard_address";
    case FlightCode::guard_instruction: return "guard_instruction";
    case FlightCode::guard_bytes_asked: return "guard_bytes_asked";
  }
  return "unknown";
}

constexpr std::uint32_t flight_events_in_certificate = 8;

/// The last entries of a dead process's recorder. Its bytes are input: the count is bounded.
nlohmann::json last_flight_events(const SegmentView& segment) {
  nlohmann::json events = nlohmann::json::array();
  const FlightRecorder& recorder = segment.recorder();
  const std::uint64_t count = load(recorder.count);
  const std::uint64_t shown = std::min<std::uint64_t>(count, flight_events_in_certificate);
  for (std::uint64_t n = count - shown; n < count; ++n) {
    const FlightEvent event = recorder.events[n % flight_events_max];
    events.push_back(
        {{"time_ns", event.time_ns}, {"event", name_of(event.code)}, {"subject", event.subject}});
  }
  return events;
}

/// What guard mode killed it for, if it did: one sentence. As above; the events are the last ones.
std::string guard_text(const SegmentView& segment) {
  const FlightRecorder& recorder = segment.recorder();
  const std::uint64_t count = load(recorder.count);
  std::string text;
  for (std::uint64_t n = count - std::min<std::uint64_t>(count, flight_events_in_certificate);
       n < count; ++n) {
    const FlightEvent event = recorder.events[n % flight_events_max];
    char part[64];
    const auto region_text = [&] {
      return "region " + std::to_string(event.subject / bank_slots_max) + "/" +
             std::to_string(event.subject % bank_slots_max);
    };
    switch (event.code) {
      case FlightCode::guard_write_after_hand_over:
        text = "wrote to " + region_text() + " after it was handed over";
        break;
      case FlightCode::guard_touch_after_release:
        text = "touched " + region_text() + " after its release";
        break;
      case FlightCode::guard_write_past_end: text = "wrote past the end of " + region_text(); break;
      case FlightCode::guard_address:
      case FlightCode::guard_instruction:
        if (text.empty()) break;
        std::snprintf(part, sizeof part, ", %s 0x%llx",
                      event.code == FlightCode::guard_address ? "address" : "instruction",
                      static_cast<unsigned long long>(event.subject));
        text += part;
        break;
      case FlightCode::guard_bytes_asked:
        if (!text.empty()) text += " (" + std::to_string(event.subject) + " bytes asked)";
        break;
      default: text.clear();  // it lived on
    }
  }
  return text;
}
}  // namespace

std::string text_of_status(int status) {
  if (WIFSIGNALED(status))
    return std::string("signal ") + std::to_string(WTERMSIG(status)) + " (" +
           ::strsignal(WTERMSIG(status)) + ")";
  return "exit code " + std::to_string(WEXITSTATUS(status));
}

std::string death_text(const nlohmann::json& certificate) {
  std::string text = certificate.value("cause", std::string("unknown"));
  text += " after " + std::to_string(certificate.value("uptime_ms", std::uint64_t{0})) + " ms";
  if (!certificate.value("registered", false)) text += ", before it was ready";
  if (certificate.contains("killed_because"))
    text += "; killed: " + certificate["killed_because"].get<std::string>();
  if (certificate.contains("last_line"))
    text += "; its last line: " + certificate["last_line"].get<std::string>();
  return text;
}

nlohmann::json death_certificate(const Death& death) {
  nlohmann::json certificate = {{"agent", death.agent},
                                {"kind", death.kind},
                                {"incarnation", death.incarnation},
                                {"pid", death.pid},
                                {"uptime_ms", death.uptime_ns / ns_per_ms}};
  if (!death.killed_because.empty()) certificate["killed_because"] = death.killed_because;
  if (!death.last_line.empty()) certificate["last_line"] = death.last_line;
  const bool registered =
      death.segment != nullptr && death.segment->header().incarnation == death.incarnation;
  certificate["registered"] = registered;
  if (registered) {
    const SegmentHeader& header = death.segment->header();
    if (const TaskId in_hand = load(header.task_in_hand); in_hand != 0)
      certificate["task_in_hand"] = in_hand;
    certificate["tasks_completed"] = load(header.tasks_completed);
    certificate["last_events"] = last_flight_events(*death.segment);
    if (auto guard = guard_text(*death.segment); !guard.empty())
      certificate["guard"] = std::move(guard);
  }
  return certificate;
}

void add_cause(nlohmann::json& certificate, std::optional<int> status) {
  certificate["cause"] = status ? text_of_status(*status) : "unknown";
  if (!status) return;
  if (WIFSIGNALED(*status))
    certificate["signal"] = WTERMSIG(*status);
  else
    certificate["exit_code"] = WEXITSTATUS(*status);
}

}  // namespace micro_swarm
