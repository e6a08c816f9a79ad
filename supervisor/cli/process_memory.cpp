#include "supervisor/cli/process_memory.hpp"

#include <fstream>
#include <sstream>
#include <string>

namespace micro_swarm::cli {

namespace {

std::string text_of(pid_t pid, const char* file) {
  std::ifstream in("/proc/" + std::to_string(pid) + "/" + file);
  std::ostringstream text;
  if (in) text << in.rdbuf();
  return text.str();
}

/// The number of kB behind `name` at the start of a line.
std::optional<std::uint64_t> bytes_after(const std::string& text, const std::string& name) {
  const auto at = ("\n" + text).find("\n" + name);
  if (at == std::string::npos) return std::nullopt;
  return std::strtoull(text.c_str() + at + name.size(), nullptr, 10) * 1024;
}

}  // namespace

std::optional<ProcessMemory> memory_of(pid_t pid) {
  const std::string status = text_of(pid, "status");
  const auto page_tables = bytes_after(status, "VmPTE:");
  if (!page_tables) return std::nullopt;  // also of a process that has ended and is not reaped
  ProcessMemory memory;
  memory.page_table_bytes = *page_tables;
  if (const auto share = bytes_after(text_of(pid, "smaps_rollup"), "Pss:")) {
    memory.bytes = *share;
  } else {
    memory.is_share = false;
    memory.bytes = bytes_after(status, "RssAnon:").value_or(0);
  }
  return memory;
}

}  // namespace micro_swarm::cli
