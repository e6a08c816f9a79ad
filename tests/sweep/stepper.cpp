#include "tests/sweep/stepper.hpp"

#include <sched.h>
#include <signal.h>
#include <sys/auxv.h>
#include <sys/prctl.h>
#include <sys/ptrace.h>
#include <sys/user.h>
#include <sys/wait.h>
#include <unistd.h>

#include <boost/test/unit_test.hpp>
#include <unordered_set>

#define XXH_INLINE_ALL
#include <xxhash.h>

#if !defined(__x86_64__)
#error "the stepper knows the registers of x86-64 only"
#endif

// A place to run clone(2) from, whatever instruction the child is at.
asm(R"(
  .text
  .globl sweep_clone_here
sweep_clone_here:
  syscall
  int3
)");
extern "C" const char sweep_clone_here[];
extern "C" [[gnu::noinline]] void sweep_operation_finished() { asm volatile("" ::: "memory"); }

namespace micro_swarm::sweep {

namespace {

#define SWEEP_REQUIRE(condition) BOOST_REQUIRE_MESSAGE((condition), "stepper: " #condition)

int wait_for(pid_t pid) {
  int status = 0;
  SWEEP_REQUIRE(::waitpid(pid, &status, __WALL) == pid);
  return status;
}

/// The stopped child; killed with this object.
class SteppedChild {
 public:
  explicit SteppedChild(const std::function<void()>& operation) {
    pid_ = ::fork();
    SWEEP_REQUIRE(pid_ >= 0);
    if (pid_ == 0) {
      ::prctl(PR_SET_PDEATHSIG, SIGKILL);
      ::ptrace(PTRACE_TRACEME, 0, nullptr, nullptr);
      asm volatile("int3");
      operation();
      sweep_operation_finished();
      ::_exit(0);
    }
    const int status = wait_for(pid_);
    SWEEP_REQUIRE(WIFSTOPPED(status) && WSTOPSIG(status) == SIGTRAP);
    SWEEP_REQUIRE(
        ::ptrace(PTRACE_SETOPTIONS, pid_, nullptr, PTRACE_O_EXITKILL | PTRACE_O_TRACEFORK) == 0);
  }
  ~SteppedChild() {
    ::kill(pid_, SIGKILL);
    int status = 0;
    ::waitpid(pid_, &status, __WALL);
  }
  SteppedChild(const SteppedChild&) = delete;
  SteppedChild& operator=(const SteppedChild&) = delete;

  /// False = the operation is over.
  bool step() {
    SWEEP_REQUIRE(::ptrace(PTRACE_SINGLESTEP, pid_, nullptr, nullptr) == 0);
    const int status = wait_for(pid_);
    SWEEP_REQUIRE(WIFSTOPPED(status));
    SWEEP_REQUIRE(WSTOPSIG(status) == SIGTRAP);  // a fault of the operation would be another signal
    at_ = static_cast<std::uint64_t>(
        ::ptrace(PTRACE_PEEKUSER, pid_, offsetof(user_regs_struct, rip), nullptr));
    return at_ != reinterpret_cast<std::uint64_t>(&sweep_operation_finished);
  }
  /// It reads the clock: code of the kernel's, which writes nothing and starts over when the kernel
  /// has told the time meanwhile. With a pause at each instruction it would do so for ever.
  bool reads_clock() const {
    constexpr std::uint64_t vdso_bytes_max = 16 * 4096;
    static const std::uint64_t vdso = ::getauxval(AT_SYSINFO_EHDR);
    return at_ >= vdso && at_ - vdso < vdso_bytes_max;
  }

  /// Makes a process that stands at the same instruction, and kills it there.
  void kill_twin() {
    user_regs_struct here{};
    SWEEP_REQUIRE(::ptrace(PTRACE_GETREGS, pid_, nullptr, &here) == 0);
    user_regs_struct clone = here;
    clone.rip = reinterpret_cast<std::uint64_t>(sweep_clone_here);
    clone.orig_rax = ~0ull;
    clone.rax = 56;                      // clone
    clone.rdi = CLONE_PARENT | SIGCHLD;  // our child, not the stopped one's: we reap it
    clone.rsi = clone.rdx = clone.r10 = clone.r8 = 0;
    SWEEP_REQUIRE(::ptrace(PTRACE_SETREGS, pid_, nullptr, &clone) == 0);
    SWEEP_REQUIRE(::ptrace(PTRACE_CONT, pid_, nullptr, nullptr) == 0);
    int status = wait_for(pid_);
    SWEEP_REQUIRE((status >> 8) == (SIGTRAP | (PTRACE_EVENT_FORK << 8)));
    unsigned long twin_pid = 0;
    SWEEP_REQUIRE(::ptrace(PTRACE_GETEVENTMSG, pid_, nullptr, &twin_pid) == 0);
    const auto twin = static_cast<pid_t>(twin_pid);
    status =
        wait_for(twin);  // attached with us as its tracer, stopped before its first instruction
    SWEEP_REQUIRE(WIFSTOPPED(status));
    SWEEP_REQUIRE(::ptrace(PTRACE_SETREGS, twin, nullptr, &here) == 0);

    SWEEP_REQUIRE(::kill(twin, SIGKILL) == 0);
    status = wait_for(twin);
    SWEEP_REQUIRE(WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL);

    // The child goes back to where it was.
    SWEEP_REQUIRE(::ptrace(PTRACE_CONT, pid_, nullptr, nullptr) == 0);
    status = wait_for(pid_);
    SWEEP_REQUIRE(WIFSTOPPED(status) && WSTOPSIG(status) == SIGTRAP);
    here.orig_rax = ~0ull;
    SWEEP_REQUIRE(::ptrace(PTRACE_SETREGS, pid_, nullptr, &here) == 0);
  }

 private:
  pid_t pid_ = -1;
  std::uint64_t at_ = 0;
};

class SeenStates {
 public:
  explicit SeenStates(const SharedMemory& memory) : memory_(memory) {}

  /// True when the memory is as it has not been before.
  bool is_new() {
    std::uint64_t hash = 0;
    for (const auto part : memory_.watched)
      hash = XXH3_64bits_withSeed(part.data(), part.size(), hash);
    return seen_.insert(hash).second;
  }
  std::size_t size() const { return seen_.size(); }

 private:
  const SharedMemory& memory_;
  std::unordered_set<std::uint64_t> seen_;
};

}  // namespace

SweepCounts& SweepCounts::operator+=(const SweepCounts& other) {
  instructions += other.instructions;
  states += other.states;
  kills += other.kills;
  violations += other.violations;
  if (first_violation.empty()) first_violation = other.first_violation;
  return *this;
}

SweepCounts kill_at_every_instruction(const SharedMemory& memory, Depth depth,
                                      const std::function<void()>& operation,
                                      const std::function<std::string()>& check) {
  SweepCounts counts;
  SeenStates seen(memory);
  SteppedChild child(operation);
  const auto violated = [&counts](const std::string& wrong) {
    if (++counts.violations == 1)
      counts.first_violation =
          "killed before instruction " + std::to_string(counts.instructions) + ": " + wrong;
  };
  bool running = true;
  for (;;) {
    if (seen.is_new() || (running && depth == Depth::each_instruction && !child.reads_clock())) {
      const Snapshot before = memory.save();
      child.kill_twin();
      ++counts.kills;
      if (std::string wrong = check(); !wrong.empty()) violated(wrong);
      memory.load(before);
    }
    if (!running) break;
    running = child.step();
    ++counts.instructions;
  }
  if (memory.others_are_untouched && !memory.others_are_untouched())
    violated("the operation has written another party's words");
  counts.states = seen.size();
  return counts;
}

std::vector<Snapshot> states_left_by(const SharedMemory& memory,
                                     const std::function<void()>& operation) {
  std::vector<Snapshot> states;
  const Snapshot before = memory.save();
  SeenStates seen(memory);
  {
    SteppedChild child(operation);
    do {
      if (seen.is_new()) states.push_back(memory.save());
    } while (child.step());
    if (seen.is_new()) states.push_back(memory.save());
  }
  memory.load(before);
  return states;
}

void pin_to_one_core() {
  cpu_set_t allowed;
  CPU_ZERO(&allowed);
  ::sched_getaffinity(0, sizeof allowed, &allowed);
  for (int cpu = 0; cpu < CPU_SETSIZE; ++cpu) {
    if (!CPU_ISSET(cpu, &allowed)) continue;
    cpu_set_t one;
    CPU_ZERO(&one);
    CPU_SET(cpu, &one);
    ::sched_setaffinity(0, sizeof one, &one);
    return;
  }
}

}  // namespace micro_swarm::sweep
