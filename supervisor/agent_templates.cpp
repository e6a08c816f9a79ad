// The template processes that agents are cloned from: started, told what they are, listened to,
// and started again.

#include <signal.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <array>

#include "common/log.hpp"
#include "supervisor/agents.hpp"
#include "supervisor/death_certificate.hpp"
#include "supervisor/log_pipe.hpp"
#include "supervisor/run_limits.hpp"

namespace micro_swarm {

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
  for (const auto& file : agent.plugins) spec.plugins.push_back(file.string());
  for (const auto& [capability, file] : agent.models) spec.models[capability] = file.string();
  spec.qubits = agent.qubits;
  spec.command = agent.command;
  spec.environment = agent.environment;
  spec.interface = agent.interface;
  spec.files_directory = c_.files_directory;
  // An agent that is told to cancel is killed after cancel_grace_ms: its script's grace ends
  // before.
  spec.stop_grace_ms = c_.config.tasks.cancel_grace_ms / 2;
  spec.batch_max = agent.batch_max;
  spec.batch_delay_us = agent.batch_delay_us;
  spec.log_level = c_.config.log.level;
  spec.containment = agent.containment;
  // The kernel counts by uid, and this one may be busy otherwise.
  if (agent.containment.uid) spec.containment.processes_max = 0;
  const SwarmNeeds needs = needs_of(c_.config);
  spec.shared_bytes = needs.address_space_bytes + c_.config.memory.pool_size;
  if (agent.containment.enabled && !agent.containment.uid && ::geteuid() == 0)
    if (const std::string closed = AgentUids::out_of_reach(agent); !closed.empty())
      log::warn(
          "agents of kind {} keep the swarm's uid: others cannot pass or read {}; let them "
          "(chmod o+x), or name a uid",
          agent.name, closed);
  if (const uid_t uid = uids_.of_template(agent, number); uid != 0) spec.uid = uid;
  auto packet = encode_template_spec(spec);
  auto sockets = seqpacket_pair();
  auto pipe = make_log_pipe();
  if (!packet || !sockets || !pipe) {
    const Error error = !packet ? packet.error() : !sockets ? sockets.error() : pipe.error();
    log::error("template {}: {}", agent.name, error.message);
    return template_failed(number, error);
  }
  // With it the map that all its agents inherit.
  send_with_fds(sockets->first.get(), std::as_bytes(std::span(*packet)), {&c_.segment_fd, 1}, true);
  t.socket.emplace(c_.io, sockets->first.release());
  t.log_pipe.emplace(c_.io, pipe->first.release());
  // One packet: a socket that root keeps has a process at its other end, or had one whose death
  // root tells. A successor that found one without would wait for it forever.
  RootBatch birth;
  birth.keep(fd_key::template_socket + number, t.socket->native_handle());
  birth.keep(fd_key::template_log + number, t.log_pipe->native_handle());
  birth.spawn_template(number, sockets->second.get(), pipe->second.get());
  c_.root.send(birth);
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
    std::array<char, 65'536> buffer;  // what a pipe holds
    const ssize_t got = ::read(mine.log_pipe->native_handle(), buffer.data(), buffer.size());
    if (got <= 0) {
      mine.log_pipe.reset();
      return;
    }
    mine.log_lines.take({buffer.data(), static_cast<std::size_t>(got)}, now_ns(),
                        [&](const std::string& line) {
                          log::info("template {}: {}", c_.config.agents[number].name, line);
                        });
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
      settle_swap(number, {});
      template_settled(number, {});
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
      const Error error{ErrorCode::model, "agent kind " + name + ": " + message.text, 0};
      if (settle_swap(number, error)) {
        t.is_replaced = true;  // by one with the model from before
        return template_settled(number, error);
      }
      row.phase = TemplatePhase::failed;
      c_.events.add("template_failed", {{"kind", name}, {"reason", message.text}});
      for (PartyId p = 0; p < agents_max; ++p)
        if (c_.row(p).phase == stored(PartyPhase::starting) && c_.row(p).kind == number)
          give_up(c_.peers[p], message.text);
      return template_failed(number, error);
    }
    case TemplateMessageKind::spawned:
    case TemplateMessageKind::spawn_failed: {
      std::erase(t.asked, message.party);
      t.asked_ns = now_ns();
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
      return born(agent, std::move(pidfd));
    }
  }
}

/// Stopped or stuck in its model: nobody of its kind can be born until it is replaced.
void Agents::kill_silent_template(std::uint32_t number, std::uint64_t now) {
  const Template& t = templates_[number];
  const TemplateRow& row = c_.tables().templates[number];
  const bool owes = row.phase == TemplatePhase::loading || !t.asked.empty();
  const std::uint64_t since = t.asked.empty() ? t.started_ns : t.asked_ns;
  if (!owes || row.pid == 0 ||
      elapsed_ns(now, since) <= c_.config.supervision.register_timeout_ms * ns_per_ms)
    return;
  if (kill_template(number))
    c_.events.add("template_killed",
                  {{"kind", c_.config.agents[number].name}, {"reason", "did not answer in time"}});
}

/// False: there is none whose number is known.
bool Agents::kill_template(std::uint32_t number) {
  // No descriptor of it is kept: the number counts only while it is root's child.
  const pid_t pid = c_.tables().templates[number].pid;
  if (pid == 0) return false;
  const UniqueFd pidfd(pidfd_open(pid));
  ProcessInfo info;
  if (!pidfd || !read_process(pid, info) || info.parent != c_.root_pid) return false;
  return pidfd_send_signal(pidfd.get(), SIGKILL) == 0;
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
  if (std::exchange(t.is_replaced, false)) {
    std::vector<PartyId> asked;
    asked.swap(t.asked);
    if (stopping_) return;
    start_template(number);
    // Lives that it has not begun are none of theirs who ended: they wait for the next one.
    for (const PartyId p : asked) {
      c_.row(p).intent = stored(AgentIntent::renewing);
      died(c_.peers[p]);
    }
    return;
  }
  if (row.phase == TemplatePhase::loading && open_swap_of(number) != nullptr && !stopping_) {
    const Error error{ErrorCode::model,
                      "agent kind " + c_.config.agents[number].name +
                          ": its template died of the new model: " + text_of_status(status),
                      0};
    settle_swap(number, error);
    template_settled(number, error);
    return start_template(number);
  }
  const bool failed = row.phase == TemplatePhase::failed;
  if (!failed)
    c_.events.add("template_died",
                  {{"kind", c_.config.agents[number].name}, {"status", text_of_status(status)}});
  std::vector<PartyId> asked;
  asked.swap(t.asked);
  if (failed || stopping_) return;
  const std::uint64_t now = now_ns();
  const RestartDecision decision =
      t.restarts.died(c_.config.supervision, ExitKind::crash, elapsed_ns(now, t.started_ns), now,
                      random_between_0_and_1());
  if (decision.kind != RestartDecision::Kind::restart) {
    row.phase = TemplatePhase::failed;
    for (PartyId p = 0; p < agents_max; ++p)
      if (c_.row(p).phase == stored(PartyPhase::starting) && c_.row(p).kind == number)
        give_up(c_.peers[p], "its template died too often");
    template_settled(
        number,
        Error{ErrorCode::gave_up,
              "agent kind " + c_.config.agents[number].name + ": its template died too often", 0});
    return;
  }
  row.phase = TemplatePhase::loading;
  t.not_before_ns = std::max<std::uint64_t>(decision.not_before_ns, 1);
  // Requests that nobody answered: those lives end unborn and begin again.
  for (const PartyId p : asked) died(c_.peers[p]);
  tick(now);
}

}  // namespace micro_swarm
