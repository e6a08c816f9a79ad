#pragma once

// Clients: processes that are not agents, attached through the control socket. They are not
// started again: when one goes, the supervisor is heir to what it held and owned at once, and its
// tasks go on.

#include "supervisor/fd_store.hpp"
#include "supervisor/parties.hpp"
#include "supervisor/succession.hpp"
#include "supervisor/tasks.hpp"

namespace micro_swarm {

class Clients {
 public:
  Clients(SupervisorContext& context, Parties& parties, Tasks& tasks, Succession& succession)
      : c_(context), parties_(parties), tasks_(tasks), succession_(succession) {}

  struct Attached {
    PartyId party;
    Incarnation incarnation;
    UniqueFd socket;  ///< the client's end
  };
  /// A party id and socket for process `pid`. Errors: refused (all 63 taken, or draining).
  Result<Attached> attach(pid_t pid);

  void adopt(const FdStore& fds);
  void published(Peer& client);
  /// Its process or its socket ended, or it lied.
  void gone(Peer& client);
  /// Departures whose rings could not be drained yet, registrations overdue.
  void tick(std::uint64_t now);
  bool has_unsettled() const { return !unsettled_.empty(); }
  std::uint32_t attached() const;

 private:
  void settle(Peer& client);
  SupervisorContext& c_;
  Parties& parties_;
  Tasks& tasks_;
  Succession& succession_;
  std::vector<PartyId> unsettled_;
};

}  // namespace micro_swarm
