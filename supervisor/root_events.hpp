#pragma once

#include <algorithm>
#include <array>
#include <cstdint>
#include <span>

#include "supervisor/root_protocol.hpp"

namespace micro_swarm {

/// The last root_events_max events in the order they happened. Owner: root; a forked supervisor
/// has a copy. Fixed size, allocates nothing.
class RootEvents {
 public:
  /// Numbers the event and remembers it in place of the oldest.
  void add(RootEventKind kind, std::uint32_t key, pid_t pid, int status) noexcept {
    ++last_;
    events_[index(last_)] = RootEvent{kind, key, pid, status, last_};
  }

  std::uint64_t last() const noexcept { return last_; }  ///< sequence; 0 = none yet
  /// Oldest one remembered; last() + 1 when there is none.
  std::uint64_t first() const noexcept {
    return last_ < root_events_max ? 1 : last_ - root_events_max + 1;
  }
  /// Precondition: first() <= sequence <= last().
  const RootEvent& at(std::uint64_t sequence) const noexcept { return events_[index(sequence)]; }

  /// All of them, oldest first. Reorders the storage: add() must not be called any more, so this
  /// is for the copy in a forked supervisor.
  std::span<const RootEvent> take_in_order() noexcept {
    if (last_ >= root_events_max)
      std::rotate(events_.begin(), events_.begin() + static_cast<long>(index(first())),
                  events_.end());
    return {events_.data(), static_cast<std::size_t>(last_ - first() + 1)};
  }

 private:
  static std::size_t index(std::uint64_t sequence) noexcept {
    return static_cast<std::size_t>((sequence - 1) % root_events_max);
  }
  std::array<RootEvent, root_events_max> events_{};
  std::uint64_t last_ = 0;
};

}  // namespace micro_swarm
