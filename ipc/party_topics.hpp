#pragma once

// A party's side of subscribing: asks, and asks again when a supervisor died over it. On the
// party's one thread, over its link; waits for nothing. Whether a party subscribes is a bit in the
// supervisor's tables: it outlives the supervisor, and an agent's death.

#include "ipc/party_link.hpp"
#include "ipc/topics.hpp"

namespace micro_swarm {

class PartyTopics {
 public:
  /// `link` outlives this object and is admitted.
  explicit PartyTopics(PartyLink& link) noexcept : link_(&link) {}

  /// Asks that this party subscribes to `topic`, or that it does no longer. False = not done yet:
  /// try again after the next message of the supervisor's, with the same arguments. Error: refused
  /// (with the supervisor's text).
  Result<bool> try_set(const TopicName& topic, bool subscribed);

 private:
  PartyLink* link_;
  TopicName asked_topic_;
  bool asked_subscribed_ = false;
  std::uint64_t request_ = 0;      ///< of the last message
  std::uint64_t asked_epoch_ = 0;  ///< of the supervisor that it was sent to; 0 = nothing is asked
};

}  // namespace micro_swarm
