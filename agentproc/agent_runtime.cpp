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

AgentSession::AgentSession(std::unique_ptr<PartyLink> link, std::function<void()> on_orphaned)
    : link_(std::move(link)),
      control_(*link_, mailbox_, cancelled_, std::move(on_orphaned)),
      work_(*link_, mailbox_, cancelled_, control_) {}

AgentSession::~AgentSession() {
  PartyMessage leaving;
  leaving.kind = PartyMessageKind::leaving;
  static_cast<void>(link_->send(leaving));  // its death says the same, a little later
}

Result<std::unique_ptr<AgentSession>> AgentSession::open(AgentOptions options) {
  auto link = PartyLink::open(std::move(options.socket), options.welcome_timeout_ms,
                              std::move(options.prepared));
  if (!link) return link.error();
  auto on_orphaned = std::move(options.on_orphaned);
  if (!on_orphaned) on_orphaned = [] { ::_exit(to_int(ExitCode::not_running)); };
  std::unique_ptr<AgentSession> session(new AgentSession(std::move(*link), std::move(on_orphaned)));
  if (auto announced = session->work_.announce(); !announced) return announced.error();
  // While the supervisor looks at what was announced: its answer is the roster word, not a message.
  if (auto started = session->control_.start(); !started) return started.error();
  if (auto admitted = session->work_.await_admission(); !admitted) return admitted.error();
  return session;
}

Result<void> run_agent(AgentOptions options, const HandlerSet& handlers) {
  const std::vector<AgentCapability> capabilities = std::move(options.capabilities);
  auto session = AgentSession::open(std::move(options));
  if (!session) return session.error();
  WorkThread& work = (*session)->work();
  work.begin(bind_capabilities(capabilities, handlers, (*session)->link().tables()));
  work.run();
  return {};
}

}  // namespace micro_swarm
