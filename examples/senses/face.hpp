#pragma once

// What stands before and behind BlazeFace (Bazarevsky et al. 2019, "BlazeFace: Sub-millisecond
// Neural Face Detection on Mobile GPUs"), its model for front cameras.

#include <cstddef>
#include <cstdint>
#include <span>

namespace senses {

inline constexpr std::size_t face_side = 128;  ///< pixels; pictures are squares
inline constexpr std::size_t face_pixels = face_side * face_side * 3;

/// 8-bit RGB, row by row, to what the network reads: -1 to 1.
void face_features(std::span<const std::byte> rgb, std::span<float> features);

/// The network's four outputs, one behind the other: scores of 512 anchors (16 x 16 cells, two in
/// each) and of 384 (8 x 8 cells, six in each), then 16 numbers for each anchor, of which the first
/// four are the box, in pixels around the middle of its cell.
inline constexpr std::size_t face_anchors = 512 + 384;
inline constexpr std::size_t face_scores = face_anchors * (1 + 16);

struct Face {
  float score = 0;                            ///< 0 to 1
  float x = 0, y = 0, width = 0, height = 0;  ///< of the picture's side; x, y: its middle
};
/// The anchor with the best score; a face if that is over one half.
Face best_face(std::span<const float> outputs);

}  // namespace senses
