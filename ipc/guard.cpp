#include "ipc/guard.hpp"

#include <signal.h>
#include <sys/mman.h>
#include <ucontext.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <cassert>
#include <cstdlib>
#include <cstring>
#include <memory>
#include <string_view>

#include "common/clock.hpp"

namespace micro_swarm {

namespace {

/// A guarded bank, as the signal handler sees it: it may run between any two stores of the thread
/// that it interrupted, and beside the others. `base` is stored last and cleared first.
struct Entry {
  std::atomic<bool> is_taken{false};
  std::atomic<std::uintptr_t> base{0};
  std::uint64_t bytes = 0;
  std::uint64_t region_bytes = 0;
  std::uint32_t bank = 0;
  SegmentView own;
};
/// Of all links of the process together. A bank without an entry is guarded, its culprit nameless.
constexpr std::uint32_t entries_max = banks_max;
constexpr std::uint32_t no_entry = entries_max;
std::array<Entry, entries_max> entries;
std::atomic<std::uint32_t> entries_used{0};  // high-water mark
std::atomic<bool> is_found{false};           // by the first thread that faults
std::atomic<bool> is_reported{false};
struct sigaction former_action {};

std::uint32_t enter(const SegmentView& own, std::uint32_t bank, std::span<std::byte> memory,
                    std::uint64_t region_bytes) {
  for (std::uint32_t i = 0; i < entries_max; ++i) {
    Entry& entry = entries[i];
    if (entry.is_taken.load(std::memory_order_relaxed) || entry.is_taken.exchange(true)) continue;
    entry.bytes = memory.size();
    entry.region_bytes = region_bytes;
    entry.bank = bank;
    entry.own = own;
    std::uint32_t used = entries_used.load();
    while (used <= i && !entries_used.compare_exchange_weak(used, i + 1)) {
    }
    entry.base.store(reinterpret_cast<std::uintptr_t>(memory.data()), std::memory_order_release);
    return i;
  }
  return no_entry;
}

void leave(std::uint32_t i) {
  if (i == no_entry) return;
  entries[i].base.store(0, std::memory_order_release);
  entries[i].is_taken.store(false, std::memory_order_release);
}

// ---- what a dying process says; async-signal-safe ----

void record(const SegmentView& own, FlightCode code, std::uint64_t subject) noexcept {
  FlightRecorder& recorder = own.recorder();
  const std::uint64_t count = load(recorder.count);
  recorder.events[count % flight_events_max] = FlightEvent{now_ns(), code, subject};
  store(recorder.count, count + 1);
}

/// One line of text without memory of the heap.
class Line {
 public:
  Line& operator<<(std::string_view text) noexcept {
    const std::size_t size = std::min(text.size(), buffer_.size() - used_);
    std::memcpy(buffer_.data() + used_, text.data(), size);
    used_ += size;
    return *this;
  }
  Line& number(std::uint64_t value, unsigned base = 10) noexcept {
    char digits[24];
    std::size_t at = sizeof digits;
    do {
      digits[--at] = "0123456789abcdef"[value % base];
      value /= base;
    } while (value != 0);
    return *this << std::string_view(digits + at, sizeof digits - at);
  }
  Line& region(RegionIndex index) noexcept {
    return number(bank_of(index)).operator<<("/").number(slot_of(index));
  }
  void write() const noexcept {
    // Nobody is left who could do something about an error.
    [[maybe_unused]] const ssize_t written = ::write(STDERR_FILENO, buffer_.data(), used_);
  }

 private:
  std::array<char, 256> buffer_;
  std::size_t used_ = 0;
};

std::uint64_t instruction_of([[maybe_unused]] const void* context) noexcept {
#if defined(__x86_64__)
  return static_cast<std::uint64_t>(
      static_cast<const ucontext_t*>(context)->uc_mcontext.gregs[REG_RIP]);
#elif defined(__aarch64__)
  return static_cast<const ucontext_t*>(context)->uc_mcontext.pc;
#else
  return 0;
#endif
}

/// The fault was of guarded memory. What the region's word says is what it was protected for.
void report(const Entry& entry, std::uintptr_t address, std::uint64_t instruction) noexcept {
  const auto slot = static_cast<std::uint32_t>((address - entry.base.load()) / entry.region_bytes);
  const RegionIndex region = region_index(entry.bank, slot);
  const bool is_out = RegionWord{load(entry.own.region(region))}.outstanding() != 0;
  record(entry.own,
         is_out ? FlightCode::guard_write_after_hand_over : FlightCode::guard_touch_after_release,
         region);
  record(entry.own, FlightCode::guard_address, address);
  record(entry.own, FlightCode::guard_instruction, instruction);
  Line line;
  line << "microswarm guard: process ";
  line.number(static_cast<std::uint64_t>(::getpid()));
  line << (is_out ? " wrote to region " : " touched region ");
  line.region(region);
  line << (is_out ? " after it was handed over" : " after its release") << ", address 0x";
  line.number(address, 16) << ", instruction 0x";
  line.number(instruction, 16) << "\n";
  line.write();
}

/// The region's bytes behind what was asked for were changed; who did it may be far away by now.
[[noreturn]] void die_of_overrun(const SegmentView& own, RegionIndex region, std::size_t asked,
                                 std::size_t at) noexcept {
  record(own, FlightCode::guard_write_past_end, region);
  record(own, FlightCode::guard_bytes_asked, asked);
  Line line;
  line << "microswarm guard: process ";
  line.number(static_cast<std::uint64_t>(::getpid())) << " wrote past the end of region ";
  line.region(region) << " (";
  line.number(asked) << " bytes asked), first at byte ";
  line.number(at) << "\n";
  line.write();
  std::abort();
}

extern "C" void micro_swarm_guard_fault(int number, siginfo_t* info, void* context) {
  const auto address = reinterpret_cast<std::uintptr_t>(info->si_addr);
  const bool is_fault = info->si_code > 0;  // else somebody's kill()
  if (is_fault) {
    const std::uint32_t used = entries_used.load();
    for (std::uint32_t i = 0; i < used; ++i) {
      const std::uintptr_t base = entries[i].base.load(std::memory_order_acquire);
      if (base == 0 || address < base || address - base >= entries[i].bytes) continue;
      if (!is_found.exchange(true)) {
        report(entries[i], address, instruction_of(context));
        is_reported.store(true);
      }
      while (!is_reported.load()) {  // another thread's fault must not cut the report short
      }
      // Whatever was there before deals with it when the instruction is tried again.
      ::sigaction(number, &former_action, nullptr);
      return;
    }
  }
  if ((former_action.sa_flags & SA_SIGINFO) != 0 && former_action.sa_sigaction != nullptr)
    return former_action.sa_sigaction(number, info, context);
  if ((former_action.sa_flags & SA_SIGINFO) == 0 && former_action.sa_handler != SIG_DFL &&
      former_action.sa_handler != SIG_IGN)
    return former_action.sa_handler(number);
  ::sigaction(number, &former_action, nullptr);
  if (!is_fault) ::raise(number);  // blocked until this returns
}

/// The handler's stack for one thread: a fault may be one of the stack itself.
class SignalStack {
 public:
  SignalStack() {
    stack_t there{};
    if (::sigaltstack(nullptr, &there) != 0 || (there.ss_flags & SS_DISABLE) == 0) return;
    memory_ = std::make_unique<std::byte[]>(bytes);
    stack_t mine{};
    mine.ss_sp = memory_.get();
    mine.ss_size = bytes;
    ::sigaltstack(&mine, nullptr);
  }
  ~SignalStack() {
    if (memory_ == nullptr) return;
    stack_t off{};
    off.ss_flags = SS_DISABLE;
    ::sigaltstack(&off, nullptr);
  }
  SignalStack(const SignalStack&) = delete;
  SignalStack& operator=(const SignalStack&) = delete;

 private:
  static constexpr std::size_t bytes = 64 * 1024;
  std::unique_ptr<std::byte[]> memory_;
};

void install_handler() {
  static thread_local SignalStack stack;
  static_cast<void>(stack);
  static const bool is_installed = [] {
    struct sigaction action {};
    action.sa_sigaction = micro_swarm_guard_fault;
    action.sa_flags = SA_SIGINFO | SA_ONSTACK;
    ::sigemptyset(&action.sa_mask);
    return ::sigaction(SIGSEGV, &action, &former_action) == 0;
  }();
  static_cast<void>(is_installed);
}

/// False: ENOMEM, too many mappings.
bool protect(std::span<std::byte> pages, int protection) noexcept {
  return ::mprotect(pages.data(), pages.size(), protection) == 0;
}

}  // namespace

Guard::Guard(const SegmentView& own) : own_(own) { install_handler(); }

Guard::~Guard() {
  for (const Bank& bank : banks_)
    if (bank.memory != nullptr) leave(bank.entry);
}

void Guard::add(std::uint32_t bank, std::span<std::byte> memory, std::uint64_t region_bytes) {
  assert(region_bytes % 4096 == 0);
  if (banks_.size() <= bank) banks_.resize(bank + 1);
  Bank& added = banks_[bank];
  added.memory = memory.data();
  added.region_bytes = region_bytes;
  added.asked.assign(memory.size() / region_bytes, 0);
  added.entry = enter(own_, bank, memory, region_bytes);
  static_cast<void>(protect(memory, PROT_NONE));
}

void Guard::remove(std::uint32_t bank) {
  leave(banks_[bank].entry);
  banks_[bank] = Bank();
}

std::span<std::byte> Guard::pages(RegionIndex region) const {
  const Bank& bank = banks_[bank_of(region)];
  return {bank.memory + slot_of(region) * bank.region_bytes, bank.region_bytes};
}

std::size_t Guard::asked_bytes(RegionIndex region) const {
  return banks_[bank_of(region)].asked[slot_of(region)];
}

void Guard::allocated(RegionIndex region, std::size_t asked_bytes) {
  const auto all = pages(region);
  Bank& bank = banks_[bank_of(region)];
  if (!protect(all, PROT_READ | PROT_WRITE))  // a whole mapping needs no new one
    static_cast<void>(
        protect({bank.memory, bank.asked.size() * bank.region_bytes}, PROT_READ | PROT_WRITE));
  bank.asked[slot_of(region)] = asked_bytes;
  const auto behind = all.subspan(asked_bytes);
  std::memset(behind.data(), std::to_integer<int>(guard_redzone), behind.size());
}

void Guard::check(RegionIndex region) const {
  const auto all = pages(region);
  const auto behind = all.subspan(asked_bytes(region));
  const auto damaged = std::find_if(behind.begin(), behind.end(),
                                    [](std::byte value) { return value != guard_redzone; });
  if (damaged != behind.end())
    die_of_overrun(own_, region, asked_bytes(region),
                   static_cast<std::size_t>(&*damaged - all.data()));
}

void Guard::leaving(RegionIndex region) {
  // Closed before it is looked at: what another thread writes in between would go unseen.
  static_cast<void>(protect(pages(region), PROT_READ));
  check(region);
}

void Guard::freed(RegionIndex region) {
  const auto all = pages(region);
  if (!protect(all, PROT_READ | PROT_WRITE)) return;
  std::memset(all.data(), std::to_integer<int>(guard_poison), all.size());
  static_cast<void>(protect(all, PROT_NONE));
}

}  // namespace micro_swarm
