#ifndef MICRO_SWARM_AGENT_H
#define MICRO_SWARM_AGENT_H

/*
 * An agent of a Micro Swarm, written in C or in anything that can call it. Link
 * libmicroswarm-agent (pkg-config microswarm-agent, CMake target MicroSwarm::agent).
 *
 *   msw_agent *agent;
 *   msw_task *task;
 *   if (msw_agent_attach(&agent) != MSW_OK) return msw_complain("attach");
 *   while (msw_agent_next_task(agent, MSW_FOREVER, &task) == MSW_OK)
 *     msw_task_complete(task, msw_task_payload(task), msw_task_payload_size(task));
 *   msw_agent_detach(agent);
 *
 * Status. Every function that can fail returns one of `enum msw_status`; what went wrong, in a
 * sentence, is msw_last_error() of the same thread until its next failing call. No exception leaves
 * this library and it never calls exit(), but for one case: when the swarm is gone, the process
 * ends with exit code 3 (an agent does not outlive its swarm).
 *
 * Threads. The functions of an agent, its tasks and its regions are called by one thread at a time,
 * not necessarily always the same. msw_task_cancelled(), msw_log() and the functions without an
 * object are for any thread at any time. The library has a thread of its own that answers the
 * supervisor's probes and notes cancels; it blocks all signals. Do not fork() and go on using an
 * agent in the child; fork() and exec() is well.
 *
 * Ownership. Whatever a function returns a pointer to belongs to the library: a task until it is
 * completed, failed or given up, a region until it is sent or freed, all of them until
 * msw_agent_detach(). Using one after its end returns MSW_USAGE as long as the agent is attached
 * and no later task or region has taken its place.
 *
 * Crashes. A process that dies, at whatever instruction, loses one attempt at each of its tasks,
 * which are dispatched again; its regions go back; its successor under the same id goes on.
 *
 * Compatibility. Within one MSW_ABI_VERSION functions are added, never changed or removed.
 */

#include <stddef.h>
#include <stdint.h>

#if defined(__GNUC__)
#define MSW_API __attribute__((visibility("default")))
#else
#define MSW_API
#endif

#ifdef __cplusplus
extern "C" {
#define MSW_NOEXCEPT noexcept
#else
#define MSW_NOEXCEPT
#endif

#define MSW_ABI_VERSION 1u

/** As a timeout: without limit. */
#define MSW_FOREVER INT64_C(-1)

enum msw_status {
  MSW_OK = 0,
  MSW_NONE = 1,        /**< nothing came in the time given */
  MSW_ENDED = 2,       /**< the agent was told to drain: nothing will come any more */
  MSW_CANCELLED = 3,   /**< the task was cancelled while the call waited */
  MSW_USAGE = 4,       /**< the arguments make no sense, or the object's life is over */
  MSW_NOT_RUNNING = 5, /**< no swarm there, or the other party is gone */
  MSW_REFUSED = 6,     /**< the supervisor, or a quota, says no */
  MSW_TIMED_OUT = 7,   /**< no memory, no room, no answer in time */
  MSW_TOO_LARGE = 8,   /**< more than the pool or a message can ever hold */
  MSW_NOT_FOUND = 9,   /**< there is no such party */
  MSW_PROTOCOL = 10,   /**< what somebody else sent makes no sense */
  MSW_SYSTEM = 11,     /**< a system call failed, or the heap is full */
  MSW_FAILED = 12      /**< anything else; the text says what */
};

typedef struct msw_agent msw_agent;
typedef struct msw_task msw_task;
/** Memory of this agent's own, to be filled and handed to another party. */
typedef struct msw_region msw_region;
/** A region another party handed over: readable, never writable. */
typedef struct msw_received msw_received;

/** MSW_ABI_VERSION of the library that runs, which may be newer than this header's. */
MSW_API uint32_t msw_abi_version(void) MSW_NOEXCEPT;
/** The library's release, "0.1.0". Static. */
MSW_API const char* msw_version(void) MSW_NOEXCEPT;
/** "ok", "none", ...; "unknown" for any other number. Static. */
MSW_API const char* msw_status_name(int status) MSW_NOEXCEPT;
/** What this thread's last failing call failed of; "" before the first. Valid until the next one.
 */
MSW_API const char* msw_last_error(void) MSW_NOEXCEPT;
/** "what: msw_last_error()" to stderr. Returns the exit code that fits it: see docs/agent-protocol.
 */
MSW_API int msw_complain(const char* what) MSW_NOEXCEPT;

/* ---- the agent ---- */

/**
 * Registers with the swarm that started this process ($MICROSWARM_AGENT_FD, $MICROSWARM_PROTOCOL)
 * and waits, 10 s at most, until the supervisor has admitted it: from then on tasks come. Whatever
 * takes long (loading a model) comes before it; supervision.register_timeout_ms says how long the
 * swarm waits. One agent per process.
 * MSW_USAGE (not started by a swarm, attached already, another protocol), MSW_REFUSED,
 * MSW_NOT_RUNNING, MSW_TIMED_OUT, MSW_SYSTEM.
 */
MSW_API int msw_agent_attach(msw_agent** agent) MSW_NOEXCEPT;

/**
 * Leaves the swarm. Tasks still in hand are done again by others; regions go back. `agent`, which
 * may be NULL, and all that came from it are gone.
 */
MSW_API void msw_agent_detach(msw_agent* agent) MSW_NOEXCEPT;

/** Its number in the swarm, 0 to 255: where other parties send regions to. Kept by successors. */
MSW_API uint32_t msw_agent_id(const msw_agent* agent) MSW_NOEXCEPT;
/** Which life of that number this is, from 1. */
MSW_API uint32_t msw_agent_incarnation(const msw_agent* agent) MSW_NOEXCEPT;

/**
 * The next task, begun: `*task` is this agent's until it is completed, failed or given up. Waits up
 * to `timeout_ms` (0 = only looks, MSW_FOREVER = until there is one). Several may be in hand at a
 * time, as many as tasks.in_flight_per_agent of the configuration; a process that dies is blamed
 * for the one it took first.
 * An agent that works on nothing calls this, or waits for msw_agent_ready_fd(): whoever does
 * neither is taken for hung.
 * MSW_NONE, MSW_ENDED (complete what is in hand, detach, exit with 0), MSW_USAGE.
 */
MSW_API int msw_agent_next_task(msw_agent* agent, int64_t timeout_ms, msw_task** task) MSW_NOEXCEPT;

/**
 * A descriptor for poll(), epoll and the like: after msw_agent_next_task() has returned MSW_NONE,
 * it becomes readable when it is worth calling again: a task, a region, the end, or housekeeping.
 * Any call of an agent's function makes it unreadable. Never read or close it. Starts a thread at
 * the first call. Another 3 to 10 us a task, against waiting in msw_agent_next_task().
 * MSW_SYSTEM.
 */
MSW_API int msw_agent_ready_fd(msw_agent* agent, int* fd) MSW_NOEXCEPT;

/* ---- a task ---- */

/** The same in all attempts; never used again. 0: `task`'s life is over. */
MSW_API uint64_t msw_task_id(const msw_task* task) MSW_NOEXCEPT;
/** From 1, grows with every execution: what lets an effect be made once. */
MSW_API uint32_t msw_task_attempt(const msw_task* task) MSW_NOEXCEPT;
/** The kind of work asked for; as long as the task. */
MSW_API const char* msw_task_capability(const msw_task* task) MSW_NOEXCEPT;
/**
 * The submitter's bytes where they lie, aligned to at least 16, readable until the task's end.
 * Input: a lying submitter can change them while they are read. Not NULL, also where there are 0.
 */
MSW_API const void* msw_task_payload(const msw_task* task) MSW_NOEXCEPT;
MSW_API size_t msw_task_payload_size(const msw_task* task) MSW_NOEXCEPT;

/** How many tasks it depends on. */
MSW_API size_t msw_task_input_count(const msw_task* task) MSW_NOEXCEPT;
/**
 * The result of the index-th, in the order in which the submitter named them. `is_done` 0: it did
 * not end well (and this task was to run all the same). Pointers may be NULL. MSW_USAGE.
 */
MSW_API int msw_task_input(const msw_task* task, size_t index, const void** bytes, size_t* size,
                           int* is_done) MSW_NOEXCEPT;

/**
 * 1: the task was cancelled or is out of time. Give it up; who goes on regardless is killed after a
 * grace. Any thread.
 */
MSW_API int msw_task_cancelled(const msw_task* task) MSW_NOEXCEPT;
/** Work that takes longer than supervision.hang_timeout_ms says so now and then. */
MSW_API void msw_task_progress(msw_task* task) MSW_NOEXCEPT;
/** Sleeps, and says so. MSW_CANCELLED: less. */
MSW_API int msw_task_sleep(msw_task* task, uint64_t duration_ms) MSW_NOEXCEPT;

/**
 * Room for the result where it will be read from, aligned to at least 16, content undefined; to be
 * published by msw_task_complete_in_place(). Again: starts over. Waits for memory up to 30 s.
 * MSW_TOO_LARGE, MSW_TIMED_OUT, MSW_CANCELLED, MSW_USAGE.
 */
MSW_API int msw_task_result(msw_task* task, size_t size, void** bytes) MSW_NOEXCEPT;
/** Done, with the first `size` bytes of msw_task_result(). Its end. MSW_USAGE. */
MSW_API int msw_task_complete_in_place(msw_task* task, size_t size) MSW_NOEXCEPT;
/**
 * Done, with a copy of these bytes (which may be those of the payload). Its end, unless it returns
 * an error: then it is still in hand. As msw_task_result().
 */
MSW_API int msw_task_complete(msw_task* task, const void* bytes, size_t size) MSW_NOEXCEPT;
/** It failed, and why, in UTF-8. Its end. MSW_USAGE. */
MSW_API int msw_task_fail(msw_task* task, const char* why) MSW_NOEXCEPT;
/** It was cancelled and is not done. Its end. MSW_USAGE. */
MSW_API int msw_task_give_up(msw_task* task) MSW_NOEXCEPT;

/* ---- regions ---- */

/**
 * Memory of this agent's own, of 1 byte to the whole pool, aligned to 64, content undefined. May be
 * kept from task to task. Waits for memory up to `timeout_ms`, less when the task in hand is
 * cancelled.
 * MSW_USAGE (0 bytes), MSW_TOO_LARGE, MSW_TIMED_OUT (the text says why none came), MSW_CANCELLED.
 */
MSW_API int msw_region_allocate(msw_agent* agent, size_t size, int64_t timeout_ms,
                                msw_region** region) MSW_NOEXCEPT;
/** NULL: `region`'s life is over. */
MSW_API void* msw_region_bytes(const msw_region* region) MSW_NOEXCEPT;
MSW_API size_t msw_region_size(const msw_region* region) MSW_NOEXCEPT;
/**
 * Hands it to a party (an agent's id, or a client's, 257 to 319), without copying a byte, with a
 * tag of the sender's choice. Its end here, unless it returns an error. Not to be written to after
 * it. A region whose target dies before it has taken it goes to its successor; one that is not
 * taken comes back, see msw_received_refusal().
 * MSW_NOT_FOUND, MSW_NOT_RUNNING, MSW_USAGE (to itself), MSW_TIMED_OUT (no room in the ring for
 * 30 s), MSW_CANCELLED.
 */
MSW_API int msw_region_send(msw_region* region, uint32_t party, uint64_t tag) MSW_NOEXCEPT;
/** The same, and it stays here too, to be read: up to 31 parties may have it. */
MSW_API int msw_region_share(msw_region* region, uint32_t party, uint64_t tag) MSW_NOEXCEPT;
/** Gives it back. NULL is well. */
MSW_API void msw_region_free(msw_region* region) MSW_NOEXCEPT;

/* ---- topics ---- */

/**
 * From its return on this agent receives what others publish under `topic`: 1 to 24 characters of
 * a-z A-Z 0-9 _ . / - ; of what is published before that, nothing. Up to 31 parties may subscribe
 * to one topic. The subscription is the agent's, not the process's: what is published while it is
 * being started again waits for its successor. It ends when the agent is stopped or given up. Doing
 * it again does nothing. MSW_USAGE (the name), MSW_REFUSED (too many subscribers, too many topics),
 * MSW_TIMED_OUT, MSW_CANCELLED.
 */
MSW_API int msw_agent_subscribe(msw_agent* agent, const char* topic) MSW_NOEXCEPT;
/** What was published before its return may still come. As msw_agent_subscribe(). */
MSW_API int msw_agent_unsubscribe(msw_agent* agent, const char* topic) MSW_NOEXCEPT;
/**
 * Hands the region to each who subscribes to `topic` now, this agent excepted, without copying a
 * byte, and says to how many where `subscribers` is not NULL. Its end here, unless it returns an
 * error: then some may have it. What one agent publishes reaches a subscriber in this order, each
 * once; a subscriber that does not take what waits for it misses it (`publications_dropped` in
 * `microswarm status`), and holds up nobody.
 * As msw_region_send(); MSW_REFUSED (32 rights to the region are out).
 */
MSW_API int msw_region_publish(msw_region* region, const char* topic, uint64_t tag,
                               uint32_t* subscribers) MSW_NOEXCEPT;

/**
 * The next region that was handed to this agent, or that came back to it. Waits up to `timeout_ms`,
 * less when the task in hand is cancelled. MSW_NONE, MSW_CANCELLED, MSW_USAGE.
 */
MSW_API int msw_agent_receive(msw_agent* agent, int64_t timeout_ms,
                              msw_received** region) MSW_NOEXCEPT;
/** Its bytes where they lie, until its end here. Waits for their memory up to 10 s.
    MSW_TIMED_OUT, MSW_PROTOCOL (whoever sent it lied), MSW_USAGE. */
MSW_API int msw_received_bytes(msw_received* region, const void** bytes, size_t* size) MSW_NOEXCEPT;
/** Who sent it; of one that came back: for whom it was. */
MSW_API uint32_t msw_received_from(const msw_received* region) MSW_NOEXCEPT;
MSW_API uint64_t msw_received_tag(const msw_received* region) MSW_NOEXCEPT;
/** The topic it was published under, "" where it was sent to this agent; until its end here. */
MSW_API const char* msw_received_topic(const msw_received* region) MSW_NOEXCEPT;
/** 0: it was sent to this agent. Else this agent had sent it, and its target 1 = is gone, 2 = had
    too many waiting. */
MSW_API int msw_received_refusal(const msw_received* region) MSW_NOEXCEPT;
/** Hands it on, as msw_region_send(). */
MSW_API int msw_received_send(msw_received* region, uint32_t party, uint64_t tag) MSW_NOEXCEPT;
/** Gives it back. NULL is well. */
MSW_API void msw_received_free(msw_received* region) MSW_NOEXCEPT;

/* ---- the log ---- */

/**
 * One line to stderr, which the swarm takes into its log under this agent's name. Line breaks in it
 * become spaces; cut to 1,000 bytes. Any thread.
 */
MSW_API void msw_log(const char* text) MSW_NOEXCEPT;

#ifdef __cplusplus
}
#endif

#endif
