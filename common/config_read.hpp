#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <string_view>

#include "common/config.hpp"

/// The first step of load_config(). Private to config*.cpp.
namespace micro_swarm::config_detail {

/// Line of each setting a file gave, by "table.key"; of the agent tables by "agent.NAME".
using SettingLines = std::map<std::string, std::uint32_t, std::less<>>;

/// Fills `config` from TOML text, strictly. Errors: ErrorCode::config; the message starts with
/// file and line.
Result<SettingLines> read_toml(std::string_view text, const std::filesystem::path& file,
                               Config& config);

}  // namespace micro_swarm::config_detail
