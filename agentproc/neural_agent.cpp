#include "agentproc/neural_agent.hpp"

namespace micro_swarm {

namespace {

class NeuralHandler final : public Handler {
 public:
  explicit NeuralHandler(NeuralModel& model) : model_(model) {}

  Outcome handle(TaskContext& task) override {
    // Twice at most for a model whose output size depends on what the input says: the first run
    // finds out how large it is.
    for (int round = 0;; ++round) {
      const auto size_bytes = model_.output_size_bytes(task.payload().size());
      if (!size_bytes) return task.fail(size_bytes.error());
      const auto buffer = task.result_buffer(*size_bytes);
      if (!buffer) return task.fail(buffer.error());
      const auto written = model_.run(task.payload(), *buffer);
      if (written) {
        task.shrink_result(*written);
        return Outcome::done;
      }
      if (written.error().code != ErrorCode::too_large || round > 0)
        return task.fail(written.error());
    }
  }

 private:
  NeuralModel& model_;
};

}  // namespace

std::unique_ptr<Handler> make_neural_handler(NeuralModel& model) {
  return std::make_unique<NeuralHandler>(model);
}

}  // namespace micro_swarm
