#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "agentproc/tensor_layout.hpp"
#include "common/result.hpp"

struct OrtApi;
struct OrtMemoryInfo;
struct OrtSession;
struct OrtValue;

namespace micro_swarm {

/// A list of ONNX Runtime's tensors, owned. An empty place is nullptr.
class OrtValues {
 public:
  OrtValues() noexcept = default;
  explicit OrtValues(const OrtApi& api) noexcept : api_(&api) {}
  OrtValues(OrtValues&& other) noexcept
      : api_(other.api_), values_(std::exchange(other.values_, {})) {}
  OrtValues& operator=(OrtValues&& other) noexcept {
    std::swap(api_, other.api_);
    std::swap(values_, other.values_);
    return *this;
  }
  OrtValues(const OrtValues&) = delete;
  OrtValues& operator=(const OrtValues&) = delete;
  ~OrtValues();

  void add(OrtValue* value) { values_.push_back(value); }
  bool empty() const { return values_.empty(); }
  std::size_t size() const { return values_.size(); }
  OrtValue* operator[](std::size_t i) const { return values_[i]; }
  OrtValue* const* data() const { return values_.data(); }
  OrtValue** data() { return values_.data(); }

 private:
  const OrtApi* api_ = nullptr;
  std::vector<OrtValue*> values_;
};

/// A loaded ONNX model with ONNX Runtime's own types; NeuralModel is the face for everybody else.
/// One intra-op thread, sequential: neither loading nor running makes a thread.
/// Errors are ErrorCode::model and carry ONNX Runtime's words, without the model's name.
class OnnxSession {
 public:
  static Result<OnnxSession> load(std::span<const std::byte> onnx_bytes);

  OnnxSession(OnnxSession&&) noexcept;
  OnnxSession& operator=(OnnxSession&&) noexcept;
  ~OnnxSession();

  const std::vector<TensorInfo>& inputs() const { return inputs_; }
  const std::vector<TensorInfo>& outputs() const { return outputs_; }

  OrtValues no_values() const { return OrtValues(*api_); }

  /// A tensor over memory that stays the caller's. It must be there while a run uses the tensor,
  /// not longer.
  Result<OrtValue*> tensor_over(std::byte* bytes, std::size_t size_bytes, ElementType type,
                                const std::vector<std::int64_t>& shape) const;

  /// Computes the outputs. Where `outputs` holds a tensor, the output goes into it, and a shape
  /// that differs is an error; where it holds nullptr, ONNX Runtime allocates one.
  Result<void> run(const OrtValues& inputs, OrtValues& outputs) const;

  struct View {
    std::vector<std::int64_t> shape;
    std::span<const std::byte> bytes;
  };
  /// What a computed tensor holds; valid as long as the tensor. Error: not of this element type.
  Result<View> view(OrtValue* tensor, ElementType type) const;

 private:
  OnnxSession() = default;
  Result<std::vector<TensorInfo>> describe_all(bool input) const;
  Result<TensorInfo> describe(std::size_t index, bool input) const;

  const OrtApi* api_ = nullptr;
  OrtMemoryInfo* memory_ = nullptr;
  OrtSession* session_ = nullptr;
  std::vector<TensorInfo> inputs_;
  std::vector<TensorInfo> outputs_;
  std::vector<const char*> input_names_;
  std::vector<const char*> output_names_;
};

}  // namespace micro_swarm
