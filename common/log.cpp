#include "common/log.hpp"

#include <poll.h>
#include <spdlog/pattern_formatter.h>
#include <spdlog/sinks/base_sink.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <cstdio>
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

/// "agent/3[4711]": who writes the line. A forked child only changes this text: a logger of its own
/// would cost it some thirty touched pages, in each of hundreds of agents.
std::array<char, 64> origin;

class OriginFlag final : public spdlog::custom_flag_formatter {
 public:
  void format(const spdlog::details::log_msg& /*message*/, const std::tm& /*time*/,
              spdlog::memory_buf_t& line) override {
    line.append(origin.data(), origin.data() + std::strlen(origin.data()));
  }
  std::unique_ptr<custom_flag_formatter> clone() const override {
    return std::make_unique<OriginFlag>();
  }
};

void make_logger() {
  auto formatter = std::make_unique<spdlog::pattern_formatter>(spdlog::pattern_time_type::utc);
  formatter->add_flag<OriginFlag>('*').set_pattern("%Y-%m-%dT%H:%M:%S.%eZ %-5l %*: %v");
  auto logger = std::make_shared<spdlog::logger>("", std::make_shared<StderrLines>());
  logger->set_formatter(std::move(formatter));
  spdlog::set_default_logger(std::move(logger));
}

}  // namespace

void init(std::string_view role, LogLevel level) {
  static const bool made = (make_logger(), true);
  static_cast<void>(made);
  const auto role_bytes = static_cast<int>(std::min(role.size(), origin.size() - 16));
  std::snprintf(origin.data(), origin.size(), "%.*s[%d]", role_bytes, role.data(),
                static_cast<int>(::getpid()));
  spdlog::default_logger_raw()->set_level(spdlog_level(level));
}

std::uint64_t dropped_lines() noexcept { return dropped.load(std::memory_order_relaxed); }

}  // namespace micro_swarm::log
