/* An agent in C: gives back what it is given, in capitals. */
#include <ctype.h>
#include <micro_swarm/agent.h>

int main(void) {
  msw_agent* agent;
  msw_task* task;
  if (msw_agent_attach(&agent) != MSW_OK) return msw_complain("shout");
  while (msw_agent_next_task(agent, MSW_FOREVER, &task) == MSW_OK) {
    const unsigned char* text = msw_task_payload(task);
    size_t size = msw_task_payload_size(task), i;
    void* result;
    if (msw_task_result(task, size, &result) != MSW_OK) {
      msw_task_fail(task, msw_last_error());
      continue;
    }
    for (i = 0; i < size; ++i) ((char*)result)[i] = (char)toupper(text[i]);
    msw_task_complete_in_place(task, size);
  }
  msw_agent_detach(agent);
  return 0;
}
