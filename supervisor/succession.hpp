#pragma once

// What follows a death in memory: the dead party's outbound rings are drained to their end, and,
// where nobody succeeds it, the supervisor becomes its heir (docs/protocol.md).

#include "shm/recovery.hpp"
#include "supervisor/deliveries.hpp"
#include "supervisor/tasks.hpp"

namespace micro_swarm {

class Succession {
 public:
  Succession(SupervisorContext& context, Banks& banks, Tasks& tasks, Tokens& tokens,
             Deliveries& deliveries)
      : c_(context), banks_(banks), tasks_(tasks), tokens_(tokens), deliveries_(deliveries) {}

  /// What takes the cache's messages: as drain() has them. Returns false where one has to stay.
  using CacheRequests = std::function<bool(Peer&, const SlotBody&, MessageInHand)>;
  void set_cache(CacheRequests requests) { cache_ = std::move(requests); }

  /// Consumes up to `max` messages of the party's rings to us. Returns how many; `blocked` says
  /// that one has to stay for now (no space for what it causes).
  std::uint32_t drain(Peer& peer, std::uint32_t max, bool& blocked);

  /// The party has no successor: what it held and owned is ours to settle. Precondition: dead and
  /// drained. Repeatable from the start until the roster word is stored.
  void become_heir(Peer& peer);

  /// New supervisor, before anything is sent or received: settles its predecessor's holds and
  /// those of every heir area in place, and returns what they still carry.
  std::vector<Hold*> settle_own();
  /// Finishes consuming, as heir, what still lies in our rings to dead parties.
  void consume_as(Peer& peer);

 private:
  RecoveryMaps maps();
  SupervisorContext& c_;
  Banks& banks_;
  Tasks& tasks_;
  Tokens& tokens_;
  Deliveries& deliveries_;
  CacheRequests cache_;
};

}  // namespace micro_swarm
