// An agent that does as it is told, and is told to do harm: the payload of a task "attack" is
// "NAME [ARGUMENT]". The result is "done", or "errno N" and what was refused; attacks that would
// not end by themselves have a bound, behind which they count as done.

#include <dirent.h>
#include <fcntl.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/ptrace.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/types.h>
#include <sys/uio.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <charconv>
#include <cstdio>
#include <cstring>
#include <fstream>
#include <random>
#include <sstream>
#include <string>
#include <vector>

#include "agentproc/agent_runtime.hpp"

namespace micro_swarm {
namespace {

constexpr int forks_max = 200;
constexpr int descriptors_max = 2'000;
constexpr std::size_t mebibyte = std::size_t{1} << 20;
constexpr std::size_t memory_max = 256 * mebibyte;
constexpr int rings_of_bell = 200'000;

pid_t pid_in(const std::string& text) { return static_cast<pid_t>(std::stol(text)); }

/// A mapping, as /proc/PID/maps has it.
struct Range {
  std::uintptr_t begin = 0, end = 0;
};
std::vector<Range> mappings_of(const std::string& maps, std::string_view access,
                               std::string_view name) {
  std::vector<Range> found;
  std::ifstream file(maps);
  for (std::string line; std::getline(file, line);) {
    std::istringstream text(line);
    Range range;
    char dash = 0;
    std::string rights;
    text >> std::hex >> range.begin >> dash >> range.end >> rights;
    if (rights == access && line.find(name) != std::string::npos) found.push_back(range);
  }
  return found;
}

int open_for_writing(const std::string& path) {
  const UniqueFd file(::open(path.c_str(), O_RDWR | O_CLOEXEC));
  return file ? 0 : errno;
}

/// All that another process has open: the first that opens for writing will do.
int reopen(const std::string& pid) {
  const std::string directory = "/proc/" + pid + "/fd";
  DIR* listing = ::opendir(directory.c_str());
  if (listing == nullptr) return errno;
  int error = ENOENT;
  while (const dirent* entry = ::readdir(listing)) {
    if (entry->d_name[0] == '.') continue;
    error = open_for_writing(directory + "/" + entry->d_name);
    if (error == 0) break;
  }
  ::closedir(listing);
  return error;
}

/// Writes back what is there: the attack is the right to do it.
int write_memory(const std::string& pid) {
  const auto stacks = mappings_of("/proc/" + pid + "/maps", "rw-p", "[stack]");
  std::uint64_t word = 0;
  iovec here{&word, sizeof word};
  iovec there{reinterpret_cast<void*>(stacks.empty() ? 0x1000 : stacks[0].end - 4096), sizeof word};
  if (::process_vm_readv(pid_in(pid), &here, 1, &there, 1, 0) != sizeof word) return errno;
  return ::process_vm_writev(pid_in(pid), &here, 1, &there, 1, 0) == sizeof word ? 0 : errno;
}

int trace(const std::string& pid) {
  if (::ptrace(PTRACE_SEIZE, pid_in(pid), nullptr, nullptr) != 0) return errno;
  int status = 0;  // it must stop to be let go
  ::ptrace(PTRACE_INTERRUPT, pid_in(pid), nullptr, nullptr);
  ::waitpid(pid_in(pid), &status, __WALL);
  ::ptrace(PTRACE_DETACH, pid_in(pid), nullptr, nullptr);
  return 0;
}

int take_descriptor(const std::string& pid) {
  const UniqueFd target(pidfd_open(pid_in(pid)));
  if (!target) return errno;
  const UniqueFd taken(static_cast<int>(::syscall(SYS_pidfd_getfd, target.get(), 3, 0)));
  return taken ? 0 : errno;
}

int kill_process(const std::string& pid) { return ::kill(pid_in(pid), SIGKILL) == 0 ? 0 : errno; }

int connect_to(const std::string& path) {
  const UniqueFd socket(::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0));
  if (!socket) return errno;
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  path.copy(address.sun_path, sizeof address.sun_path - 1);
  return ::connect(socket.get(), reinterpret_cast<sockaddr*>(&address), sizeof address) == 0
             ? 0
             : errno;
}

int make_file(const std::string& path) {
  const UniqueFd file(::open(path.c_str(), O_WRONLY | O_CREAT | O_CLOEXEC, 0600));
  return file && ::write(file.get(), "x", 1) == 1 ? 0 : errno;
}

int fork_bomb(const std::string&) {
  std::vector<pid_t> children;
  int error = 0;
  while (error == 0 && children.size() < forks_max) {
    const pid_t child = ::fork();
    if (child == 0)
      for (;;) ::pause();
    if (child < 0)
      error = errno;
    else
      children.push_back(child);
  }
  for (const pid_t child : children) ::kill(child, SIGKILL);
  for (const pid_t child : children) ::waitpid(child, nullptr, 0);
  return error;
}

int descriptor_bomb(const std::string&) {
  std::vector<UniqueFd> taken;
  while (taken.size() < descriptors_max) {
    taken.emplace_back(::dup(0));
    if (!taken.back()) return errno;
  }
  return 0;
}

int memory_bomb(const std::string&) {
  std::vector<void*> taken;
  int error = 0;
  while (error == 0 && taken.size() * mebibyte < memory_max) {
    void* block =
        ::mmap(nullptr, mebibyte, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (block == MAP_FAILED) {
      error = errno;
    } else {
      std::memset(block, 'm', mebibyte);
      taken.push_back(block);
    }
  }
  for (void* block : taken) ::munmap(block, mebibyte);
  return error;
}

int raise_limit(const std::string&) {
  rlimit limit{};
  ::getrlimit(RLIMIT_NOFILE, &limit);
  limit.rlim_max += 1;
  return ::setrlimit(RLIMIT_NOFILE, &limit) == 0 ? 0 : errno;
}

int become_root(const std::string&) { return ::setresuid(0, 0, 0) == 0 ? 0 : errno; }

int flood_log(const std::string& mebibytes) {
  std::string block;
  while (block.size() < 65'536) block += "one more line of a gigabyte, which nobody is to read\n";
  const std::size_t bytes = std::stoul(mebibytes) * mebibyte;
  for (std::size_t written = 0; written < bytes;) {
    const ssize_t some = ::write(STDERR_FILENO, block.data(), block.size());
    if (some < 0) return errno;
    written += static_cast<std::size_t>(some);
  }
  return 0;
}

/// Everybody it can wake, woken without end: eventfds and bell pages.
int ring_bells(const std::string&) {
  std::vector<int> eventfds;
  for (int fd = 3; fd < 256; ++fd) {
    char target[64] = {};
    const std::string link = "/proc/self/fd/" + std::to_string(fd);
    if (::readlink(link.c_str(), target, sizeof target - 1) > 0 &&
        std::strstr(target, "eventfd") != nullptr)
      eventfds.push_back(fd);
  }
  const auto bells = mappings_of("/proc/self/maps", "rw-s", "microswarm-bell");
  if (eventfds.empty() && bells.empty()) return ENOENT;
  std::minstd_rand random(1);
  for (int i = 0; i < rings_of_bell; ++i) {
    const std::uint64_t one = 1;
    for (const int fd : eventfds)
      if (::write(fd, &one, sizeof one) < 0 && errno != EAGAIN) return errno;
    for (const Range& bell : bells) {
      auto* word = reinterpret_cast<volatile std::uint32_t*>(bell.begin);
      *word = static_cast<std::uint32_t>(random());
    }
  }
  return 0;
}

/// Random bytes over all of its own that others read: header, rings, cursors, holds. No way back.
int scribble_over_itself(const std::string&) {
  const auto segments = mappings_of("/proc/self/maps", "rw-s", "microswarm-segment");
  if (segments.empty()) return ENOENT;
  std::minstd_rand random(7);
  for (const Range& segment : segments)
    for (std::uintptr_t at = segment.begin; at < segment.end; at += sizeof(std::uint32_t))
      *reinterpret_cast<volatile std::uint32_t*>(at) = static_cast<std::uint32_t>(random());
  return 0;
}

int loop_forever(const std::string&) {
  for (volatile bool forever = true; forever;) {
  }
  return 0;
}

struct Attack {
  std::string_view name;
  int (*function)(const std::string& argument);  ///< 0 or the errno
};
constexpr Attack attacks[] = {{"open", open_for_writing},
                              {"reopen", reopen},
                              {"write_memory", write_memory},
                              {"trace", trace},
                              {"take_descriptor", take_descriptor},
                              {"kill", kill_process},
                              {"connect", connect_to},
                              {"make_file", make_file},
                              {"fork_bomb", fork_bomb},
                              {"descriptor_bomb", descriptor_bomb},
                              {"memory_bomb", memory_bomb},
                              {"raise_limit", raise_limit},
                              {"become_root", become_root},
                              {"flood_log", flood_log},
                              {"ring_bells", ring_bells},
                              {"scribble_over_itself", scribble_over_itself},
                              {"loop_forever", loop_forever}};

Outcome attack(TaskContext& task) {
  std::istringstream payload{std::string(task.payload_text())};
  std::string name, argument;
  payload >> name >> argument;
  int error = ENOSYS;
  if (name == "remove_payload") {
    // The pages of somebody else's bank.
    auto* page = reinterpret_cast<void*>(reinterpret_cast<std::uintptr_t>(task.payload().data()) &
                                         ~std::uintptr_t{4095});
    error = ::madvise(page, 4096, MADV_REMOVE) == 0 ? 0 : errno;
  }
  for (const Attack& one : attacks)
    if (one.name == name) error = one.function(argument);
  const auto set = task.set_result(error == 0 ? "done" : "errno " + std::to_string(error));
  return set ? Outcome::done : task.fail(set.error());
}

}  // namespace
}  // namespace micro_swarm

int main() {
  using namespace micro_swarm;
  HandlerSet handlers;
  handlers.add("attack", attack);
  handlers.add("victim", [](TaskContext&) { return Outcome::done; });
  return run_external_agent(handlers);
}
