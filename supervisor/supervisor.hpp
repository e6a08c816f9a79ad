#pragma once

// The supervisor's loop: looks at rings, then at sockets and timers, then sleeps on its bell.
// All parts run on this one thread and share SupervisorContext.

#include <memory>

#include "supervisor/agents.hpp"
#include "supervisor/cache_store.hpp"
#include "supervisor/clients.hpp"
#include "supervisor/control_server.hpp"
#include "supervisor/health.hpp"
#include "supervisor/holdings.hpp"
#include "supervisor/supervisor_main.hpp"
#include "supervisor/topics.hpp"

namespace micro_swarm {

class ControlVerbs;

class Supervisor {
 public:
  explicit Supervisor(SupervisorBoot boot);
  ~Supervisor();

  [[noreturn]] void run();

  /// Refuses new work, finishes what is accepted (at most drain_timeout_ms), ends the agents, and
  /// has root quit. `at_once`: cancels instead of finishing.
  void begin_drain(bool at_once);

 private:
  void publish_facts();
  void open_journal();
  void start();
  void adopt();
  void attach_known_parties();
  bool settle_in();
  void open_control();
  bool pump();
  bool look_at_all();
  void poll_io();
  void park();
  void tick(std::uint64_t now);
  void drain_tick(std::uint64_t now);
  void root_events();
  void handle_root_event(const RootEvent& event);
  void watch_root();
  void watch_bell();
  [[noreturn]] void quit(int exit_code);

  SupervisorBoot boot_;
  KindChanges kind_changes_;  ///< moved on to agents_
  Config config_;             ///< root's, with those changes
  SupervisorContext c_;
  Banks banks_;
  Tokens tokens_;
  Deliveries deliveries_;
  Topics topics_;
  Tasks tasks_;
  CacheStore cache_;
  std::optional<Durability> durability_;
  Succession succession_;
  Parties parties_;
  Agents agents_;
  Clients clients_;
  Health health_;
  Holdings holdings_;
  std::unique_ptr<ControlVerbs> verbs_;
  std::unique_ptr<ControlServer> control_;
  std::optional<WatchedFd> root_socket_;
  std::optional<WatchedFd> bell_;
  bool settled_in_ = false;
  std::uint64_t adoption_us_ = 0;
  std::vector<PartyId> hot_;
  bool blocked_ = false;
  std::uint64_t next_tick_ns_ = 0;
  std::uint64_t next_load_sample_ns_ = 0;
  std::uint64_t root_events_seen_ = 0;
  enum class Drain : std::uint8_t { no, finishing, stopping } drain_ = Drain::no;
  std::uint64_t drain_deadline_ns_ = 0;
};

}  // namespace micro_swarm
