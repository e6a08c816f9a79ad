#include "supervisor/added_kinds.hpp"

#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cstdlib>
#include <nlohmann/json.hpp>

#include "common/config_check.hpp"
#include "common/log.hpp"
#include "common/posix.hpp"

namespace micro_swarm {

Result<void> keep_added_kinds(RootLink& root, const std::vector<AgentSpec>& kinds) {
  nlohmann::json list = nlohmann::json::array();
  for (const AgentSpec& kind : kinds) list.push_back(agent_to_json(kind));
  const std::string text = list.dump(-1, ' ', false, nlohmann::json::error_handler_t::replace);
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
  root.keep(fd_key::added_kinds, file.get());
  return {};
}

Config with_added_kinds(const Config& config, int fd) {
  Config all = config;
  if (fd < 0) return all;
  const UniqueFd file(fd);  // this process's copy; root has its own
  struct stat status {};
  std::string text;
  if (::fstat(fd, &status) == 0) text.resize(static_cast<std::size_t>(status.st_size));
  const ssize_t got = ::pread(fd, text.data(), text.size(), 0);
  const auto list = nlohmann::json::parse(text, nullptr, false);
  bool understood = got == status.st_size && list.is_array();
  if (understood)
    for (const auto& entry : list) {
      auto kind = agent_from_json(entry);
      understood &= kind.has_value();
      if (kind) all.agents.push_back(std::move(*kind));
    }
  if (!understood) {
    log::critical("the kinds of agents that were added cannot be read back");
    std::abort();
  }
  return all;
}

}  // namespace micro_swarm
