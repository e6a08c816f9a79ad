#pragma once

#include <array>
#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "common/result.hpp"
#include "examples/digits/mnist_data.hpp"

namespace micro_swarm::digits {

using Scores = std::array<float, digit_count>;

/// The model run in this process alone, picture after picture: what a swarm is held against.
struct AloneRun {
  std::vector<Scores> scores;  ///< one a picture, in the order asked for
  std::size_t right = 0;
  double seconds = 0;  ///< of the runs, without loading
};

/// Errors: those of NeuralModel, and a model that is not 784 floats in, 10 floats out.
Result<AloneRun> classify_alone(const std::string& model_path, const Pictures& pictures,
                                std::span<const std::uint32_t> numbers);

}  // namespace micro_swarm::digits
