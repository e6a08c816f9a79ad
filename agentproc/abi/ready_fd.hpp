#pragma once

// A descriptor that becomes readable when an agent has something to do, for those who wait for
// other things too. The party's bell is a futex, which nobody can poll: a thread sleeps on it in
// the owner's stead.
//
//   idle --arm()--> armed --the bell, or housekeeping is due--> idle, readable
//                   armed --disarm()--> idle, not readable
//
// While it is armed the thread has the link to itself; the owner disarms before it touches it.

#include <atomic>
#include <condition_variable>
#include <memory>
#include <mutex>
#include <thread>

#include "agentproc/agent_runtime.hpp"

namespace micro_swarm {

class ReadyFd {
 public:
  /// Starts the thread. Error: system.
  static Result<std::unique_ptr<ReadyFd>> make(AgentSession& session);
  ~ReadyFd();
  ReadyFd(const ReadyFd&) = delete;
  ReadyFd& operator=(const ReadyFd&) = delete;

  int fd() const noexcept { return fd_.get(); }
  /// The owner has nothing to do and leaves the link alone until disarm().
  void arm();
  /// The link is the owner's again when this returns.
  void disarm();

 private:
  enum class State { idle, armed, ending };

  ReadyFd(AgentSession& session, UniqueFd fd) noexcept : session_(session), fd_(std::move(fd)) {}
  void run();

  AgentSession& session_;
  UniqueFd fd_;
  std::mutex mutex_;
  std::condition_variable changed_;
  State state_ = State::idle;
  std::atomic<bool> is_wanted_back_{false};
  bool is_readable_ = false;  ///< the owner's: fd_ may have been written to
  std::thread thread_;
};

}  // namespace micro_swarm
