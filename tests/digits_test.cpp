// The checked-in digit network and its hold-out list are what their README says.

#include <onnx/onnx_pb.h>
#include <unistd.h>

#include <boost/test/unit_test.hpp>
#include <cmath>
#include <cstdlib>
#include <cstring>
#include <fstream>
#include <vector>

#include "examples/digits/classify_alone.hpp"
#include "examples/digits/mnist_data.hpp"

using namespace micro_swarm::digits;

namespace {

const Pictures& pictures() {
  static const Pictures loaded = [] {
    auto result = load_pictures(MS_MNIST_DIR);
    BOOST_REQUIRE_MESSAGE(result, result.error().message);
    return std::move(*result);
  }();
  return loaded;
}

std::vector<std::uint32_t> holdout() {
  auto numbers = load_holdout(MS_DIGITS_DIR "/holdout.txt", pictures().count());
  BOOST_REQUIRE_MESSAGE(numbers, numbers.error().message);
  return std::move(*numbers);
}

std::vector<float> initializer(const onnx::GraphProto& graph, const std::string& name) {
  for (const onnx::TensorProto& tensor : graph.initializer()) {
    if (tensor.name() != name) continue;
    std::vector<float> values(tensor.raw_data().size() / sizeof(float));
    std::memcpy(values.data(), tensor.raw_data().data(), tensor.raw_data().size());
    return values;
  }
  BOOST_FAIL("the model has no " + name);
  return {};
}

/// One layer by its formula, in double precision.
std::vector<double> layer(const std::vector<double>& in, const std::vector<float>& weights,
                          const std::vector<float>& biases) {
  std::vector<double> out(biases.begin(), biases.end());
  for (std::size_t unit = 0; unit < out.size(); ++unit) {
    for (std::size_t i = 0; i < in.size(); ++i) out[unit] += in[i] * weights[unit * in.size() + i];
    out[unit] = 1.0 / (1.0 + std::exp(-out[unit]));
  }
  return out;
}

}  // namespace

BOOST_AUTO_TEST_CASE(the_pictures_are_complete) {
  BOOST_TEST(pictures().count() == 10'000u);
  BOOST_TEST(pictures().pixels.size() == 10'000u * picture_pixels);
  BOOST_TEST(pictures().labels.front() == 0);
  BOOST_TEST(pictures().labels.back() == 9);
}

BOOST_AUTO_TEST_CASE(the_holdout_list_follows_its_rule) {
  const auto listed = holdout();
  const auto chosen = choose_holdout(pictures());
  BOOST_REQUIRE_MESSAGE(chosen, chosen.error().message);
  BOOST_TEST(listed == *chosen, boost::test_tools::per_element());
  std::vector<std::size_t> of_digit(digit_count);
  for (const std::uint32_t number : listed) ++of_digit[pictures().labels[number]];
  BOOST_TEST(of_digit == std::vector<std::size_t>(digit_count, holdout_per_digit),
             boost::test_tools::per_element());
}

BOOST_AUTO_TEST_CASE(a_bad_holdout_list_names_its_line) {
  const char* const cases[][2] = {{"12\nx\n", "line 2: 'x' is not a picture number"},
                                  {"12\n10000\n", "line 2: '10000' is beyond the last picture"},
                                  {"# c\n5\n5\n", "line 3: '5' is listed twice"},
                                  {"# nothing\n", "lists no picture"}};
  char path[] = "/tmp/microswarm-holdout.XXXXXX";
  const int fd = ::mkstemp(path);
  BOOST_REQUIRE_GE(fd, 0);
  for (const auto& [text, message] : cases) {
    std::ofstream(path, std::ios::trunc) << text;
    const auto numbers = load_holdout(path, 10'000);
    BOOST_REQUIRE(!numbers);
    BOOST_TEST((numbers.error().message.find(message) != std::string::npos),
               numbers.error().message);
  }
  ::close(fd);
  ::unlink(path);
}

BOOST_AUTO_TEST_CASE(the_model_computes_its_formula_and_is_as_accurate_as_said) {
  onnx::ModelProto model;
  std::ifstream file(MS_DIGITS_DIR "/digits.onnx", std::ios::binary);
  BOOST_REQUIRE(model.ParseFromIstream(&file));
  const auto weights1 = initializer(model.graph(), "layer1_weights");
  const auto biases1 = initializer(model.graph(), "layer1_biases");
  const auto weights2 = initializer(model.graph(), "layer2_weights");
  const auto biases2 = initializer(model.graph(), "layer2_biases");

  const auto numbers = holdout();
  const auto run = classify_alone(MS_DIGITS_DIR "/digits.onnx", pictures(), numbers);
  BOOST_REQUIRE_MESSAGE(run, run.error().message);
  BOOST_REQUIRE_EQUAL(run->scores.size(), numbers.size());
  for (std::size_t i = 0; i < numbers.size(); ++i) {
    const auto pixels = pictures().picture(numbers[i]);
    const auto expected =
        layer(layer({pixels.begin(), pixels.end()}, weights1, biases1), weights2, biases2);
    for (std::size_t digit = 0; digit < digit_count; ++digit)
      BOOST_REQUIRE_SMALL(run->scores[i][digit] - expected[digit], 1e-5);
  }
  BOOST_TEST_MESSAGE(run->right << " of " << numbers.size() << " right");
  // 1,870 where it was trained; another CPU rounds differently and may turn a near tie.
  BOOST_TEST(run->right >= 1860u);
  BOOST_TEST(run->right <= 1880u);
}
