#include "supervisor/event_log.hpp"

#include <algorithm>
#include <chrono>

#include "common/log.hpp"

namespace micro_swarm {

void EventLog::add(std::string_view kind, nlohmann::json fields) {
  using namespace std::chrono;
  if (spdlog::should_log(spdlog::level::info)) log::info("{} {}", kind, fields.dump());
  fields["sequence"] = next_++;
  fields["time_ms"] = duration_cast<milliseconds>(system_clock::now().time_since_epoch()).count();
  fields["event"] = kind;
  events_.push_back(std::move(fields));
  if (events_.size() > events_kept_max) events_.pop_front();
  if (followers_.empty()) return;
  const nlohmann::json event = events_.back();
  for (const auto& [id, follower] : followers_) follower(event);
}

std::uint64_t EventLog::follow(Follower follower) {
  followers_.emplace_back(next_follower_, std::move(follower));
  return next_follower_++;
}

void EventLog::unfollow(std::uint64_t id) {
  std::erase_if(followers_, [id](const auto& entry) { return entry.first == id; });
}

}  // namespace micro_swarm
