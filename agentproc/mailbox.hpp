#pragma once

// From the control thread to the work thread of one agent: messages in order, and the tasks that
// were cancelled. Process-private, so an ordinary mutex: both threads die together.

#include <array>
#include <atomic>
#include <mutex>
#include <vector>

#include "ipc/party_socket.hpp"

namespace micro_swarm {

class Mailbox {
 public:
  /// Control thread. The caller rings the work thread's bell afterwards.
  void put(ReceivedPartyMessage&& message) {
    const std::lock_guard lock(mutex_);
    messages_.push_back(std::move(message));
    waiting_.store(true, std::memory_order_release);
  }
  /// Work thread: looks at one word.
  bool has_mail() const noexcept { return waiting_.load(std::memory_order_acquire); }
  std::vector<ReceivedPartyMessage> take_all() {
    const std::lock_guard lock(mutex_);
    waiting_.store(false, std::memory_order_relaxed);
    return std::exchange(messages_, {});
  }

 private:
  std::mutex mutex_;
  std::vector<ReceivedPartyMessage> messages_;
  std::atomic<bool> waiting_{false};
};

/// The last cancelled tasks: also such as still wait in the ring. An agent has at most 16 tasks at
/// a time and task ids are never used again, so 64 remember enough.
class CancelList {
 public:
  /// Control thread.
  void add(TaskId task) noexcept {
    const std::uint32_t count = count_.load(std::memory_order_relaxed);
    tasks_[count % tasks_.size()].store(task, std::memory_order_relaxed);
    count_.store(count + 1, std::memory_order_release);
  }
  /// Any thread.
  bool contains(TaskId task) const noexcept {
    const std::uint32_t count = count_.load(std::memory_order_acquire);
    const std::size_t used = count < tasks_.size() ? count : tasks_.size();
    for (std::size_t i = 0; i < used; ++i)
      if (tasks_[i].load(std::memory_order_relaxed) == task) return true;
    return false;
  }

 private:
  std::array<std::atomic<TaskId>, 64> tasks_{};
  std::atomic<std::uint32_t> count_{0};
};

}  // namespace micro_swarm
