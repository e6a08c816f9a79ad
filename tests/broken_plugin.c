/* A plugin that is wrong, in the way that it is compiled for. */
#include <micro_swarm/plugin.h>
#include <stdlib.h>

static int crash(const msw_host* host, msw_call* call, void* state) {
  (void)host, (void)call, (void)state;
  abort();
}
static int say_nothing(const msw_host* host, msw_call* call, void* state) {
  (void)host, (void)call, (void)state;
  return MSW_PLUGIN_FAILED;
}
/* Room that no pool has, then what it was given is too much. */
static int take_all(const msw_host* host, msw_call* call, void* state) {
  (void)state;
  if (host->result(call, (size_t)-1 / 2) != NULL) return MSW_PLUGIN_DONE;
  return MSW_PLUGIN_FAILED;
}
static const msw_operation operations[] = {
    {"crash", crash, NULL},
    {"say_nothing", say_nothing, NULL},
    {"take_all", take_all, NULL},
#ifdef BAD_NAME
    {"Not A Name", crash, NULL},
#endif
};
#ifndef VERSION
#define VERSION MSW_PLUGIN_ABI
#endif
static const msw_plugin plugin = {VERSION, sizeof operations / sizeof *operations, operations};

#ifdef NO_ENTRY
MSW_PLUGIN_EXPORT const msw_plugin* another_function(void) { return &plugin; }
#else
MSW_PLUGIN_EXPORT const msw_plugin* micro_swarm_plugin_v1(void) {
#ifdef SAYS_NO
  return plugin.count == 0 ? &plugin : NULL;
#else
  return &plugin;
#endif
}
#endif
