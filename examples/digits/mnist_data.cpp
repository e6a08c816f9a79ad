#include "examples/digits/mnist_data.hpp"

#include <algorithm>
#include <charconv>
#include <fstream>
#include <nlohmann/json.hpp>
#include <utility>

namespace micro_swarm::digits {
namespace {

/// Takes the numbers of the one array as they are parsed: 784,000 JSON values a file would cost
/// 16 bytes each as a document.
class PixelReader : public nlohmann::json_sax<nlohmann::json> {
 public:
  explicit PixelReader(std::vector<float>& pixels) : pixels_(pixels) {}

  const std::string& problem() const { return problem_; }

  bool number_integer(number_integer_t value) override { return take(static_cast<double>(value)); }
  bool number_unsigned(number_unsigned_t value) override {
    return take(static_cast<double>(value));
  }
  bool number_float(number_float_t value, const string_t&) override { return take(value); }
  bool start_object(std::size_t) override { return true; }
  bool end_object() override { return true; }
  bool start_array(std::size_t) override { return true; }
  bool end_array() override { return true; }
  bool key(string_t& name) override {
    return name == "data" || refuse("has the unknown key '" + name + "'");
  }
  bool null() override { return refuse("holds a null"); }
  bool boolean(bool) override { return refuse("holds a boolean"); }
  bool string(string_t&) override { return refuse("holds a string"); }
  bool binary(binary_t&) override { return refuse("holds binary data"); }
  bool parse_error(std::size_t, const std::string&,
                   const nlohmann::detail::exception& error) override {
    return refuse(error.what());
  }

 private:
  bool take(double value) {
    if (value < 0 || value > 1) return refuse("holds a pixel outside 0..1");
    pixels_.push_back(static_cast<float>(value));
    return true;
  }
  bool refuse(std::string problem) {
    problem_ = std::move(problem);
    return false;
  }

  std::vector<float>& pixels_;
  std::string problem_;
};

Error bad_data(const std::string& path, const std::string& problem) {
  return Error{ErrorCode::config,
               path + " " + problem + "; scripts/setup fetches the digits again if it is removed"};
}

std::uint64_t splitmix64(std::uint64_t x) {
  x += 0x9e3779b97f4a7c15u;
  x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9u;
  x = (x ^ (x >> 27)) * 0x94d049bb133111ebu;
  return x ^ (x >> 31);
}

}  // namespace

Result<Pictures> load_pictures(const std::string& directory) {
  Pictures pictures;
  pictures.pixels.reserve(10'000 * picture_pixels);
  for (std::size_t digit = 0; digit < digit_count; ++digit) {
    const std::string path = directory + "/" + std::to_string(digit) + ".json";
    std::ifstream file(path, std::ios::binary);
    if (!file) return bad_data(path, "cannot be read");
    const std::string text((std::istreambuf_iterator<char>(file)), {});
    PixelReader reader(pictures.pixels);
    if (!nlohmann::json::sax_parse(text, &reader)) return bad_data(path, reader.problem());
    if (pictures.pixels.size() % picture_pixels != 0)
      return bad_data(path, "does not hold a whole number of 28x28 pictures");
    pictures.labels.resize(pictures.pixels.size() / picture_pixels,
                           static_cast<std::uint8_t>(digit));
  }
  return pictures;
}

Result<std::vector<std::uint32_t>> choose_holdout(const Pictures& pictures) {
  constexpr std::uint64_t seed = 2024;
  std::array<std::vector<std::pair<std::uint64_t, std::uint32_t>>, digit_count> scrambled;
  for (std::size_t number = 0; number < pictures.count(); ++number)
    scrambled[pictures.labels[number]].emplace_back(splitmix64(seed + number),
                                                    static_cast<std::uint32_t>(number));
  std::vector<std::uint32_t> chosen;
  for (auto& of_digit : scrambled) {
    if (of_digit.size() < holdout_per_digit)
      return Error{ErrorCode::config, "fewer than 200 pictures of a digit"};
    std::sort(of_digit.begin(), of_digit.end());
    for (std::size_t i = 0; i < holdout_per_digit; ++i) chosen.push_back(of_digit[i].second);
  }
  std::sort(chosen.begin(), chosen.end());
  return chosen;
}

Result<std::vector<std::uint32_t>> load_holdout(const std::string& path,
                                                std::size_t picture_count) {
  std::ifstream file(path);
  if (!file) return Error{ErrorCode::config, path + " cannot be read"};
  std::vector<std::uint32_t> numbers;
  std::vector<bool> named(picture_count, false);
  std::size_t line_number = 0;
  for (std::string line; std::getline(file, line);) {
    ++line_number;
    if (line.empty() || line.front() == '#') continue;
    std::uint32_t number = 0;
    const auto [end, failed] = std::from_chars(line.data(), line.data() + line.size(), number);
    const auto refuse = [&](const char* problem) {
      return Error{ErrorCode::config,
                   path + " line " + std::to_string(line_number) + ": '" + line + "' " + problem};
    };
    if (failed != std::errc{} || end != line.data() + line.size())
      return refuse("is not a picture number");
    if (number >= picture_count) return refuse("is beyond the last picture");
    if (named[number]) return refuse("is listed twice");
    named[number] = true;
    numbers.push_back(number);
  }
  if (numbers.empty()) return Error{ErrorCode::config, path + " lists no picture"};
  return numbers;
}

std::uint8_t best_digit(std::span<const float, digit_count> scores) {
  return static_cast<std::uint8_t>(std::max_element(scores.begin(), scores.end()) - scores.begin());
}

}  // namespace micro_swarm::digits
