#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "agentproc/tensor_layout.hpp"
#include "common/result.hpp"

namespace micro_swarm {

/// An ONNX model, loaded once and run many times, on memory that is the caller's own.
///
/// Payload: the raw little-endian values of the inputs, one after the other (PayloadLayout).
/// Result: the same of the outputs, in the order the model lists them.
///
/// Inputs are tensors straight over the caller's bytes: they may be mapped read-only and are never
/// written, but must not change during `run`. Outputs are computed straight into the caller's bytes
/// where their shape follows from the input's; else ONNX Runtime allocates and the result is
/// copied.
///
/// Loading and running create no thread, so a process may load and then fork any number of children
/// that share the weights copy-on-write. One thread at a time per object. A crash inside a run
/// (models are untrusted input) is the crash of this process: run it in an agent.
class NeuralModel {
 public:
  /// What input and output addresses must be a multiple of.
  static constexpr std::size_t alignment_bytes = 16;

  /// Loads a model; the bytes are not needed afterwards. `name` is for messages only. Opens ONNX
  /// Runtime if this process has not yet (see onnx_runtime) and runs the model once on zeros, so
  /// that what a run needs is in place before a fork.
  /// Errors (model): no usable ONNX Runtime, not an ONNX model, damaged, needs operators that are
  /// not there, has inputs or outputs that are not tensors of numbers.
  static Result<NeuralModel> load(std::span<const std::byte> onnx_bytes, std::string_view name);

  /// The same from a file. Further error (model): the file cannot be read.
  static Result<NeuralModel> load_file(const std::string& path);

  NeuralModel(NeuralModel&&) noexcept;
  NeuralModel& operator=(NeuralModel&&) noexcept;
  ~NeuralModel();

  const std::string& name() const;
  const std::vector<TensorInfo>& inputs() const;
  const std::vector<TensorInfo>& outputs() const;

  /// Error (model): no input shape has that size; the message names shape and bytes expected.
  Result<void> validate(std::size_t payload_size_bytes) const;

  /// Runs the model once on zeros, so that the pages a run needs are this process's own.
  /// Error (model): it refuses zeros; nothing else is wrong with it.
  Result<void> warm_up();

  /// How large the result for a payload of that size will be; exact, where it does not depend on
  /// the payload's content. Else it is the largest seen so far (0 at first): after `run` answered
  /// too_large, ask again. The first call for a size runs the model on zeros of that size.
  /// Errors: those of `validate`.
  Result<std::size_t> output_size_bytes(std::size_t payload_size_bytes);

  /// Runs the model; returns how many bytes of `output` are the result (the rest is untouched where
  /// the shape is known beforehand).
  /// Errors: model (payload does not fit, or ONNX Runtime refuses the content), too_large (`output`
  /// is too small; the message says how much is needed), usage (an address is not aligned).
  Result<std::size_t> run(std::span<const std::byte> input, std::span<std::byte> output);

  /// Whether payloads of several senders can be run as one, each with its rows of the result:
  /// one input, whose leading dimension is counted, and outputs whose leading dimension is the same
  /// number. (What a model does across its batch nobody can see: one that mixes rows is not to be
  /// batched.) Runs the model on zeros of two rows, the first time.
  bool can_batch();
  /// Runs all of `inputs` at once, row after row; `make_output(i, size_bytes)` is where the result
  /// of input i is to go (aligned; empty: it is not wanted any more). Rows are copied together and
  /// apart. Errors: as run, for all of them.
  Result<void> run_batch(
      std::span<const std::span<const std::byte>> inputs,
      const std::function<std::span<std::byte>(std::size_t i, std::size_t size_bytes)>&
          make_output);

  /// How many results so far were copied because their shape depends on the content or an output
  /// would lie between elements; all others were computed in place.
  std::uint64_t copied_results() const;

 private:
  struct State;
  explicit NeuralModel(std::unique_ptr<State> state);
  std::unique_ptr<State> state_;
};

}  // namespace micro_swarm
