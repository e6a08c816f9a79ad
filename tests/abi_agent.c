/* An agent in C99 that does with the ABI what it is told. "pull": waits in the library, "poll":
   waits in poll(2). */

#include <micro_swarm/agent.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define IN_HAND_MAX 16

static msw_agent* agent;

/* ---- what it is told ---- */

static void echo(msw_task* task) {
  if (msw_task_complete(task, msw_task_payload(task), msw_task_payload_size(task)) != MSW_OK)
    msw_task_fail(task, msw_last_error());
}

static void in_place(msw_task* task) {
  const size_t size = msw_task_payload_size(task);
  void* result;
  if (msw_task_result(task, size + 10, &result) != MSW_OK) {
    msw_task_fail(task, msw_last_error());
    return;
  }
  memcpy(result, msw_task_payload(task), size);
  msw_task_complete_in_place(task, size);
}

static void who(msw_task* task) {
  char text[200];
  snprintf(text, sizeof text, "%s: agent %u.%u, attempt %u, %zu inputs, abi %u",
           msw_task_capability(task), (unsigned)msw_agent_id(agent),
           (unsigned)msw_agent_incarnation(agent), (unsigned)msw_task_attempt(task),
           msw_task_input_count(task), (unsigned)msw_abi_version());
  msw_task_complete(task, text, strlen(text));
}

/* The inputs, one behind the other. */
static void join(msw_task* task) {
  size_t total = 0, i;
  char* at;
  void* result;
  for (i = 0; i < msw_task_input_count(task); ++i) {
    size_t size;
    msw_task_input(task, i, NULL, &size, NULL);
    total += size;
  }
  if (msw_task_result(task, total, &result) != MSW_OK) {
    msw_task_fail(task, msw_last_error());
    return;
  }
  at = result;
  for (i = 0; i < msw_task_input_count(task); ++i) {
    const void* bytes;
    size_t size;
    msw_task_input(task, i, &bytes, &size, NULL);
    memcpy(at, bytes, size);
    at += size;
  }
  msw_task_complete_in_place(task, total);
}

/* Sleeps until it is cancelled. */
static void stubborn(msw_task* task) {
  if (msw_task_sleep(task, 1000000) == MSW_CANCELLED && msw_task_cancelled(task))
    msw_task_give_up(task);
  else
    msw_task_complete(task, "slept", 5);
}

/* What it is handed, back to where it came from, and its own copy after it. */
static void bounce(msw_task* task) {
  msw_received* received;
  msw_region* region;
  const void* bytes;
  size_t size;
  uint32_t from;
  int status = msw_agent_receive(agent, 20000, &received);
  if (status != MSW_OK) {
    msw_task_fail(task, msw_status_name(status));
    return;
  }
  if (msw_received_bytes(received, &bytes, &size) != MSW_OK) {
    msw_task_fail(task, msw_last_error());
    return;
  }
  from = msw_received_from(received);
  if (msw_region_allocate(agent, size, 10000, &region) != MSW_OK) {
    msw_task_fail(task, msw_last_error());
    return;
  }
  memcpy(msw_region_bytes(region), bytes, size);
  if (msw_received_send(received, from, 1) != MSW_OK || msw_region_send(region, from, 2) != MSW_OK)
    msw_task_fail(task, msw_last_error());
  else
    msw_task_complete(task, "bounced", 7);
}

static void answer_or_fail(msw_task* task, int status, const char* text) {
  if (status == MSW_OK)
    msw_task_complete(task, text, strlen(text));
  else
    msw_task_fail(task, msw_last_error());
}

/* The payload up to a blank, or all of it. */
static void topic_of(const msw_task* task, char topic[100]) {
  const char* payload = msw_task_payload(task);
  size_t size = 0;
  while (size < msw_task_payload_size(task) && size < 99 && payload[size] != ' ') ++size;
  memcpy(topic, payload, size);
  topic[size] = 0;
}

static void subscribe(msw_task* task) {
  char topic[100];
  snprintf(topic, sizeof topic, "%.*s", (int)msw_task_payload_size(task),
           (const char*)msw_task_payload(task));
  answer_or_fail(task, msw_agent_subscribe(agent, topic), "");
}

static void unsubscribe(msw_task* task) {
  char topic[100];
  topic_of(task, topic);
  answer_or_fail(task, msw_agent_unsubscribe(agent, topic), "");
}

/* "topic text": publishes the text, answers how many subscribe. */
static void publish(msw_task* task) {
  char topic[100], count[20];
  uint32_t subscribers = 0;
  msw_region* region;
  size_t from;
  topic_of(task, topic);
  from = strlen(topic) + 1;
  if (from >= msw_task_payload_size(task)) {
    msw_task_fail(task, "publish: topic text");
    return;
  }
  if (msw_region_allocate(agent, msw_task_payload_size(task) - from, 10000, &region) != MSW_OK) {
    msw_task_fail(task, msw_last_error());
    return;
  }
  memcpy(msw_region_bytes(region), (const char*)msw_task_payload(task) + from,
         msw_region_size(region));
  if (msw_region_publish(region, topic, 5, &subscribers) != MSW_OK) {
    msw_region_free(region);
    msw_task_fail(task, msw_last_error());
    return;
  }
  snprintf(count, sizeof count, "%u", (unsigned)subscribers);
  answer_or_fail(task, MSW_OK, count);
}

/* The next that was published: "topic tag text". */
static void hear(msw_task* task) {
  msw_received* received;
  const void* bytes;
  size_t size;
  char text[200];
  const int status = msw_agent_receive(agent, 20000, &received);
  if (status != MSW_OK || msw_received_bytes(received, &bytes, &size) != MSW_OK) {
    msw_task_fail(task, msw_status_name(status));
    return;
  }
  snprintf(text, sizeof text, "%s %u %.*s", msw_received_topic(received),
           (unsigned)msw_received_tag(received), (int)size, (const char*)bytes);
  msw_received_free(received);
  answer_or_fail(task, MSW_OK, text);
}

/* Every misuse has its status and does no harm. */
#define EXPECT(condition)                           \
  do {                                              \
    if (!(condition)) {                             \
      msw_task_fail(task, "not true: " #condition); \
      return;                                       \
    }                                               \
  } while (0)

static void misuse(msw_task* task) {
  msw_agent* second;
  msw_region* region;
  msw_received* received;
  void* bytes;
  EXPECT(msw_agent_attach(&second) == MSW_USAGE && second == NULL);
  EXPECT(strcmp(msw_last_error(), "this process is an agent already") == 0);
  EXPECT(msw_agent_attach(NULL) == MSW_USAGE);
  EXPECT(msw_agent_next_task(agent, 0, NULL) == MSW_USAGE);
  EXPECT(msw_task_result(task, 5, NULL) == MSW_USAGE);
  EXPECT(msw_task_result(task, (size_t)-1, &bytes) == MSW_TOO_LARGE && bytes == NULL);
  EXPECT(msw_task_complete_in_place(task, 1) == MSW_USAGE);
  EXPECT(msw_task_complete(task, NULL, 1) == MSW_USAGE);
  EXPECT(msw_task_input(task, 0, NULL, NULL, NULL) == MSW_USAGE);
  EXPECT(msw_task_id(NULL) == 0 && msw_task_payload(NULL) == NULL);
  EXPECT(msw_task_fail(NULL, "x") == MSW_USAGE);
  EXPECT(msw_region_allocate(agent, 0, 0, &region) == MSW_USAGE && region == NULL);
  EXPECT(msw_region_allocate(agent, (size_t)1 << 40, 0, &region) == MSW_TOO_LARGE);
  EXPECT(msw_region_allocate(agent, 1000, 10000, &region) == MSW_OK);
  EXPECT(msw_region_size(region) == 1000);
  EXPECT(msw_region_send(region, msw_agent_id(agent), 0) == MSW_USAGE);
  EXPECT(msw_region_send(region, 4711, 0) == MSW_NOT_FOUND);
  EXPECT(msw_region_send(region, 300, 0) == MSW_NOT_FOUND);
  EXPECT(msw_region_publish(region, NULL, 0, NULL) == MSW_USAGE);
  EXPECT(msw_region_publish(region, "no blanks", 0, NULL) == MSW_USAGE);
  EXPECT(msw_agent_subscribe(NULL, "news") == MSW_USAGE);
  EXPECT(msw_agent_subscribe(agent, NULL) == MSW_USAGE);
  EXPECT(msw_agent_subscribe(agent, "") == MSW_USAGE);
  EXPECT(strcmp(msw_received_topic(NULL), "") == 0);
  EXPECT(msw_region_bytes(region) != NULL);
  msw_region_free(region);
  EXPECT(msw_region_publish(region, "news", 0, NULL) == MSW_USAGE);
  EXPECT(msw_region_bytes(region) == NULL && msw_region_size(region) == 0);
  EXPECT(msw_region_send(region, 0, 0) == MSW_USAGE);
  msw_region_free(region);
  msw_region_free(NULL);
  msw_received_free(NULL);
  EXPECT(msw_agent_receive(agent, 0, &received) == MSW_NONE && received == NULL);
  EXPECT(strcmp(msw_status_name(MSW_TOO_LARGE), "too_large") == 0);
  EXPECT(strcmp(msw_status_name(4711), "unknown") == 0);
  if (msw_task_complete(task, "ok", 2) != MSW_OK) return;
  /* Its life is over: nothing of this reaches the swarm. */
  if (msw_task_complete(task, "twice", 5) != MSW_USAGE) abort();
  if (msw_task_fail(task, "twice") != MSW_USAGE) abort();
  if (msw_task_id(task) != 0 || msw_task_payload(task) != NULL) abort();
}

/* Four tasks in hand, ended from the last to the first, each with its own bytes. */
static void four(msw_task* task) {
  msw_task* tasks[4];
  int count = 1;
  tasks[0] = task;
  while (count < 4) {
    const int status = msw_agent_next_task(agent, 20000, &tasks[count]);
    if (status != MSW_OK) break;
    ++count;
  }
  while (count-- > 0) echo(tasks[count]);
}

/* Dies with all it can get in hand, once for each task. */
static void fragile(msw_task* task) {
  msw_task* others[IN_HAND_MAX];
  int count = 0, i;
  if (msw_task_attempt(task) == 1) {
    while (msw_agent_next_task(agent, 200, &others[count]) == MSW_OK) ++count;
    abort();
  }
  for (i = 0; i < count; ++i) echo(others[i]);
  echo(task);
}

static void log_lines(msw_task* task) {
  msw_log("a line of\nthe C agent");
  msw_task_complete(task, NULL, 0);
}

static const struct {
  const char* name;
  void (*function)(msw_task*);
} operations[] = {{"c.echo", echo},
                  {"c.in_place", in_place},
                  {"c.who", who},
                  {"c.join", join},
                  {"c.stubborn", stubborn},
                  {"c.bounce", bounce},
                  {"c.misuse", misuse},
                  {"c.four", four},
                  {"c.fragile", fragile},
                  {"c.log", log_lines},
                  {"c.subscribe", subscribe},
                  {"c.unsubscribe", unsubscribe},
                  {"c.publish", publish},
                  {"c.hear", hear}};

static void handle(msw_task* task) {
  size_t i;
  for (i = 0; i < sizeof operations / sizeof operations[0]; ++i) {
    if (strcmp(operations[i].name, msw_task_capability(task)) != 0) continue;
    operations[i].function(task);
    return;
  }
  msw_task_fail(task, "no such operation");
}

int main(int argc, char** argv) {
  const int polls = argc > 1 && strcmp(argv[1], "poll") == 0;
  int status, fd = -1;
  msw_task* task;
  if (msw_agent_attach(&agent) != MSW_OK) return msw_complain("abi_agent");
  if (polls && msw_agent_ready_fd(agent, &fd) != MSW_OK) return msw_complain("abi_agent");
  for (;;) {
    status = msw_agent_next_task(agent, polls ? 0 : MSW_FOREVER, &task);
    if (status == MSW_OK) {
      handle(task);
    } else if (status == MSW_NONE && polls) {
      struct pollfd wanted;
      wanted.fd = fd;
      wanted.events = POLLIN;
      poll(&wanted, 1, -1);
    } else {
      break;
    }
  }
  msw_agent_detach(agent);
  return status == MSW_ENDED ? 0 : 1;
}
