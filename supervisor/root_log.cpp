#include "supervisor/root_log.hpp"

#include <poll.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cstdarg>
#include <cstdio>
#include <cstring>
#include <ctime>

namespace micro_swarm {

namespace {

LogLevel threshold = LogLevel::info;

const char* word_of(LogLevel level) {
  switch (level) {
    case LogLevel::trace: return "trace";
    case LogLevel::debug: return "debug";
    case LogLevel::info: return "info ";
    case LogLevel::warn: return "warning";
    case LogLevel::error: return "error";
    case LogLevel::off: break;
  }
  return "off";
}

}  // namespace

void root_log_init(LogLevel level) noexcept {
  threshold = level;
  // The C library loads its time zone data at the first call: let that be now, before the start.
  const std::time_t epoch = 0;
  std::tm calendar{};
  ::gmtime_r(&epoch, &calendar);
}

void root_log(LogLevel level, const char* format, ...) noexcept {
  if (level < threshold) return;
  pollfd target{STDERR_FILENO, POLLOUT, 0};
  if (::poll(&target, 1, 0) == 0) return;
  timespec now{};
  ::clock_gettime(CLOCK_REALTIME, &now);
  std::tm calendar{};
  ::gmtime_r(&now.tv_sec, &calendar);
  std::array<char, 512> line;
  std::size_t size = std::strftime(line.data(), line.size(), "%Y-%m-%dT%H:%M:%S", &calendar);
  const auto room = [&] { return line.size() - size; };
  size += static_cast<std::size_t>(std::snprintf(line.data() + size, room(),
                                                 ".%03ldZ %s root[%d]: ", now.tv_nsec / 1'000'000,
                                                 word_of(level), static_cast<int>(::getpid())));
  std::va_list arguments;
  va_start(arguments, format);
  const int wanted = std::vsnprintf(line.data() + size, room(), format, arguments);
  va_end(arguments);
  if (wanted > 0) size += std::min(static_cast<std::size_t>(wanted), room() - 1);
  line[size++] = '\n';
  [[maybe_unused]] const ssize_t written = ::write(STDERR_FILENO, line.data(), size);
}

const char* describe_end(int wait_status) noexcept {
  static std::array<char, 64> text;
  if (WIFSIGNALED(wait_status)) {
    const char* name = ::sigabbrev_np(WTERMSIG(wait_status));
    std::snprintf(text.data(), text.size(), "was killed by SIG%s", name == nullptr ? "?" : name);
  } else {
    std::snprintf(text.data(), text.size(), "exited with %d", WEXITSTATUS(wait_status));
  }
  return text.data();
}

}  // namespace micro_swarm
