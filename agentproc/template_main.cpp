#include "agentproc/template_process.hpp"

// In a file of its own, so that tests can link run_template() without the agents behind it.

namespace micro_swarm {

void template_main(int socket) {
  run_template(socket, {&agent_main, &prepare_agents, &warm_up_agent});
}

}  // namespace micro_swarm
