#pragma once

// Lines from a file or a pipe that may pause: never waits longer than it is told to.

#include <poll.h>
#include <unistd.h>

#include <array>
#include <optional>
#include <string>

#include "common/posix.hpp"

namespace micro_swarm::cli {

class LineInput {
 public:
  /// `fd` is the caller's; `name` is for errors. A longer line is an error.
  LineInput(int fd, std::string name, std::uint64_t line_bytes_max)
      : fd_(fd), name_(std::move(name)), line_bytes_max_(line_bytes_max) {}

  /// The next line that is here already, without its newline. The last one needs none.
  std::optional<std::string> next() {
    const auto newline = text_.find('\n', searched_);
    if (newline == std::string::npos && !(at_end_ && begin_ < text_.size())) {
      searched_ = text_.size();
      return std::nullopt;
    }
    const std::size_t end = newline == std::string::npos ? text_.size() : newline;
    std::string line = text_.substr(begin_, end - begin_);
    if (line.ends_with('\r')) line.pop_back();
    begin_ = searched_ = std::min(end + 1, text_.size());
    ++lines_;
    return line;
  }
  /// All lines have been returned, and no more come.
  bool is_over() const { return at_end_ && begin_ == text_.size(); }
  bool at_end() const { return at_end_; }
  /// How many lines next() has returned.
  std::uint64_t lines() const { return lines_; }

  /// There is something to fill() with. `timeout_ms` -1 = as long as it takes.
  bool wait(int timeout_ms) const {
    pollfd target{fd_, POLLIN, 0};
    return ::poll(&target, 1, timeout_ms) > 0;
  }
  /// Reads what is there, once; waits if nothing is.
  Result<void> fill() {
    text_.erase(0, begin_);
    searched_ -= begin_;
    begin_ = 0;
    if (text_.size() > line_bytes_max_)
      return Error{ErrorCode::usage,
                   "line " + std::to_string(lines_ + 1) + " of " + name_ +
                       " is larger than any task of this swarm can be",
                   0};
    std::array<char, 65536> block;
    const auto got =
        posix_call("read " + name_, [&] { return ::read(fd_, block.data(), block.size()); });
    if (!got) return got.error();
    at_end_ = *got == 0;
    text_.append(block.data(), static_cast<std::size_t>(*got));
    return {};
  }

 private:
  int fd_;
  std::string name_;
  std::uint64_t line_bytes_max_;
  std::string text_;
  std::size_t begin_ = 0;
  std::size_t searched_ = 0;
  bool at_end_ = false;
  std::uint64_t lines_ = 0;
};

}  // namespace micro_swarm::cli
