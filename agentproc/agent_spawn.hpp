#pragma once

// From a template to an agent: one clone, and the child's order of steps up to its own code.

#include <sys/types.h>

#include <array>
#include <string>
#include <vector>

#include "agentproc/agent_main.hpp"
#include "agentproc/containment.hpp"
#include "agentproc/script_command.hpp"
#include "common/posix.hpp"
#include "ipc/party_link.hpp"
#include "ipc/template_protocol.hpp"

namespace micro_swarm {

/// What a built-in agent runs (agent_main; tests give their own). Returns the exit code.
using AgentEntry = int (*)(const AgentContext& context);

struct AgentProgram {
  AgentEntry run = nullptr;
  /// Called once, in the template, before the first clone: all agents get what it leaves.
  void (*prepare)(const AgentContext& context) = nullptr;
  /// Called in a spare, while it has nothing else to do.
  void (*warm_up)(const AgentContext& context) = nullptr;
};

/// What a template has loaded for its agents; outlives the cloner.
struct AgentWork {
  std::vector<NamedModel> models;
  std::vector<const msw_operation*> plugin_operations;
};

/// Makes agents out of the calling process, which must be single-threaded. They are children of
/// its parent (CLONE_PARENT), so they outlive it, and share its memory copy-on-write.
///
/// A raw clone goes past the C library, which then would hold the parent's thread id for its own;
/// the kernel is told to store the right one where the library keeps it (agent.template shows that
/// threads, recursive mutexes and malloc work in the child).
///
/// A spare is an agent that was cloned before it was asked for: it has made what does not depend on
/// who it is and sleeps until it is told. It stays in the caller's session, by which whoever looks
/// for strays knows it, until it is an agent; it ends when the caller does.
class AgentCloner {
 public:
  /// `root_pid` is the caller's parent. Error (system): the C library's thread id is not where it
  /// is looked for.
  /// `supervisor`: the map of its segment, if there is one, which agents inherit.
  static Result<AgentCloner> create(const TemplateSpec& spec, Containment containment,
                                    AgentWork work, pid_t root_pid, AgentProgram program,
                                    Segment supervisor = {});

  struct Child {
    pid_t pid = -1;  ///< -1: none, see sys_errno
    UniqueFd pidfd;
    int sys_errno = 0;
  };
  /// Clones one agent. It gets `party_socket` as descriptor 3 and `log_pipe` (-1: the caller's) as
  /// 1 and 2; both stay open here. Its other descriptors but 0 are closed; it leads a session of
  /// its own, dies with root, and is contained before it runs anything of its kind's. no_new_privs
  /// it has from the caller.
  Child spawn(const SpawnRequest& request, int party_socket, int log_pipe) noexcept;

  struct Spare {
    Child child;
    UniqueFd socket;  ///< it waits at the other end

    /// Not asked for yet and alive.
    bool is_ready() const noexcept;
    /// Tells it who it is; it becomes what spawn() makes. False: it is dead.
    bool tell(const SpawnRequest& request, int party_socket, int log_pipe) const noexcept;
  };
  /// Clones a spare. What it could not do beforehand it does later; `child.pid` -1: there is none.
  Spare make_spare() noexcept;

 private:
  AgentCloner(const TemplateSpec& spec, Containment containment, AgentWork work, pid_t root_pid,
              AgentProgram program, Segment supervisor);

  Child clone_child(pid_t& pid) noexcept;
  pid_t clone(int& pidfd) noexcept;
  void leave_parent(int socket) noexcept;
  void take_name(const char* process, const std::string& role) noexcept;
  [[noreturn]] void wait_as_spare(int socket) noexcept;
  [[noreturn]] void become(const SpawnRequest& request) noexcept;
  void make_party() noexcept;
  void contain(const SpawnRequest& request) noexcept;
  [[noreturn]] void exec_external(std::uint32_t uid) noexcept;
  void build_exec_arguments(const TemplateSpec& spec);
  /// Its agents are not this program.
  bool execs() const noexcept {
    return context_.kind == AgentKind::external && script_.interface == AgentInterface::protocol;
  }

  AgentContext context_;
  LogLevel log_level_;
  Containment containment_;
  pid_t root_pid_;
  AgentProgram program_;
  PreparedParty prepared_;
  pid_t* library_tid_ = nullptr;  ///< where the C library keeps the main thread's id
  void* robust_list_ = nullptr;   ///< its list of robust mutexes, which a clone does not take along
  std::size_t robust_list_bytes_ = 0;
  bool clone3_refused_ = false;

  ScriptCommand script_;

  // Agents that are other programs: everything execve needs, made before the clone.
  std::vector<std::string> argument_texts_;
  std::vector<std::string> environment_texts_;
  std::vector<char*> arguments_;
  std::vector<char*> environment_;
  std::array<char, 40> party_text_{};
  std::array<char, 40> incarnation_text_{};
};

}  // namespace micro_swarm
