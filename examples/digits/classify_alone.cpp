#include "examples/digits/classify_alone.hpp"

#include <cstring>

#include "agentproc/neural_model.hpp"
#include "common/clock.hpp"

namespace micro_swarm::digits {

Result<AloneRun> classify_alone(const std::string& model_path, const Pictures& pictures,
                                std::span<const std::uint32_t> numbers) {
  auto model = NeuralModel::load_file(model_path);
  if (!model) return model.error();
  const auto result_size_bytes = model->output_size_bytes(picture_size_bytes);
  if (!result_size_bytes) return result_size_bytes.error();
  if (*result_size_bytes != sizeof(Scores))
    return Error{ErrorCode::model, "model '" + model_path + "' gives " +
                                       std::to_string(*result_size_bytes) +
                                       " bytes a picture, not ten scores"};
  AloneRun run;
  run.scores.reserve(numbers.size());
  alignas(NeuralModel::alignment_bytes) Scores scores;
  const std::uint64_t begin_ns = now_ns();
  for (const std::uint32_t number : numbers) {
    // A picture is 196 x 16 bytes, and the heap starts the first one on such a boundary.
    const auto ran = model->run(std::as_bytes(pictures.picture(number)),
                                std::as_writable_bytes(std::span(scores)));
    if (!ran) return ran.error();
    run.scores.push_back(scores);
    run.right += best_digit(scores) == pictures.labels[number] ? 1 : 0;
  }
  run.seconds = static_cast<double>(now_ns() - begin_ns) / ns_per_s;
  return run;
}

}  // namespace micro_swarm::digits
