// task: what it costs to have something done by another process of the swarm.

#include "common/clock.hpp"
#include "tests/bench/chain.hpp"
#include "tests/bench/references.hpp"
#include "tests/bench/swarm.hpp"
#include "tests/bench/windows.hpp"

namespace micro_swarm::bench {

namespace {

enum What : std::uint32_t { cache_line, minimal_ring, parked_ping_pong, hub, worker };

std::string one_agent(unsigned in_flight, const std::string& wait = "") {
  return swarm_toml("[swarm]\nagents = 1\n[tasks]\nin_flight_per_agent = " +
                    std::to_string(in_flight) + "\n" + wait);
}

/// The supervisor on one core, its agent on the other.
void pin_apart(SwarmProcess& swarm) {
  pin(swarm.supervisor(), 0);
  pin(only_agent(swarm), 1);
}

// The supervisor times every dispatch until its completion itself (status: dispatch_round_trip).
// Its histogram is of its whole life, so a window is a swarm.
void dispatch(const Options& options, const Tell& tell, bool pinned) {
  CacheLine line;
  Partner partner(1, [&](std::uint32_t, std::uint64_t count) { return line.serve(count); });
  // A median like the p50 it stands beside: what the kernel takes the core away for is in neither.
  const auto reference = [&] {
    pin(0, 0);
    std::vector<double> times_ns;
    for (unsigned i = 0; i < (options.quick ? 3u : 41u); ++i)
      times_ns.push_back(line.ask(partner, cache_line, options.quick ? 200 : 1'000));
    pin(0, any_core);
    return median(times_ns);
  };
  Windows spinning, all;
  const unsigned wanted = options.quick ? 1 : 9;
  for (unsigned i = 0; i < 2 * wanted && spinning.values.size() <= wanted; ++i) {
    SwarmProcess swarm(one_agent(1));
    Client client = join(swarm, 1);
    if (pinned) pin_apart(swarm);
    const double before = reference();
    run_many(client, {options.quick ? 500u : 20'000u, 512, 200}, [](auto) { return noop(); });
    const double limit = (before + reference()) / 2;
    const auto status = swarm.status();
    const auto p50_ns = status.at("dispatch_round_trip").at("p50_ns").get<double>();
    all.add(p50_ns, limit);
    if (status.at("spin_us") != 0) spinning.add(p50_ns, limit);
  }
  const bool enough = spinning.values.size() > wanted;
  Windows& used = enough ? spinning : all;
  used.drop_first();
  tell(used.figure(std::string("task.dispatch") + (pinned ? "" : "_unpinned"), "ns", 1,
                   pinned ? std::optional(ratio_at_most(5)) : std::nullopt,
                   enough
                       ? "cache-line ping-pong; p50 of the supervisor's own count"
                       : "cache-line ping-pong; the machine was too busy: the swarm did not spin"));
}

void client_round_trip(const Options& options, const Tell& tell, bool pinned) {
  constexpr std::uint64_t spin_ns = 50'000;  // wait.spin_us as built in
  const std::uint64_t round_trips = options.quick ? 20 : 500;
  Chain chain;
  Partner hub_partner(pinned ? 0 : any_core,
                      [&](std::uint32_t, std::uint64_t n) { return chain.serve_hub(n); });
  Partner worker_partner(pinned ? 1 : any_core,
                         [&](std::uint32_t, std::uint64_t n) { return chain.serve_worker(n); });
  SwarmProcess swarm(one_agent(4));
  Client client = join(swarm, 1);
  if (pinned) {
    pin_apart(swarm);
    pin(0, 1);
  }
  const auto bare = [&](std::uint64_t spin) {
    return chain.ask(hub_partner, hub, worker_partner, worker, round_trips, {spin, 0});
  };
  tell(alternate(
           options.quick ? 2 : 25, [&] { return std::min(bare(0), bare(spin_ns)); },
           [&] {
             std::vector<double> times_ns;
             for (std::uint64_t i = 0; i < round_trips; ++i)
               times_ns.push_back(run_one(client, noop()));
             return median(times_ns);
           })
           .figure(std::string("task.client_round_trip") + (pinned ? "" : "_unpinned"), "us", 1e-3,
                   ratio_at_most(2),
                   "bare three-process chain, the better of spinning 50 us and parking at once"));
  pin(0, any_core);
}

// wait.spin_us = 0 and a pause of the client before each task: every hop finds its receiver asleep.
void parked(const Options& options, const Tell& tell) {
  const std::uint64_t round_trips = options.quick ? 20 : 200;
  const unsigned windows = options.quick ? 2 : 25;
  Chain chain;
  ParkedPingPong ping_pong;
  Partner hub_partner(0, [&](std::uint32_t what, std::uint64_t n) {
    return what == hub ? chain.serve_hub(n) : ping_pong.serve(n);
  });
  Partner worker_partner(1, [&](std::uint32_t, std::uint64_t n) { return chain.serve_worker(n); });
  SwarmProcess swarm(one_agent(4, "[wait]\nspin_us = 0\n"));
  Client client = join(swarm, 1);
  pin_apart(swarm);
  pin(0, 1);
  const auto product = [&] {
    std::vector<double> times_ns;
    for (std::uint64_t i = 0; i < round_trips; ++i) {
      hold(ParkedPingPong::hold_ns);
      times_ns.push_back(run_one(client, noop()));
    }
    return median(times_ns);
  };
  tell(alternate(
           windows, [&] { return ping_pong.ask(hub_partner, parked_ping_pong, round_trips); },
           [&] { return product() / 2; })
           .figure("task.parked", "us", 1e-3, ratio_at_most(1.6),
                   "forced-park futex ping-pong; per two of the task's four hops"));
  tell(alternate(
           windows,
           [&] {
             return chain.ask(hub_partner, hub, worker_partner, worker, round_trips,
                              {0, ParkedPingPong::hold_ns});
           },
           product)
           .figure("task.parked_chain", "us", 1e-3, ratio_at_most(2),
                   "bare three-process chain, every hop parked"));
  pin(0, any_core);
}

void throughput(const Options& options, const Tell& tell) {
  const std::uint64_t tasks = options.quick ? 2'000 : 50'000;
  const std::uint64_t messages = options.quick ? 10'000 : 500'000;
  MinimalRing ring(1024, 32);
  Partner partner(any_core, [&](std::uint32_t, std::uint64_t n) { return ring.serve(n); });
  SwarmProcess swarm(one_agent(16));
  Client client = join(swarm, 1);
  tell(
      alternate(
          options.quick ? 2 : 9,
          [&] { return static_cast<double>(messages) / ring.ask(partner, minimal_ring, messages); },
          [&] {
            const std::uint64_t start_ns = now_ns();
            run_many(client, {tasks, 512, 0}, [](std::uint64_t i) {
              TaskRequest request = noop();
              request.priority = static_cast<Priority>(i % priorities);
              return request;
            });
            return static_cast<double>(tasks) / static_cast<double>(now_ns() - start_ns);
          })
          .figure("task.throughput", "k/s", 1e6, ratio_at_least(1.0 / 40),
                  "messages one way through the minimal ring; 512 in flight of all classes, 1 "
                  "agent"));
}

}  // namespace

Group task_group() {
  return {"task",
          {"task.dispatch", "task.client_round_trip", "task.parked", "task.parked_chain",
           "task.throughput", "task.dispatch_unpinned", "task.client_round_trip_unpinned"},
          [](const Options& options, const Tell& tell) {
            if (cores() >= 2) {
              dispatch(options, tell, true);
              client_round_trip(options, tell, true);
              parked(options, tell);
            }
            throughput(options, tell);
            dispatch(options, tell, false);
            client_round_trip(options, tell, false);
          }};
}

}  // namespace micro_swarm::bench
