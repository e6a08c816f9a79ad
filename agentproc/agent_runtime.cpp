#include "agentproc/agent_runtime.hpp"

#include <unistd.h>

#include <cstring>

#include "agentproc/control_thread.hpp"
#include "agentproc/work_thread.hpp"
#include "common/exit_code.hpp"

namespace micro_swarm {

namespace {

class FunctionHandler final : public Handler {
 public:
  explicit FunctionHandler(HandlerSet::Function function) : function_(std::move(function)) {}
  Outcome handle(TaskContext& task) override { return function_(task); }

 private:
  HandlerSet::Function function_;
};

std::vector<BoundHandler> bind_capabilities(const std::vector<AgentCapability>& capabilities,
                                            const HandlerSet& handlers,
                                            const SupervisorTables& tables) {
  std::vector<BoundHandler> bound;
  for (const AgentCapability& capability : capabilities)
    bound.push_back({capability.id, capability.name, handlers.find(capability.name)});
  if (!bound.empty()) return bound;
  for (std::uint32_t id = 0; id < capabilities_max; ++id) {
    const CapabilityName& entry = tables.capabilities[id];
    const std::string name(entry.text, ::strnlen(entry.text, sizeof entry.text));
    if (name.empty()) continue;
    if (Handler* handler = handlers.find(name); handler != nullptr)
      bound.push_back({static_cast<std::uint16_t>(id), name, handler});
  }
  return bound;
}

}  // namespace

void HandlerSet::add(std::string capability, std::unique_ptr<Handler> handler) {
  handlers_.insert_or_assign(std::move(capability), std::move(handler));
}

void HandlerSet::add(std::string capability, Function function) {
  add(std::move(capability), std::make_unique<FunctionHandler>(std::move(function)));
}

Handler* HandlerSet::find(std::string_view capability) const {
  const auto found = handlers_.find(capability);
  return found != handlers_.end() ? found->second.get() : others_.get();
}

Result<void> run_agent(AgentOptions options, const HandlerSet& handlers) {
  auto link = PartyLink::open(std::move(options.socket), options.welcome_timeout_ms,
                              std::move(options.prepared));
  if (!link) return link.error();
  auto on_orphaned = std::move(options.on_orphaned);
  if (!on_orphaned) on_orphaned = [] { ::_exit(to_int(ExitCode::not_running)); };

  Mailbox mailbox;
  CancelList cancelled;
  ControlThread control(**link, mailbox, cancelled, std::move(on_orphaned));
  WorkThread work(**link, mailbox, cancelled, control);
  if (auto announced = work.announce(); !announced) return announced.error();
  // While the supervisor looks at what was announced: its answer is the roster word, not a message.
  if (auto started = control.start(); !started) return started.error();
  if (auto admitted = work.await_admission(); !admitted) return admitted.error();
  work.run(bind_capabilities(options.capabilities, handlers, (*link)->tables()));

  PartyMessage leaving;
  leaving.kind = PartyMessageKind::leaving;
  static_cast<void>((*link)->send(leaving));  // its death says the same, a little later
  return {};
}

}  // namespace micro_swarm
