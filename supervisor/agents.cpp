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

namespace micro_swarm {

namespace {
std::uint32_t phase_of(PartyPhase phase) { return static_cast<std::uint32_t>(phase); }

double random_unit() {
  thread_local std::mt19937_64 generator{std::random_device{}()};
  return std::uniform_real_distribution<double>(0.0, 1.0)(generator);
}

Result<std::pair<UniqueFd, UniqueFd>> log_pipe() {
  int ends[2];
  if (::pipe2(ends, O_CLOEXEC) != 0) return system_error("pipe2", errno);
  ::fcntl(ends[0], F_SETFL, O_NONBLOCK);  // our end only; the writer may wait for us
  return std::pair{UniqueFd(ends[0]), UniqueFd(ends[1])};
}

std::string text_of_status(int status) {
  if (WIFSIGNALED(status))
    return std::string("signal ") + std::to_string(WTERMSIG(status)) + " (" +
           ::strsignal(WTERMSIG(status)) + ")";
  return "exit code " + std::to_string(WEXITSTATUS(status));
}

std::string_view name_of(FlightCode code) {
  switch (code) {
    case FlightCode::none: return "none";
    case FlightCode::registered: return "registered";
    case FlightCode::live: return "live";
    case FlightCode::dispatch_received: return "dispatch_received";
    case FlightCode::dispatch_skipped: return "dispatch_skipped";
    case FlightCode::handler_started: return "handler_started";
    case FlightCode::handler_finished: return "handler_finished";
    case FlightCode::completed: return "completed";
    case FlightCode::bank_mapped: return "bank_mapped";
    case FlightCode::cancel_seen: return "cancel_seen";
    case FlightCode::drain_seen: return "drain_seen";
    case FlightCode::parked: return "parked";
  }
  return "unknown";
}

bool has_exited(int pidfd) {
  pollfd entry{pidfd, POLLIN, 0};
  return ::poll(&entry, 1, 0) == 1;
}

constexpr std::uint64_t closed_socket_grace_ns = 500 * ns_per_ms;
constexpr std::size_t certificates_kept_max = 8;
constexpr std::uint32_t flight_events_in_certificate = 8;

/// The last entries of a dead process's recorder. Its bytes are input: the count is bounded.
nlohmann::json last_flight_events(const SegmentView& segment) {
  nlohmann::json events = nlohmann::json::array();
  const FlightRecorder& recorder = segment.recorder();
  const std::uint64_t count = load(recorder.count);
  const std::uint64_t shown = std::min<std::uint64_t>(count, flight_events_in_certificate);
  for (std::uint64_t n = count - shown; n < count; ++n) {
    const FlightEvent event = recorder.events[n % flight_events_max];
    events.push_back(
        {{"time_ns", event.time_ns}, {"event", name_of(event.code)}, {"subject", event.subject}});
  }
  return events;
}
}  // namespace

Agents::Agents(SupervisorContext& context, Parties& parties, Tasks& tasks, Succession& succession)
    : c_(context),
      parties_(parties),
      tasks_(tasks),
      succession_(succession),
      strays_(context.root_pid) {
  // The same names in the same order give the same numbers to every supervisor.
  auto& names = c_.tables().capabilities;
  for (std::uint32_t kind = 0; kind < c_.config.agents.size(); ++kind)
    for (const std::string& name : c_.config.agents[kind].capabilities) {
      std::uint32_t id = 0;
      while (id < capabilities_max && names[id].text[0] != '\0' && name != names[id].text) ++id;
      if (id == capabilities_max) continue;  // load_config refuses that many
      if (names[id].text[0] == '\0') name.copy(names[id].text, sizeof names[id].text - 1);
      capabilities_[kind].set(id);
    }
  PartyId next = 0;
  for (std::uint32_t kind = 0; kind < c_.config.agents.size(); ++kind)
    for (std::uint32_t i = 0; i < c_.config.agents[kind].count && next < agents_max; ++i)
      c_.row(next++).kind = static_cast<std::uint16_t>(kind);
  configured_ = next;
}

void Agents::start() {
  for (std::uint32_t kind = 0; kind < c_.config.agents.size(); ++kind) start_template(kind);
  for (PartyId p = 0; p < configured_; ++p) spawn(c_.peers[p]);
}

// ---- templates ----

void Agents::start_template(std::uint32_t number) {
  Template& t = templates_[number];
  TemplateRow& row = c_.tables().templates[number];
  t.started_ns = now_ns();
  t.not_before_ns = 0;
  row.phase = TemplatePhase::loading;
  row.pid = 0;
  const AgentSpec& agent = c_.config.agents[number];
  TemplateSpec spec;
  spec.name = agent.name;
  spec.kind = agent.kind;
  for (std::uint16_t id = 0; id < capabilities_max; ++id)
    if (capabilities_[number].test(id))
      spec.capabilities.push_back({c_.tables().capabilities[id].text, id});
  spec.model = agent.model.string();
  spec.command = agent.command;
  spec.environment = agent.environment;
  spec.log_level = c_.config.log.level;
  auto packet = encode_template_spec(spec);
  auto sockets = seqpacket_pair();
  auto pipe = log_pipe();
  if (!packet || !sockets || !pipe) {
    const Error error = !packet ? packet.error() : !sockets ? sockets.error() : pipe.error();
    log::error("template {}: {}", agent.name, error.message);
    row.phase = TemplatePhase::failed;
    if (fatal_) fatal_(error);
    return;
  }
  c_.root.keep(fd_key::template_socket + number, sockets->first.get());
  c_.root.keep(fd_key::template_log + number, pipe->first.get());
  send_with_fds(sockets->first.get(), std::as_bytes(std::span(*packet)), {}, true);
  t.socket.emplace(c_.io, sockets->first.release());
  t.log_pipe.emplace(c_.io, pipe->first.release());
  c_.root.spawn_template(number, sockets->second.get(), pipe->second.get());
  read_template(number);
  read_template_log(number);
}

void Agents::template_started(std::uint32_t number, pid_t pid, int sys_errno) {
  if (number >= c_.config.agents.size()) return;
  if (pid == 0) {
    log::error("root could not fork template {}: {}", c_.config.agents[number].name,
               system_error("fork", sys_errno).message);
    return template_died(number, 0);
  }
  c_.tables().templates[number].pid = pid;
}

void Agents::read_template(std::uint32_t number) {
  Template& t = templates_[number];
  t.socket->async_wait(WatchedFd::wait_read, [this, number](boost::system::error_code ec) {
    Template& mine = templates_[number];
    if (ec || !mine.socket) return;
    for (;;) {
      TemplateMessage message;
      ReceivedMessage got = receive_with_fds(mine.socket->native_handle(),
                                             std::as_writable_bytes(std::span(&message, 1)));
      if (got.size < 0 && (errno == EAGAIN || errno == EWOULDBLOCK)) break;
      if (got.size <= 0) return;  // its death is on its way from root
      if (got.size != static_cast<ssize_t>(sizeof message)) {
        for (int f = 0; f < got.fd_count; ++f) ::close(got.fds[f]);
        continue;
      }
      UniqueFd pidfd(got.fd_count > 0 ? got.fds[0] : -1);
      for (int f = 1; f < got.fd_count; ++f) ::close(got.fds[f]);
      message.text[sizeof message.text - 1] = '\0';
      template_said(number, message, std::move(pidfd));
      if (!mine.socket) return;
    }
    read_template(number);
  });
}

void Agents::read_template_log(std::uint32_t number) {
  Template& t = templates_[number];
  t.log_pipe->async_wait(WatchedFd::wait_read, [this, number](boost::system::error_code ec) {
    Template& mine = templates_[number];
    if (ec || !mine.log_pipe) return;
    char buffer[4096];
    const ssize_t got = ::read(mine.log_pipe->native_handle(), buffer, sizeof buffer);
    if (got <= 0) {
      mine.log_pipe.reset();
      return;
    }
    mine.log_tail.append(buffer, static_cast<std::size_t>(got));
    std::size_t end;
    while ((end = mine.log_tail.find('\n')) != std::string::npos) {
      log::info("template {}: {}", c_.config.agents[number].name, mine.log_tail.substr(0, end));
      mine.log_tail.erase(0, end + 1);
    }
    if (mine.log_tail.size() > 4096) mine.log_tail.clear();
    read_template_log(number);
  });
}

void Agents::template_said(std::uint32_t number, const TemplateMessage& message, UniqueFd pidfd) {
  Template& t = templates_[number];
  TemplateRow& row = c_.tables().templates[number];
  const std::string& name = c_.config.agents[number].name;
  switch (message.kind) {
    case TemplateMessageKind::ready: {
      row.phase = TemplatePhase::ready;
      std::vector<PartyId> waiting;
      waiting.swap(t.waiting);
      for (const PartyId p : waiting) {
        PendingSpawn pending = std::move(pending_spawns_[p]);
        if (pending.socket)
          request_spawn(c_.peers[p], std::move(pending.socket), std::move(pending.log_pipe));
      }
      return;
    }
    case TemplateMessageKind::load_failed: {
      row.phase = TemplatePhase::failed;
      c_.events.add("template_failed", {{"kind", name}, {"reason", message.text}});
      for (PartyId p = 0; p < agents_max; ++p)
        if (c_.row(p).phase == phase_of(PartyPhase::starting) && c_.row(p).kind == number)
          give_up(c_.peers[p], message.text);
      if (fatal_) fatal_(Error{ErrorCode::model, "agent kind " + name + ": " + message.text, 0});
      return;
    }
    case TemplateMessageKind::spawned:
    case TemplateMessageKind::spawn_failed: {
      std::erase(t.asked, message.party);
      if (message.party >= agents_max) return;
      Peer& agent = c_.peers[message.party];
      PartyRow& agent_row = c_.row(message.party);
      if (agent_row.incarnation != message.incarnation) return;
      if (message.kind == TemplateMessageKind::spawn_failed) {
        log::error("agent {}: the template could not clone it: {}", message.party, message.text);
        return died(agent);
      }
      agent_row.pid = message.pid;
      if (agent.dead || !pidfd) return;
      c_.root.keep(fd_key::pidfd + agent.id, pidfd.get());
      parties_.watch_pidfd(agent, std::move(pidfd));
      return;
    }
  }
}

void Agents::template_died(std::uint32_t number, int status) {
  Template& t = templates_[number];
  TemplateRow& row = c_.tables().templates[number];
  // Its last words (load_failed, answers to spawn requests) may still be in the socket.
  while (t.socket) {
    TemplateMessage message;
    ReceivedMessage got =
        receive_with_fds(t.socket->native_handle(), std::as_writable_bytes(std::span(&message, 1)));
    if (got.size != static_cast<ssize_t>(sizeof message)) break;
    template_said(number, message, UniqueFd(got.fd_count > 0 ? got.fds[0] : -1));
  }
  t.socket.reset();
  c_.root.drop(fd_key::template_socket + number);
  c_.root.drop(fd_key::template_log + number);
  row.pid = 0;
  const bool failed = row.phase == TemplatePhase::failed;
  if (!failed)
    c_.events.add("template_died",
                  {{"kind", c_.config.agents[number].name}, {"status", text_of_status(status)}});
  std::vector<PartyId> asked;
  asked.swap(t.asked);
  if (failed || stopping_) return;
  const std::uint64_t now = now_ns();
  const RestartDecision decision = t.restarts.died(c_.config.supervision, ExitKind::crash,
                                                   now - t.started_ns, now, random_unit());
  if (decision.kind != RestartDecision::Kind::restart) {
    row.phase = TemplatePhase::failed;
    for (PartyId p = 0; p < agents_max; ++p)
      if (c_.row(p).phase == phase_of(PartyPhase::starting) && c_.row(p).kind == number)
        give_up(c_.peers[p], "its template died too often");
    return;
  }
  row.phase = TemplatePhase::loading;
  t.not_before_ns = std::max<std::uint64_t>(decision.not_before_ns, 1);
  // Requests that nobody answered: those lives end unborn and begin again.
  for (const PartyId p : asked) died(c_.peers[p]);
  tick(now);
}

// ---- spawning ----

void Agents::spawn(Peer& agent) {
  PartyRow& row = c_.row(agent.id);
  const RosterWord roster = c_.roster(agent.id);
  // The last published life, if any, is what the new one inherits from.
  const bool inherits = roster.state() == RosterState::live && agent.segment;
  row.incarnation = static_cast<std::uint16_t>(row.incarnation + 1);
  if (row.incarnation == 0) row.incarnation = 1;
  row.pid = 0;
  row.spawned_ns = now_ns();
  row.phase = phase_of(PartyPhase::starting);
  agent.dead = false;
  agent.exit_status.reset();
  kill_reasons_[agent.id].clear();
  auto socket = parties_.open_socket(agent, inherits ? agent.segment.fd() : -1,
                                     inherits ? roster.incarnation() : Incarnation{0});
  auto pipe = log_pipe();
  if (!socket || !pipe) {
    log::error("agent {}: {}", agent.id, (!socket ? socket.error() : pipe.error()).message);
    agent.exit_status = 0;
    return died(agent);
  }
  c_.root.keep(fd_key::log_pipe + agent.id, pipe->first.get());
  parties_.watch_log_pipe(agent, std::move(pipe->first));
  Template& t = templates_[row.kind];
  if (c_.tables().templates[row.kind].phase == TemplatePhase::ready && t.socket)
    return request_spawn(agent, std::move(*socket), std::move(pipe->second));
  pending_spawns_[agent.id] = {std::move(*socket), std::move(pipe->second)};
  t.waiting.push_back(agent.id);
}

void Agents::request_spawn(Peer& agent, UniqueFd socket, UniqueFd log_pipe) {
  Template& t = templates_[c_.row(agent.id).kind];
  const SpawnRequest request{agent.id, c_.row(agent.id).incarnation, 0};
  const int fds[] = {socket.get(), log_pipe.get()};
  t.asked.push_back(agent.id);
  // A template answers in fractions of a millisecond; its socket holds hundreds of requests.
  if (send_with_fds(t.socket->native_handle(), std::as_bytes(std::span(&request, 1)), fds, true) <
      0)
    log::warn("template {}: {}", c_.config.agents[c_.row(agent.id).kind].name,
              system_error("sendmsg", errno).message);
}

void Agents::published(Peer& agent) {
  if (c_.row(agent.id).restarts != 0 || c_.epoch > 1)
    c_.events.add("agent_live", {{"agent", agent.id},
                                 {"incarnation", c_.row(agent.id).incarnation},
                                 {"pid", c_.row(agent.id).pid}});
  tasks_.agent_up(agent, capabilities_[c_.row(agent.id).kind]);
}

// ---- deaths ----

void Agents::socket_closed(Peer& agent) {
  const PartyRow& row = c_.row(agent.id);
  if (agent.dead) return;
  // A life without a pid yet has nothing else to show its death by; a process that lives on
  // without its socket can be neither asked nor probed.
  if (row.pid == 0) {
    agent.exit_status = agent.exit_status.value_or(0);
    return died(agent);
  }
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
  if (agent.pidfd) pidfd_send_signal(agent.pidfd->native_handle(), SIGKILL);
}

void Agents::reaped(pid_t pid, int status) {
  for (std::uint32_t k = 0; k < c_.config.agents.size(); ++k)
    if (c_.tables().templates[k].pid == pid) return template_died(k, status);
  for (PartyId p = 0; p < agents_max; ++p) {
    Peer& agent = c_.peers[p];
    const PartyRow& row = c_.row(p);
    if (row.pid != pid || row.phase == phase_of(PartyPhase::none)) continue;
    // An old event (they are repeated to a new supervisor) may name a number that lives again.
    if (agent.pidfd && !has_exited(agent.pidfd->native_handle())) continue;
    agent.exit_status = status;
    if (!agent.dead)
      died(agent);
    else
      after_death(agent);
    break;
  }
  sweep_due_ = true;
}

void Agents::died(Peer& agent) {
  if (agent.dead) return;
  agent.dead = true;
  c_.count(Counter::agents_died);
  tasks_.agent_resting(agent);
  std::erase(templates_[c_.row(agent.id).kind].waiting, agent.id);
  pending_spawns_[agent.id] = {};
  settle(agent);
}

void Agents::settle(Peer& agent) {
  const RosterWord roster = c_.roster(agent.id);
  const bool was_live = roster == RosterWord::make(RosterState::live, c_.row(agent.id).incarnation);
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
    tasks_.agent_died(agent, roster.incarnation(),
                      load(agent.segment.view().header().task_in_hand));
  }
  std::erase(unsettled_, agent.id);
  PartyRow& row = c_.row(agent.id);
  row.deaths += 1;
  row.phase = phase_of(PartyPhase::succeeding);
  row.not_before_ns = std::numeric_limits<std::uint64_t>::max();  // until the status is known
  parties_.close_sockets(agent);
  if (agent.exit_status || row.pid == 0) after_death(agent);
}

/// The death is settled and its status known: certificate, and what comes next.
void Agents::after_death(Peer& agent) {
  PartyRow& row = c_.row(agent.id);
  if (row.phase != phase_of(PartyPhase::succeeding) ||
      row.not_before_ns != std::numeric_limits<std::uint64_t>::max())
    return;
  const std::uint64_t now = now_ns();
  const std::uint64_t born = row.live_ns > row.spawned_ns ? row.live_ns : row.spawned_ns;
  certify(agent, now - born);
  row.not_before_ns = now;
  if (stopping_) {
    row.phase = phase_of(PartyPhase::gave_up);
    return;
  }
  const RestartDecision decision = restarts_[agent.id].died(c_.config.supervision, exit_kind(agent),
                                                            now - born, now, random_unit());
  switch (decision.kind) {
    case RestartDecision::Kind::leave: return give_up(agent, "ended, not to be restarted");
    case RestartDecision::Kind::give_up:
      return give_up(agent, "died more than " + std::to_string(c_.config.supervision.intensity) +
                                " times in " + std::to_string(c_.config.supervision.period_ms) +
                                " ms");
    case RestartDecision::Kind::restart: break;
  }
  row.restarts += 1;
  row.not_before_ns = decision.not_before_ns;
  c_.count(Counter::agents_restarted);
  if (decision.not_before_ns <= now) spawn(agent);
}

ExitKind Agents::exit_kind(const Peer& agent) const {
  if (stopping_) return ExitKind::asked;
  const int status = agent.exit_status.value_or(SIGKILL);
  return WIFEXITED(status) && WEXITSTATUS(status) == 0 ? ExitKind::clean : ExitKind::crash;
}

void Agents::give_up(Peer& agent, std::string reason) {
  PartyRow& row = c_.row(agent.id);
  parties_.close_sockets(agent);
  std::erase(templates_[row.kind].waiting, agent.id);
  pending_spawns_[agent.id] = {};
  agent.dead = true;
  give_up_reasons_[agent.id] = std::move(reason);
  c_.events.add("agent_gave_up", {{"agent", agent.id}, {"reason", give_up_reasons_[agent.id]}});
  succession_.become_heir(agent);
}

void Agents::certify(Peer& agent, std::uint64_t uptime_ns) {
  const PartyRow& row = c_.row(agent.id);
  nlohmann::json certificate = {{"agent", agent.id},
                                {"kind", c_.config.agents[row.kind].name},
                                {"incarnation", row.incarnation},
                                {"pid", row.pid},
                                {"uptime_ms", uptime_ns / ns_per_ms}};
  if (agent.exit_status) {
    const int status = *agent.exit_status;
    certificate["cause"] = text_of_status(status);
    if (WIFSIGNALED(status))
      certificate["signal"] = WTERMSIG(status);
    else
      certificate["exit_code"] = WEXITSTATUS(status);
  } else {
    certificate["cause"] = "unknown";
  }
  if (!kill_reasons_[agent.id].empty()) certificate["killed_because"] = kill_reasons_[agent.id];
  const bool was_registered =
      agent.segment && agent.segment.view().header().incarnation == row.incarnation;
  certificate["registered"] = was_registered;
  if (was_registered) {
    const SegmentView& view = agent.segment.view();
    const TaskId in_hand = load(view.header().task_in_hand);
    if (in_hand != 0) certificate["task_in_hand"] = in_hand;
    certificate["tasks_completed"] = load(view.header().tasks_completed);
    certificate["last_events"] = last_flight_events(view);
  }
  auto& kept = certificates_[agent.id];
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
  for (PartyId p = 0; p < agents_max; ++p) {
    const PartyRow& row = c_.row(p);
    Peer& agent = c_.peers[p];
    if (row.phase == phase_of(PartyPhase::succeeding) && row.not_before_ns <= now && !stopping_)
      spawn(agent);
    else if (row.phase == phase_of(PartyPhase::starting) && row.pid != 0 && !agent.dead &&
             now - row.spawned_ns > c_.config.supervision.register_timeout_ms * ns_per_ms)
      kill(agent, "did not register in " +
                      std::to_string(c_.config.supervision.register_timeout_ms) + " ms");
    else if (row.phase == phase_of(PartyPhase::live) && !agent.in_scheduler && !agent.dead &&
             agent.linked && !stopping_ &&
             agent.data_out.has_space(c_.config.tasks.in_flight_per_agent))
      tasks_.agent_up(agent, capabilities_[row.kind]);
  }
  if (sweep_due_) sweep_strays();
}

void Agents::sweep_strays() {
  for (std::uint32_t k = 0; k < c_.config.agents.size(); ++k)
    if (!templates_[k].asked.empty() || (c_.tables().templates[k].phase == TemplatePhase::loading &&
                                         c_.tables().templates[k].pid == 0))
      return;  // somebody is being born whose pid is not known yet: later
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
    if (c_.row(p).phase == phase_of(PartyPhase::succeeding))
      due = std::min(due, c_.row(p).not_before_ns);
  return due;
}

void Agents::stop_all() {
  stopping_ = true;
  for (PartyId p = 0; p < agents_max; ++p) {
    Peer& agent = c_.peers[p];
    if (agent.socket && !agent.dead)
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
  for (PartyId p = 0; p < agents_max; ++p) {
    PartyRow& row = c_.row(p);
    Peer& agent = c_.peers[p];
    agent.dead = true;  // until its life is found below
    if (row.phase == phase_of(PartyPhase::none) && p < configured_) {
      row.phase = phase_of(PartyPhase::succeeding);  // the first supervisor died in its start
      row.not_before_ns = 0;
      continue;
    }
    if (row.phase == phase_of(PartyPhase::none) || row.phase == phase_of(PartyPhase::gave_up)) {
      if (c_.roster(p).state() == RosterState::heir_is_supervisor) succession_.consume_as(agent);
      continue;
    }
    const bool running =
        row.phase == phase_of(PartyPhase::live) || row.phase == phase_of(PartyPhase::starting);
    const int socket = fds.get(fd_key::party_socket + p);
    const int pidfd = fds.get(fd_key::pidfd + p);
    if (!running) {
      if (row.not_before_ns == std::numeric_limits<std::uint64_t>::max()) row.not_before_ns = 0;
      continue;  // tick() starts it when its backoff is over
    }
    agent.dead = false;
    if (const int pipe = fds.get(fd_key::log_pipe + p); pipe >= 0)
      parties_.watch_log_pipe(agent, UniqueFd(pipe));
    if (socket < 0) {
      died(agent);
      continue;
    }
    parties_.watch_socket(agent, UniqueFd(socket));
    if (pidfd >= 0) parties_.watch_pidfd(agent, UniqueFd(pidfd));
    const bool live = c_.roster(p) == RosterWord::make(RosterState::live, row.incarnation);
    if (live) {
      row.phase = phase_of(PartyPhase::live);
      tasks_.agent_up(agent, capabilities_[row.kind]);
    }
    c_.send(agent, PartyMessage{PartyMessageKind::new_supervisor, p, row.incarnation, c_.epoch});
  }
}

}  // namespace micro_swarm
