#include "agentproc/onnx_session.hpp"

#define ORT_API_MANUAL_INIT
#include <onnxruntime_c_api.h>

#include <algorithm>
#include <optional>

#include "agentproc/onnxruntime_loader.hpp"

namespace micro_swarm {
namespace {

/// What ONNX Runtime says about a failed call; frees the status. nullopt: it worked.
std::optional<Error> problem(const OrtApi& api, OrtStatus* status) {
  if (status == nullptr) return std::nullopt;
  std::string message = api.GetErrorMessage(status);
  api.ReleaseStatus(status);
  std::replace(message.begin(), message.end(), '\n', ' ');
  while (!message.empty() && message.back() == ' ') message.pop_back();
  return Error{ErrorCode::model, std::move(message)};
}

std::optional<ElementType> element_type(ONNXTensorElementDataType type) {
  switch (type) {
    case ONNX_TENSOR_ELEMENT_DATA_TYPE_FLOAT: return ElementType::float32;
    case ONNX_TENSOR_ELEMENT_DATA_TYPE_DOUBLE: return ElementType::float64;
    case ONNX_TENSOR_ELEMENT_DATA_TYPE_FLOAT16: return ElementType::float16;
    case ONNX_TENSOR_ELEMENT_DATA_TYPE_BFLOAT16: return ElementType::bfloat16;
    case ONNX_TENSOR_ELEMENT_DATA_TYPE_INT8: return ElementType::int8;
    case ONNX_TENSOR_ELEMENT_DATA_TYPE_INT16: return ElementType::int16;
    case ONNX_TENSOR_ELEMENT_DATA_TYPE_INT32: return ElementType::int32;
    case ONNX_TENSOR_ELEMENT_DATA_TYPE_INT64: return ElementType::int64;
    case ONNX_TENSOR_ELEMENT_DATA_TYPE_UINT8: return ElementType::uint8;
    case ONNX_TENSOR_ELEMENT_DATA_TYPE_UINT16: return ElementType::uint16;
    case ONNX_TENSOR_ELEMENT_DATA_TYPE_UINT32: return ElementType::uint32;
    case ONNX_TENSOR_ELEMENT_DATA_TYPE_UINT64: return ElementType::uint64;
    case ONNX_TENSOR_ELEMENT_DATA_TYPE_BOOL: return ElementType::boolean;
    default: return std::nullopt;  // text, complex numbers and numbers smaller than a byte
  }
}

ONNXTensorElementDataType onnx_type(ElementType type) {
  switch (type) {
    case ElementType::float32: return ONNX_TENSOR_ELEMENT_DATA_TYPE_FLOAT;
    case ElementType::float64: return ONNX_TENSOR_ELEMENT_DATA_TYPE_DOUBLE;
    case ElementType::float16: return ONNX_TENSOR_ELEMENT_DATA_TYPE_FLOAT16;
    case ElementType::bfloat16: return ONNX_TENSOR_ELEMENT_DATA_TYPE_BFLOAT16;
    case ElementType::int8: return ONNX_TENSOR_ELEMENT_DATA_TYPE_INT8;
    case ElementType::int16: return ONNX_TENSOR_ELEMENT_DATA_TYPE_INT16;
    case ElementType::int32: return ONNX_TENSOR_ELEMENT_DATA_TYPE_INT32;
    case ElementType::int64: return ONNX_TENSOR_ELEMENT_DATA_TYPE_INT64;
    case ElementType::uint8: return ONNX_TENSOR_ELEMENT_DATA_TYPE_UINT8;
    case ElementType::uint16: return ONNX_TENSOR_ELEMENT_DATA_TYPE_UINT16;
    case ElementType::uint32: return ONNX_TENSOR_ELEMENT_DATA_TYPE_UINT32;
    case ElementType::uint64: return ONNX_TENSOR_ELEMENT_DATA_TYPE_UINT64;
    case ElementType::boolean: return ONNX_TENSOR_ELEMENT_DATA_TYPE_BOOL;
  }
  return ONNX_TENSOR_ELEMENT_DATA_TYPE_UNDEFINED;
}

template <class Object>
using OrtPtr = std::unique_ptr<Object, void (*)(Object*)>;

}  // namespace

OrtValues::~OrtValues() {
  for (OrtValue* value : values_)
    if (value != nullptr) api_->ReleaseValue(value);
}

OnnxSession::OnnxSession(OnnxSession&& other) noexcept { *this = std::move(other); }

OnnxSession& OnnxSession::operator=(OnnxSession&& other) noexcept {
  std::swap(api_, other.api_);
  std::swap(memory_, other.memory_);
  std::swap(session_, other.session_);
  inputs_.swap(other.inputs_);  // the names point into these
  outputs_.swap(other.outputs_);
  input_names_.swap(other.input_names_);
  output_names_.swap(other.output_names_);
  return *this;
}

OnnxSession::~OnnxSession() {
  if (session_ != nullptr) api_->ReleaseSession(session_);
  if (memory_ != nullptr) api_->ReleaseMemoryInfo(memory_);
}

Result<OnnxSession> OnnxSession::load(std::span<const std::byte> onnx_bytes) {
  const auto runtime = onnx_runtime();
  if (!runtime) return runtime.error();
  OnnxSession session;
  const OrtApi& api = *(*runtime)->api;
  session.api_ = &api;
  if (auto why = problem(
          api, api.CreateCpuMemoryInfo(OrtArenaAllocator, OrtMemTypeDefault, &session.memory_)))
    return *why;

  OrtSessionOptions* raw_options = nullptr;
  if (auto why = problem(api, api.CreateSessionOptions(&raw_options))) return *why;
  const OrtPtr<OrtSessionOptions> options(raw_options, api.ReleaseSessionOptions);
  if (auto why = problem(api, api.SetIntraOpNumThreads(raw_options, 1))) return *why;
  if (auto why = problem(api, api.SetInterOpNumThreads(raw_options, 1))) return *why;
  if (auto why = problem(api, api.SetSessionExecutionMode(raw_options, ORT_SEQUENTIAL)))
    return *why;

  if (auto why = problem(
          api, api.CreateSessionFromArray((*runtime)->environment, onnx_bytes.data(),
                                          onnx_bytes.size(), raw_options, &session.session_)))
    return Error{ErrorCode::model, std::to_string(onnx_bytes.size()) +
                                       " bytes that are not a usable ONNX model (" + why->message +
                                       "); check that the file is whole, or export it again"};

  auto inputs = session.describe_all(true);
  if (!inputs) return inputs.error();
  auto outputs = session.describe_all(false);
  if (!outputs) return outputs.error();
  session.inputs_ = std::move(*inputs);
  session.outputs_ = std::move(*outputs);
  for (const TensorInfo& input : session.inputs_)
    session.input_names_.push_back(input.name.c_str());
  for (const TensorInfo& output : session.outputs_)
    session.output_names_.push_back(output.name.c_str());
  return session;
}

Result<std::vector<TensorInfo>> OnnxSession::describe_all(bool input) const {
  std::size_t count = 0;
  if (auto why = problem(*api_, input ? api_->SessionGetInputCount(session_, &count)
                                      : api_->SessionGetOutputCount(session_, &count)))
    return *why;
  std::vector<TensorInfo> tensors;
  for (std::size_t index = 0; index < count; ++index) {
    auto tensor = describe(index, input);
    if (!tensor) return tensor.error();
    tensors.push_back(std::move(*tensor));
  }
  return tensors;
}

Result<TensorInfo> OnnxSession::describe(std::size_t index, bool input) const {
  OrtAllocator* allocator = nullptr;
  if (auto why = problem(*api_, api_->GetAllocatorWithDefaultOptions(&allocator))) return *why;
  char* name = nullptr;
  if (auto why =
          problem(*api_, input ? api_->SessionGetInputName(session_, index, allocator, &name)
                               : api_->SessionGetOutputName(session_, index, allocator, &name)))
    return *why;
  TensorInfo tensor;
  tensor.name = name;
  allocator->Free(allocator, name);

  OrtTypeInfo* raw_type = nullptr;
  if (auto why = problem(*api_, input ? api_->SessionGetInputTypeInfo(session_, index, &raw_type)
                                      : api_->SessionGetOutputTypeInfo(session_, index, &raw_type)))
    return *why;
  const OrtPtr<OrtTypeInfo> type(raw_type, api_->ReleaseTypeInfo);
  const OrtTensorTypeAndShapeInfo* shape = nullptr;  // lives in `type`; stays null for no tensor
  if (auto why = problem(*api_, api_->CastTypeInfoToTensorInfo(raw_type, &shape))) return *why;
  ONNXTensorElementDataType element = ONNX_TENSOR_ELEMENT_DATA_TYPE_UNDEFINED;
  if (shape != nullptr)
    if (auto why = problem(*api_, api_->GetTensorElementType(shape, &element))) return *why;
  const auto known = element_type(element);
  if (!known)
    return Error{ErrorCode::model,
                 (input ? "input '" : "output '") + tensor.name +
                     "' is not a tensor of numbers of whole bytes, which is all a payload carries"};
  tensor.type = *known;

  std::size_t rank = 0;
  if (auto why = problem(*api_, api_->GetDimensionsCount(shape, &rank))) return *why;
  std::vector<std::int64_t> sizes(rank);
  std::vector<const char*> names(rank);
  if (auto why = problem(*api_, api_->GetDimensions(shape, sizes.data(), rank))) return *why;
  if (auto why = problem(*api_, api_->GetSymbolicDimensions(shape, names.data(), rank)))
    return *why;
  for (std::size_t axis = 0; axis < rank; ++axis)
    tensor.shape.push_back({std::max<std::int64_t>(sizes[axis], -1), names[axis]});
  return tensor;
}

Result<OrtValue*> OnnxSession::tensor_over(std::byte* bytes, std::size_t size_bytes,
                                           ElementType type,
                                           const std::vector<std::int64_t>& shape) const {
  OrtValue* tensor = nullptr;
  if (auto why = problem(
          *api_, api_->CreateTensorWithDataAsOrtValue(memory_, bytes, size_bytes, shape.data(),
                                                      shape.size(), onnx_type(type), &tensor)))
    return *why;
  return tensor;
}

Result<void> OnnxSession::run(const OrtValues& inputs, OrtValues& outputs) const {
  if (auto why = problem(
          *api_, api_->Run(session_, nullptr, input_names_.data(), inputs.data(), inputs.size(),
                           output_names_.data(), outputs.size(), outputs.data())))
    return *why;
  return {};
}

Result<OnnxSession::View> OnnxSession::view(OrtValue* tensor, ElementType type) const {
  OrtTensorTypeAndShapeInfo* raw_info = nullptr;
  if (auto why = problem(*api_, api_->GetTensorTypeAndShape(tensor, &raw_info))) return *why;
  const OrtPtr<OrtTensorTypeAndShapeInfo> info(raw_info, api_->ReleaseTensorTypeAndShapeInfo);
  ONNXTensorElementDataType element = ONNX_TENSOR_ELEMENT_DATA_TYPE_UNDEFINED;
  std::size_t rank = 0;
  void* data = nullptr;
  if (auto why = problem(*api_, api_->GetTensorElementType(raw_info, &element))) return *why;
  if (auto why = problem(*api_, api_->GetDimensionsCount(raw_info, &rank))) return *why;
  View view;
  view.shape.resize(rank);
  if (auto why = problem(*api_, api_->GetDimensions(raw_info, view.shape.data(), rank)))
    return *why;
  if (auto why = problem(*api_, api_->GetTensorMutableData(tensor, &data))) return *why;
  if (element != onnx_type(type))
    return Error{ErrorCode::model, "an output is not of the element type the model declares"};
  const auto size_bytes = tensor_size_bytes(type, view.shape);
  if (!size_bytes) return size_bytes.error();
  view.bytes = {static_cast<const std::byte*>(data), *size_bytes};
  return view;
}

}  // namespace micro_swarm
