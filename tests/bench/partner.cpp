#include "tests/bench/partner.hpp"

#include <dirent.h>
#include <sched.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cstdlib>
#include <stdexcept>
#include <string>
#include <vector>

#include "common/clock.hpp"

namespace micro_swarm::bench {

SharedBytes::SharedBytes(std::size_t size_bytes) : size_bytes_(size_bytes) {
  memory_ = ::mmap(nullptr, size_bytes, PROT_READ | PROT_WRITE,
                   MAP_SHARED | MAP_ANONYMOUS | MAP_POPULATE, -1, 0);
  if (memory_ == MAP_FAILED) throw std::runtime_error("mmap of shared memory failed");
}
SharedBytes::~SharedBytes() { ::munmap(memory_, size_bytes_); }

namespace {

const std::vector<int>& usable_cores() {
  static const std::vector<int> numbers = [] {
    cpu_set_t set;
    CPU_ZERO(&set);
    std::vector<int> found;
    if (::sched_getaffinity(0, sizeof set, &set) == 0)
      for (int i = 0; i < CPU_SETSIZE; ++i)
        if (CPU_ISSET(i, &set)) found.push_back(i);
    return found;
  }();
  return numbers;
}

}  // namespace

int cores() { return static_cast<int>(usable_cores().size()); }

void pin(pid_t pid, int core) {
  const auto& numbers = usable_cores();
  if (core != any_core && static_cast<std::size_t>(core) >= numbers.size())
    throw std::runtime_error("pinned figures take two cores");
  cpu_set_t set;
  CPU_ZERO(&set);
  for (std::size_t i = 0; i < numbers.size(); ++i)
    if (core == any_core || static_cast<int>(i) == core) CPU_SET(numbers[i], &set);
  if (pid == 0) {
    ::sched_setaffinity(0, sizeof set, &set);
    return;
  }
  const std::string tasks = "/proc/" + std::to_string(pid) + "/task";
  DIR* directory = ::opendir(tasks.c_str());
  if (directory == nullptr) throw std::runtime_error("no process " + std::to_string(pid));
  while (const dirent* entry = ::readdir(directory))
    if (entry->d_name[0] != '.') ::sched_setaffinity(std::atoi(entry->d_name), sizeof set, &set);
  ::closedir(directory);
}

Partner::Partner(int core, Serve serve) {
  auto pair = seqpacket_pair();
  if (!pair) throw std::runtime_error(pair.error().message);
  const pid_t parent = ::getpid();
  pid_ = ::fork();
  if (pid_ < 0) throw std::runtime_error("fork failed");
  if (pid_ == 0) {
    ::prctl(PR_SET_PDEATHSIG, SIGKILL);
    if (::getppid() != parent) ::_exit(1);
    socket_ = std::move(pair->second);
    pair->first.reset();
    pin(0, core);
    serve_forever(serve);
  }
  socket_ = std::move(pair->first);
}

Partner::~Partner() {
  ::kill(pid_, SIGKILL);
  ::waitpid(pid_, nullptr, 0);
}

void Partner::serve_forever(const Serve& serve) {
  for (;;) {
    Command command{};
    if (::recv(socket_.get(), &command, sizeof command, 0) != sizeof command) ::_exit(0);
    arrived_->store(++commands_, std::memory_order_release);
    const std::uint64_t answer = serve(command.what, command.count);
    if (::send(socket_.get(), &answer, sizeof answer, MSG_NOSIGNAL) != sizeof answer) ::_exit(0);
  }
}

void Partner::begin(std::uint32_t what, std::uint64_t count) {
  const Command command{what, count};
  if (::send(socket_.get(), &command, sizeof command, MSG_NOSIGNAL) != sizeof command)
    throw std::runtime_error("the measuring partner is gone");
  ++commands_;
  const std::uint64_t deadline_ns = now_ns() + 10 * ns_per_s;
  while (arrived_->load(std::memory_order_acquire) != commands_) {
    cpu_relax();
    if (now_ns() > deadline_ns) throw std::runtime_error("the measuring partner does not answer");
  }
}

std::uint64_t Partner::finish() {
  std::uint64_t answer = 0;
  if (::recv(socket_.get(), &answer, sizeof answer, 0) != sizeof answer)
    throw std::runtime_error("the measuring partner is gone");
  if (answer == failure) throw std::runtime_error("the measuring partner got a wrong message");
  return answer;
}

}  // namespace micro_swarm::bench
