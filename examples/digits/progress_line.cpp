#include "examples/digits/progress_line.hpp"

#include <sys/ioctl.h>
#include <unistd.h>

#include <cstdio>

#include "common/clock.hpp"

namespace micro_swarm::digits {
namespace {
constexpr const char* erase_line = "\r\x1b[2K";
constexpr std::uint64_t terminal_interval_ns = 100 * ns_per_ms;
constexpr std::uint64_t plain_interval_ns = ns_per_s;

/// A line that wraps could not be written over.
std::string_view fitted(std::string_view text) {
  winsize size{};
  if (::ioctl(STDOUT_FILENO, TIOCGWINSZ, &size) != 0 || size.ws_col == 0) return text;
  return text.substr(0, size.ws_col - 1u);
}
}  // namespace

ProgressLine::ProgressLine()
    : terminal_(::isatty(STDOUT_FILENO) == 1),
      next_ns_(now_ns() + (terminal_ ? terminal_interval_ns : plain_interval_ns)) {}

void ProgressLine::show(std::string_view text, std::uint64_t at_ns) {
  if (!is_due(at_ns)) return;
  next_ns_ = at_ns + (terminal_ ? terminal_interval_ns : plain_interval_ns);
  if (terminal_) {
    current_ = fitted(text);
    write(erase_line + current_);
  } else {
    write(std::string(text) + "\n");
  }
}

void ProgressLine::print(std::string_view line) {
  write((terminal_ ? erase_line : "") + std::string(line) + "\n" + current_);
}

void ProgressLine::finish() {
  if (current_.empty()) return;
  current_.clear();
  write("\n");
}

void ProgressLine::write(const std::string& text) {
  std::fwrite(text.data(), 1, text.size(), stdout);
  std::fflush(stdout);
}

}  // namespace micro_swarm::digits
