#ifndef MICRO_SWARM_PLUGIN_H
#define MICRO_SWARM_PLUGIN_H

/*
 * Operations of one's own in generic agents: a shared library with one entry point, in C99 or in
 * anything that can be called from C. It links nothing of Micro Swarm.
 *
 *   static int reverse(const msw_host *host, msw_call *call, void *state) {
 *     size_t size, i;
 *     const char *in = host->payload(call, &size);
 *     char *out = host->result(call, size);
 *     if (!out) return MSW_PLUGIN_FAILED;
 *     for (i = 0; i < size; ++i) out[i] = in[size - 1 - i];
 *     return MSW_PLUGIN_DONE;
 *   }
 *   static const msw_operation operations[] = {{"reverse", reverse, NULL}};
 *   static const msw_plugin plugin = {MSW_PLUGIN_ABI, 1, operations};
 *   MSW_PLUGIN_EXPORT const msw_plugin *micro_swarm_plugin_v1(void) { return &plugin; }
 *
 * The library is opened in the template, with RTLD_NOW, before any agent is cloned from it, and
 * micro_swarm_plugin_v1() is called there once, by one thread; each agent has a copy of what it
 * made, and nothing it does is seen by another. It starts no thread and opens nothing before its
 * first operation: agents close what they do not know.
 *
 * An operation runs on the agent's one work thread. No exception leaves it. One that crashes or
 * exits takes its agent with it, which is restarted; the task is tried again elsewhere and, in the
 * end, given up as a dead letter. Nobody else is harmed.
 */

#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
#define MSW_PLUGIN_EXPORT extern "C" __attribute__((visibility("default")))
extern "C" {
#else
#define MSW_PLUGIN_EXPORT __attribute__((visibility("default")))
#endif

/** Of this header. Members are added at the end of msw_host, never changed or removed. */
#define MSW_PLUGIN_ABI 1u

enum { MSW_PLUGIN_DONE = 0, MSW_PLUGIN_FAILED = 1 };

/** One attempt at one task; valid until the operation returns. */
typedef struct msw_call msw_call;

/** What an operation may ask for. All pointers are the host's and valid until it returns. */
typedef struct msw_host {
  uint32_t abi; /**< MSW_PLUGIN_ABI of the host, not less than the plugin's */
  /** The submitter's bytes where they lie, read-only, aligned to 16. They may change while they are
   *  read: what must not be fooled copies first. */
  const void* (*payload)(const msw_call* call, size_t* size);
  /** The results of the tasks that this one depends on. */
  size_t (*input_count)(const msw_call* call);
  /** Number `index` of them; NULL: there is none, or it is empty, or its task did not end well. */
  const void* (*input)(const msw_call* call, size_t index, size_t* size);
  /** Room for the result where it will be read from, aligned to 16, its content undefined; asking
   *  again starts over. NULL: more than the pool, no memory came free, or cancelled. */
  void* (*result)(msw_call* call, size_t size);
  /** Only the first `size` bytes of the room are the result. */
  void (*shrink)(msw_call* call, size_t size);
  /** 1: nobody wants the result any more. Call it every few milliseconds: it also says that the
   *  operation gets on, without which an agent is held to hang after supervision.hang_timeout_ms.
   */
  int (*cancelled)(msw_call* call);
  /** Why it fails, UTF-8; then return MSW_PLUGIN_FAILED. */
  void (*fail)(msw_call* call, const char* why);
} msw_host;

typedef struct msw_operation {
  const char*
      name; /**< the capability: 1 to 31 of [a-z0-9_.-], in `capabilities` of the [[agent]] */
  int (*run)(const msw_host* host, msw_call* call, void* state);
  void* state; /**< handed to run() */
} msw_operation;

typedef struct msw_plugin {
  uint32_t abi; /**< MSW_PLUGIN_ABI */
  size_t count;
  const msw_operation* operations;
} msw_plugin;

/** The entry point: what the library offers; NULL: it cannot work here. */
MSW_PLUGIN_EXPORT const msw_plugin* micro_swarm_plugin_v1(void);

#ifdef __cplusplus
}
#endif

#endif
