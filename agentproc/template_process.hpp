#pragma once

#include "agentproc/agent_spawn.hpp"

namespace micro_swarm {

/// Body of a template process: reads its TemplateSpec, confines itself, loads the model of a neural
/// kind and then clones an agent for each SpawnRequest, one after the other, until the supervisor's
/// end of `socket` is closed. When nothing has been asked for a moment it clones one as a spare, so
/// that who replaces a dead agent need not be born first. Messages: ipc/template_protocol.hpp.
///
/// Precondition (root sees to it): single-threaded, child of root, PDEATHSIG set, no signal
/// blocked, standard descriptors in place, `socket` the only other one. Order: no_new_privs, model
/// file read, uid and gid dropped, PDEATHSIG again (dropping clears it), not dumpable, no core
/// files, and only then is the model, which is untrusted input, parsed. Agents inherit all of that.
[[noreturn]] void run_template(int socket, AgentProgram program);

/// The same with agent_main: what root is given as its TemplateEntry.
[[noreturn]] void template_main(int socket);

}  // namespace micro_swarm
