#include "agentproc/neural_agent.hpp"

#include <algorithm>
#include <cstdint>
#include <vector>

namespace micro_swarm {

namespace {

/// What a task gives its model: the results it depends on, in the order in which they were named,
/// then its own payload. One piece is read where it lies, more are put together.
class ModelInput {
 public:
  std::span<const std::byte> of(const TaskContext& task) {
    pieces_.clear();
    for (const TaskInput& input : task.inputs())
      if (input.state == TaskState::done && !input.bytes.empty()) pieces_.push_back(input.bytes);
    if (!task.payload().empty()) pieces_.push_back(task.payload());
    if (pieces_.empty()) return {};
    if (pieces_.size() == 1 &&
        reinterpret_cast<std::uintptr_t>(pieces_[0].data()) % NeuralModel::alignment_bytes == 0)
      return pieces_[0];
    together_.clear();
    for (const auto piece : pieces_) together_.insert(together_.end(), piece.begin(), piece.end());
    return together_;
  }

 private:
  static_assert(__STDCPP_DEFAULT_NEW_ALIGNMENT__ >= NeuralModel::alignment_bytes);
  std::vector<std::span<const std::byte>> pieces_;
  std::vector<std::byte> together_;
};

class NeuralHandler final : public Handler {
 public:
  NeuralHandler(NeuralModel& model, BatchLimits limits) : model_(model), limits_(limits) {
    if (limits_.tasks_max > 1 && !model_.can_batch()) limits_ = {};
  }

  BatchLimits batch_limits() const override { return limits_; }

  void handle_batch(std::span<TaskContext* const> tasks, std::span<Outcome> outcomes) override {
    // Whose payload does not fit is told so by itself, and is in nobody's way.
    std::vector<std::size_t> fitting;
    std::vector<std::span<const std::byte>> inputs;
    batch_inputs_.resize(std::max(batch_inputs_.size(), tasks.size()));
    for (std::size_t i = 0; i < tasks.size(); ++i) {
      const auto input = batch_inputs_[i].of(*tasks[i]);
      if (const auto fits = model_.validate(input.size()); !fits) {
        outcomes[i] = tasks[i]->fail(fits.error());
        continue;
      }
      fitting.push_back(i);
      inputs.push_back(input);
    }
    if (fitting.size() == 1) {
      outcomes[fitting[0]] = handle(*tasks[fitting[0]]);
      return;
    }
    if (fitting.empty()) return;
    const auto make_output = [&](std::size_t n, std::size_t size_bytes) {
      const std::size_t i = fitting[n];
      const auto buffer = tasks[i]->result_buffer(size_bytes);
      outcomes[i] = buffer ? Outcome::done : tasks[i]->fail(buffer.error());
      return buffer ? *buffer : std::span<std::byte>();
    };
    if (model_.run_batch(inputs, make_output)) return;
    // It refuses what some of them say: each for itself then.
    for (const std::size_t i : fitting) outcomes[i] = handle(*tasks[i]);
  }

  Outcome handle(TaskContext& task) override {
    const auto input = input_.of(task);
    // Twice at most for a model whose output size depends on what the input says: the first run
    // finds out how large it is.
    for (int round = 0;; ++round) {
      const auto size_bytes = model_.output_size_bytes(input.size());
      if (!size_bytes) return task.fail(size_bytes.error());
      const auto buffer = task.result_buffer(*size_bytes);
      if (!buffer) return task.fail(buffer.error());
      const auto written = model_.run(input, *buffer);
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
  BatchLimits limits_;
  ModelInput input_;
  std::vector<ModelInput> batch_inputs_;
};

}  // namespace

std::unique_ptr<Handler> make_neural_handler(NeuralModel& model, BatchLimits limits) {
  return std::make_unique<NeuralHandler>(model, limits);
}

}  // namespace micro_swarm
