// NeuralModel on the demo's digit model and on small models made for one property each.

#define ORT_API_MANUAL_INIT
#include <onnxruntime_c_api.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <boost/test/unit_test.hpp>
#include <cstring>
#include <fstream>
#include <iterator>
#include <numeric>
#include <random>
#include <vector>

#include "agentproc/neural_model.hpp"
#include "agentproc/onnxruntime_loader.hpp"
#include "shm/memfd.hpp"
#include "tests/onnx_models.hpp"

using namespace micro_swarm;
using micro_swarm::tests::OnnxModel;

namespace {

constexpr std::size_t pixels = 784;
constexpr std::size_t digits = 10;
constexpr std::size_t picture_size_bytes = pixels * sizeof(float);
constexpr std::size_t scores_size_bytes = digits * sizeof(float);
constexpr std::int32_t float_type = onnx::TensorProto::FLOAT;
constexpr std::int32_t int64_type = onnx::TensorProto::INT64;

std::vector<std::byte> digit_model_bytes() {
  std::ifstream file(MS_DIGITS_MODEL, std::ios::binary);
  BOOST_REQUIRE_MESSAGE(file, MS_DIGITS_MODEL " cannot be read");
  const std::string text((std::istreambuf_iterator<char>(file)), {});
  const auto view = std::as_bytes(std::span(text));
  return {view.begin(), view.end()};
}

NeuralModel load(const std::vector<std::byte>& bytes, std::string_view name) {
  auto model = NeuralModel::load(bytes, name);
  BOOST_REQUIRE_MESSAGE(model, model.error().message);
  return std::move(*model);
}
NeuralModel load_digits() { return load(digit_model_bytes(), "digits"); }
NeuralModel load(const OnnxModel& model) { return load(model.bytes(), "small"); }

Error load_error(const std::vector<std::byte>& bytes) {
  const auto model = NeuralModel::load(bytes, "broken");
  BOOST_REQUIRE(!model);
  return model.error();
}

template <class T>
std::span<const std::byte> bytes_of(const std::vector<T>& values) {
  return std::as_bytes(std::span(values));
}
template <class T>
std::span<std::byte> room_in(std::vector<T>& values) {
  return std::as_writable_bytes(std::span(values));
}

std::vector<float> random_pictures(std::size_t count, unsigned seed) {
  std::mt19937 random(seed);
  std::vector<float> values(count * pixels);
  for (float& value : values) value = static_cast<float>(random() % 1001) / 1000.0f;
  return values;
}

bool contains(const std::string& text, const std::string& part) {
  return text.find(part) != std::string::npos;
}
#define TEST_CONTAINS(text, part) BOOST_TEST(contains(text, part), (text))

/// The digit model run by ONNX Runtime's plain means: it owns both tensors, data is copied.
std::vector<float> run_plainly(const std::vector<float>& pictures) {
  const auto runtime = onnx_runtime();
  BOOST_REQUIRE(runtime);
  const OrtApi& api = *(*runtime)->api;
  const auto check = [&api](OrtStatus* status) {
    BOOST_REQUIRE_MESSAGE(status == nullptr,
                          (status != nullptr ? api.GetErrorMessage(status) : ""));
  };
  const std::vector<std::byte> model = digit_model_bytes();
  OrtSessionOptions* options = nullptr;
  OrtSession* session = nullptr;
  OrtAllocator* allocator = nullptr;
  OrtValue* input = nullptr;
  OrtValue* output = nullptr;
  check(api.CreateSessionOptions(&options));
  check(api.SetIntraOpNumThreads(options, 1));
  check(api.CreateSessionFromArray((*runtime)->environment, model.data(), model.size(), options,
                                   &session));
  check(api.GetAllocatorWithDefaultOptions(&allocator));
  const std::int64_t count = static_cast<std::int64_t>(pictures.size() / pixels);
  const std::int64_t shape[] = {count, pixels};
  check(
      api.CreateTensorAsOrtValue(allocator, shape, 2, ONNX_TENSOR_ELEMENT_DATA_TYPE_FLOAT, &input));
  void* data = nullptr;
  check(api.GetTensorMutableData(input, &data));
  std::memcpy(data, pictures.data(), pictures.size() * sizeof(float));
  const char* const input_names[] = {"pictures"};
  const char* const output_names[] = {"scores"};
  const OrtValue* const inputs[] = {input};
  check(api.Run(session, nullptr, input_names, inputs, 1, output_names, 1, &output));
  check(api.GetTensorMutableData(output, &data));
  std::vector<float> scores(static_cast<std::size_t>(count) * digits);
  std::memcpy(scores.data(), data, scores.size() * sizeof(float));
  api.ReleaseValue(output);
  api.ReleaseValue(input);
  api.ReleaseSession(session);
  api.ReleaseSessionOptions(options);
  return scores;
}

/// A memfd mapped so that its last byte is followed by a page nobody may touch.
class GuardedMapping {
 public:
  GuardedMapping(int fd, std::size_t size_bytes, int protection) : size_bytes_(size_bytes) {
    const auto page = static_cast<std::size_t>(::sysconf(_SC_PAGESIZE));
    reserved_bytes_ = size_bytes + page;
    reserved_ = ::mmap(nullptr, reserved_bytes_, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    BOOST_REQUIRE(reserved_ != MAP_FAILED);
    BOOST_REQUIRE(::mmap(reserved_, size_bytes, protection, MAP_SHARED | MAP_FIXED, fd, 0) ==
                  reserved_);
  }
  GuardedMapping(const GuardedMapping&) = delete;
  GuardedMapping& operator=(const GuardedMapping&) = delete;
  ~GuardedMapping() { ::munmap(reserved_, reserved_bytes_); }

  /// The last `size_bytes`, up to the forbidden page.
  std::span<std::byte> tail(std::size_t size_bytes) const {
    return {static_cast<std::byte*>(reserved_) + size_bytes_ - size_bytes, size_bytes};
  }

 private:
  std::size_t size_bytes_;
  std::size_t reserved_bytes_ = 0;
  void* reserved_ = nullptr;
};

UniqueFd make_memfd(std::size_t size_bytes) {
  auto fd = create_memfd("neural-test", size_bytes);
  BOOST_REQUIRE_MESSAGE(fd, fd.error().message);
  return std::move(*fd);
}

}  // namespace

BOOST_AUTO_TEST_SUITE(digit_model)

BOOST_AUTO_TEST_CASE(tells_its_inputs_and_outputs) {
  const NeuralModel model = load_digits();
  BOOST_TEST(model.name() == "digits");
  BOOST_REQUIRE_EQUAL(model.inputs().size(), 1u);
  BOOST_REQUIRE_EQUAL(model.outputs().size(), 1u);
  BOOST_TEST(describe(model.inputs()[0]) == "pictures float32[batch,784]");
  BOOST_TEST(describe(model.outputs()[0]) == "scores float32[batch,10]");
}

BOOST_AUTO_TEST_CASE(gives_what_a_plain_run_with_copies_gives) {
  NeuralModel model = load_digits();
  for (const std::size_t count : {1u, 2u, 7u, 1u, 100u}) {
    const auto pictures = random_pictures(count, static_cast<unsigned>(count));
    std::vector<float> scores(count * digits);
    const auto size_bytes = model.output_size_bytes(count * picture_size_bytes);
    BOOST_REQUIRE(size_bytes);
    BOOST_TEST(*size_bytes == count * scores_size_bytes);
    const auto written = model.run(bytes_of(pictures), room_in(scores));
    BOOST_REQUIRE_MESSAGE(written, written.error().message);
    BOOST_TEST(*written == count * scores_size_bytes);
    BOOST_TEST(scores == run_plainly(pictures), boost::test_tools::per_element());
  }
}

BOOST_AUTO_TEST_CASE(reads_a_sealed_region_of_another_and_writes_its_own) {
  NeuralModel model = load_digits();
  const auto pictures = random_pictures(2, 42);  // two: then the ends are aligned starts too
  constexpr std::size_t payload_size_bytes = 2 * picture_size_bytes;
  constexpr std::size_t result_size_bytes = 2 * scores_size_bytes;
  constexpr std::size_t region_size_bytes = 64 * 1024;
  const UniqueFd given = make_memfd(region_size_bytes);
  const UniqueFd own = make_memfd(region_size_bytes);
  {
    GuardedMapping giver(given.get(), region_size_bytes, PROT_READ | PROT_WRITE);
    std::memcpy(giver.tail(payload_size_bytes).data(), pictures.data(), payload_size_bytes);
  }
  BOOST_REQUIRE(seal_one_writer(given.get()));
  // Both end where a page nobody may touch begins: nothing is read or written beyond.
  const GuardedMapping input(given.get(), region_size_bytes, PROT_READ);
  const GuardedMapping output(own.get(), region_size_bytes, PROT_READ | PROT_WRITE);
  const auto written = model.run(input.tail(payload_size_bytes), output.tail(result_size_bytes));
  BOOST_REQUIRE_MESSAGE(written, written.error().message);

  const auto expected = run_plainly(pictures);
  BOOST_TEST(
      std::memcmp(output.tail(result_size_bytes).data(), expected.data(), result_size_bytes) == 0);
  const auto before = output.tail(region_size_bytes).first(region_size_bytes - result_size_bytes);
  BOOST_TEST(
      std::all_of(before.begin(), before.end(), [](std::byte b) { return b == std::byte{0}; }));
}

BOOST_AUTO_TEST_CASE(is_not_confused_by_addresses_that_come_round_again) {
  NeuralModel model = load_digits();
  const auto pictures = random_pictures(3, 5);
  const auto expected = run_plainly(pictures);
  std::vector<float> input = pictures;
  std::vector<float> output(3 * digits);
  for (int round = 0; round < 3; ++round) {
    // The same addresses with one picture, with three, and with other content.
    for (const std::size_t count : {1u, 3u, 2u}) {
      std::fill(output.begin(), output.end(), -1.0f);
      const auto written = model.run(bytes_of(input).first(count * picture_size_bytes),
                                     room_in(output).first(count * scores_size_bytes));
      BOOST_REQUIRE_MESSAGE(written, written.error().message);
      BOOST_TEST(std::memcmp(output.data(), expected.data(), count * scores_size_bytes) == 0);
      BOOST_TEST((count == 3 || output[count * digits] == -1.0f));
    }
  }
  const auto others = random_pictures(3, 6);
  std::copy(others.begin(), others.end(), input.begin());
  BOOST_REQUIRE(model.run(bytes_of(input), room_in(output)));
  BOOST_TEST(output == run_plainly(others), boost::test_tools::per_element());
  BOOST_TEST(model.copied_results() == 0u);
}

BOOST_AUTO_TEST_CASE(wrong_payload_sizes_name_what_is_expected) {
  NeuralModel model = load_digits();
  std::vector<float> input(2 * pixels);
  std::vector<float> output(2 * digits);
  for (const std::size_t size_bytes : {0u, 1u, 3135u, 3137u, 6271u}) {
    const auto valid = model.validate(size_bytes);
    BOOST_REQUIRE(!valid);
    BOOST_TEST((valid.error().code == ErrorCode::model));
    TEST_CONTAINS(valid.error().message, "model 'digits': a payload of " +
                                             std::to_string(size_bytes) +
                                             " bytes does not fit the input");
    TEST_CONTAINS(valid.error().message, "pictures float32[batch,784]: batch x 3136 bytes");
    const auto ran = model.run(bytes_of(input).first(size_bytes), room_in(output));
    BOOST_REQUIRE(!ran);
    BOOST_TEST(ran.error().message == valid.error().message);
    BOOST_TEST(!model.output_size_bytes(size_bytes));
  }
  BOOST_TEST(model.validate(3136).has_value());
  BOOST_TEST(model.validate(2 * 3136).has_value());
}

BOOST_AUTO_TEST_CASE(too_little_room_says_how_much_is_needed) {
  NeuralModel model = load_digits();
  const auto pictures = random_pictures(1, 1);
  std::vector<float> output(digits, -1.0f);
  const auto ran = model.run(bytes_of(pictures), room_in(output).first(scores_size_bytes - 1));
  BOOST_REQUIRE(!ran);
  BOOST_TEST((ran.error().code == ErrorCode::too_large));
  TEST_CONTAINS(ran.error().message, "the result has 40 bytes, but there is room for 39");
  BOOST_TEST(output == std::vector<float>(digits, -1.0f), boost::test_tools::per_element());
}

BOOST_AUTO_TEST_CASE(misaligned_addresses_are_refused) {
  NeuralModel model = load_digits();
  std::vector<float> input(pixels + 4);
  std::vector<float> output(digits + 4);
  const auto shifted_input =
      model.run(bytes_of(input).subspan(4, picture_size_bytes), room_in(output));
  const auto shifted_output =
      model.run(bytes_of(input).first(picture_size_bytes), room_in(output).subspan(8));
  BOOST_REQUIRE((!shifted_input && !shifted_output));
  BOOST_TEST((shifted_input.error().code == ErrorCode::usage));
  BOOST_TEST((shifted_output.error().code == ErrorCode::usage));
}

BOOST_AUTO_TEST_CASE(forked_children_share_the_model) {
  NeuralModel model = load_digits();
  const auto threads = thread_count();
  BOOST_REQUIRE(threads);
  BOOST_TEST(*threads == 1);

  constexpr std::size_t children = 4;
  constexpr std::size_t count = 200;
  const auto pictures = random_pictures(count, 9);
  const auto expected = run_plainly(pictures);
  const std::size_t result_size_bytes = count * scores_size_bytes;
  std::array<UniqueFd, children> results;
  std::array<pid_t, children> pids{};
  for (std::size_t i = 0; i < children; ++i) {
    results[i] = make_memfd(result_size_bytes);
    pids[i] = ::fork();
    BOOST_REQUIRE_GE(pids[i], 0);
    if (pids[i] != 0) continue;
    // One by one, then all at once: both as the parent would have computed it.
    auto mapping = Mapping::map(results[i].get(), result_size_bytes, Mapping::Access::read_write);
    bool good = mapping.has_value();
    alignas(NeuralModel::alignment_bytes) std::array<std::byte, scores_size_bytes> scores;
    for (std::size_t n = 0; good && n < count; ++n) {
      good =
          model.run(bytes_of(pictures).subspan(n * picture_size_bytes, picture_size_bytes), scores)
              .has_value() &&
          std::memcmp(scores.data(), &expected[n * digits], sizeof scores) == 0;
    }
    good = good && model.run(bytes_of(pictures), {mapping->data(), result_size_bytes}).has_value();
    const auto threads_in_child = thread_count();
    good = good && threads_in_child && *threads_in_child == 1;
    ::_exit(good ? 0 : 1);
  }
  for (std::size_t i = 0; i < children; ++i) {
    int status = -1;
    BOOST_REQUIRE_EQUAL(::waitpid(pids[i], &status, 0), pids[i]);
    BOOST_TEST(status == 0);
    const auto mapping =
        Mapping::map(results[i].get(), result_size_bytes, Mapping::Access::read_only);
    BOOST_REQUIRE(mapping);
    BOOST_TEST(std::memcmp(mapping->data(), expected.data(), result_size_bytes) == 0);
  }
}

BOOST_AUTO_TEST_SUITE_END()

BOOST_AUTO_TEST_SUITE(broken_models)

BOOST_AUTO_TEST_CASE(corrupt_bytes) {
  const std::vector<std::byte> garbage(5000, std::byte{0xa5});
  const Error error = load_error(garbage);
  BOOST_TEST((error.code == ErrorCode::model));
  TEST_CONTAINS(error.message, "model 'broken': 5000 bytes that are not a usable ONNX model (");
  TEST_CONTAINS(error.message, "export it again");
  BOOST_TEST((load_error({}).code == ErrorCode::model));
}

BOOST_AUTO_TEST_CASE(every_truncation) {
  const std::vector<std::byte> whole = digit_model_bytes();
  for (std::size_t size = 1; size < whole.size(); size += size < 400 ? 7 : 4999)
    BOOST_TEST(
        (load_error({whole.begin(), whole.begin() + static_cast<std::ptrdiff_t>(size)}).code ==
         ErrorCode::model));
  for (std::size_t cut = 1; cut < 40; ++cut)
    BOOST_TEST((load_error({whole.begin(), whole.end() - static_cast<std::ptrdiff_t>(cut)}).code ==
                ErrorCode::model));
}

BOOST_AUTO_TEST_CASE(a_file_that_is_not_there) {
  const auto model = NeuralModel::load_file("/nonexistent/digits.onnx");
  BOOST_REQUIRE(!model);
  BOOST_TEST((model.error().code == ErrorCode::model));
  TEST_CONTAINS(model.error().message,
                "model '/nonexistent/digits.onnx' cannot be read: open: No such file or directory");
}

BOOST_AUTO_TEST_CASE(a_directory_and_an_empty_file) {
  for (const char* path : {"/", "/dev/null"}) {
    const auto model = NeuralModel::load_file(path);
    BOOST_REQUIRE(!model);
    BOOST_TEST((model.error().code == ErrorCode::model));
  }
}

BOOST_AUTO_TEST_CASE(an_unknown_operator) {
  const Error error = load_error(OnnxModel()
                                     .input("x", float_type, {2})
                                     .node("NoSuchOperator", {"x"}, {"y"})
                                     .output("y", float_type, {2})
                                     .bytes());
  TEST_CONTAINS(error.message, "NoSuchOperator");
}

BOOST_AUTO_TEST_CASE(text_is_not_numbers) {
  const Error error = load_error(OnnxModel()
                                     .input("words", onnx::TensorProto::STRING, {2})
                                     .node("Identity", {"words"}, {"same"})
                                     .output("same", onnx::TensorProto::STRING, {2})
                                     .bytes());
  TEST_CONTAINS(error.message, "input 'words' is not a tensor of numbers");
}

BOOST_AUTO_TEST_SUITE_END()

BOOST_AUTO_TEST_SUITE(shapes)

BOOST_AUTO_TEST_CASE(several_inputs_and_outputs_lie_one_after_the_other) {
  NeuralModel model = load(OnnxModel()
                               .input("a", float_type, {OnnxModel::free, 2}, {"rows"})
                               .input("b", float_type, {2})
                               .node("Add", {"a", "b"}, {"sum"})
                               .node("Mul", {"a", "b"}, {"product"})
                               .output("sum", float_type, {OnnxModel::free, 2}, {"rows"})
                               .output("product", float_type, {OnnxModel::free, 2}, {"rows"}));
  const std::vector<float> payload = {1, 2, 3, 4, 10, 100};  // a is 2x2, b the last two
  std::vector<float> result(8);
  BOOST_TEST(*model.output_size_bytes(24) == 32u);
  BOOST_TEST(*model.run(bytes_of(payload), room_in(result)) == 32u);
  const std::vector<float> expected = {11, 102, 13, 104, 10, 200, 30, 400};
  BOOST_TEST(result == expected, boost::test_tools::per_element());
  const auto error = model.validate(20);
  BOOST_REQUIRE(!error);
  TEST_CONTAINS(error.error().message,
                "expected a float32[rows,2] + b float32[2]: 8 + rows x 8 bytes");
}

BOOST_AUTO_TEST_CASE(a_fixed_shape_has_one_size) {
  NeuralModel model = load(OnnxModel()
                               .input("x", float_type, {2, 3})
                               .node("Neg", {"x"}, {"y"})
                               .output("y", float_type, {2, 3}));
  BOOST_TEST(model.validate(24).has_value());
  const auto error = model.validate(48);
  BOOST_REQUIRE(!error);
  TEST_CONTAINS(error.error().message, "expected x float32[2,3]: 24 bytes");
}

BOOST_AUTO_TEST_CASE(a_batch_beside_another_free_dimension_is_one) {
  const NeuralModel model = load(
      OnnxModel()
          .input("x", float_type, {OnnxModel::free, OnnxModel::free, 2}, {"batch", "samples"})
          .node("Neg", {"x"}, {"y"})
          .output("y", float_type, {OnnxModel::free, OnnxModel::free, 2}, {"batch", "samples"}));
  const auto error = model.validate(4);
  BOOST_REQUIRE(!error);
  TEST_CONTAINS(error.error().message, "expected x float32[1,samples,2]: samples x 8 bytes");
}

BOOST_AUTO_TEST_CASE(nameless_leading_dimensions_are_one_batch) {
  NeuralModel model = load(OnnxModel()
                               .input("a", float_type, {OnnxModel::free, 1})
                               .input("b", float_type, {OnnxModel::free, 1})
                               .node("Sub", {"a", "b"}, {"difference"})
                               .output("difference", float_type, {OnnxModel::free, 1}));
  const std::vector<float> payload = {5, 6, 7, 1, 2, 3};
  std::vector<float> result(3);
  BOOST_TEST(*model.run(bytes_of(payload), room_in(result)) == 12u);
  BOOST_TEST(result == std::vector<float>(3, 4.0f), boost::test_tools::per_element());
}

BOOST_AUTO_TEST_CASE(a_dimension_that_counts_twice_cannot_be_told) {
  const Error error =
      load_error(OnnxModel()
                     .input("adjacency", float_type, {OnnxModel::free, OnnxModel::free}, {"n", "n"})
                     .node("Neg", {"adjacency"}, {"y"})
                     .output("y", float_type, {OnnxModel::free, OnnxModel::free}, {"n", "n"})
                     .bytes());
  TEST_CONTAINS(error.message, "uses 'n' twice");
}

BOOST_AUTO_TEST_CASE(an_input_between_elements_is_refused) {
  const NeuralModel model =
      load(OnnxModel()
               .input("flags", onnx::TensorProto::UINT8, {OnnxModel::free}, {"n"})
               .input("x", float_type, {2})
               .node("Neg", {"x"}, {"y"})
               .node("Identity", {"flags"}, {"same"})
               .output("y", float_type, {2})
               .output("same", onnx::TensorProto::UINT8, {OnnxModel::free}, {"n"}));
  BOOST_TEST(model.validate(8 + 4).has_value());
  const auto error = model.validate(8 + 3);
  BOOST_REQUIRE(!error);
  TEST_CONTAINS(error.error().message, "input x float32[2] would start at byte 3");
}

BOOST_AUTO_TEST_CASE(an_output_between_elements_is_copied_there) {
  NeuralModel model = load(OnnxModel()
                               .input("x", float_type, {2})
                               .input("flags", onnx::TensorProto::UINT8, {3})
                               .node("Identity", {"flags"}, {"same"})
                               .node("Neg", {"x"}, {"y"})
                               .output("same", onnx::TensorProto::UINT8, {3})
                               .output("y", float_type, {2}));
  std::vector<std::byte> payload(11);
  const float x[] = {1.5f, -2.0f};
  std::memcpy(payload.data(), x, sizeof x);
  payload[8] = std::byte{7};
  std::vector<std::byte> result(11);
  BOOST_TEST(*model.run(payload, result) == 11u);
  float y[2];
  std::memcpy(y, result.data() + 3, sizeof y);
  BOOST_TEST((result[0] == std::byte{7} && y[0] == -1.5f && y[1] == 2.0f));
  BOOST_TEST(model.copied_results() == 1u);
}

BOOST_AUTO_TEST_CASE(a_result_whose_size_depends_on_the_content) {
  NeuralModel model = load(OnnxModel()
                               .input("x", float_type, {4})
                               .node("NonZero", {"x"}, {"where"})
                               .output("where", int64_type, {1, OnnxModel::free}));
  std::vector<std::int64_t> result(4, -1);
  const auto room = room_in(result);
  // All zero in the warm-up run, so nothing is expected yet; the first result shows that.
  BOOST_TEST(*model.output_size_bytes(16) == 0u);
  const auto too_small = model.run(bytes_of(std::vector<float>{1, 0, 1, 0}), room.first(8));
  BOOST_REQUIRE(!too_small);
  BOOST_TEST((too_small.error().code == ErrorCode::too_large));
  TEST_CONTAINS(too_small.error().message, "the result has 16 bytes, but there is room for 8");
  BOOST_TEST(*model.output_size_bytes(16) == 16u);

  BOOST_TEST(*model.run(bytes_of(std::vector<float>{1, 0, 1, 0}), room) == 16u);
  BOOST_TEST((result[0] == 0 && result[1] == 2));
  BOOST_TEST(*model.run(bytes_of(std::vector<float>{0, 0, 0, 5}), room) == 8u);
  BOOST_TEST(result[0] == 3);
  BOOST_TEST(*model.run(bytes_of(std::vector<float>{0, 0, 0, 0}), room) == 0u);
  BOOST_TEST(*model.run(bytes_of(std::vector<float>{1, 1, 1, 1}), room) == 32u);
  BOOST_TEST(result == (std::vector<std::int64_t>{0, 1, 2, 3}), boost::test_tools::per_element());
  BOOST_TEST(*model.output_size_bytes(16) == 32u);
  BOOST_TEST(model.copied_results() == 4u);
}

BOOST_AUTO_TEST_CASE(a_model_that_refuses_zeros_runs_on_what_it_accepts) {
  NeuralModel model =
      load(OnnxModel()
               .input("shape", int64_type, {2})
               .input("x", float_type, {6})
               .node("Reshape", {"x", "shape"}, {"y"})
               .output("y", float_type, {OnnxModel::free, OnnxModel::free}, {"rows", "columns"}));
  std::vector<std::int64_t> payload(5);
  const auto fill = [&payload](std::int64_t rows, std::int64_t columns) {
    payload[0] = rows;
    payload[1] = columns;
    const float x[] = {1, 2, 3, 4, 5, 6};
    std::memcpy(payload.data() + 2, x, sizeof x);
  };
  std::vector<float> result(6);
  const std::vector<float> expected = {1, 2, 3, 4, 5, 6};
  for (const auto& [rows, columns] : {std::pair{2, 3}, {2, 3}, {3, 2}, {6, 1}}) {
    fill(rows, columns);
    std::fill(result.begin(), result.end(), 0.0f);
    const auto written = model.run(bytes_of(payload), room_in(result));
    BOOST_REQUIRE_MESSAGE(written, written.error().message);
    BOOST_TEST(*written == 24u);
    BOOST_TEST(result == expected, boost::test_tools::per_element());
  }
  fill(4, 4);
  const auto refused = model.run(bytes_of(payload), room_in(result));
  BOOST_REQUIRE(!refused);
  BOOST_TEST((refused.error().code == ErrorCode::model));
  TEST_CONTAINS(refused.error().message, "model 'small': ");
  fill(3, 2);
  BOOST_TEST(model.run(bytes_of(payload), room_in(result)).has_value());
}

BOOST_AUTO_TEST_CASE(several_payloads_run_as_one) {
  NeuralModel model = load_digits();
  BOOST_REQUIRE(model.can_batch());
  // Of different sizes: a payload may have several pictures itself.
  const std::vector<std::vector<float>> payloads{random_pictures(1, 1), random_pictures(3, 2),
                                                 random_pictures(1, 3)};
  std::vector<std::span<const std::byte>> inputs;
  for (const auto& payload : payloads) inputs.push_back(bytes_of(payload));
  std::vector<std::vector<float>> results(payloads.size());
  const auto ran = model.run_batch(inputs, [&](std::size_t i, std::size_t size_bytes) {
    results[i].resize(size_bytes / sizeof(float));
    return i == 1 ? std::span<std::byte>() : room_in(results[i]);  // nobody wants that one
  });
  BOOST_REQUIRE_MESSAGE(ran, ran.error().message);
  for (const std::size_t i : {0u, 2u}) {
    const std::vector<float> alone = run_plainly(payloads[i]);
    BOOST_REQUIRE_EQUAL(results[i].size(), alone.size());
    // A matrix of one row may be multiplied in another order.
    for (std::size_t k = 0; k < alone.size(); ++k)
      BOOST_CHECK_SMALL(results[i][k] - alone[k], 1e-4f);
  }
  const std::vector<std::byte> wrong(100);
  inputs.push_back(wrong);
  const auto refused = model.run_batch(inputs, [](auto, auto) { return std::span<std::byte>(); });
  BOOST_REQUIRE(!refused);
  BOOST_CHECK(refused.error().code == ErrorCode::model);
}

BOOST_AUTO_TEST_CASE(only_what_keeps_rows_apart_is_batched) {
  NeuralModel fixed = load(OnnxModel()
                               .input("x", float_type, {2, 2})
                               .output("y", float_type, {2, 2})
                               .node("Neg", {"x"}, {"y"}));
  BOOST_CHECK(!fixed.can_batch());
  NeuralModel rows = load(OnnxModel()
                              .input("x", float_type, {-1, 4})
                              .output("y", float_type, {-1, 4})
                              .node("Neg", {"x"}, {"y"}));
  BOOST_CHECK(rows.can_batch());
  NeuralModel sum = load(OnnxModel()
                             .input("x", float_type, {-1, 4})
                             .output("y", float_type, {1, 1})
                             .node("ReduceSum", {"x"}, {"y"}));
  BOOST_CHECK(!sum.can_batch());
  NeuralModel two = load(OnnxModel()
                             .input("a", float_type, {-1, 4}, {"n"})
                             .input("b", float_type, {-1, 4}, {"n"})
                             .output("y", float_type, {-1, 4}, {"n"})
                             .node("Add", {"a", "b"}, {"y"}));
  BOOST_CHECK(!two.can_batch());
}

BOOST_AUTO_TEST_SUITE_END()
