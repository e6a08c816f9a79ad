#include "agentproc/control_thread.hpp"

#include <poll.h>
#include <signal.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>

namespace micro_swarm {

namespace {

// It calls a handful of functions; 256 agents of a small box pay for what it touches.
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
constexpr std::size_t stack_bytes = std::size_t{1} << 20;
#else
constexpr std::size_t stack_bytes = std::size_t{64} << 10;
#endif

}  // namespace

ControlThread::ControlThread(PartyLink& link, Mailbox& mailbox, CancelList& cancelled,
                             std::function<void()> on_orphaned)
    : link_(link), mailbox_(mailbox), cancelled_(cancelled), on_orphaned_(std::move(on_orphaned)) {}

ControlThread::~ControlThread() {
  if (!started_) return;
  stopping_.store(true, std::memory_order_release);
  ::shutdown(link_.socket(), SHUT_RDWR);
  ::pthread_join(thread_, nullptr);
}

namespace {
/// pthread_create with what all control threads have in common; its error.
int create_thread(pthread_t& thread, void* (*function)(void*), void* argument) {
  pthread_attr_t attributes;
  ::pthread_attr_init(&attributes);
  const long least = ::sysconf(_SC_THREAD_STACK_MIN);
  ::pthread_attr_setstacksize(&attributes,
                              std::max(stack_bytes, static_cast<std::size_t>(std::max(least, 0L))));
  // Signals are for the thread that runs handlers: their author may have installed some.
  sigset_t all;
  sigset_t before;
  ::sigfillset(&all);
  ::pthread_sigmask(SIG_SETMASK, &all, &before);
  const int error = ::pthread_create(&thread, &attributes, function, argument);
  ::pthread_sigmask(SIG_SETMASK, &before, nullptr);
  ::pthread_attr_destroy(&attributes);
  return error;
}
}  // namespace

Result<void> ControlThread::start() {
  const auto run_it = [](void* self) -> void* {
    static_cast<ControlThread*>(self)->run();
    return nullptr;
  };
  if (const int error = create_thread(thread_, run_it, this); error != 0)
    return system_error("pthread_create(control thread)", error);
  started_ = true;
  return {};
}

void ControlThread::rehearse() {
  const auto nothing = [](void*) -> void* { return nullptr; };
  // Twice: on a stack that is new, then on that stack again, which goes another way.
  for (int i = 0; i < 2; ++i) {
    pthread_t thread{};
    if (create_thread(thread, nothing, nullptr) == 0) ::pthread_join(thread, nullptr);
  }
}

void ControlThread::run() {
  ReceivedPartyMessage received;
  for (;;) {
    pollfd wanted{link_.socket(), POLLIN, 0};
    ::ppoll(&wanted, 1, nullptr, nullptr);
    switch (receive_party_message(link_.socket(), received, false)) {
      case PartySocketRead::message: deal_with(received); break;
      case PartySocketRead::nothing: break;
      case PartySocketRead::malformed: malformed_.fetch_add(1, std::memory_order_relaxed); break;
      case PartySocketRead::closed:
        if (!stopping_.load(std::memory_order_acquire)) end_work();
        return;
    }
  }
}

void ControlThread::end_work() {
  on_orphaned_();
  ReceivedPartyMessage end;
  // It returned: the agent ends as if it had been asked to.
  end.message.kind = PartyMessageKind::drain;
  mailbox_.put(std::move(end));
  link_.ring_self();
}

void ControlThread::deal_with(ReceivedPartyMessage& received) {
  const PartyMessage& message = received.message;
  if (message.kind == PartyMessageKind::probe) {
    PartyMessage pong;
    pong.kind = PartyMessageKind::pong;
    pong.a = message.a;
    // Not heard: the next probe comes, and who does not read cannot complain.
    static_cast<void>(link_.send(pong));
    return;
  }
  if (message.kind == PartyMessageKind::cancel)
    cancelled_.add(message.a);
  else
    mailbox_.put(std::move(received));
  link_.ring_self();
}

}  // namespace micro_swarm
