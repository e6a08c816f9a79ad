#pragma once

// What one request may ask for. Everything a stranger can write into a payload is bounded here.

#include <cstddef>
#include <cstdint>

#include "common/config.hpp"  // qubits_max: 256 MiB of amplitudes

namespace micro_swarm::quantum {

inline constexpr unsigned bits_max = 64;  ///< classical bits: one word
inline constexpr std::size_t payload_bytes_max = std::size_t{4} << 20;
inline constexpr std::size_t operations_max = 100'000;  ///< after definitions are expanded
inline constexpr std::uint64_t shots_max = 1'000'000;
inline constexpr std::uint64_t shots_default = 1'024;
inline constexpr unsigned probabilities_qubits_max =
    16;  ///< as JSON; amplitudes have no such limit
inline constexpr std::size_t expectations_max = 1'024;
inline constexpr unsigned json_depth_max = 8;
inline constexpr unsigned expression_depth_max = 64;
inline constexpr unsigned definition_depth_max = 64;           ///< gates defined by gates
inline constexpr std::size_t expansion_words_max = 4'000'000;  ///< words read in definitions
inline constexpr std::size_t definition_names_max = 64;        ///< angles, and qubits
/// States kept at one time while a circuit that measures on its way is followed both ways.
inline constexpr std::size_t branch_bytes_max = std::size_t{1} << 30;
inline constexpr unsigned layers_max = 32;
inline constexpr unsigned starts_max = 64;
inline constexpr std::uint64_t evaluations_max = 100'000;

}  // namespace micro_swarm::quantum
