/* An agent of somebody else's that does nothing, as fast as the library lets it. */
#include <micro_swarm/agent.h>

int main(void) {
  msw_agent* agent;
  msw_task* task;
  if (msw_agent_attach(&agent) != MSW_OK) return msw_complain("noop_agent");
  while (msw_agent_next_task(agent, MSW_FOREVER, &task) == MSW_OK) msw_task_complete(task, NULL, 0);
  msw_agent_detach(agent);
  return 0;
}
