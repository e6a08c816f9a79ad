#include <cstdio>
#include <cstdlib>

#include "agentproc/agent_runtime.hpp"
#include "agentproc/payload_text.hpp"

namespace micro_swarm {

namespace {

int usage(const char* text) {
  std::fprintf(stderr, "microswarm agent: %s\n", text);
  return to_int(ExitCode::usage);
}

std::optional<std::uint64_t> number_in_environment(const char* name) {
  const char* text = std::getenv(name);
  return text == nullptr ? std::nullopt : number_in(std::string_view(text));
}

}  // namespace

int run_external_agent(const HandlerSet& handlers) {
  const auto socket = number_in_environment("MICROSWARM_AGENT_FD");
  if (!socket || *socket > 65535)
    return usage(
        "MICROSWARM_AGENT_FD is not set: this program is started by a swarm "
        "(an [[agent]] of kind \"external\"), not by hand");
  const auto protocol = number_in_environment("MICROSWARM_PROTOCOL");
  if (!protocol || *protocol != party_protocol_version)
    return usage("MICROSWARM_PROTOCOL names another version than this program was built for");

  AgentOptions options;
  options.socket = UniqueFd(static_cast<int>(*socket));
  const auto ended = run_agent(std::move(options), handlers);
  if (ended) return to_int(ExitCode::ok);
  std::fprintf(stderr, "microswarm agent: %s\n", ended.error().message.c_str());
  return to_int(exit_code_of(ended.error().code));
}

}  // namespace micro_swarm
