#include "common/log.hpp"

#include <poll.h>
#include <spdlog/sinks/base_sink.h>
#include <unistd.h>

#include <array>
#include <atomic>
#include <cstring>
#include <memory>
#include <mutex>
#include <string>

namespace micro_swarm::log {

namespace {

std::atomic<std::uint64_t> dropped{0};

spdlog::level::level_enum spdlog_level(LogLevel level) {
  switch (level) {
    case LogLevel::trace: return spdlog::level::trace;
    case LogLevel::debug: return spdlog::level::debug;
    case LogLevel::info: return spdlog::level::info;
    case LogLevel::warn: return spdlog::level::warn;
    case LogLevel::error: return spdlog::level::err;
    case LogLevel::off: return spdlog::level::off;
  }
  return spdlog::level::info;
}

/// One write a line, never waiting for the reader for long.
class StderrLines final : public spdlog::sinks::base_sink<std::mutex> {
 protected:
  void sink_it_(const spdlog::details::log_msg& message) override {
    if (lost_ > 0 && takes_more(0)) {
      const std::string note = "(" + std::to_string(lost_) + " log lines were dropped here)\n";
      put(note.data(), note.size());
      lost_ = 0;
    }
    spdlog::memory_buf_t text;
    formatter_->format(message, text);
    // PIPE_BUF: up to here a pipe takes a line whole, and poll() promises room for it.
    std::size_t size = std::min(text.size(), line_bytes_max);
    for (std::size_t i = 0; i + 1 < size; ++i)
      if (static_cast<unsigned char>(text[i]) < 0x20 || text[i] == 0x7f) text[i] = '?';
    text[size - 1] = '\n';
    if (!takes_more(lost_ > 0 ? 0 : patience_ms)) {
      ++lost_;
      dropped.fetch_add(1, std::memory_order_relaxed);
      return;
    }
    put(text.data(), size);
  }

  void flush_() override {}

 private:
  static constexpr std::size_t line_bytes_max = 4096;
  static constexpr int patience_ms = 10;

  static bool takes_more(int wait_ms) {
    pollfd target{STDERR_FILENO, POLLOUT, 0};
    return ::poll(&target, 1, wait_ms) != 0;
  }

  static void put(const char* bytes, std::size_t size) {
    // A reader that is gone is nobody's error; the next line may find another.
    [[maybe_unused]] const ssize_t written = ::write(STDERR_FILENO, bytes, size);
  }

  std::uint64_t lost_ = 0;
};

}  // namespace

void init(std::string_view role, LogLevel level) {
  auto logger =
      std::make_shared<spdlog::logger>(std::string(role), std::make_shared<StderrLines>());
  // The pid is spelled into the pattern: spdlog asks for it anew in each line, we know it.
  logger->set_pattern("%Y-%m-%dT%H:%M:%S.%eZ %-5l %n[" + std::to_string(::getpid()) + "]: %v",
                      spdlog::pattern_time_type::utc);
  logger->set_level(spdlog_level(level));
  spdlog::set_default_logger(std::move(logger));
}

std::uint64_t dropped_lines() noexcept { return dropped.load(std::memory_order_relaxed); }

}  // namespace micro_swarm::log
