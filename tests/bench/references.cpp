#include "tests/bench/references.hpp"

#include <fcntl.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <spawn.h>
#include <sys/wait.h>
#include <unistd.h>

#include <stdexcept>
#include <vector>

#include "common/clock.hpp"
#include "ipc/bell.hpp"
#include "tests/bench/windows.hpp"

namespace micro_swarm::bench {

// ---- a cache line ----

double CacheLine::ask(Partner& partner, std::uint32_t what, std::uint64_t round_trips) {
  const std::uint64_t first = lines_->there.load(std::memory_order_relaxed) + 1;
  partner.begin(what, round_trips);
  const std::uint64_t start_ns = now_ns();
  for (std::uint64_t i = first; i < first + round_trips; ++i) {
    lines_->there.store(i, std::memory_order_release);
    while (lines_->back.load(std::memory_order_acquire) != i) {
    }
  }
  const std::uint64_t end_ns = now_ns();
  partner.finish();
  return static_cast<double>(end_ns - start_ns) / static_cast<double>(round_trips);
}

std::uint64_t CacheLine::serve(std::uint64_t round_trips) {
  const std::uint64_t first = lines_->back.load(std::memory_order_relaxed) + 1;
  for (std::uint64_t i = first; i < first + round_trips; ++i) {
    while (lines_->there.load(std::memory_order_acquire) != i) {
    }
    lines_->back.store(i, std::memory_order_release);
  }
  return 0;
}

// ---- a ring ----

double MinimalRing::ask(Partner& partner, std::uint32_t what, std::uint64_t messages) {
  partner.begin(what, messages);
  const std::uint64_t start_ns = now_ns();
  const std::uint64_t end = at_ + messages;
  while (at_ != end) {
    const std::uint64_t count = std::min(batch_, end - at_);
    while (at_ + count - memory_->consumed.load(std::memory_order_acquire) > mask_ + 1) {
    }
    for (std::uint64_t i = 0; i < count; ++i) {
      Slot& slot = memory_->slots[at_ & mask_];
      ++at_;
      for (std::uint64_t& word : slot.body) word = at_;
      slot.sequence.store(at_, std::memory_order_release);
    }
  }
  while (memory_->consumed.load(std::memory_order_acquire) != end) {
  }
  const std::uint64_t end_ns = now_ns();
  partner.finish();
  return static_cast<double>(end_ns - start_ns);
}

std::uint64_t MinimalRing::serve(std::uint64_t messages) {
  std::uint64_t wrong = 0;
  const std::uint64_t end = at_ + messages;
  while (at_ != end) {
    std::uint64_t taken = 0;
    while (taken < batch_ && at_ != end) {
      const Slot& slot = memory_->slots[at_ & mask_];
      if (slot.sequence.load(std::memory_order_acquire) != at_ + 1) break;
      ++at_;
      std::uint64_t body[7];
      for (int i = 0; i < 7; ++i) body[i] = slot.body[i];
      wrong |= (body[0] ^ at_) | (body[6] ^ at_);
      ++taken;
    }
    if (taken != 0) memory_->consumed.store(at_, std::memory_order_release);
  }
  return wrong == 0 ? 0 : Partner::failure;
}

// ---- parked ----

std::uint64_t hold(std::uint64_t time_ns) noexcept {
  const std::uint64_t start_ns = now_ns();
  std::uint64_t at_ns = start_ns;
  while (at_ns - start_ns < time_ns) at_ns = now_ns();
  return at_ns - start_ns;
}

double ParkedPingPong::ask(Partner& partner, std::uint32_t what, std::uint64_t round_trips) {
  partner.begin(what, round_trips);
  std::vector<double> times_ns;
  for (std::uint64_t i = 0; i < round_trips; ++i) {
    hold(hold_ns);
    const std::uint64_t start_ns = now_ns();
    words_->there.store(++at_, std::memory_order_release);
    futex_wake_one(words_->there);
    while (words_->back.load(std::memory_order_acquire) != at_)
      futex_wait(words_->back, at_ - 1, ns_per_s);
    const std::uint64_t end_ns = now_ns();
    times_ns.push_back(
        static_cast<double>(end_ns - start_ns - words_->held_ns.load(std::memory_order_relaxed)));
  }
  partner.finish();
  return median(times_ns);
}

std::uint64_t ParkedPingPong::serve(std::uint64_t round_trips) {
  for (std::uint64_t i = 0; i < round_trips; ++i) {
    ++at_;
    while (words_->there.load(std::memory_order_acquire) != at_)
      futex_wait(words_->there, at_ - 1, ns_per_s);
    words_->held_ns.store(hold(hold_ns), std::memory_order_relaxed);
    words_->back.store(at_, std::memory_order_release);
    futex_wake_one(words_->back);
  }
  return 0;
}

// ---- processes ----

namespace {

struct FirstWord {
  std::atomic<std::uint64_t> at_ns{0};
  std::atomic<std::uint32_t> children{0};
};

pid_t fork_sleeper(FirstWord& first) {
  const pid_t pid = ::fork();
  if (pid < 0) throw std::runtime_error("fork failed");
  if (pid == 0) {
    first.at_ns.store(now_ns(), std::memory_order_relaxed);
    first.children.fetch_add(1, std::memory_order_release);
    for (;;) ::pause();
  }
  return pid;
}

void wait_for_children(const FirstWord& first, std::uint32_t count) {
  while (first.children.load(std::memory_order_acquire) != count) ::sched_yield();
}

void end(pid_t pid) {
  ::kill(pid, SIGKILL);
  ::waitpid(pid, nullptr, 0);
}

}  // namespace

double kill_to_pidfd_ns() {
  const Shared<FirstWord> first;
  const pid_t pid = fork_sleeper(*first);
  wait_for_children(*first, 1);
  const UniqueFd pidfd(pidfd_open(pid));
  pollfd wanted{pidfd.get(), POLLIN, 0};
  const std::uint64_t start_ns = now_ns();
  ::kill(pid, SIGKILL);
  const int ready = ::poll(&wanted, 1, 10'000);
  const std::uint64_t end_ns = now_ns();
  end(pid);
  if (ready != 1) throw std::runtime_error("a killed child's pidfd never became readable");
  return static_cast<double>(end_ns - start_ns);
}

double fork_to_first_instruction_ns() {
  const Shared<FirstWord> first;
  const std::uint64_t start_ns = now_ns();
  const pid_t pid = fork_sleeper(*first);
  wait_for_children(*first, 1);
  const std::uint64_t at_ns = first->at_ns.load();
  end(pid);
  return static_cast<double>(at_ns - start_ns);
}

double exec_to_first_word_ns(const std::string& program) {
  int ends[2];
  if (::pipe2(ends, O_CLOEXEC) != 0) throw std::runtime_error("pipe2 failed");
  const UniqueFd ours(ends[0]);
  UniqueFd theirs(ends[1]);
  posix_spawn_file_actions_t actions;
  ::posix_spawn_file_actions_init(&actions);
  ::posix_spawn_file_actions_adddup2(&actions, theirs.get(), STDOUT_FILENO);
  std::string name = program;
  std::array<char*, 2> argv{name.data(), nullptr};
  pid_t pid = -1;
  const std::uint64_t start_ns = now_ns();
  const int error = ::posix_spawn(&pid, program.c_str(), &actions, nullptr, argv.data(), environ);
  theirs.reset();
  char word = 0;
  const bool said = error == 0 && ::read(ours.get(), &word, 1) == 1;
  const std::uint64_t end_ns = now_ns();
  ::posix_spawn_file_actions_destroy(&actions);
  if (error == 0) end(pid);
  if (!said) throw std::runtime_error("cannot run " + program);
  return static_cast<double>(end_ns - start_ns);
}

double fork_many_ns(unsigned count) {
  const Shared<FirstWord> first;
  std::vector<pid_t> pids;
  const std::uint64_t start_ns = now_ns();
  for (unsigned i = 0; i < count; ++i) pids.push_back(fork_sleeper(*first));
  wait_for_children(*first, count);
  const std::uint64_t end_ns = now_ns();
  for (const pid_t pid : pids) end(pid);
  return static_cast<double>(end_ns - start_ns);
}

}  // namespace micro_swarm::bench
