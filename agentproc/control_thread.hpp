#pragma once

// The agent's second thread: asleep in one ppoll on the party socket, so that a long task delays
// neither a probe nor a cancel nor the end of the swarm.
//
//   probe -> pong, here        cancel -> the cancel list        all else -> the work thread's
//   mailbox end of file -> on_orphaned (the swarm is gone: an agent must not outlive it)

#include <pthread.h>

#include <atomic>
#include <functional>

#include "agentproc/mailbox.hpp"
#include "ipc/party_link.hpp"

namespace micro_swarm {

class ControlThread {
 public:
  /// Everything outlives this object. `on_orphaned` is called on the control thread and normally
  /// does not return; if it does, the work ends as after `drain`.
  ControlThread(PartyLink& link, Mailbox& mailbox, CancelList& cancelled,
                std::function<void()> on_orphaned);
  /// Shuts the socket down and joins.
  ~ControlThread();
  ControlThread(const ControlThread&) = delete;
  ControlThread& operator=(const ControlThread&) = delete;

  Result<void> start();
  /// Runs a thread of its kind that does nothing, and waits for its end: what the C library does at
  /// the first thread only, and the stack, which it keeps for the next, then need not be done by
  /// each clone of the caller. The caller has one thread before and after.
  static void rehearse();
  /// Packets of the socket that made no sense, since the last call (work thread).
  std::uint32_t take_malformed() noexcept {
    return malformed_.load(std::memory_order_relaxed) == 0
               ? 0
               : malformed_.exchange(0, std::memory_order_relaxed);
  }

 private:
  void run();
  void end_work();
  void deal_with(ReceivedPartyMessage& received);

  PartyLink& link_;
  Mailbox& mailbox_;
  CancelList& cancelled_;
  std::function<void()> on_orphaned_;
  std::atomic<std::uint32_t> malformed_{0};
  std::atomic<bool> stopping_{false};
  bool started_ = false;
  pthread_t thread_{};
};

}  // namespace micro_swarm
