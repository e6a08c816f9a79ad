// The verbs about agents: what they do, and how many there are.

#include <algorithm>
#include <optional>

#include "common/config_check.hpp"
#include "supervisor/control_verbs.hpp"
#include "supervisor/death_certificate.hpp"

namespace micro_swarm {

using nlohmann::json;

namespace {

std::string_view state_of(const PartyRow& row) {
  switch (static_cast<PartyPhase>(row.phase)) {
    case PartyPhase::none: return "none";
    case PartyPhase::starting: return "starting";
    case PartyPhase::live: return "live";
    case PartyPhase::succeeding: return "restarting";
    case PartyPhase::gave_up:
      return row.intent == stored(AgentIntent::stopping) ? "stopped" : "gave_up";
  }
  return "unknown";
}

}  // namespace

json ControlVerbs::agent_counts() const {
  json counts = {{"configured", 0}, {"live", 0},    {"starting", 0},
                 {"restarting", 0}, {"gave_up", 0}, {"stopped", 0}};
  for (PartyId p = 0; p < agents_max; ++p) {
    const PartyRow& row = parts_.c.row(p);
    if (row.phase == stored(PartyPhase::none)) continue;
    const auto state = state_of(row);
    json& entry = counts[std::string(state)];
    entry = entry.get<int>() + 1;
    if (state != "stopped") counts["configured"] = counts["configured"].get<int>() + 1;
  }
  return counts;
}

json ControlVerbs::agent(PartyId p, bool whole) const {
  const SupervisorContext& c = parts_.c;
  const PartyRow& row = c.row(p);
  const Peer& peer = c.peers[p];
  const auto phase = static_cast<PartyPhase>(row.phase);
  const auto intent = static_cast<AgentIntent>(row.intent);
  const AgentSpec& spec = c.config.agents[row.kind];
  json answer = {{"id", p},
                 {"name", spec.name},
                 {"kind", micro_swarm::name_of(spec.kind)},
                 {"state", state_of(row)},
                 {"pid", peer.dead ? 0 : row.pid},
                 {"incarnation", row.incarnation},
                 {"restarts", row.restarts},
                 {"deaths", row.deaths},
                 {"log_lines_dropped", peer.log_lines.dropped()},
                 {"in_flight", parts_.tasks.running_on(p).size()},
                 {"leased_bytes", parts_.banks.leased_bytes(p)},
                 {"memory_quota", parts_.banks.quota_bytes(p)}};
  const bool live = phase == PartyPhase::live && peer.linked && !peer.dead;
  if (intent == AgentIntent::renew_due) answer["restart_due"] = true;
  if (live) {
    const SegmentHeader& header = peer.segment.view().header();
    answer["uptime_ms"] = (now_ns() - row.live_ns) / ns_per_ms;
    answer["activity"] =
        intent == AgentIntent::renewing || intent == AgentIntent::stopping   ? "draining"
        : load(header.state) == static_cast<std::uint64_t>(PartyState::busy) ? "busy"
                                                                             : "idle";
    answer["tasks"] = load(header.tasks_completed);
    answer["failed"] = load(header.tasks_failed);
    answer["malformed"] = load(header.messages_malformed);
  }
  if (!whole) return answer;
  answer["capabilities"] = spec.capabilities;
  if (!spec.model.empty()) answer["model"] = spec.model.string();
  for (const auto& file : spec.plugins) answer["plugins"].push_back(file.string());
  for (const auto& [capability, file] : spec.models) answer["models"][capability] = file.string();
  if (!spec.command.empty()) {
    answer["command"] = spec.command;
    answer["interface"] = micro_swarm::name_of(spec.interface);
  }
  if (const auto& certificates = parts_.agents.certificates(p); !certificates.empty())
    answer["last_death"] = death_text(certificates.back());
  if (phase == PartyPhase::gave_up) answer["give_up_reason"] = parts_.agents.give_up_reason(p);
  if (live && load(peer.segment.view().header().task_in_hand) != 0)
    answer["task_in_hand"] = load(peer.segment.view().header().task_in_hand);
  answer["death_certificates"] = json(parts_.agents.certificates(p));
  return answer;
}

void ControlVerbs::agent_list(const Reply& reply) const {
  json list = json::array();
  for (PartyId p = 0; p < agents_max; ++p)
    if (parts_.c.row(p).phase != static_cast<std::uint32_t>(PartyPhase::none))
      list.push_back(agent(p, false));
  reply->finish({{"agents", std::move(list)}});
}

std::optional<PartyId> ControlVerbs::find_agent(const json& request, const Reply& reply) const {
  const auto id = request.at("id").get<std::uint64_t>();
  if (id < agents_max && parts_.c.row(static_cast<PartyId>(id)).phase != stored(PartyPhase::none))
    return static_cast<PartyId>(id);
  reply->fail(Error{ErrorCode::not_found,
                    "no agent " + std::to_string(id) + "; `microswarm agent list` shows them", 0});
  return std::nullopt;
}

void ControlVerbs::agent_show(const json& request, const Reply& reply) const {
  if (const auto id = find_agent(request, reply)) reply->finish({{"agent", agent(*id, true)}});
}

/// Answered once the kind's template has loaded: its model is then known to be good.
void ControlVerbs::agent_register(const json& request, const Reply& reply) {
  auto spec = agent_from_json(request.at("agent"));
  if (!spec) {
    reply->fail(spec.error());
    return;
  }
  const auto kind = parts_.agents.add_kind(std::move(*spec));
  if (!kind) {
    reply->fail(kind.error());
    return;
  }
  parts_.agents.when_template_is_settled(*kind, [this, reply, k = *kind](const Result<void>& how) {
    if (how)
      reply->finish({{"agents", parts_.agents.agents_of(k)}});
    else
      reply->fail(how.error());
  });
}

std::optional<std::uint32_t> ControlVerbs::find_kind(const json& request,
                                                     const Reply& reply) const {
  const std::string& name = request.at("kind").get_ref<const std::string&>();
  const auto& kinds = parts_.c.config.agents;
  for (std::uint32_t kind = 0; kind < kinds.size(); ++kind)
    if (kinds[kind].name == name) return kind;
  reply->fail(Error{ErrorCode::not_found,
                    "no kind of agents " + name + "; `microswarm agent list` shows them", 0});
  return std::nullopt;
}

void ControlVerbs::agent_scale(const json& request, const Reply& reply) {
  const auto kind = find_kind(request, reply);
  if (!kind) return;
  const auto count = request.at("count").get<std::uint64_t>();
  if (count > agents_max) {
    reply->fail(Error{ErrorCode::usage,
                      "count: a swarm has 0 to " + std::to_string(agents_max) + " agents", 0});
    return;
  }
  if (auto scaled = parts_.agents.scale(*kind, static_cast<std::uint32_t>(count)); !scaled)
    reply->fail(scaled.error());
  else
    reply->finish({{"kind", parts_.c.config.agents[*kind].name}, {"count", count}});
}

/// Answered once the new model has loaded, or has not.
void ControlVerbs::agent_swap(const json& request, const Reply& reply) {
  const auto kind = find_kind(request, reply);
  if (!kind) return;
  auto begun = parts_.agents.swap_model(
      *kind, request.value("capability", std::string()), request.at("model").get<std::string>(),
      [this, reply, kind = *kind](const Result<void>& how) {
        if (how)
          reply->finish({{"agents", parts_.agents.agents_of(kind)}});
        else
          reply->fail(how.error());
      });
  if (!begun) reply->fail(begun.error());
}

/// `restart` or stop. With `incarnation` only that life, so that asking again does nothing again.
void ControlVerbs::agent_end(bool restart, const json& request, const Reply& reply) {
  const auto id = find_agent(request, reply);
  if (!id) return;
  const bool is_that_life =
      !request.contains("incarnation") ||
      request["incarnation"].get<std::uint64_t>() == parts_.c.row(*id).incarnation;
  if (is_that_life) {
    const auto done = restart ? parts_.agents.renew(*id) : parts_.agents.stop(*id);
    if (!done) {
      reply->fail(done.error());
      return;
    }
  }
  reply->finish({{"agent", agent(*id, false)}});
}

}  // namespace micro_swarm
