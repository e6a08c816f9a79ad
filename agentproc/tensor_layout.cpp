#include "agentproc/tensor_layout.hpp"

#include <algorithm>
#include <optional>
#include <utility>

namespace micro_swarm {
namespace {

constexpr std::size_t tensor_size_bytes_max = std::size_t{1} << 40;

/// Free dimensions with the same key are the same number.
struct FreeDimension {
  std::string key;
  std::string shown;
  bool leading = false;
};

std::string key_of(const TensorInfo& tensor, std::size_t axis) {
  const TensorInfo::Dimension& dimension = tensor.shape[axis];
  if (!dimension.name.empty()) return dimension.name;
  if (axis == 0) return "\x01leading";  // no name in a model file is like this
  return "\x01" + tensor.name + "\x01" + std::to_string(axis);
}

std::vector<FreeDimension> free_dimensions(const std::vector<TensorInfo>& inputs) {
  std::vector<FreeDimension> found;
  for (const TensorInfo& tensor : inputs)
    for (std::size_t axis = 0; axis < tensor.shape.size(); ++axis) {
      if (tensor.shape[axis].size >= 0) continue;
      const std::string key = key_of(tensor, axis);
      auto known = std::find_if(found.begin(), found.end(),
                                [&](const FreeDimension& other) { return other.key == key; });
      if (known == found.end()) {
        const std::string& name = tensor.shape[axis].name;
        known = found.insert(found.end(), {key, name.empty() ? "N" : name, false});
      }
      known->leading = known->leading || axis == 0;
    }
  return found;
}

std::optional<FreeDimension> counted_dimension(const std::vector<TensorInfo>& inputs) {
  const std::vector<FreeDimension> found = free_dimensions(inputs);
  if (found.empty()) return std::nullopt;
  const auto inner = std::find_if(found.begin(), found.end(), [](const FreeDimension& dimension) {
    return !dimension.leading;
  });
  return found.size() == 1 || inner == found.end() ? found.front() : *inner;
}

}  // namespace

std::string_view name_of(ElementType type) {
  switch (type) {
    case ElementType::float32: return "float32";
    case ElementType::float64: return "float64";
    case ElementType::float16: return "float16";
    case ElementType::bfloat16: return "bfloat16";
    case ElementType::int8: return "int8";
    case ElementType::int16: return "int16";
    case ElementType::int32: return "int32";
    case ElementType::int64: return "int64";
    case ElementType::uint8: return "uint8";
    case ElementType::uint16: return "uint16";
    case ElementType::uint32: return "uint32";
    case ElementType::uint64: return "uint64";
    case ElementType::boolean: return "bool";
  }
  return "unknown";
}

std::size_t size_bytes_of(ElementType type) {
  switch (type) {
    case ElementType::float64:
    case ElementType::int64:
    case ElementType::uint64: return 8;
    case ElementType::float32:
    case ElementType::int32:
    case ElementType::uint32: return 4;
    case ElementType::float16:
    case ElementType::bfloat16:
    case ElementType::int16:
    case ElementType::uint16: return 2;
    case ElementType::int8:
    case ElementType::uint8:
    case ElementType::boolean: return 1;
  }
  return 1;
}

std::string describe(const TensorInfo& tensor) {
  std::string text = tensor.name + " " + std::string(name_of(tensor.type)) + "[";
  for (std::size_t axis = 0; axis < tensor.shape.size(); ++axis) {
    const TensorInfo::Dimension& dimension = tensor.shape[axis];
    if (axis != 0) text += ",";
    if (dimension.size >= 0)
      text += std::to_string(dimension.size);
    else
      text += dimension.name.empty() ? "?" : dimension.name;
  }
  return text + "]";
}

Result<std::size_t> tensor_size_bytes(ElementType type, const std::vector<std::int64_t>& shape) {
  std::size_t size_bytes = size_bytes_of(type);
  for (const std::int64_t dimension : shape)
    if (dimension < 0 ||
        __builtin_mul_overflow(size_bytes, static_cast<std::size_t>(dimension), &size_bytes) ||
        size_bytes > tensor_size_bytes_max)
      return Error{ErrorCode::too_large, "a tensor of more than 1 TiB"};
  return size_bytes;
}

Result<PayloadLayout> PayloadLayout::make(std::vector<TensorInfo> inputs) {
  PayloadLayout layout;
  const std::optional<FreeDimension> counted = counted_dimension(inputs);
  if (counted) layout.counted_name_ = counted->shown;
  for (const TensorInfo& tensor : inputs) {
    Part part;
    std::vector<std::int64_t> unit_shape;
    for (std::size_t axis = 0; axis < tensor.shape.size(); ++axis) {
      const bool is_free = tensor.shape[axis].size < 0;
      const bool is_counted = is_free && key_of(tensor, axis) == counted->key;
      if (is_counted && part.counted)
        return Error{ErrorCode::model, "input " + describe(tensor) + " uses '" + counted->shown +
                                           "' twice, so a payload's size does not tell it; fix one "
                                           "dimension when the model is exported"};
      part.counted = part.counted || is_counted;
      unit_shape.push_back(is_free ? 1 : tensor.shape[axis].size);
      part.shape.push_back(is_counted ? -1 : unit_shape.back());
    }
    const auto size_bytes = tensor_size_bytes(tensor.type, unit_shape);
    if (!size_bytes)
      return Error{ErrorCode::model,
                   "input " + describe(tensor) + ": " + size_bytes.error().message};
    part.unit_size_bytes = *size_bytes;
    (part.counted ? layout.counted_size_bytes_ : layout.fixed_size_bytes_) += *size_bytes;
    layout.parts_.push_back(std::move(part));
  }
  layout.inputs_ = std::move(inputs);
  return layout;
}

Result<std::int64_t> PayloadLayout::count_in(std::size_t payload_size_bytes) const {
  if (counted_size_bytes_ == 0 && payload_size_bytes == fixed_size_bytes_) return aligned(1);
  if (counted_size_bytes_ != 0 && payload_size_bytes > fixed_size_bytes_ &&
      payload_size_bytes - fixed_size_bytes_ <= tensor_size_bytes_max &&
      (payload_size_bytes - fixed_size_bytes_) % counted_size_bytes_ == 0)
    return aligned(
        static_cast<std::int64_t>((payload_size_bytes - fixed_size_bytes_) / counted_size_bytes_));
  return Error{ErrorCode::model, "a payload of " + std::to_string(payload_size_bytes) +
                                     " bytes does not fit the input; expected " + expected()};
}

Result<std::int64_t> PayloadLayout::aligned(std::int64_t count) const {
  std::size_t offset_bytes = 0;
  for (std::size_t i = 0; i < parts_.size(); ++i) {
    if (offset_bytes % size_bytes_of(inputs_[i].type) != 0)
      return Error{ErrorCode::model, "input " + describe(inputs_[i]) + " would start at byte " +
                                         std::to_string(offset_bytes) +
                                         " of the payload, where its elements may not lie; export "
                                         "the model with the inputs of larger elements first"};
    offset_bytes +=
        parts_[i].unit_size_bytes * (parts_[i].counted ? static_cast<std::size_t>(count) : 1);
  }
  return count;
}

std::vector<PayloadLayout::Input> PayloadLayout::at(std::int64_t count) const {
  std::vector<Input> inputs;
  std::size_t offset_bytes = 0;
  for (const Part& part : parts_) {
    Input input{part.shape, offset_bytes, part.unit_size_bytes};
    if (part.counted) {
      std::replace(input.shape.begin(), input.shape.end(), std::int64_t{-1}, count);
      input.size_bytes *= static_cast<std::size_t>(count);
    }
    offset_bytes += input.size_bytes;
    inputs.push_back(std::move(input));
  }
  return inputs;
}

std::size_t PayloadLayout::size_bytes(std::int64_t count) const {
  return fixed_size_bytes_ + counted_size_bytes_ * static_cast<std::size_t>(count);
}

std::string PayloadLayout::expected() const {
  std::string text;
  for (std::size_t i = 0; i < inputs_.size(); ++i) {
    if (i != 0) text += " + ";
    text += inputs_[i].name + " " + std::string(name_of(inputs_[i].type)) + "[";
    for (std::size_t axis = 0; axis < parts_[i].shape.size(); ++axis) {
      if (axis != 0) text += ",";
      const std::int64_t size = parts_[i].shape[axis];
      text += size < 0 ? counted_name_ : std::to_string(size);
    }
    text += "]";
  }
  if (text.empty()) text = "no input";
  text += ": ";
  if (counted_size_bytes_ == 0) return text + std::to_string(fixed_size_bytes_) + " bytes";
  if (fixed_size_bytes_ != 0) text += std::to_string(fixed_size_bytes_) + " + ";
  return text + counted_name_ + " x " + std::to_string(counted_size_bytes_) + " bytes";
}

}  // namespace micro_swarm
