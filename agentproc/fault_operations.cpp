#include "agentproc/fault_operations.hpp"

#include <fcntl.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/types.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <cstdio>
#include <string>

#include "agentproc/payload_text.hpp"
#include "common/posix.hpp"

namespace micro_swarm {

namespace {

Outcome crash(TaskContext&) {
  ::kill(::getpid(), SIGSEGV);
  for (;;) ::pause();  // where it is blocked or caught, the hang is found
}

Outcome exit_now(TaskContext& task) { ::_exit(static_cast<int>(number_in(task).value_or(1))); }

Outcome hang(TaskContext&) {
  for (volatile bool forever = true; forever;) {
  }
  return Outcome::done;
}

Outcome stop(TaskContext&) {
  ::kill(::getpid(), SIGSTOP);
  return Outcome::done;  // somebody continued it
}

/// The grandchild has left the process group and the session: only its ancestry tells whose it is.
Outcome fork_away(TaskContext& task) {
  const pid_t child = ::fork();
  if (child < 0) return task.fail(system_error("fork", errno).message);
  if (child == 0) {
    ::setsid();
    if (::fork() != 0) ::_exit(0);
    for (;;) ::pause();
  }
  int status = 0;
  if (::waitpid(child, &status, 0) < 0) return task.fail(system_error("waitpid", errno).message);
  return Outcome::done;
}

class Scribble final : public Handler {
 public:
  void started(const AgentEnvironment& environment) override {
    supervisor_ = environment.supervisor_segment;
  }

  Outcome handle(TaskContext& task) override {
    const std::string_view line = task.payload_text().substr(0, task.payload_text().find('\n'));
    const std::size_t space = line.find(' ');
    const std::string_view target = line.substr(0, space);
    const std::string_view method = space == line.npos ? "" : line.substr(space + 1);
    if (target != "supervisor" && target != "bank")
      return task.fail("scribble takes \"supervisor METHOD\" or \"bank METHOD\"");
    const std::span<const std::byte> victim = target == "bank" ? task.payload() : supervisor_;
    // The page that holds it; regions and segments begin on page boundaries.
    void* const page = const_cast<std::byte*>(victim.data()) -
                       reinterpret_cast<std::uintptr_t>(victim.data()) % page_bytes;
    int error = 0;
    if (method == "store") {
      *static_cast<volatile char*>(page) = 'x';
    } else if (method == "mprotect") {
      if (::mprotect(page, page_bytes, PROT_READ | PROT_WRITE) != 0) error = errno;
    } else if (method == "remap") {
      error = remap(page);
    } else if (method == "write") {
      // The kernel writes where the process may: a read into the page is a write to it.
      int ends[2];
      if (::pipe(ends) != 0) return task.fail(system_error("pipe", errno).message);
      if (::write(ends[1], "x", 1) != 1 || ::read(ends[0], page, 1) != 1) error = errno;
      ::close(ends[0]);
      ::close(ends[1]);
    } else {
      return task.fail("METHOD is store, mprotect, remap or write");
    }
    if (error == 0) return task.fail("the write went through");
    static_cast<void>(task.set_result("errno " + std::to_string(error)));
    return Outcome::done;
  }

 private:
  static constexpr std::size_t page_bytes = 4096;

  /// Opens the mapped file again, for writing, through /proc and maps it.
  static int remap(const void* page) {
    char path[64];
    const auto address = reinterpret_cast<std::uintptr_t>(page);
    // The mapping's own entry needs its exact bounds: search for the one that begins here.
    std::snprintf(path, sizeof path, "/proc/self/maps");
    FILE* maps = std::fopen(path, "re");
    if (maps == nullptr) return errno;
    unsigned long begin = 0;
    unsigned long end = 0;
    char line[512];
    bool found = false;
    while (!found && std::fgets(line, sizeof line, maps) != nullptr)
      found = std::sscanf(line, "%lx-%lx", &begin, &end) == 2 && begin <= address && address < end;
    std::fclose(maps);
    if (!found) return ENOENT;
    std::snprintf(path, sizeof path, "/proc/self/map_files/%lx-%lx", begin, end);
    const UniqueFd file(::open(path, O_RDWR | O_CLOEXEC));
    if (!file) return errno;
    void* mapped = ::mmap(nullptr, page_bytes, PROT_READ | PROT_WRITE, MAP_SHARED, file.get(), 0);
    if (mapped == MAP_FAILED) return errno;
    ::munmap(mapped, page_bytes);
    return 0;
  }

  std::span<const std::byte> supervisor_;
};

struct Operation {
  std::string_view name;
  Outcome (*function)(TaskContext&);
};
constexpr Operation operations[] = {{"fault.crash", crash},
                                    {"fault.exit", exit_now},
                                    {"fault.hang", hang},
                                    {"fault.stop", stop},
                                    {"fault.fork_away", fork_away}};
constexpr std::string_view scribble_name = "fault.scribble";

}  // namespace

std::vector<std::string_view> fault_operation_names() {
  std::vector<std::string_view> names;
  for (const Operation& operation : operations) names.push_back(operation.name);
  names.push_back(scribble_name);
  return names;
}

void add_fault_operations(HandlerSet& handlers) {
  for (const Operation& operation : operations)
    handlers.add(std::string(operation.name), operation.function);
  handlers.add(std::string(scribble_name), std::make_unique<Scribble>());
}

}  // namespace micro_swarm
