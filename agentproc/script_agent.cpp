#include "agentproc/script_agent.hpp"

#include <poll.h>
#include <signal.h>
#include <unistd.h>

#include <algorithm>
#include <array>

#include "agentproc/child_process.hpp"
#include "common/clock.hpp"
#include "shm/segment.hpp"

namespace micro_swarm {

namespace {

/// The agent's own, what its kind adds, and who the agent is. The party socket is not the script's.
std::vector<std::string> environment_of(const ScriptCommand& command, PartyId party,
                                        Incarnation incarnation, const std::string& directory) {
  auto variables = command.environment;
  for (char** entry = ::environ; *entry != nullptr; ++entry) {
    const std::string_view text = *entry;
    const std::size_t end = text.find('=');
    if (end != std::string_view::npos)
      variables.try_emplace(std::string(text.substr(0, end)), text.substr(end + 1));
  }
  variables.erase("MICROSWARM_AGENT_FD");
  variables.erase("MICROSWARM_PROTOCOL");
  variables["MICROSWARM_AGENT_ID"] = std::to_string(party);
  variables["MICROSWARM_INCARNATION"] = std::to_string(incarnation);
  variables["MICROSWARM_FILES"] = directory;
  // The one place it can write by default; who names another knows that it may.
  if (!command.environment.contains("TMPDIR")) variables["TMPDIR"] = directory;
  std::vector<std::string> texts;
  for (const auto& [name, value] : variables)
    texts.push_back(std::string(name).append("=").append(value));
  return texts;
}

}  // namespace

std::uint64_t pool_bytes_of(const AgentEnvironment& environment) {
  // A view of const memory: nothing is stored through it, and nothing could be.
  auto* base = const_cast<std::byte*>(environment.supervisor_segment.data());
  const auto* header = reinterpret_cast<const SegmentHeader*>(base);
  const SegmentView view(base, supervisor_layout(header->task_capacity, header->cache_entries));
  return load(view.tables().pool_regions) * load(view.tables().region_bytes);
}

Result<std::unique_ptr<Handler>> make_script_handler(const ScriptCommand& command, PartyId party,
                                                     Incarnation incarnation) {
  ::signal(SIGPIPE, SIG_IGN);
  auto files = ScriptFiles::make(command.files_directory, std::to_string(party));
  if (!files) return files.error();
  auto environment = environment_of(command, party, incarnation, files->path());
  ScriptSetting setting{command.argv, std::move(environment), std::move(*files),
                        static_cast<int>(command.stop_grace_ms)};
  return command.interface == AgentInterface::stdio ? make_stdio_handler(std::move(setting))
                                                    : make_exec_handler(std::move(setting));
}

void stop_script(ChildProcess& child, int grace_ms, TaskContext& task) {
  child.signal_group(SIGTERM);
  const std::uint64_t end_ns = now_ns() + static_cast<std::uint64_t>(grace_ms) * ns_per_ms;
  std::string ignored;
  for (std::uint64_t now = now_ns(); now < end_ns; now = now_ns()) {
    task.report_progress();
    std::array<pollfd, 3> targets{pollfd{child.pidfd(), POLLIN, 0},
                                  pollfd{child.output.get(), POLLIN, 0},
                                  pollfd{child.errors.get(), POLLIN, 0}};
    const int left_ms = static_cast<int>((end_ns - now) / ns_per_ms) + 1;
    ::poll(targets.data(), targets.size(), std::min(left_ms, script_look_ms));
    if (targets[0].revents != 0) break;
    // It may be writing, and cannot end before that is read.
    for (UniqueFd* end : {&child.output, &child.errors})
      if (*end && read_available(end->get(), ignored) == 0) end->reset();
    ignored.clear();
  }
  child.end();
}

}  // namespace micro_swarm
