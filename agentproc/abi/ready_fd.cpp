#include "agentproc/abi/ready_fd.hpp"

#include <signal.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include <system_error>

#include "common/clock.hpp"

namespace micro_swarm {

namespace {
/// Idle banks are given back by whoever works on the link: so it is woken for that.
constexpr std::uint64_t housekeeping_ns = 2 * ns_per_s;
}  // namespace

Result<std::unique_ptr<ReadyFd>> ReadyFd::make(AgentSession& session) {
  UniqueFd fd(::eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK));
  if (!fd) return system_error("eventfd", errno);
  std::unique_ptr<ReadyFd> ready(new ReadyFd(session, std::move(fd)));
  // Signals are for the threads of whoever wrote the agent.
  sigset_t all;
  sigset_t before;
  ::sigfillset(&all);
  ::pthread_sigmask(SIG_SETMASK, &all, &before);
  int error = 0;
  try {
    ready->thread_ = std::thread([self = ready.get()] { self->run(); });
  } catch (const std::system_error& e) {
    error = e.code().value();
  }
  ::pthread_sigmask(SIG_SETMASK, &before, nullptr);
  if (error != 0) return system_error("pthread_create", error);
  return ready;
}

ReadyFd::~ReadyFd() {
  if (!thread_.joinable()) return;
  disarm();
  {
    const std::lock_guard lock(mutex_);
    state_ = State::ending;
  }
  changed_.notify_all();
  thread_.join();
}

void ReadyFd::arm() {
  {
    const std::lock_guard lock(mutex_);
    state_ = State::armed;
  }
  is_readable_ = true;
  changed_.notify_all();
}

void ReadyFd::disarm() {
  if (!is_readable_) return;
  is_wanted_back_.store(true, std::memory_order_release);
  session_.link().ring_self();
  {
    std::unique_lock lock(mutex_);
    changed_.wait(lock, [this] { return state_ == State::idle; });
  }
  is_wanted_back_.store(false, std::memory_order_release);
  std::uint64_t count = 0;
  static_cast<void>(::read(fd_.get(), &count, sizeof count));  // not readable: nothing to undo
  is_readable_ = false;
}

void ReadyFd::run() {
  for (;;) {
    {
      std::unique_lock lock(mutex_);
      changed_.wait(lock, [this] { return state_ != State::idle; });
      if (state_ == State::ending) return;
    }
    const auto is_over = [this] {
      return session_.work().has_work() || is_wanted_back_.load(std::memory_order_acquire);
    };
    session_.link().wait(housekeeping_ns, is_over, false);
    const std::uint64_t one = 1;
    static_cast<void>(::write(fd_.get(), &one, sizeof one));
    {
      const std::lock_guard lock(mutex_);
      state_ = State::idle;
    }
    changed_.notify_all();
  }
}

}  // namespace micro_swarm
