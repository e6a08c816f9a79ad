#pragma once

// A task's way without a swarm: three processes, client -> hub -> worker -> hub -> client, one word
// a hop, woken by futex where the receiver sleeps. What a client's round trip stands beside.

#include "tests/bench/partner.hpp"

namespace micro_swarm::bench {

class Chain {
 public:
  struct Timing {
    std::uint64_t spin_ns = 0;  ///< every waiter spins so long before it parks
    std::uint64_t hold_ns = 0;  ///< the client spins so long before each round trip
  };
  /// Both partners serve this chain under `hub_what` and `worker_what`. Returns the median of the
  /// round trips in nanoseconds, the hold not in it.
  double ask(Partner& hub, std::uint32_t hub_what, Partner& worker, std::uint32_t worker_what,
             std::uint64_t round_trips, Timing timing);
  std::uint64_t serve_hub(std::uint64_t round_trips);
  std::uint64_t serve_worker(std::uint64_t round_trips);

 private:
  struct Gate {
    alignas(128) std::atomic<std::uint32_t> value{0};
    alignas(128) std::atomic<std::uint32_t> asleep{0};
    void open(std::uint32_t to) noexcept;
    void await(std::uint32_t wanted, std::uint64_t spin_ns) noexcept;
  };
  struct Gates {
    Gate client_to_hub, hub_to_worker, worker_to_hub, hub_to_client;
    std::atomic<std::uint64_t> spin_ns{0};
  };
  Shared<Gates> gates_;
  std::uint32_t at_ = 0;  ///< of this process
};

}  // namespace micro_swarm::bench
