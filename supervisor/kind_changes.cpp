#include "supervisor/kind_changes.hpp"

#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cstdlib>
#include <nlohmann/json.hpp>

#include "common/config_check.hpp"
#include "common/log.hpp"
#include "common/posix.hpp"

namespace micro_swarm {

using nlohmann::json;

Result<void> keep_kind_changes(RootLink& root, const KindChanges& changes) {
  json added = json::array();
  for (const AgentSpec& kind : changes.added) added.push_back(agent_to_json(kind));
  json swaps = json::array();
  for (const ModelSwap& swap : changes.swaps) {
    swaps.push_back(
        {{"kind", swap.kind}, {"capability", swap.capability}, {"model", swap.model.string()}});
    if (swap.before) swaps.back()["before"] = swap.before->string();
  }
  const std::string text = json{{"added", std::move(added)}, {"swaps", std::move(swaps)}}.dump(
      -1, ' ', false, json::error_handler_t::replace);
  auto created =
      posix_call("memfd_create", [] { return ::memfd_create("microswarm-kinds", MFD_CLOEXEC); });
  if (!created) return created.error();
  const UniqueFd file(*created);
  for (std::size_t written = 0; written < text.size();) {
    auto size = posix_call("write to a memfd", [&] {
      return ::write(file.get(), text.data() + written, text.size() - written);
    });
    if (!size) return size.error();
    written += static_cast<std::size_t>(*size);
  }
  root.keep(fd_key::kind_changes, file.get());
  return {};
}

KindChanges read_kind_changes(int fd) {
  KindChanges changes;
  if (fd < 0) return changes;
  const UniqueFd file(fd);  // this process's copy; root has its own
  struct stat status {};
  std::string text;
  if (::fstat(fd, &status) == 0) text.resize(static_cast<std::size_t>(status.st_size));
  const ssize_t got = ::pread(fd, text.data(), text.size(), 0);
  try {
    if (got != status.st_size) throw std::runtime_error("cut short");
    const json document = json::parse(text);
    for (const json& entry : document.at("added")) {
      auto kind = agent_from_json(entry);
      if (!kind) throw std::runtime_error(kind.error().message);
      changes.added.push_back(std::move(*kind));
    }
    for (const json& entry : document.at("swaps")) {
      ModelSwap swap{entry.at("kind").get<std::string>(), entry.at("capability").get<std::string>(),
                     entry.at("model").get<std::string>(), std::nullopt};
      if (entry.contains("before")) swap.before = entry["before"].get<std::string>();
      changes.swaps.push_back(std::move(swap));
    }
  } catch (const std::exception& error) {
    log::critical("the changes of kinds of agents cannot be read back: {}", error.what());
    std::abort();
  }
  return changes;
}

Config with_changes(const Config& config, const KindChanges& changes) {
  Config all = config;
  all.agents.insert(all.agents.end(), changes.added.begin(), changes.added.end());
  for (const ModelSwap& swap : changes.swaps)
    for (AgentSpec& kind : all.agents)
      if (kind.name == swap.kind)
        if (auto* model = model_of(kind, swap.capability)) *model = swap.model;
  return all;
}

std::filesystem::path* model_of(AgentSpec& kind, const std::string& capability) {
  if (capability.empty()) return kind.model.empty() ? nullptr : &kind.model;
  const auto found = kind.models.find(capability);
  return found == kind.models.end() ? nullptr : &found->second;
}

}  // namespace micro_swarm
