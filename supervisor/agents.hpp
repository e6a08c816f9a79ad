#pragma once

// Agents from birth to death certificate: templates, spawning, restarts, give-up.
//
//   none -> starting -> live -> (dead) -> succeeding -> starting ...      restart
//                                     \-> gave_up: the supervisor is heir, until the row is used
//                                                  again (scale, renew)
//
// When to restart is restart_policy.hpp's decision, whom to replace on purpose
// agent_turnover.hpp's; what a death leaves in memory is succession.hpp's.

#include <array>
#include <bitset>
#include <deque>
#include <filesystem>
#include <list>
#include <optional>

#include "ipc/template_protocol.hpp"
#include "supervisor/agent_turnover.hpp"
#include "supervisor/agent_uids.hpp"
#include "supervisor/fd_store.hpp"
#include "supervisor/kind_changes.hpp"
#include "supervisor/parties.hpp"
#include "supervisor/restart_policy.hpp"
#include "supervisor/stray_processes.hpp"
#include "supervisor/succession.hpp"
#include "supervisor/tasks.hpp"

namespace micro_swarm {

class Agents {
 public:
  /// `kinds` is c_.config.agents, to which add_kind() adds; the first `configured_kinds` of them
  /// are the configuration's. `changes`: what predecessors made of them, already in `kinds`.
  Agents(SupervisorContext& context, std::vector<AgentSpec>& kinds, std::size_t configured_kinds,
         KindChanges changes, Parties& parties, Tasks& tasks, Succession& succession);

  /// First supervisor: names the capabilities, starts the templates and all agents.
  void start();
  /// New supervisor: continues what the rows say.
  void adopt(const FdStore& fds);

  /// One more kind, with its agents, in a swarm that runs; for good. Returns its number. The same
  /// once more is no error, so that whoever lost the answer can ask again. Errors: usage (a model
  /// that is not absolute), config (as check_agent()), refused (another kind of that name;
  /// stopping; what the swarm or the machine has no room for), system.
  Result<std::uint32_t> add_kind(AgentSpec spec);
  /// Brings a kind to so many agents: the surplus finishes what it has and stops, what is missing
  /// starts. Tasks in hand are not lost either way. Errors: refused (stopping; no room; a template
  /// that failed): then none has been added.
  Result<void> scale(std::uint32_t kind, std::uint32_t count);
  /// The agent is replaced when it is its turn: it finishes what it has, ends, and a successor
  /// starts. One that has stopped or was given up starts anew. Error: refused.
  Result<void> renew(PartyId p);
  /// The agent finishes what it has and ends, and nobody follows. Error: refused (stopping).
  Result<void> stop(PartyId p);
  /// Another model for a neural kind, for all later supervisors too; `capability` says which where
  /// it has several. Calls back, from the loop, when it has loaded (then its agents are renewed one
  /// by one), or has not and all is as it was. Errors, at once: usage (not neural, no such model,
  /// no readable file), refused (stopping; a swap of this kind under way), system.
  Result<void> swap_model(std::uint32_t kind, const std::string& capability,
                          const std::filesystem::path& file,
                          std::function<void(const Result<void>&)> call);
  /// The agents of a kind.
  std::vector<PartyId> agents_of(std::uint32_t kind) const;
  /// Calls back, from the loop, once the kind's template is there or has failed for good.
  void when_template_is_settled(std::uint32_t kind, std::function<void(const Result<void>&)> call);

  // What is heard of them.
  void published(Peer& agent);
  void socket_closed(Peer& agent);
  void exited(Peer& agent);
  void kill(Peer& agent, const std::string& why);
  void reaped(pid_t pid, int status);
  void template_started(std::uint32_t number, pid_t pid, int sys_errno);

  /// Restarts whose backoff is over, registrations overdue, deaths waiting to be settled.
  void tick(std::uint64_t now);
  std::uint64_t next_due_ns() const;
  bool has_unsettled() const { return !unsettled_.empty(); }

  /// Asks all to finish and exit; what dies from now on is not started again.
  void stop_all();
  std::uint32_t alive() const;

  const CapabilitySet& capabilities(std::uint32_t kind) const { return capabilities_[kind]; }
  const std::list<nlohmann::json>& certificates(PartyId p) const { return certificates_[p]; }
  std::string_view give_up_reason(PartyId p) const { return give_up_reasons_[p]; }
  void set_fatal(std::function<void(const Error&)> handler) { fatal_ = std::move(handler); }

 private:
  struct Template {
    std::optional<WatchedFd> socket;
    std::optional<WatchedFd> log_pipe;
    LogLines log_lines;
    RestartPolicyState restarts;
    std::uint64_t started_ns = 0;
    std::uint64_t not_before_ns = 0;  ///< dead, to be started again then; 0 = no
    std::vector<PartyId> waiting;     ///< asked for while it is not ready
    std::vector<PartyId> asked;       ///< requests sent, not answered yet
    std::uint64_t asked_ns = 0;       ///< when it last answered while more was owed
    bool is_replaced = false;         ///< it ends because another is to take its place
    std::vector<std::function<void(const Result<void>&)>> when_settled;
  };

  void name_capabilities(std::uint32_t kind);
  Result<void> check_room_for(const AgentSpec& spec) const;
  /// Whether the machine has room for `larger` beside what `present` takes already.
  Result<void> check_room(const Config& present, const Config& larger,
                          const std::string& who) const;
  void assign_rows(std::uint32_t kind);
  void set_rows(PartyId rows);

  // agents_on_request.cpp
  bool is_leaving(PartyId p) const;
  std::vector<LifeView> lives(std::uint64_t now) const;
  void turn_over(std::uint64_t now);
  void leave(Peer& agent, AgentIntent intent);
  void retire(Peer& agent);
  void stop_one(Peer& agent);
  void begin_anew(PartyId p, std::uint32_t kind);
  // model_swap.cpp
  Result<void> keep_changes();
  ModelSwap* open_swap_of(std::uint32_t kind);
  void replace_template(std::uint32_t number);
  bool settle_swap(std::uint32_t kind, const Result<void>& how);

  void template_settled(std::uint32_t number, const Result<void>& how);
  void template_failed(std::uint32_t number, const Error& error);
  void start_template(std::uint32_t number);
  void read_template(std::uint32_t number);
  void read_template_log(std::uint32_t number);
  void template_said(std::uint32_t number, const TemplateMessage& message, UniqueFd pidfd);
  void template_died(std::uint32_t number, int status);
  void kill_silent_template(std::uint32_t number, std::uint64_t now);
  bool kill_template(std::uint32_t number);
  void spawn(Peer& agent);
  void spawn(Peer& agent, RootBatch& batch);
  void born(Peer& agent, UniqueFd pidfd);
  void request_spawn(Peer& agent, UniqueFd socket, UniqueFd log_pipe);
  void died(Peer& agent);
  void settle(Peer& agent);
  void after_death(Peer& agent, RootBatch& batch);
  void give_up(Peer& agent, std::string reason);
  void leave_to_heir(Peer& agent);
  static double random_between_0_and_1();
  /// What a certificate needs to know of a life once the next one has begun.
  struct EndedLife {
    Incarnation incarnation;
    pid_t pid;
    std::uint64_t uptime_ns;
    std::optional<int> status;
    std::string killed_because;
    std::string last_line;
    bool was_asked = false;  ///< it ended because it was to, with nothing in hand
  };
  /// A certificate that lacks its cause.
  struct Uncertified {
    PartyId agent;
    pid_t pid;
    nlohmann::json certificate;
  };
  void certify(Peer& agent, const EndedLife& life);
  void publish(const Uncertified& one, std::optional<int> status);
  void sweep_strays();
  ExitKind exit_kind(const Peer& agent) const;

  SupervisorContext& c_;
  std::vector<AgentSpec>& kinds_;
  const std::size_t configured_kinds_;
  KindChanges changes_;
  Parties& parties_;
  Tasks& tasks_;
  Succession& succession_;
  std::array<Template, templates_max> templates_;
  std::array<CapabilitySet, templates_max> capabilities_;
  std::array<RestartPolicyState, agents_max> restarts_;
  std::array<std::list<nlohmann::json>, agents_max> certificates_;
  std::array<std::string, agents_max> give_up_reasons_;
  std::array<std::string, agents_max> kill_reasons_;
  struct PendingSpawn {
    UniqueFd socket, log_pipe;
  };
  std::array<PendingSpawn, agents_max> pending_spawns_;
  struct Unclaimed {
    pid_t pid;
    int status;
  };
  std::deque<Unclaimed> unclaimed_;      ///< reaped, of nobody that is known (yet); oldest first
  std::deque<Uncertified> uncertified_;  ///< their status is on its way from root; oldest first
  std::vector<PartyId> unsettled_;       ///< dead, their rings not drained to the end yet
  std::function<void(const Error&)> fatal_;
  StraySweeper strays_;
  const AgentUids uids_;
  PartyId rows_ = 0;  ///< 0..rows_-1 belong to kinds
  std::array<std::uint64_t, agents_max> asked_to_leave_ns_{};
  std::bitset<agents_max> ended_as_asked_;
  bool sweep_due_ = false;
  bool stopping_ = false;
};

}  // namespace micro_swarm
