#include "supervisor/agents.hpp"

#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <limits>
#include <random>

#include "common/log.hpp"
#include "supervisor/death_certificate.hpp"
#include "supervisor/log_pipe.hpp"

namespace micro_swarm {

namespace {
bool has_exited(int pidfd) {
  pollfd entry{pidfd, POLLIN, 0};
  return ::poll(&entry, 1, 0) == 1;
}

constexpr std::uint64_t closed_socket_grace_ns = 500 * ns_per_ms;
constexpr std::size_t unclaimed_max = 2 * agents_max;
constexpr std::size_t uncertified_max = 2 * agents_max;
constexpr std::size_t certificates_kept_max = 8;

bool is_stopping(const PartyRow& row) { return row.intent == stored(AgentIntent::stopping); }
}  // namespace

Agents::Agents(SupervisorContext& context, std::vector<AgentSpec>& kinds,
               std::size_t configured_kinds, KindChanges changes, Parties& parties, Tasks& tasks,
               Succession& succession)
    : c_(context),
      kinds_(kinds),
      configured_kinds_(configured_kinds),
      changes_(std::move(changes)),
      parties_(parties),
      tasks_(tasks),
      succession_(succession),
      strays_(context.root_pid),
      uids_(context.config) {
  if (!uids_.missing().empty()) log::warn("agents have no uids of their own: {}", uids_.missing());
  for (std::uint32_t kind = 0; kind < kinds_.size(); ++kind) name_capabilities(kind);
  const std::uint64_t word = load(c_.tables().agent_rows.word);
  rows_ = static_cast<PartyId>(AgentRowsWord::rows(word));
  for (std::uint32_t kind = AgentRowsWord::kinds(word); kind < kinds_.size(); ++kind)
    assign_rows(kind);
}

void Agents::start() {
  for (std::uint32_t kind = 0; kind < c_.config.agents.size(); ++kind) start_template(kind);
  for (PartyId p = 0; p < rows_; ++p) spawn(c_.peers[p]);
}

double Agents::random_between_0_and_1() {
  thread_local std::mt19937_64 generator{std::random_device{}()};
  return std::uniform_real_distribution<double>(0.0, 1.0)(generator);
}

// ---- spawning ----

void Agents::spawn(Peer& agent) {
  RootBatch batch;
  spawn(agent, batch);
}

/// `batch`: what root is to forget of the life before, sent with what it is to keep of this one. A
/// death before it is sent leaves the next supervisor with a life that starts on the closed socket
/// of the last: it dies unborn, and another is started.
void Agents::spawn(Peer& agent, RootBatch& batch) {
  PartyRow& row = c_.row(agent.id);
  const RosterWord roster = c_.roster(agent.id);
  // The last published life, if any, is what the new one inherits from.
  const bool inherits = roster.state() == RosterState::live && agent.segment;
  row.incarnation = static_cast<std::uint16_t>(row.incarnation + 1);
  if (row.incarnation == 0) row.incarnation = 1;
  row.pid = 0;
  row.spawned_ns = now_ns();
  // Before the phase: a life that begins has nothing to finish.
  row.intent = stored(AgentIntent::stay);
  row.phase = stored(PartyPhase::starting);
  agent.dead = false;
  agent.exit_status.reset();
  kill_reasons_[agent.id].clear();
  auto socket = parties_.open_socket(agent, inherits ? agent.segment.fd() : -1,
                                     inherits ? roster.incarnation() : Incarnation{0}, batch);
  auto pipe = make_log_pipe();
  if (!socket || !pipe) {
    log::error("agent {}: {}", agent.id, (!socket ? socket.error() : pipe.error()).message);
    c_.root.send(batch);
    return died(agent);
  }
  batch.keep(fd_key::log_pipe + agent.id, pipe->first.get());
  // Before the template is asked: a newborn whose socket no supervisor has would end at once.
  c_.root.send(batch);
  Template& t = templates_[row.kind];
  if (c_.tables().templates[row.kind].phase == TemplatePhase::failed)
    return give_up(agent, "its template failed");
  if (c_.tables().templates[row.kind].phase == TemplatePhase::ready && t.socket) {
    request_spawn(agent, std::move(*socket), std::move(pipe->second));
  } else {
    pending_spawns_[agent.id] = {std::move(*socket), std::move(pipe->second)};
    t.waiting.push_back(agent.id);
  }
  parties_.watch_log_pipe(agent, std::move(pipe->first));
}

void Agents::request_spawn(Peer& agent, UniqueFd socket, UniqueFd log_pipe) {
  Template& t = templates_[c_.row(agent.id).kind];
  const SpawnRequest request{agent.id, c_.row(agent.id).incarnation,
                             uids_.of_agent(kinds_[c_.row(agent.id).kind], agent.id)};
  const int fds[] = {socket.get(), log_pipe.get()};
  if (t.asked.empty()) t.asked_ns = now_ns();
  t.asked.push_back(agent.id);
  // A template answers in fractions of a millisecond; its socket holds hundreds of requests.
  if (send_with_fds(t.socket->native_handle(), std::as_bytes(std::span(&request, 1)), fds, true) <
      0)
    log::warn("template {}: {}", c_.config.agents[c_.row(agent.id).kind].name,
              system_error("sendmsg", errno).message);
}

void Agents::published(Peer& agent) {
  if (is_leaving(agent.id)) return leave(agent, AgentIntent::stopping);
  if (c_.row(agent.id).restarts != 0 || c_.epoch > 1)
    c_.events.add("agent_live", {{"agent", agent.id},
                                 {"incarnation", c_.row(agent.id).incarnation},
                                 {"pid", c_.row(agent.id).pid}});
  tasks_.agent_up(agent, capabilities_[c_.row(agent.id).kind]);
  turn_over(now_ns());  // it may have been what others waited for
}

// ---- deaths ----

void Agents::socket_closed(Peer& agent) {
  const PartyRow& row = c_.row(agent.id);
  if (agent.dead) return;
  // Its template is about to say which process it is, or that there is none: then its pidfd tells.
  const auto& asked = templates_[row.kind].asked;
  if (row.pid == 0 && std::find(asked.begin(), asked.end(), agent.id) != asked.end()) {
    agent.socket.reset();
    return;
  }
  // A life without a pid has nothing else to show its death by; a process that lives on without its
  // socket can be neither asked nor probed.
  if (row.pid == 0) return died(agent);
  // Mostly it is exiting right now, and its pidfd says so in a moment.
  agent.socket.reset();
  agent.kill_at_ns = now_ns() + closed_socket_grace_ns;
  agent.kill_reason = "closed its socket";
}

void Agents::exited(Peer& agent) { died(agent); }

void Agents::kill(Peer& agent, const std::string& why) {
  if (agent.dead) return;
  if (kill_reasons_[agent.id].empty()) {
    kill_reasons_[agent.id] = why;
    c_.events.add("agent_killed", {{"agent", agent.id}, {"reason", why}});
  }
  if (const int pidfd = agent.pidfd_number(); pidfd >= 0) pidfd_send_signal(pidfd, SIGKILL);
}

void Agents::reaped(pid_t pid, int status) {
  for (std::uint32_t k = 0; k < c_.config.agents.size(); ++k)
    if (c_.tables().templates[k].pid == pid) return template_died(k, status);
  if (const auto at = std::find_if(uncertified_.begin(), uncertified_.end(),
                                   [pid](const Uncertified& one) { return one.pid == pid; });
      at != uncertified_.end()) {
    const Uncertified one = std::move(*at);
    uncertified_.erase(at);
    publish(one, status);
    sweep_due_ = true;
    return;
  }
  for (PartyId p = 0; p < agents_max; ++p) {
    Peer& agent = c_.peers[p];
    const PartyRow& row = c_.row(p);
    if (row.pid != pid || row.phase == stored(PartyPhase::none)) continue;
    // An old event (they are repeated to a new supervisor) may name a number that lives again.
    if (const int pidfd = agent.pidfd_number(); pidfd >= 0 && !has_exited(pidfd)) continue;
    agent.exit_status = status;
    if (!agent.dead) {
      died(agent);
    } else {
      RootBatch batch;
      after_death(agent, batch);
    }
    sweep_due_ = true;
    return;
  }
  // A stray, or one that died so early that its template has not named it yet.
  unclaimed_.push_back({pid, status});
  if (unclaimed_.size() > unclaimed_max) unclaimed_.pop_front();
  sweep_due_ = true;
}

/// The template has named it: root may have reaped it before.
void Agents::born(Peer& agent, UniqueFd pidfd) {
  const pid_t pid = c_.row(agent.id).pid;
  const bool is_over = has_exited(pidfd.get());
  parties_.watch_pidfd(agent, std::move(pidfd));
  const auto at = std::find_if(unclaimed_.begin(), unclaimed_.end(),
                               [pid](const Unclaimed& entry) { return entry.pid == pid; });
  if (at == unclaimed_.end()) return;
  const int status = at->status;
  unclaimed_.erase(at);
  if (!is_over) return;  // another process had that number before
  agent.exit_status = status;
  died(agent);
}

void Agents::died(Peer& agent) {
  if (agent.dead) return;
  agent.dead = true;
  tasks_.agent_resting(agent);
  std::erase(templates_[c_.row(agent.id).kind].waiting, agent.id);
  pending_spawns_[agent.id] = {};
  settle(agent);
}

void Agents::settle(Peer& agent) {
  const RosterWord roster = c_.roster(agent.id);
  const bool was_live = roster == RosterWord::make(RosterState::live, c_.row(agent.id).incarnation);
  TaskId in_hand = 0;
  if (was_live && agent.linked) {
    // All it has said counts before it is decided what it had not finished.
    bool blocked = false;
    while (!blocked && succession_.drain(agent, 64, blocked) != 0) {
    }
    if (blocked) {
      if (std::find(unsettled_.begin(), unsettled_.end(), agent.id) == unsettled_.end())
        unsettled_.push_back(agent.id);
      return;
    }
    agent.linked = false;
    agent.hot = false;
    const SegmentHeader& header = agent.segment.view().header();
    c_.count(Counter::payload_unpack_ns, load(header.codec_ns));
    in_hand = load(header.task_in_hand);
    tasks_.agent_died(agent, roster.incarnation(), in_hand);
  }
  std::erase(unsettled_, agent.id);
  PartyRow& row = c_.row(agent.id);
  const bool was_asked =
      stopping_ || (is_leaving(agent.id) && in_hand == 0 && agent.exit_status.value_or(0) == 0);
  ended_as_asked_.set(agent.id, was_asked);
  if (!was_asked) {
    row.deaths += 1;
    c_.count(Counter::agents_died);
  }
  row.phase = stored(PartyPhase::succeeding);
  row.not_before_ns = std::numeric_limits<std::uint64_t>::max();  // until it is decided
  RootBatch batch;
  parties_.close_sockets(agent, batch);
  // How it ended decides whether there is another life only where some ends are final. Where none
  // is, the successor does not wait for root to tell.
  const bool status_decides =
      c_.config.supervision.restart != RestartPolicy::permanent && !is_leaving(agent.id);
  if (agent.exit_status || row.pid == 0 || !status_decides) return after_death(agent, batch);
  c_.root.send(batch);
}

/// The death is settled and known enough: what comes next, and the certificate.
void Agents::after_death(Peer& agent, RootBatch& batch) {
  PartyRow& row = c_.row(agent.id);
  if (row.phase != stored(PartyPhase::succeeding) ||
      row.not_before_ns != std::numeric_limits<std::uint64_t>::max())
    return;
  const std::uint64_t now = now_ns();
  const std::uint64_t born = row.live_ns > row.spawned_ns ? row.live_ns : row.spawned_ns;
  const EndedLife life{row.incarnation,
                       row.pid,
                       elapsed_ns(now, born),
                       agent.exit_status,
                       std::move(kill_reasons_[agent.id]),
                       parties_.take_last_words(agent),
                       ended_as_asked_.test(agent.id)};
  kill_reasons_[agent.id].clear();
  row.not_before_ns = now;
  if (stopping_) {
    c_.root.send(batch);
    certify(agent, life);
    row.phase = stored(PartyPhase::gave_up);
    return;
  }
  if (static_cast<AgentIntent>(row.intent) == AgentIntent::stopping) {
    c_.root.send(batch);
    certify(agent, life);
    return retire(agent);
  }
  if (static_cast<AgentIntent>(row.intent) == AgentIntent::renewing) {
    c_.count(Counter::agents_renewed);
    spawn(agent, batch);
    certify(agent, life);
    return;
  }
  const RestartDecision decision = restarts_[agent.id].died(
      c_.config.supervision, exit_kind(agent), life.uptime_ns, now, random_between_0_and_1());
  if (decision.kind != RestartDecision::Kind::restart) {
    c_.root.send(batch);
    certify(agent, life);
    return give_up(agent, decision.kind == RestartDecision::Kind::leave
                              ? "ended, not to be restarted"
                              : "died more than " +
                                    std::to_string(c_.config.supervision.intensity) + " times in " +
                                    std::to_string(c_.config.supervision.period_ms) + " ms");
  }
  row.restarts += 1;
  row.not_before_ns = decision.not_before_ns;
  c_.count(Counter::agents_restarted);
  if (decision.not_before_ns <= now)
    spawn(agent, batch);  // what is written about the dead can wait, work cannot
  else
    c_.root.send(batch);
  certify(agent, life);
}

ExitKind Agents::exit_kind(const Peer& agent) const {
  if (stopping_) return ExitKind::asked;
  const int status = agent.exit_status.value_or(SIGKILL);
  return WIFEXITED(status) && WEXITSTATUS(status) == 0 ? ExitKind::clean : ExitKind::crash;
}

void Agents::give_up(Peer& agent, std::string reason) {
  give_up_reasons_[agent.id] = std::move(reason);
  c_.events.add("agent_gave_up", {{"agent", agent.id}, {"reason", give_up_reasons_[agent.id]}});
  leave_to_heir(agent);
  turn_over(now_ns());  // it may have been what others waited for
}

void Agents::leave_to_heir(Peer& agent) {
  parties_.close_sockets(agent);
  std::erase(templates_[c_.row(agent.id).kind].waiting, agent.id);
  pending_spawns_[agent.id] = {};
  agent.dead = true;
  succession_.become_heir(agent);
}

/// Precondition: no successor has published, so what the dead had in memory can still be read.
void Agents::certify(Peer& agent, const EndedLife& life) {
  if (life.was_asked) return;
  Uncertified one{agent.id, life.pid,
                  death_certificate({.agent = agent.id,
                                     .kind = c_.config.agents[c_.row(agent.id).kind].name,
                                     .incarnation = life.incarnation,
                                     .pid = life.pid,
                                     .uptime_ns = life.uptime_ns,
                                     .killed_because = life.killed_because,
                                     .last_line = life.last_line,
                                     .segment = agent.segment ? &agent.segment.view() : nullptr})};
  if (life.status || life.pid == 0) return publish(one, life.status);
  // Root has its status in a moment. If not before so many others', it is never told.
  uncertified_.push_back(std::move(one));
  if (uncertified_.size() <= uncertified_max) return;
  const Uncertified oldest = std::move(uncertified_.front());
  uncertified_.pop_front();
  publish(oldest, std::nullopt);
}

void Agents::publish(const Uncertified& one, std::optional<int> status) {
  nlohmann::json certificate = one.certificate;
  add_cause(certificate, status);
  auto& kept = certificates_[one.agent];
  kept.push_back(certificate);
  if (kept.size() > certificates_kept_max) kept.pop_front();
  if (!stopping_) c_.events.add("agent_died", std::move(certificate));
}

// ---- time ----

void Agents::tick(std::uint64_t now) {
  for (const PartyId p : std::vector<PartyId>(unsettled_)) settle(c_.peers[p]);
  for (std::uint32_t k = 0; k < c_.config.agents.size(); ++k)
    if (templates_[k].not_before_ns != 0 && templates_[k].not_before_ns <= now && !stopping_)
      start_template(k);
    else
      kill_silent_template(k, now);
  for (PartyId p = 0; p < agents_max; ++p) {
    const PartyRow& row = c_.row(p);
    Peer& agent = c_.peers[p];
    if (row.phase == stored(PartyPhase::succeeding) && is_stopping(row) && agent.dead &&
        !stopping_ && row.not_before_ns != std::numeric_limits<std::uint64_t>::max())
      retire(agent);
    else if (row.phase == stored(PartyPhase::succeeding) && row.not_before_ns <= now && !stopping_)
      spawn(agent);
    else if (row.phase == stored(PartyPhase::starting) && row.pid != 0 && !agent.dead &&
             elapsed_ns(now, row.spawned_ns) >
                 c_.config.supervision.register_timeout_ms * ns_per_ms)
      kill(agent, "did not register in " +
                      std::to_string(c_.config.supervision.register_timeout_ms) + " ms");
    else if (row.phase == stored(PartyPhase::live) && !agent.in_scheduler && !agent.dead &&
             agent.linked && !stopping_ && !is_leaving(p) &&
             agent.data_out.has_space(c_.config.tasks.in_flight_per_agent))
      tasks_.agent_up(agent, capabilities_[row.kind]);
  }
  turn_over(now);
  if (sweep_due_) sweep_strays();
}

void Agents::sweep_strays() {
  for (std::uint32_t k = 0; k < c_.config.agents.size(); ++k)
    if (!templates_[k].asked.empty() || (c_.tables().templates[k].phase == TemplatePhase::loading &&
                                         c_.tables().templates[k].pid == 0))
      return;  // somebody is being born whose pid is not known yet: later
  // A life that a dead supervisor had asked for: its pid comes with its registration.
  for (PartyId p = 0; p < rows_; ++p)
    if (c_.row(p).phase == stored(PartyPhase::starting) && c_.row(p).pid == 0 && !c_.peers[p].dead)
      return;
  sweep_due_ = false;
  const unsigned killed = strays_.sweep([this](pid_t pid) {
    if (pid == ::getpid()) return true;
    for (const TemplateRow& row : c_.tables().templates)
      if (row.pid == pid) return true;
    for (PartyId p = 0; p < agents_max; ++p)
      if (c_.row(p).pid == pid && !c_.peers[p].dead) return true;
    return false;
  });
  if (killed == 0) return;
  c_.count(Counter::strays_killed, killed);
  c_.events.add("strays_killed", {{"count", killed}});
  sweep_due_ = true;  // what they leave behind shows up when they are gone
}

std::uint64_t Agents::next_due_ns() const {
  std::uint64_t due = std::numeric_limits<std::uint64_t>::max();
  if (stopping_) return due;
  for (const Template& t : templates_)
    if (t.not_before_ns != 0) due = std::min(due, t.not_before_ns);
  for (PartyId p = 0; p < agents_max; ++p)
    if (c_.row(p).phase == stored(PartyPhase::succeeding))
      due = std::min(due, c_.row(p).not_before_ns);
  return due;
}

void Agents::stop_all() {
  stopping_ = true;
  for (PartyId p = 0; p < agents_max; ++p) {
    Peer& agent = c_.peers[p];
    if (!agent.dead)
      c_.send(agent, PartyMessage{PartyMessageKind::drain, p, c_.row(p).incarnation});
  }
}

std::uint32_t Agents::alive() const {
  std::uint32_t count = 0;
  for (PartyId p = 0; p < agents_max; ++p)
    if (c_.row(p).pid != 0 && !c_.peers[p].dead) ++count;
  return count;
}

// ---- adoption ----

void Agents::adopt(const FdStore& fds) {
  for (std::uint32_t k = 0; k < c_.config.agents.size(); ++k) {
    Template& t = templates_[k];
    t.started_ns = now_ns();
    const TemplateRow& row = c_.tables().templates[k];
    if (row.phase == TemplatePhase::failed) continue;
    const int socket = fds.get(fd_key::template_socket + k);
    if (socket < 0) {  // the old supervisor died before it asked for it, or it is dead
      t.not_before_ns = 1;
      continue;
    }
    t.socket.emplace(c_.io, socket);
    read_template(k);
    if (const int pipe = fds.get(fd_key::template_log + k); pipe >= 0) {
      t.log_pipe.emplace(c_.io, pipe);
      read_template_log(k);
    }
  }
  for (std::uint32_t k = 0; k < c_.config.agents.size(); ++k)
    if (open_swap_of(k) != nullptr) replace_template(k);
  for (PartyId p = 0; p < agents_max; ++p) {
    PartyRow& row = c_.row(p);
    Peer& agent = c_.peers[p];
    agent.dead = true;  // until its life is found below
    if (row.phase == stored(PartyPhase::none) && p < rows_) {
      row.phase = stored(PartyPhase::succeeding);  // the first supervisor died in its start
      row.not_before_ns = 0;
      continue;
    }
    if (row.phase == stored(PartyPhase::none) || row.phase == stored(PartyPhase::gave_up)) {
      if (c_.roster(p).state() == RosterState::heir_is_supervisor) succession_.consume_as(agent);
      continue;
    }
    const bool running =
        row.phase == stored(PartyPhase::live) || row.phase == stored(PartyPhase::starting);
    const int socket = fds.get(fd_key::party_socket + p);
    const int pidfd = fds.get(fd_key::pidfd + p);
    if (!running) {
      if (row.not_before_ns == std::numeric_limits<std::uint64_t>::max()) row.not_before_ns = 0;
      continue;  // tick() starts it when its backoff is over
    }
    agent.dead = false;
    parties_.adopt_descriptors(agent, UniqueFd(socket), UniqueFd(pidfd),
                               UniqueFd(fds.get(fd_key::log_pipe + p)));
    if (socket < 0) {
      died(agent);
      continue;
    }
    const bool live = c_.roster(p) == RosterWord::make(RosterState::live, row.incarnation);
    if (live) {
      row.phase = stored(PartyPhase::live);
      tasks_.agent_up(agent, capabilities_[row.kind]);
      // Again, because the old supervisor may have died before it told it.
      if (is_leaving(p)) leave(agent, static_cast<AgentIntent>(row.intent));
    }
  }
}

}  // namespace micro_swarm
