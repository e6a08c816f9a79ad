#include "agentproc/plugin_loader.hpp"

#include <dlfcn.h>

#include <algorithm>
#include <optional>

#include "agentproc/data_operations.hpp"
#include "agentproc/fault_operations.hpp"
#include "agentproc/generic_agent.hpp"
#include "agentproc/plugin/micro_swarm/plugin.h"
#include "common/config.hpp"

/// What a plugin holds in its hand.
struct msw_call {
  explicit msw_call(micro_swarm::TaskContext& its_task) : task(its_task) {}
  micro_swarm::TaskContext& task;
  std::optional<micro_swarm::Outcome> ended;  ///< why it failed has been said
};

namespace micro_swarm {

namespace {

const void* payload(const msw_call* call, std::size_t* size) {
  *size = call->task.payload().size();
  return call->task.payload().data();
}

std::size_t input_count(const msw_call* call) { return call->task.inputs().size(); }

const void* input(const msw_call* call, std::size_t index, std::size_t* size) {
  *size = 0;
  const auto inputs = call->task.inputs();
  if (index >= inputs.size() || inputs[index].state != TaskState::done) return nullptr;
  *size = inputs[index].bytes.size();
  return inputs[index].bytes.data();
}

void* result(msw_call* call, std::size_t size) {
  const auto room = call->task.result_buffer(size);
  if (room) return room->data();
  call->ended = call->task.fail(room.error());
  return nullptr;
}

void shrink(msw_call* call, std::size_t size) {
  call->task.shrink_result(std::min(size, call->task.result().size()));
}

int cancelled(msw_call* call) {
  call->task.report_progress();
  return call->task.cancelled() ? 1 : 0;
}

void fail(msw_call* call, const char* why) {
  call->ended = call->task.fail(why == nullptr ? "failed" : why);
}

constexpr msw_host host{MSW_PLUGIN_ABI, payload, input_count, input,
                        result,         shrink,  cancelled,   fail};

Outcome run(TaskContext& task, const msw_operation& operation) {
  msw_call call(task);
  const int ended = operation.run(&host, &call, operation.state);
  if (ended == MSW_PLUGIN_DONE && !call.ended) return Outcome::done;
  if (task.cancelled()) return Outcome::cancelled;
  return call.ended ? *call.ended : task.fail("the operation failed and did not say why");
}

Error refused(const std::string& file, const std::string& why) {
  return Error{ErrorCode::model, "plugin " + file + ": " + why, 0};
}

}  // namespace

Result<std::vector<const msw_operation*>> load_plugins(const std::vector<std::string>& files) {
  std::vector<const msw_operation*> all;
  for (const std::string& file : files) {
    void* const library = ::dlopen(file.c_str(), RTLD_NOW | RTLD_LOCAL);
    if (library == nullptr) return refused(file, ::dlerror());
    using Entry = decltype(&micro_swarm_plugin_v1);
    const auto entry = reinterpret_cast<Entry>(::dlsym(library, "micro_swarm_plugin_v1"));
    if (entry == nullptr)
      return refused(file, "has no function micro_swarm_plugin_v1 (micro_swarm/plugin.h)");
    const msw_plugin* const plugin = entry();
    if (plugin == nullptr) return refused(file, "says that it cannot work here");
    if (plugin->abi == 0 || plugin->abi > MSW_PLUGIN_ABI)
      return refused(file, "is made for version " + std::to_string(plugin->abi) +
                               " of plugin.h; this program has " + std::to_string(MSW_PLUGIN_ABI));
    for (std::size_t i = 0; i < plugin->count; ++i) {
      const msw_operation& operation = plugin->operations[i];
      if (operation.name == nullptr || operation.run == nullptr ||
          !is_valid_capability(operation.name))
        return refused(file, "its operation " + std::to_string(i) +
                                 " has no valid name: 1 to 31 of "
                                 "[a-z0-9_.-]");
      if (std::any_of(all.begin(), all.end(), [&](const msw_operation* other) {
            return std::string_view(other->name) == operation.name;
          }))
        return refused(file, std::string("another plugin offers ") + operation.name + " too");
      all.push_back(&operation);
    }
  }
  return all;
}

Result<void> check_offered(const std::vector<std::string>& capabilities,
                           const std::vector<const msw_operation*>& operations) {
  HandlerSet handlers;
  add_generic_operations(handlers);
  add_data_operations(handlers);
  add_fault_operations(handlers);
  add_plugin_operations(handlers, operations);
  for (const std::string& capability : capabilities)
    if (handlers.find(capability) == nullptr) {
      std::string offered;
      for (const msw_operation* operation : operations)
        offered.append(offered.empty() ? "" : ", ").append(operation->name);
      return Error{ErrorCode::model,
                   "the capability " + capability +
                       " is neither built in nor any plugin's; they offer " + offered,
                   0};
    }
  return {};
}

void add_plugin_operations(HandlerSet& handlers,
                           const std::vector<const msw_operation*>& operations) {
  for (const msw_operation* operation : operations)
    handlers.add(operation->name, [operation](TaskContext& task) { return run(task, *operation); });
}

}  // namespace micro_swarm
