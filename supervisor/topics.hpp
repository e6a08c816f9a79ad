#pragma once

// Who subscribes to what. The table lies in the supervisor's segment, where whoever publishes reads
// it (ipc/topics.hpp); the supervisor alone writes it, one bit at a time:
//
//   a row of nobody's --changes odd--> name --changes even--> [name, no subscribers] --bit--> in
//   use
//
// A subscription is the party's, not the process's: an agent's successor has it, a client's ends
// with the client, an agent's with the agent. A row that nobody subscribes to is free.
//
// Deaths of the supervisor: while a name is changed, `changes` stays odd, nobody reads the row, and
// adopt() finishes it as a free one; otherwise each store is whole in itself, and a request that
// was not carried out is repeated by its party.

#include <nlohmann/json.hpp>

#include "ipc/topics.hpp"
#include "supervisor/context.hpp"

namespace micro_swarm {

class Topics {
 public:
  explicit Topics(SupervisorContext& context) : c_(context) {}

  /// New supervisor.
  void adopt();
  /// A subscription message; answered on the party's socket.
  void requested(Peer& peer, const PartyMessage& message);
  /// All subscriptions of a party end.
  void forget(PartyId party);
  /// Those of every party that has ended for good.
  void forget_gone();

  /// [{"name", "subscribers": [party...]}]; of topics that somebody subscribes to.
  nlohmann::json list() const;

 private:
  std::span<TopicRow> rows() const { return c_.tables().topics; }
  /// The name's row, or a free one that it is given; nullptr: there is none.
  TopicRow* row_for(const TopicName& name);
  /// Why not; "": it is so now.
  std::string set(PartyId party, const TopicName& name, bool subscribed);

  SupervisorContext& c_;
};

/// What one word of a row says, apart from all else: for whoever writes rows and for tests.
namespace topic_rows {
Subscribers subscribers(const TopicRow& row) noexcept;
TopicName name(const TopicRow& row) noexcept;
/// Precondition: nobody subscribes.
void rename(TopicRow& row, const TopicName& name) noexcept;
void set(TopicRow& row, PartyId party, bool subscribed) noexcept;
/// What a supervisor left that died in rename().
void repair(TopicRow& row) noexcept;
}  // namespace topic_rows

}  // namespace micro_swarm
