#pragma once

#include <cstdint>
#include <string>
#include <string_view>

namespace micro_swarm::digits {

/// One line on standard output that is written over again and again, with other lines going by
/// above it. Where standard output is not a terminal, plain lines, not more than one a second.
class ProgressLine {
 public:
  ProgressLine();
  ~ProgressLine() { finish(); }
  ProgressLine(const ProgressLine&) = delete;
  ProgressLine& operator=(const ProgressLine&) = delete;

  /// Whether `show` would show something: a terminal is rewritten ten times a second.
  bool is_due(std::uint64_t at_ns) const { return at_ns >= next_ns_; }
  void show(std::string_view text, std::uint64_t at_ns);
  /// A line that stays.
  void print(std::string_view line);
  /// The last progress line stays, too.
  void finish();

 private:
  void write(const std::string& text);

  bool terminal_;
  std::uint64_t next_ns_;
  std::string current_;
};

}  // namespace micro_swarm::digits
