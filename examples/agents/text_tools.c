/* A plugin: operations of one's own in generic agents. */
#include <micro_swarm/plugin.h>
#include <stdio.h>

static int reverse(const msw_host* host, msw_call* call, void* state) {
  size_t size, i;
  const char* in = host->payload(call, &size);
  char* out = host->result(call, size);
  (void)state;
  if (!out) return MSW_PLUGIN_FAILED;
  for (i = 0; i < size; ++i) out[i] = in[size - 1 - i];
  return MSW_PLUGIN_DONE;
}

static int count_words(const msw_host* host, msw_call* call, void* state) {
  size_t size, i;
  unsigned words = 0;
  const char* in = host->payload(call, &size);
  char* out = host->result(call, 16);
  (void)state;
  if (!out) return MSW_PLUGIN_FAILED;
  if (size == 0) {
    host->fail(call, "there is no text");
    return MSW_PLUGIN_FAILED;
  }
  for (i = 0; i < size; ++i)
    words += in[i] != ' ' && in[i] != '\n' && (i == 0 || in[i - 1] == ' ' || in[i - 1] == '\n');
  host->shrink(call, (size_t)snprintf(out, 16, "%u", words));
  return MSW_PLUGIN_DONE;
}

static const msw_operation operations[] = {{"text.reverse", reverse, NULL},
                                           {"text.count", count_words, NULL}};
static const msw_plugin plugin = {MSW_PLUGIN_ABI, 2, operations};

MSW_PLUGIN_EXPORT const msw_plugin* micro_swarm_plugin_v1(void) { return &plugin; }
