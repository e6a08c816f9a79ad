// Operations on bytes and tensors, without any agent: beside values worked out by hand or by a
// plain loop, in one piece and in many.

#include <boost/test/unit_test.hpp>
#include <cmath>
#include <cstring>
#include <limits>
#include <nlohmann/json.hpp>
#include <random>

#include "agentproc/operations/operations.hpp"

namespace micro_swarm::operations {
namespace {

struct Memory final : Output {
  Result<std::span<std::byte>> room(std::size_t size_bytes) override {
    if (size_bytes > room_max) return Error{ErrorCode::too_large, "too large", 0};
    bytes.assign(size_bytes, std::byte{0xee});
    return std::span<std::byte>(bytes);
  }
  void shrink(std::size_t size_bytes) override { bytes.resize(size_bytes); }
  bool go_on() override { return looks_left-- != 0; }

  std::vector<std::byte> bytes;
  std::size_t room_max = 1 << 28;
  unsigned looks_left = 1'000'000;
};

template <class T>
std::vector<std::byte> bytes_of(const std::vector<T>& values) {
  std::vector<std::byte> bytes(values.size() * sizeof(T));
  if (!bytes.empty()) std::memcpy(bytes.data(), values.data(), bytes.size());
  return bytes;
}
template <class T>
std::vector<T> values_of(const std::vector<std::byte>& bytes) {
  BOOST_REQUIRE(bytes.size() % sizeof(T) == 0);
  std::vector<T> values(bytes.size() / sizeof(T));
  if (!bytes.empty()) std::memcpy(values.data(), bytes.data(), bytes.size());
  return values;
}

Function function_of(std::string_view name) {
  for (const Operation& operation : all())
    if (operation.name == name) return operation.run;
  BOOST_FAIL("no operation " << name);
  return nullptr;
}

/// Cuts at `cuts`; each piece is copied to an odd address, as what lies behind a line of text does.
struct Pieced {
  Pieced(const std::vector<std::byte>& whole, std::vector<std::size_t> cuts) {
    cuts.push_back(whole.size());
    std::size_t from = 0;
    for (const std::size_t to : cuts) {
      auto& copy = storage.emplace_back(1 + to - from);
      std::copy(whole.begin() + static_cast<std::ptrdiff_t>(from),
                whole.begin() + static_cast<std::ptrdiff_t>(to), copy.begin() + 1);
      from = to;
    }
    for (const auto& copy : storage) pieces.push_back(std::span(copy).subspan(1));
  }
  std::vector<std::vector<std::byte>> storage;
  std::vector<std::span<const std::byte>> pieces;
};

std::vector<std::byte> run(std::string_view name, std::string_view parameters,
                           const std::vector<std::byte>& data,
                           const std::vector<std::size_t>& cuts = {}) {
  Memory memory;
  const Pieced pieced(data, cuts);
  const auto done = function_of(name)(parameters, pieced.pieces, memory);
  BOOST_REQUIRE_MESSAGE(done.has_value(), name << ": " << done.error().message);
  return memory.bytes;
}
nlohmann::json run_json(std::string_view name, std::string_view parameters,
                        const std::vector<std::byte>& data,
                        const std::vector<std::size_t>& cuts = {}) {
  const auto bytes = run(name, parameters, data, cuts);
  return nlohmann::json::parse(reinterpret_cast<const char*>(bytes.data()),
                               reinterpret_cast<const char*>(bytes.data()) + bytes.size());
}
Error refused(std::string_view name, std::string_view parameters,
              const std::vector<std::byte>& data = {}) {
  Memory memory;
  const std::span<const std::byte> piece(data);
  const auto done = function_of(name)(parameters, {&piece, 1}, memory);
  BOOST_REQUIRE_MESSAGE(!done.has_value(), name << " took " << parameters);
  return done.error();
}

BOOST_AUTO_TEST_CASE(a_payload_is_a_line_and_data) {
  const auto payload = [](std::string_view text) {
    return split(std::as_bytes(std::span(text.data(), text.size())));
  };
  const auto both = payload("{\"a\":1}\nxyz");
  BOOST_REQUIRE(both.has_value());
  BOOST_TEST(both->parameters == "{\"a\":1}");
  BOOST_TEST(both->data.size() == 3u);
  BOOST_TEST(payload("{}").value().data.empty());
  BOOST_TEST(payload("{}\n").value().data.empty());
  BOOST_TEST(!payload("").has_value());
  BOOST_TEST(!payload("xyz").has_value());
  BOOST_TEST(!payload("{" + std::string(5'000, ' ') + "}\n").has_value());
}

BOOST_AUTO_TEST_CASE(each_function_of_map) {
  const std::vector<float> in{-2, -0.5F, 0, 1, 9};
  const auto map = [&](const std::string& function) {
    return values_of<float>(
        run("tensor.map", "{\"type\":\"float32\",\"function\":" + function + "}", bytes_of(in)));
  };
  const auto is = [&](const std::string& function, const std::vector<float>& wanted) {
    const auto found = map(function);
    BOOST_REQUIRE(found.size() == wanted.size());
    for (std::size_t i = 0; i < wanted.size(); ++i) {
      if (std::isnan(wanted[i]))
        BOOST_TEST(std::isnan(found[i]));
      else if (found[i] != wanted[i])  // the infinite ones are equal and not near
        BOOST_TEST(found[i] == wanted[i], boost::test_tools::tolerance(1e-6F));
    }
  };
  const float nan = std::numeric_limits<float>::quiet_NaN();
  const float endless = std::numeric_limits<float>::infinity();
  is("\"add\",\"by\":1.5", {-0.5F, 1, 1.5F, 2.5F, 10.5F});
  is("\"multiply\",\"by\":-2", {4, 1, -0.0F, -2, -18});
  is("\"power\",\"by\":2", {4, 0.25F, 0, 1, 81});
  is("\"clamp\",\"low\":-1,\"high\":3", {-1, -0.5F, 0, 1, 3});
  is("\"absolute\"", {2, 0.5F, 0, 1, 9});
  is("\"negate\"", {2, 0.5F, -0.0F, -1, -9});
  is("\"square\"", {4, 0.25F, 0, 1, 81});
  is("\"root\"", {nan, nan, 0, 1, 3});
  is("\"exp\"", {0.13533528F, 0.60653067F, 1, 2.7182817F, 8103.084F});
  is("\"log\"", {nan, nan, -endless, 0, 2.1972246F});
  is("\"tanh\"", {-0.9640276F, -0.46211717F, 0, 0.7615942F, 1});
  is("\"sigmoid\"", {0.11920292F, 0.37754068F, 0.5F, 0.7310586F, 0.9998766F});
  is("\"relu\"", {0, 0, 0, 1, 9});
}

BOOST_AUTO_TEST_CASE(whole_numbers_are_exact_and_end_at_their_ends) {
  const std::int64_t large = (std::int64_t{1} << 62) + 1;
  const std::vector<std::int64_t> in{large, -5, std::numeric_limits<std::int64_t>::max()};
  const auto added = values_of<std::int64_t>(
      run("tensor.map", R"({"type":"int64","function":"add","by":1})", bytes_of(in)));
  BOOST_TEST((added == std::vector<std::int64_t>{large + 1, -4, in[2]}));
  const auto small =
      values_of<std::uint8_t>(run("tensor.map", R"({"type":"uint8","function":"multiply","by":3})",
                                  bytes_of(std::vector<std::uint8_t>{1, 85, 86, 255})));
  BOOST_TEST((small == std::vector<std::uint8_t>{3, 255, 255, 255}));
  const float nan = std::numeric_limits<float>::quiet_NaN();
  const auto converted =
      values_of<std::int16_t>(run("tensor.convert", R"({"type":"float32","to":"int16"})",
                                  bytes_of(std::vector<float>{1.4F, -1.6F, 1e9F, -1e9F, nan})));
  BOOST_TEST((converted == std::vector<std::int16_t>{1, -2, 32767, -32768, 0}));
  const auto widened = values_of<double>(run("tensor.convert", R"({"type":"int8","to":"float64"})",
                                             bytes_of(std::vector<std::int8_t>{-128, 127})));
  BOOST_TEST((widened == std::vector<double>{-128, 127}));
}

BOOST_AUTO_TEST_CASE(filters_keep_what_is_in_all_bounds_in_its_order) {
  const double nan = std::numeric_limits<double>::quiet_NaN();
  const std::vector<double> in{3, nan, -1, 0, 2, 7, HUGE_VAL};
  const auto kept = [&](const char* parameters) {
    return values_of<double>(run("tensor.filter", parameters, bytes_of(in), {16, 40}));
  };
  BOOST_TEST(
      (kept(R"({"type":"float64","at_least":0,"at_most":3})") == std::vector<double>{3, 0, 2}));
  BOOST_TEST((kept(R"({"type":"float64","finite":true,"nonzero":true})") ==
              std::vector<double>{3, -1, 2, 7}));
  BOOST_TEST(kept(R"({"type":"float64","at_least":100,"at_most":200})").empty());
}

BOOST_AUTO_TEST_CASE(summaries_are_those_of_the_definition) {
  std::mt19937 random(7);
  std::vector<float> in(10'001);
  for (float& value : in) value = static_cast<float>(random() % 1'000) / 8;
  const auto bytes = bytes_of(in);
  const std::vector<std::size_t> cuts{4, 400, 20'000};
  double sum = 0, squares = 0;
  for (const float value : in) sum += static_cast<double>(value);
  const double mean = sum / static_cast<double>(in.size());
  for (const float value : in) squares += std::pow(static_cast<double>(value) - mean, 2);
  auto sorted = in;
  std::sort(sorted.begin(), sorted.end());
  const auto near = boost::test_tools::tolerance(1e-9);
  const auto reduced = [&](const char* function) {
    return run_json("tensor.reduce",
                    std::string(R"({"type":"float32","function":")") + function + "\"}", bytes,
                    cuts)["value"]
        .get<double>();
  };
  BOOST_TEST(reduced("sum") == sum, near);
  BOOST_TEST(reduced("mean") == mean, near);
  BOOST_TEST(reduced("min") == static_cast<double>(sorted.front()));
  BOOST_TEST(reduced("max") == static_cast<double>(sorted.back()));
  const auto statistics = run_json("tensor.statistics", R"({"type":"float32"})", bytes, cuts);
  BOOST_TEST(statistics["count"] == in.size());
  BOOST_TEST(statistics["mean"].get<double>() == mean, near);
  BOOST_TEST(
      statistics["deviation"].get<double>() == std::sqrt(squares / static_cast<double>(in.size())),
      near);
  BOOST_TEST(statistics["median"].get<double>() == static_cast<double>(sorted[5'000]));
  BOOST_TEST(statistics["lower"].get<double>() == static_cast<double>(sorted[2'500]));
  BOOST_TEST(statistics["upper"].get<double>() == static_cast<double>(sorted[7'500]));

  const auto histogram = run_json("tensor.histogram",
                                  R"({"type":"float32","bins":4,"low":25,"high":75})", bytes, cuts);
  std::vector<std::uint64_t> counts(4);
  std::uint64_t below = 0, above = 0;
  for (const float value : in) {
    if (value < 25)
      ++below;
    else if (value > 75)
      ++above;
    else
      ++counts[std::min<std::size_t>(3, static_cast<std::size_t>((value - 25) / 12.5F))];
  }
  BOOST_TEST((histogram["counts"].get<std::vector<std::uint64_t>>() == counts));
  BOOST_TEST(histogram["below"] == below);
  BOOST_TEST(histogram["above"] == above);
}

BOOST_AUTO_TEST_CASE(a_sum_does_not_lose_what_is_small) {
  // Kahan's sum gives 0 here, Neumaier's 2.
  const auto answer = run_json("tensor.reduce", R"({"type":"float64","function":"sum"})",
                               bytes_of(std::vector<double>{1, 1e100, 1, -1e100}));
  BOOST_TEST(answer["value"].get<double>() == 2.0);
  BOOST_TEST(answer["count"] == 4);
  const auto none = run_json("tensor.reduce", R"({"type":"float64","function":"sum"})", {});
  BOOST_TEST(none["value"].get<double>() == 0.0);
}

BOOST_AUTO_TEST_CASE(hashes_are_the_published_ones_however_they_are_cut) {
  const std::vector<std::byte> none;
  const auto text = [](const std::vector<std::byte>& bytes) {
    return std::string(reinterpret_cast<const char*>(bytes.data()), bytes.size());
  };
  // xxHash's own test vectors for an empty input.
  BOOST_TEST(text(run("bytes.hash", "{}", none)) == "2d06800538d394c2");
  BOOST_TEST(text(run("bytes.hash", R"({"with":"xxh3_128"})", none)) ==
             "99aa06d3014798d86001c324468d497f");
  std::vector<std::byte> many(300'000);
  std::mt19937 random(1);
  for (auto& byte : many) byte = static_cast<std::byte>(random());
  BOOST_TEST(text(run("bytes.hash", "{}", many)) ==
             text(run("bytes.hash", "{}", many, {1, 17, 99'999})));
}

BOOST_AUTO_TEST_CASE(what_was_compressed_comes_back_and_what_is_damaged_does_not) {
  std::vector<std::byte> many(100'000);
  for (std::size_t i = 0; i < many.size(); ++i) many[i] = static_cast<std::byte>(i / 100);
  for (const char* with : {R"({"with":"lz4"})", R"({"with":"zstd"})"}) {
    auto packed = run("bytes.compress", with, many, {7, 50'000});
    BOOST_TEST(packed.size() < many.size() / 4);
    BOOST_TEST((run("bytes.decompress", "{}", packed, {10}) == many));
    packed[packed.size() / 2] ^= std::byte{1};
    BOOST_TEST((refused("bytes.decompress", "{}", packed).code == ErrorCode::protocol));
  }
  BOOST_TEST((refused("bytes.decompress", "{}", many).code == ErrorCode::protocol));
  BOOST_TEST((refused("bytes.decompress", "{}").code == ErrorCode::protocol));
  const auto counts = values_of<std::uint64_t>(run("bytes.histogram", "{}", many, {3}));
  BOOST_REQUIRE(counts.size() == 256u);
  std::uint64_t all_of_them = 0;
  for (const std::uint64_t count : counts) all_of_them += count;
  BOOST_TEST(all_of_them == many.size());
  BOOST_TEST(counts[0] == 400u);
}

BOOST_AUTO_TEST_CASE(bad_requests_are_told_what_would_be_right) {
  const auto says = [](const Error& error, const std::string& what) {
    return error.code == ErrorCode::usage && error.message.find(what) != std::string::npos;
  };
  const std::vector<std::byte> seven(7);
  BOOST_TEST(says(refused("tensor.map", "{}"), "lack \"type\": one of float32"));
  BOOST_TEST(says(refused("tensor.map", "["), "no object"));
  BOOST_TEST(says(refused("tensor.map", R"({"type":"float16","function":"exp"})"), "allowed"));
  BOOST_TEST(says(refused("tensor.map", R"({"type":"int8","function":"add"})"), "lack \"by\""));
  BOOST_TEST(says(refused("tensor.map", R"({"type":"int8","function":"exp","by":1})"), "\"by\""));
  BOOST_TEST(says(refused("tensor.map", R"({"type":"int8","function":"clamp","low":2,"high":1})"),
                  "above"));
  BOOST_TEST(says(refused("tensor.map", R"({"type":"float32","function":"exp"})", seven),
                  "7 bytes are no whole number of elements of 4 bytes"));
  BOOST_TEST(says(refused("tensor.histogram", R"({"type":"int8","bins":0})", seven), "1 to 65536"));
  BOOST_TEST(says(refused("tensor.statistics", R"({"type":"int8"})"), "no elements"));
  BOOST_TEST(says(refused("tensor.reduce", R"({"type":"int8","function":"min"})"), "no elements"));
  BOOST_TEST(says(refused("bytes.hash", R"({"with":"md5"})"), "xxh3_64, xxh3_128"));
}

BOOST_AUTO_TEST_CASE(nobody_is_held_up_and_no_memory_is_no_crash) {
  const std::vector<std::byte> large(64 << 20);
  const std::span<const std::byte> piece(large);
  Memory memory;
  memory.looks_left = 3;
  const auto cancelled =
      function_of("tensor.map")(R"({"type":"uint8","function":"negate"})", {&piece, 1}, memory);
  BOOST_REQUIRE(!cancelled.has_value());
  BOOST_TEST((cancelled.error().code == ErrorCode::cancelled));
  memory.room_max = 100;
  const auto none = function_of("bytes.compress")("{}", {&piece, 1}, memory);
  BOOST_REQUIRE(!none.has_value());
  BOOST_TEST((none.error().code == ErrorCode::too_large));
}

}  // namespace
}  // namespace micro_swarm::operations
