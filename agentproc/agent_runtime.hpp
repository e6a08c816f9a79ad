#pragma once

// An agent's life from an open party socket to its end; the same for built-in agents cloned from a
// template and for executables of somebody else's that link this library.

#include <functional>
#include <map>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "agentproc/agent_main.hpp"
#include "agentproc/control_thread.hpp"
#include "agentproc/handler.hpp"
#include "agentproc/work_thread.hpp"
#include "common/posix.hpp"
#include "ipc/party_link.hpp"

namespace micro_swarm {

/// Handlers by the name of their capability; owns them.
class HandlerSet {
 public:
  using Function = std::function<Outcome(TaskContext&)>;

  void add(std::string capability, std::unique_ptr<Handler> handler);
  void add(std::string capability, Function function);
  /// Does whatever no other handler of the set is named for.
  void add_for_all_others(std::unique_ptr<Handler> handler) { others_ = std::move(handler); }

  /// Null: nobody.
  Handler* find(std::string_view capability) const;

 private:
  std::map<std::string, std::unique_ptr<Handler>, std::less<>> handlers_;
  std::unique_ptr<Handler> others_;
};

struct AgentOptions {
  /// The party socket; `welcome` is in it or on its way.
  UniqueFd socket;
  /// What was made before it was known who this agent is.
  PreparedParty prepared;
  /// What dispatches may name. Empty: every capability of the swarm that `handlers` has by name.
  std::vector<AgentCapability> capabilities;
  /// Called on the control thread when the swarm is gone; unset: ends the process at once. If it
  /// returns, the agent drains.
  std::function<void()> on_orphaned;
  int welcome_timeout_ms = 10'000;
};

/// An agent that is part of its swarm, from registration to its end. Whoever opened it works on its
/// work(): one thread.
class AgentSession {
 public:
  /// Registers and waits to be admitted; starts the control thread. Errors: refused, not_running,
  /// protocol, timed_out.
  static Result<std::unique_ptr<AgentSession>> open(AgentOptions options);
  /// Says that it leaves. Tasks in hand are done again by others.
  ~AgentSession();
  AgentSession(const AgentSession&) = delete;
  AgentSession& operator=(const AgentSession&) = delete;

  WorkThread& work() noexcept { return work_; }
  PartyLink& link() noexcept { return *link_; }

 private:
  AgentSession(std::unique_ptr<PartyLink> link, std::function<void()> on_orphaned);

  std::unique_ptr<PartyLink> link_;
  Mailbox mailbox_;
  CancelList cancelled_;
  ControlThread control_;
  WorkThread work_;
};

/// The party socket of a process that a swarm started: $MICROSWARM_AGENT_FD, where
/// $MICROSWARM_PROTOCOL is ours. Error: usage, with what to do.
Result<UniqueFd> socket_of_external_agent();

/// Registers, works, and returns after `drain` when everything in hand is done. Starts one thread
/// and joins it. Errors: refused, not_running, protocol, timed_out (all before the first task).
Result<void> run_agent(AgentOptions options, const HandlerSet& handlers);

/// The main function of an agent that is an executable of its own, started by a swarm (kind
/// external): finds its socket in $MICROSWARM_AGENT_FD, checks $MICROSWARM_PROTOCOL, and works.
/// Returns the exit code; errors go to stderr.
int run_external_agent(const HandlerSet& handlers);

}  // namespace micro_swarm
