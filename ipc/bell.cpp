#include "ipc/bell.hpp"

#include <linux/futex.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <ctime>

namespace micro_swarm {

void futex_wait(const std::atomic<std::uint32_t>& word, std::uint32_t seen,
                std::uint64_t timeout_ns) noexcept {
  timespec timeout{};
  timeout.tv_sec = static_cast<time_t>(timeout_ns / ns_per_s);
  timeout.tv_nsec = static_cast<long>(timeout_ns % ns_per_s);
  // Without the PRIVATE flag: the waker is another process.
  ::syscall(SYS_futex, &word, FUTEX_WAIT, seen, &timeout, nullptr, 0);
}

void futex_wake_one(std::atomic<std::uint32_t>& word) noexcept {
  ::syscall(SYS_futex, &word, FUTEX_WAKE, 1, nullptr, nullptr, 0);
}

}  // namespace micro_swarm
