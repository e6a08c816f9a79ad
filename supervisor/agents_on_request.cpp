// Agents that come and go because somebody wants it: more or fewer of a kind, one stopped, some
// replaced one by one. What is wanted is stored in the agent's row before anything is done about
// it, so a new supervisor goes on with it.

#include <algorithm>
#include <limits>

#include "supervisor/agents.hpp"
#include "supervisor/run_limits.hpp"

namespace micro_swarm {

namespace {

Error refused(std::string text) { return Error{ErrorCode::refused, std::move(text), 0}; }

AgentIntent intent_of(const PartyRow& row) { return static_cast<AgentIntent>(row.intent); }

}  // namespace

bool Agents::is_leaving(PartyId p) const {
  const AgentIntent intent = intent_of(c_.row(p));
  return intent == AgentIntent::renewing || intent == AgentIntent::stopping;
}

/// Those that somebody has a use for.
std::vector<LifeView> Agents::lives(std::uint64_t now) const {
  std::vector<LifeView> lives;
  for (PartyId p = 0; p < rows_; ++p) {
    const PartyRow& row = c_.row(p);
    const Peer& agent = c_.peers[p];
    if (row.phase == stored(PartyPhase::none) || row.phase == stored(PartyPhase::gave_up)) continue;
    LifeView life{.id = p,
                  .kind = row.kind,
                  .incarnation = row.incarnation,
                  .is_live = row.phase == stored(PartyPhase::live) && agent.linked && !agent.dead,
                  .intent = intent_of(row)};
    if (life.is_live) {
      const SegmentHeader& header = agent.segment.view().header();
      life.tasks = load(header.tasks_completed) + load(header.tasks_failed);
      life.age_ns = elapsed_ns(now, row.live_ns);
    }
    lives.push_back(life);
  }
  return lives;
}

void Agents::turn_over(std::uint64_t now) {
  if (stopping_) return;
  std::vector<LifeView> all = lives(now);
  for (LifeView& life : all) {
    if (!is_worn_out(kinds_[life.kind], life)) continue;
    life.intent = AgentIntent::renew_due;
    c_.row(life.id).intent = stored(AgentIntent::renew_due);
    c_.events.add("agent_worn_out",
                  {{"agent", life.id}, {"tasks", life.tasks}, {"age_ms", life.age_ns / ns_per_ms}});
  }
  for (const PartyId p : whose_turn(all)) leave(c_.peers[p], AgentIntent::renewing);
  for (const LifeView& life : all)
    if (life.is_live && is_leaving(life.id) && tasks_.running_on(life.id).empty() &&
        elapsed_ns(now, asked_to_leave_ns_[life.id]) >
            c_.config.supervision.drain_timeout_ms * ns_per_ms)
      kill(c_.peers[life.id], "did not end in " +
                                  std::to_string(c_.config.supervision.drain_timeout_ms) +
                                  " ms when it was asked to");
}

/// It gets no more tasks, finishes what it has, and ends.
void Agents::leave(Peer& agent, AgentIntent intent) {
  c_.row(agent.id).intent = stored(intent);
  tasks_.agent_resting(agent);
  asked_to_leave_ns_[agent.id] = now_ns();
  c_.send(agent, PartyMessage{PartyMessageKind::drain, agent.id, c_.row(agent.id).incarnation});
}

/// It has ended as asked and nobody follows.
void Agents::retire(Peer& agent) {
  c_.count(Counter::agents_stopped);
  c_.events.add("agent_stopped", {{"agent", agent.id}});
  give_up_reasons_[agent.id] = "stopped as asked";
  leave_to_heir(agent);
}

void Agents::stop_one(Peer& agent) {
  PartyRow& row = c_.row(agent.id);
  switch (static_cast<PartyPhase>(row.phase)) {
    case PartyPhase::live:
      if (!is_leaving(agent.id)) c_.events.add("agent_stopping", {{"agent", agent.id}});
      leave(agent, AgentIntent::stopping);
      break;
    case PartyPhase::starting:
      row.intent = stored(AgentIntent::stopping);
      kill(agent, "stopped before it was ready");
      break;
    case PartyPhase::succeeding:  // tick() retires it
    case PartyPhase::gave_up:     // it has ended, and now as asked
    case PartyPhase::none: row.intent = stored(AgentIntent::stopping);
  }
}

/// A row that nobody lives in begins anew.
void Agents::begin_anew(PartyId p, std::uint32_t kind) {
  PartyRow& row = c_.row(p);
  row.kind = static_cast<std::uint16_t>(kind);
  row.intent = stored(AgentIntent::stay);
  restarts_[p] = {};
  give_up_reasons_[p].clear();
  spawn(c_.peers[p]);
}

Result<void> Agents::scale(std::uint32_t kind, std::uint32_t count) {
  if (stopping_ || c_.draining) return refused("the swarm is stopping");
  const std::vector<LifeView> all = lives(now_ns());
  for (const PartyId p : surplus(all, kind, count)) stop_one(c_.peers[p]);
  const auto now_there = static_cast<std::uint32_t>(
      std::count_if(all.begin(), all.end(), [kind](const LifeView& life) {
        return life.kind == kind && life.intent != AgentIntent::stopping;
      }));
  if (now_there >= count) return {};
  if (c_.tables().templates[kind].phase == TemplatePhase::failed)
    return refused("agent kind " + kinds_[kind].name + ": its template failed");

  const auto is_vacant = [this](PartyId p) {
    return c_.row(p).phase == stored(PartyPhase::gave_up) && !c_.peers[p].linked;
  };
  // Its own rows first, so that ids stay together; then fresh ones; then what others left.
  std::vector<PartyId> places;
  for (PartyId p = 0; p < rows_; ++p)
    if (is_vacant(p) && c_.row(p).kind == kind) places.push_back(p);
  for (PartyId p = rows_; p < agents_max; ++p) places.push_back(p);
  for (PartyId p = 0; p < rows_; ++p)
    if (is_vacant(p) && c_.row(p).kind != kind && intent_of(c_.row(p)) == AgentIntent::stopping)
      places.push_back(p);
  const std::uint32_t more = count - now_there;
  if (places.size() < more)
    return Error{ErrorCode::refused,
                 "agent kind " + kinds_[kind].name + ": there are places for " +
                     std::to_string(now_there + places.size()) + " agents of it: " +
                     std::to_string(agents_max) + " agents is the most a swarm has",
                 0};
  Config larger = c_.config;
  for (AgentSpec& spec : larger.agents) spec.count = 0;
  for (const LifeView& life : all) ++larger.agents[life.kind].count;
  const Config present = larger;
  larger.agents[kind].count += more;
  if (auto room = check_room(present, larger, "agent kind " + kinds_[kind].name); !room)
    return room.error();
  c_.events.add("kind_scaled", {{"kind", kinds_[kind].name}, {"from", now_there}, {"to", count}});
  for (std::uint32_t i = 0; i < more; ++i) {
    const PartyId p = places[i];
    if (p >= rows_) {
      c_.row(p).kind = static_cast<std::uint16_t>(kind);
      set_rows(static_cast<PartyId>(p + 1));
    }
    begin_anew(p, kind);
  }
  return {};
}

Result<void> Agents::renew(PartyId p) {
  if (stopping_ || c_.draining) return refused("the swarm is stopping");
  PartyRow& row = c_.row(p);
  if (c_.tables().templates[row.kind].phase == TemplatePhase::failed)
    return refused("agent kind " + kinds_[row.kind].name + ": its template failed");
  switch (static_cast<PartyPhase>(row.phase)) {
    case PartyPhase::live:
      if (!is_leaving(p)) row.intent = stored(AgentIntent::renew_due);
      break;
    case PartyPhase::succeeding:  // not later, but now
      row.intent = stored(AgentIntent::stay);
      if (row.not_before_ns != std::numeric_limits<std::uint64_t>::max()) row.not_before_ns = 0;
      break;
    case PartyPhase::gave_up:
      if (c_.peers[p].linked)
        return refused("agent " + std::to_string(p) + " has not ended wholly: ask again");
      begin_anew(p, row.kind);
      break;
    case PartyPhase::none:
    case PartyPhase::starting: break;
  }
  turn_over(now_ns());
  return {};
}

Result<void> Agents::stop(PartyId p) {
  if (stopping_ || c_.draining) return refused("the swarm is stopping");
  stop_one(c_.peers[p]);
  return {};
}

}  // namespace micro_swarm
