#include <cstdio>
#include <cstdlib>

#include "agentproc/agent_runtime.hpp"
#include "agentproc/payload_text.hpp"

namespace micro_swarm {

namespace {

std::optional<std::uint64_t> number_in_environment(const char* name) {
  const char* text = std::getenv(name);
  return text == nullptr ? std::nullopt : number_in(std::string_view(text));
}

}  // namespace

Result<UniqueFd> socket_of_external_agent() {
  const auto socket = number_in_environment("MICROSWARM_AGENT_FD");
  if (!socket || *socket > 65535)
    return Error{ErrorCode::usage,
                 "MICROSWARM_AGENT_FD is not set: this program is started by a swarm (an [[agent]] "
                 "of kind \"external\", or microswarm agent spawn), not by hand",
                 0};
  const auto protocol = number_in_environment("MICROSWARM_PROTOCOL");
  if (!protocol || *protocol != party_protocol_version)
    return Error{ErrorCode::usage,
                 "MICROSWARM_PROTOCOL names another version than this program was built for (" +
                     std::to_string(party_protocol_version) + "): build it anew with the library " +
                     "of the swarm that starts it",
                 0};
  return UniqueFd(static_cast<int>(*socket));
}

int run_external_agent(const HandlerSet& handlers) {
  Result<void> ended = Error{};
  if (auto socket = socket_of_external_agent()) {
    AgentOptions options;
    options.socket = std::move(*socket);
    ended = run_agent(std::move(options), handlers);
  } else {
    ended = socket.error();
  }
  if (ended) return to_int(ExitCode::ok);
  std::fprintf(stderr, "microswarm agent: %s\n", ended.error().message.c_str());
  return to_int(exit_code_of(ended.error().code));
}

}  // namespace micro_swarm
