#pragma once

#include <cstddef>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace micro_swarm {

/// RFC 4648, with padding: how bytes travel in JSON.
std::string base64_encode(std::span<const std::byte> bytes);

/// Strict: length a multiple of four, padding only at the end, unused bits zero. Else nullopt.
std::optional<std::vector<std::byte>> base64_decode(std::string_view text);

}  // namespace micro_swarm
