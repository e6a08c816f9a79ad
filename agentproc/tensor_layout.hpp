#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "common/result.hpp"

namespace micro_swarm {

enum class ElementType : std::uint8_t {
  float32,
  float64,
  float16,
  bfloat16,
  int8,
  int16,
  int32,
  int64,
  uint8,
  uint16,
  uint32,
  uint64,
  boolean,  ///< one byte, 0 or 1
};

std::string_view name_of(ElementType type);
std::size_t size_bytes_of(ElementType type);

/// One input or output of a model, as its file declares it.
struct TensorInfo {
  struct Dimension {
    std::int64_t size = -1;  ///< -1: free, known only when the model runs
    std::string name;        ///< of a free dimension; may be empty
  };
  std::string name;
  ElementType type = ElementType::float32;
  std::vector<Dimension> shape;  ///< empty: one value
};

/// "pictures float32[batch,784]"
std::string describe(const TensorInfo& tensor);

/// Bytes of a tensor with these dimensions. Error (too_large): over 1 TiB, or a negative dimension.
Result<std::size_t> tensor_size_bytes(ElementType type, const std::vector<std::int64_t>& shape);

/// How a payload carries a model's inputs: raw little-endian values, input after input, nothing
/// between them.
///
/// A model may leave dimensions free. One of them, the *counted* one, follows from the payload's
/// size; all that share its name are the same number. Where there are several, leading ones (the
/// batch) are taken as 1, the first of the others is counted, and what remains is 1. Leading
/// dimensions without a name count as one.
class PayloadLayout {
 public:
  /// Errors (model): a counted dimension that appears twice in one input, a size beyond 1 TiB.
  static Result<PayloadLayout> make(std::vector<TensorInfo> inputs);

  struct Input {
    std::vector<std::int64_t> shape;
    std::size_t offset_bytes = 0;
    std::size_t size_bytes = 0;
  };

  /// The counted dimension's size in a payload of so many bytes; 1 where nothing is counted.
  /// Errors (model): no size fits; the message names the expected shapes and bytes. Or an input
  /// would start where its elements may not lie (a payload has no gaps).
  Result<std::int64_t> count_in(std::size_t payload_size_bytes) const;

  /// The inputs in a payload with that count (from `count_in`, or 1).
  std::vector<Input> at(std::int64_t count) const;
  std::size_t size_bytes(std::int64_t count) const;

  /// "float32[batch,784]: batch x 3136 bytes"
  std::string expected() const;

  const std::vector<TensorInfo>& inputs() const { return inputs_; }

 private:
  struct Part {
    std::vector<std::int64_t> shape;  ///< -1 where the counted dimension stands
    std::size_t unit_size_bytes = 0;  ///< whole size, or the size for a count of 1
    bool counted = false;
  };

  Result<std::int64_t> aligned(std::int64_t count) const;

  std::vector<TensorInfo> inputs_;
  std::vector<Part> parts_;
  std::string counted_name_;
  std::size_t fixed_size_bytes_ = 0;
  std::size_t counted_size_bytes_ = 0;  ///< by so much a payload grows with each count; 0: none
};

}  // namespace micro_swarm
