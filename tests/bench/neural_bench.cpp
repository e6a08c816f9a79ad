// neural: what a network costs in a swarm, beside the same network called by the process itself.
// The network has the shape of the ONNX model zoo's MNIST-8 (two convolutions, two poolings, one
// dense layer), with random weights: how right it is does not matter here, how long it takes does.

#include <fstream>
#include <random>
#include <stdexcept>

#include "agentproc/neural_model.hpp"
#include "common/clock.hpp"
#include "tests/bench/swarm.hpp"
#include "tests/bench/windows.hpp"
#include "tests/onnx_models.hpp"
#include "tests/temporary_directory.hpp"

namespace micro_swarm::bench {

namespace {

constexpr std::size_t pixels = 28 * 28;
constexpr std::size_t rows = 16;  ///< of a batch

std::vector<float> random_values(std::size_t count, float scale) {
  std::mt19937 random(static_cast<unsigned>(count));
  std::uniform_real_distribution<float> between(-scale, scale);
  std::vector<float> values(count);
  for (float& value : values) value = between(random);
  return values;
}

std::vector<std::byte> convnet() {
  const auto float32 = onnx::TensorProto::FLOAT;
  const std::int64_t batch = tests::OnnxModel::free;
  tests::OnnxModel model;
  model.input("pictures", float32, {batch, 1, 28, 28}, {"batch"})
      .output("scores", float32, {batch, 10}, {"batch"})
      .weights("w1", {8, 1, 5, 5}, random_values(8 * 25, 0.2F))
      .weights("w2", {16, 8, 5, 5}, random_values(16 * 8 * 25, 0.1F))
      .weights("w3", {256, 10}, random_values(256 * 10, 0.1F));
  model.node("Conv", {"pictures", "w1"}, {"c1"})
      .attribute("kernel_shape", {5, 5})
      .attribute("pads", {2, 2, 2, 2});
  model.node("Relu", {"c1"}, {"r1"});
  model.node("MaxPool", {"r1"}, {"p1"})
      .attribute("kernel_shape", {2, 2})
      .attribute("strides", {2, 2});
  model.node("Conv", {"p1", "w2"}, {"c2"})
      .attribute("kernel_shape", {5, 5})
      .attribute("pads", {2, 2, 2, 2});
  model.node("Relu", {"c2"}, {"r2"});
  model.node("MaxPool", {"r2"}, {"p2"})
      .attribute("kernel_shape", {3, 3})
      .attribute("strides", {3, 3});
  model.node("Flatten", {"p2"}, {"flat"});
  model.node("MatMul", {"flat", "w3"}, {"scores"});
  return model.bytes();
}

/// The network in this process: nobody in between.
class Bare {
 public:
  explicit Bare(std::span<const std::byte> onnx)
      : model_(loaded(onnx)), inputs_(rows), scores_(rows * 16) {
    picture_ = random_values(pixels, 1);
    for (auto& input : inputs_) input = payload();
  }
  std::span<const std::byte> payload() const { return std::as_bytes(std::span(picture_)); }
  double run_one_ns() {
    const std::uint64_t start_ns = now_ns();
    if (!model_.run(payload(), std::as_writable_bytes(std::span(scores_))))
      throw std::runtime_error("the bare network does not run");
    return static_cast<double>(now_ns() - start_ns);
  }
  /// Pictures a nanosecond, in batches.
  double throughput(std::size_t batches) {
    const std::uint64_t start_ns = now_ns();
    for (std::size_t i = 0; i < batches; ++i)
      if (!model_.run_batch(inputs_, [this](std::size_t row, std::size_t size) {
            return std::as_writable_bytes(std::span(scores_)).subspan(row * 64, size);
          }))
        throw std::runtime_error("the bare network does not run batches");
    return static_cast<double>(batches * rows) / static_cast<double>(now_ns() - start_ns);
  }

 private:
  static NeuralModel loaded(std::span<const std::byte> onnx) {
    auto model = NeuralModel::load(onnx, "convnet");
    if (!model) throw std::runtime_error(model.error().message);
    if (!model->can_batch()) throw std::runtime_error("the network takes no batches");
    return std::move(*model);
  }
  NeuralModel model_;
  std::vector<float> picture_;
  std::vector<std::span<const std::byte>> inputs_;
  std::vector<float> scores_;
};

std::string neural_agent(const std::string& name, const std::string& model,
                         const std::string& more = "") {
  return "[[agent]]\nname = \"" + name + "\"\nkind = \"neural\"\nmodel = \"" + model + "\"\n" +
         more;
}

void measure(const Options& options, const Tell& tell) {
  const TemporaryDirectory directory;
  const std::string file = (directory.path() / "convnet.onnx").string();
  const std::vector<std::byte> onnx = convnet();
  std::ofstream(file, std::ios::binary)
      .write(reinterpret_cast<const char*>(onnx.data()), static_cast<std::streamsize>(onnx.size()));
  Bare bare(onnx);
  const auto task = [&](std::string_view capability) {
    TaskRequest request;
    request.capability = capability;
    request.payload = bare.payload();
    return request;
  };
  {
    SwarmProcess swarm(swarm_toml("[wait]\nspin_us = 500\n[[agent]]\nname = \"tools\"\n" +
                                  neural_agent("convnet", file)));
    Client client = join(swarm, 2);
    const unsigned rounds = options.quick ? 10 : 300;
    const auto median_of = [&](const auto& one) {
      std::vector<double> times_ns;
      for (unsigned i = 0; i < rounds; ++i) times_ns.push_back(one());
      return median(times_ns);
    };
    tell(alternate(
             options.quick ? 2 : 25,
             [&] {
               return median_of([&] { return bare.run_one_ns(); }) +
                      median_of([&] { return run_one(client, noop()); });
             },
             [&] { return median_of([&] { return run_one(client, task("convnet")); }); })
             .figure("neural.one", "us", 1e-3, ratio_at_most(1.15),
                     "the bare call and the round trip of a task that does nothing"));
  }
  SwarmProcess swarm(swarm_toml("[tasks]\nin_flight_per_agent = 16\n" +
                                neural_agent("convnet", file, "batch_max = 8\n")));
  Client client = join(swarm, 1);
  const std::size_t batches = options.quick ? 4 : 100;
  tell(alternate(
           options.quick ? 2 : 15, [&] { return bare.throughput(batches); },
           [&] {
             const std::uint64_t start_ns = now_ns();
             run_many(client, {batches * rows, 64, 20}, [&](auto) { return task("convnet"); });
             return static_cast<double>(batches * rows) / static_cast<double>(now_ns() - start_ns);
           })
           .figure("neural.batched", "k/s", 1e6, ratio_at_least(0.9),
                   "the bare network in batches of 16; 64 tasks in flight, batch_max 8"));
}

}  // namespace

Group neural_group() { return {"neural", {"neural.one", "neural.batched"}, measure}; }

}  // namespace micro_swarm::bench
