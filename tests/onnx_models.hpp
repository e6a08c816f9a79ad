#pragma once

#include <onnx/onnx_pb.h>

#include <cstddef>
#include <cstdint>
#include <initializer_list>
#include <span>
#include <string>
#include <vector>

namespace micro_swarm::tests {

/// Builds small ONNX models (opset 13, IR 8) for tests.
class OnnxModel {
 public:
  static constexpr std::int64_t free = -1;

  OnnxModel() {
    model_.set_ir_version(8);
    onnx::OperatorSetIdProto& operators = *model_.add_opset_import();
    operators.set_domain("");
    operators.set_version(13);
    model_.mutable_graph()->set_name("test");
  }

  OnnxModel& input(const std::string& name, std::int32_t type,
                   const std::vector<std::int64_t>& shape,
                   const std::vector<std::string>& free_names = {}) {
    declare(*model_.mutable_graph()->add_input(), name, type, shape, free_names);
    return *this;
  }
  OnnxModel& output(const std::string& name, std::int32_t type,
                    const std::vector<std::int64_t>& shape,
                    const std::vector<std::string>& free_names = {}) {
    declare(*model_.mutable_graph()->add_output(), name, type, shape, free_names);
    return *this;
  }
  OnnxModel& node(const std::string& op, std::initializer_list<std::string> inputs,
                  std::initializer_list<std::string> outputs) {
    onnx::NodeProto& node = *model_.mutable_graph()->add_node();
    node.set_op_type(op);
    for (const std::string& name : inputs) node.add_input(name);
    for (const std::string& name : outputs) node.add_output(name);
    return *this;
  }

  /// Of the node added last.
  OnnxModel& attribute(const std::string& name, std::initializer_list<std::int64_t> values) {
    onnx::NodeProto& node = *model_.mutable_graph()->mutable_node(model_.graph().node_size() - 1);
    onnx::AttributeProto& attribute = *node.add_attribute();
    attribute.set_name(name);
    attribute.set_type(onnx::AttributeProto::INTS);
    for (const std::int64_t value : values) attribute.add_ints(value);
    return *this;
  }
  /// A constant tensor of float32.
  OnnxModel& weights(const std::string& name, std::initializer_list<std::int64_t> shape,
                     std::span<const float> values) {
    onnx::TensorProto& tensor = *model_.mutable_graph()->add_initializer();
    tensor.set_name(name);
    tensor.set_data_type(onnx::TensorProto::FLOAT);
    for (const std::int64_t size : shape) tensor.add_dims(size);
    tensor.set_raw_data(values.data(), values.size_bytes());
    return *this;
  }

  std::vector<std::byte> bytes() const {
    const std::string text = model_.SerializeAsString();
    const auto view = std::as_bytes(std::span(text));
    return {view.begin(), view.end()};
  }

 private:
  /// The n-th free dimension gets the n-th name, if there is one.
  static void declare(onnx::ValueInfoProto& value, const std::string& name, std::int32_t type,
                      const std::vector<std::int64_t>& shape,
                      const std::vector<std::string>& free_names) {
    value.set_name(name);
    onnx::TypeProto::Tensor& tensor = *value.mutable_type()->mutable_tensor_type();
    tensor.set_elem_type(type);
    std::size_t named = 0;
    auto& dimensions = *tensor.mutable_shape();  // present even for a scalar
    for (const std::int64_t size : shape) {
      auto& dimension = *dimensions.add_dim();
      if (size != free)
        dimension.set_dim_value(size);
      else if (named < free_names.size())
        dimension.set_dim_param(free_names[named++]);
    }
  }

  onnx::ModelProto model_;
};

}  // namespace micro_swarm::tests
