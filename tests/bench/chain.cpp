#include "tests/bench/chain.hpp"

#include "common/clock.hpp"
#include "ipc/bell.hpp"
#include "shm/atomics.hpp"
#include "tests/bench/references.hpp"
#include "tests/bench/windows.hpp"

namespace micro_swarm::bench {

void Chain::Gate::open(std::uint32_t to) noexcept {
  value.store(to, std::memory_order_release);
  StdAtomics::fence();
  if (asleep.load(std::memory_order_relaxed) != 0) futex_wake_one(value);
}

void Chain::Gate::await(std::uint32_t wanted, std::uint64_t spin_ns) noexcept {
  const auto open = [&] { return value.load(std::memory_order_acquire) == wanted; };
  if (spin_ns != 0) {
    const std::uint64_t start_ns = now_ns();
    do {
      for (int i = 0; i < 32; ++i) {
        if (open()) return;
        cpu_relax();
      }
    } while (now_ns() - start_ns < spin_ns);
  }
  while (!open()) {
    asleep.store(1, std::memory_order_relaxed);
    StdAtomics::fence();
    if (!open()) futex_wait(value, wanted - 1, ns_per_s);
    asleep.store(0, std::memory_order_relaxed);
  }
}

double Chain::ask(Partner& hub, std::uint32_t hub_what, Partner& worker, std::uint32_t worker_what,
                  std::uint64_t round_trips, Timing timing) {
  gates_->spin_ns.store(timing.spin_ns);
  hub.begin(hub_what, round_trips);
  worker.begin(worker_what, round_trips);
  std::vector<double> times_ns;
  for (std::uint64_t i = 0; i < round_trips; ++i) {
    if (timing.hold_ns != 0) hold(timing.hold_ns);
    const std::uint64_t start_ns = now_ns();
    ++at_;
    gates_->client_to_hub.open(at_);
    gates_->hub_to_client.await(at_, timing.spin_ns);
    times_ns.push_back(static_cast<double>(now_ns() - start_ns));
  }
  hub.finish();
  worker.finish();
  return median(times_ns);
}

std::uint64_t Chain::serve_hub(std::uint64_t round_trips) {
  const std::uint64_t spin_ns = gates_->spin_ns.load();
  for (std::uint64_t i = 0; i < round_trips; ++i) {
    ++at_;
    gates_->client_to_hub.await(at_, spin_ns);
    gates_->hub_to_worker.open(at_);
    gates_->worker_to_hub.await(at_, spin_ns);
    gates_->hub_to_client.open(at_);
  }
  return 0;
}

std::uint64_t Chain::serve_worker(std::uint64_t round_trips) {
  const std::uint64_t spin_ns = gates_->spin_ns.load();
  for (std::uint64_t i = 0; i < round_trips; ++i) {
    ++at_;
    gates_->hub_to_worker.await(at_, spin_ns);
    gates_->worker_to_hub.open(at_);
  }
  return 0;
}

}  // namespace micro_swarm::bench
