#include "supervisor/stray_processes.hpp"

#include <fcntl.h>
#include <signal.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <string_view>

#include "common/posix.hpp"

namespace micro_swarm {

namespace {

using PathBuffer = std::array<char, 64>;

/// The first bytes of a small /proc file, NUL-terminated; their number, or -1.
ssize_t read_small(const char* path, std::span<char> buffer) noexcept {
  const UniqueFd file(::open(path, O_RDONLY | O_CLOEXEC));
  if (!file) return -1;
  std::size_t size = 0;
  while (size + 1 < buffer.size()) {
    const ssize_t got = ::read(file.get(), buffer.data() + size, buffer.size() - 1 - size);
    if (got < 0 && errno == EINTR) continue;
    if (got < 0) return -1;
    if (got == 0) break;
    size += static_cast<std::size_t>(got);
  }
  buffer[size] = '\0';
  return static_cast<ssize_t>(size);
}

/// The NoNewPrivs line of /proc/PID/status.
bool has_no_new_privs(pid_t pid) noexcept {
  PathBuffer path;
  std::snprintf(path.data(), path.size(), "/proc/%d/status", static_cast<int>(pid));
  std::array<char, 8192> text;
  if (read_small(path.data(), text) <= 0) return false;
  const char* line = std::strstr(text.data(), "\nNoNewPrivs:");
  if (line == nullptr) return false;
  line += std::strlen("\nNoNewPrivs:");
  return std::strtol(line, nullptr, 10) == 1;
}

}  // namespace

bool read_process(pid_t pid, ProcessInfo& info) noexcept {
  PathBuffer path;
  std::snprintf(path.data(), path.size(), "/proc/%d/stat", static_cast<int>(pid));
  std::array<char, 1024> text;
  if (read_small(path.data(), text) <= 0) return false;
  // The command name may hold anything: fields count from behind its closing parenthesis.
  const char* rest = std::strrchr(text.data(), ')');
  if (rest == nullptr || std::strlen(rest) < 3) return false;
  info.pid = pid;
  info.state = rest[2];
  char* next = const_cast<char*>(rest) + 3;
  info.parent = static_cast<pid_t>(std::strtol(next, &next, 10));   // field 4
  info.group = static_cast<pid_t>(std::strtol(next, &next, 10));    // 5
  info.session = static_cast<pid_t>(std::strtol(next, &next, 10));  // 6
  for (int field = 7; field < 22; ++field) std::strtoll(next, &next, 10);
  info.start_ticks = std::strtoull(next, &next, 10);  // 22
  return true;
}

int detail::list_children_from_kernel(pid_t parent, std::span<pid_t> out) noexcept {
  PathBuffer path;
  std::snprintf(path.data(), path.size(), "/proc/%d/task/%d/children", static_cast<int>(parent),
                static_cast<int>(parent));
  const UniqueFd file(::open(path.data(), O_RDONLY | O_CLOEXEC));
  if (!file) return -1;
  std::array<char, 4096> text;
  std::size_t count = 0;
  pid_t pid = 0;  // its digits may be split over two reads
  for (;;) {
    const ssize_t got = ::read(file.get(), text.data(), text.size());
    if (got < 0 && errno == EINTR) continue;
    if (got < 0) return -1;
    if (got == 0) return static_cast<int>(count);
    for (const char c : std::string_view(text.data(), static_cast<std::size_t>(got))) {
      if (c >= '0' && c <= '9') {
        pid = pid * 10 + (c - '0');
      } else if (pid != 0) {
        if (count == out.size()) return static_cast<int>(count);
        out[count++] = pid;
        pid = 0;
      }
    }
  }
}

int detail::list_children_by_scan(pid_t parent, std::span<pid_t> out) noexcept {
  const UniqueFd directory(::open("/proc", O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  if (!directory) return -1;
  // opendir() would allocate.
  struct Entry {
    std::uint64_t inode;
    std::int64_t offset;
    std::uint16_t size;
    std::uint8_t type;
    char name[1];
  };
  alignas(Entry) std::array<char, 8192> entries;
  std::size_t count = 0;
  for (;;) {
    const long got = ::syscall(SYS_getdents64, directory.get(), entries.data(), entries.size());
    if (got < 0) return -1;
    if (got == 0) return static_cast<int>(count);
    for (long at = 0; at < got;) {
      const auto* entry = reinterpret_cast<const Entry*>(entries.data() + at);
      at += entry->size;
      char* end = nullptr;
      const auto pid = static_cast<pid_t>(std::strtol(entry->name, &end, 10));
      ProcessInfo info;
      if (pid <= 0 || *end != '\0' || !read_process(pid, info) || info.parent != parent) continue;
      if (count == out.size()) return static_cast<int>(count);
      out[count++] = pid;
    }
  }
}

int list_children(pid_t parent, std::span<pid_t> out) noexcept {
  const int count = detail::list_children_from_kernel(parent, out);
  return count >= 0 ? count : detail::list_children_by_scan(parent, out);
}

StraySweeper::StraySweeper(pid_t root_pid) : root_pid_(root_pid), children_(1024) {}

bool StraySweeper::is_stray(const ProcessInfo& info,
                            const std::function<bool(pid_t)>& is_known) const {
  return info.state != 'Z' && info.state != 'X' && info.parent == root_pid_ &&
         !is_known(info.session) && has_no_new_privs(info.pid);
}

unsigned StraySweeper::sweep(const std::function<bool(pid_t)>& is_known) {
  int count = list_children(root_pid_, children_);
  while (count == static_cast<int>(children_.size())) {
    children_.resize(children_.size() * 2);
    count = list_children(root_pid_, children_);
  }
  std::vector<Life> still_dying;
  unsigned killed = 0;
  for (int i = 0; i < count; ++i) {
    const pid_t pid = children_[static_cast<std::size_t>(i)];
    ProcessInfo seen;
    if (is_known(pid) || !read_process(pid, seen) || !is_stray(seen, is_known)) continue;
    const Life life{pid, seen.start_ticks};
    if (std::find(killed_.begin(), killed_.end(), life) != killed_.end()) {
      still_dying.push_back(life);
      continue;
    }
    // The pidfd pins one life: what is looked at again through the pid is then what is killed.
    const UniqueFd pidfd(pidfd_open(pid));
    ProcessInfo again;
    if (!pidfd || !read_process(pid, again) || again.start_ticks != seen.start_ticks ||
        !is_stray(again, is_known) || pidfd_send_signal(pidfd.get(), SIGKILL) != 0)
      continue;
    ++killed;
    still_dying.push_back(life);
  }
  killed_ = std::move(still_dying);
  return killed;
}

}  // namespace micro_swarm
