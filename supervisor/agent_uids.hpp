#pragma once

#include <sys/types.h>

#include <string>

#include "common/config.hpp"

namespace micro_swarm {

/// Under which uid each agent runs: its kind's (`uid`), else one of its own from
/// containment.uid_base on. 0: the swarm's, for kinds that are not contained, for a swarm that
/// cannot give uids, and with uid_base = 0.
///
/// Agents of a neural kind share one, their template's: what parses a model must not be able to
/// choose another any more.
class AgentUids {
 public:
  explicit AgentUids(const Config& config);

  uid_t of_agent(const AgentSpec& kind, PartyId agent) const;
  /// Whom a template becomes before it loads anything; its agents then stay that.
  uid_t of_template(const AgentSpec& kind, std::uint32_t number) const;
  /// Why uids were wanted and are not given; "": they are, or nobody wants them.
  const std::string& missing() const { return missing_; }
  /// The first path that the kind's command and environment name and another uid could not reach;
  /// "": none. Such a kind keeps the swarm's uid, unless it names one.
  static std::string out_of_reach(const AgentSpec& kind);

 private:
  uid_t base_ = 0;
  bool is_uid_0_ = false;
  std::string missing_;
};

}  // namespace micro_swarm
