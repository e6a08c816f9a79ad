#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

namespace micro_swarm {

/// "65536", "64KiB", "28 MiB", "1GiB" in bytes. Only whole numbers and only these units, which mean
/// what they say; anything else, and what exceeds 64 bits, is nullopt.
std::optional<std::uint64_t> parse_size(std::string_view text);

/// The exact shortest such text: 65536 is "64KiB", 65537 is "65537". parse_size() inverts it.
std::string exact_size_text(std::uint64_t bytes);

/// For people, rounded to one decimal: "28.0 MiB".
std::string rounded_size_text(std::uint64_t bytes);

}  // namespace micro_swarm
