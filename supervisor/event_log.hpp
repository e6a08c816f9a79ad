#pragma once

#include <cstdint>
#include <deque>
#include <functional>
#include <nlohmann/json.hpp>
#include <string_view>

namespace micro_swarm {

/// What happened in the swarm, newest last: the last `events_kept_max` events, also logged.
/// Sequences grow over supervisors ({epoch:32, count:32}), so a follower that reconnects to a new
/// supervisor continues without gaps in the numbering it can mistake for repeats.
class EventLog {
 public:
  static constexpr std::size_t events_kept_max = 2000;

  explicit EventLog(std::uint64_t epoch) : next_((epoch << 32) + 1) {}

  /// `kind` is a stable snake_case name; `fields` are added to the event as they are.
  void add(std::string_view kind, nlohmann::json fields = nlohmann::json::object());

  const std::deque<nlohmann::json>& events() const { return events_; }

  using Follower = std::function<void(const nlohmann::json& event)>;
  std::uint64_t follow(Follower follower);
  void unfollow(std::uint64_t id);

 private:
  std::uint64_t next_;
  std::uint64_t next_follower_ = 1;
  std::deque<nlohmann::json> events_;
  std::vector<std::pair<std::uint64_t, Follower>> followers_;
};

}  // namespace micro_swarm
