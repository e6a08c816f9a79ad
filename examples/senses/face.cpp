#include "face.hpp"

#include <algorithm>
#include <cmath>

namespace senses {

namespace {

struct Grid {
  std::size_t cells;      ///< in a row
  std::size_t per_cell;   ///< anchors
  std::size_t scores_at;  ///< in the outputs
  std::size_t boxes_at;
};
constexpr Grid grids[] = {{16, 2, 0, face_anchors}, {8, 6, 512, face_anchors + 512 * 16}};

}  // namespace

void face_features(std::span<const std::byte> rgb, std::span<float> features) {
  std::transform(rgb.begin(), rgb.end(), features.begin(),
                 [](std::byte value) { return static_cast<float>(value) / 127.5F - 1.0F; });
}

Face best_face(std::span<const float> outputs) {
  Face best;
  for (const Grid& grid : grids)
    for (std::size_t anchor = 0; anchor < grid.cells * grid.cells * grid.per_cell; ++anchor) {
      const float logit = std::clamp(outputs[grid.scores_at + anchor], -100.0F, 100.0F);
      const float score = 1.0F / (1.0F + std::exp(-logit));
      if (score <= best.score) continue;
      const std::size_t cell = anchor / grid.per_cell;
      const float* box = &outputs[grid.boxes_at + anchor * 16];
      const auto middle = [&](std::size_t at) {
        return (static_cast<float>(at) + 0.5F) / static_cast<float>(grid.cells);
      };
      constexpr float side = face_side;
      best = {score, middle(cell % grid.cells) + box[0] / side,
              middle(cell / grid.cells) + box[1] / side, box[2] / side, box[3] / side};
    }
  return best;
}

}  // namespace senses
