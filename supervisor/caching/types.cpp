#include "supervisor/caching/types.hpp"

namespace micro_swarm::caching {

std::string_view name_of(State state) {
  switch (state) {
    case State::plain: return "plain";
    case State::compressed: return "compressed";
    case State::spilled: return "spilled";
    case State::restoring: return "restoring";
  }
  return "unknown";
}

std::string_view name_of(Refusal refusal) {
  switch (refusal) {
    case Refusal::none: return "none";
    case Refusal::bad_name: return "bad_name";
    case Refusal::bad_size: return "bad_size";
    case Refusal::bad_priority: return "bad_priority";
    case Refusal::duplicate: return "duplicate";
    case Refusal::too_large: return "too_large";
    case Refusal::table_full: return "table_full";
    case Refusal::no_room: return "no_room";
  }
  return "unknown";
}

}  // namespace micro_swarm::caching
