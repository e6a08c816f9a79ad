#include "ipc/task_names.hpp"

#include "ipc/party_protocol.hpp"

namespace micro_swarm {

std::string_view name_of(TaskState state) {
  switch (state) {
    case TaskState::free: return "free";
    case TaskState::pending: return "pending";
    case TaskState::ready: return "ready";
    case TaskState::running: return "running";
    case TaskState::done: return "done";
    case TaskState::failed: return "failed";
    case TaskState::cancelled: return "cancelled";
    case TaskState::timed_out: return "timed_out";
    case TaskState::dead_letter: return "dead_letter";
  }
  return "unknown";
}

std::string_view name_of(Priority priority) {
  switch (priority) {
    case Priority::critical: return "critical";
    case Priority::high: return "high";
    case Priority::normal: return "normal";
    case Priority::low: return "low";
  }
  return "unknown";
}

std::string_view name_of(TransferRefusal reason) {
  switch (reason) {
    case TransferRefusal::none: return "none";
    case TransferRefusal::gone: return "gone";
    case TransferRefusal::full: return "full";
  }
  return "unknown";
}

}  // namespace micro_swarm
