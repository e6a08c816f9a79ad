#include <algorithm>
#include <functional>

#include "agentproc/operations/element.hpp"
#include "agentproc/operations/families.hpp"

namespace micro_swarm::operations {

namespace {

/// Values of type In, each made a value of type Out by `f`, where the result is to be read.
template <class In, class Out, class F>
Result<void> transform(Pieces data, Output& output, F&& f) {
  const auto count = count_of<In>(data);
  if (!count) return count.error();
  auto room = output.room(*count * sizeof(Out));
  if (!room) return room.error();
  std::byte* to = room->data();
  return for_each<In>(data, output, [&](In value) {
    const Out made = f(value);
    std::memcpy(to, &made, sizeof made);
    to += sizeof made;
  });
}

struct Map {
  std::string function;
  double by = 0, low = 0, high = 0;
};

Map read_map(Parameters& parameters) {
  Map map;
  map.function = parameters.required_word(
      "function", {"add", "multiply", "power", "clamp", "absolute", "negate", "square", "root",
                   "exp", "log", "tanh", "sigmoid", "relu"});
  if (map.function == "add" || map.function == "multiply" || map.function == "power")
    map.by = parameters.required_number("by");
  if (map.function == "clamp") {
    map.low = parameters.required_number("low");
    map.high = parameters.required_number("high");
  }
  return map;
}

/// One loop for each function: what it is is decided outside of it.
template <class T>
Result<void> run_map(const Map& map, Pieces data, Output& output) {
  using W = Wide<T>;
  const auto by = static_cast<W>(map.by);
  const auto each = [&](auto&& f) {
    return transform<T, T>(data, output,
                           [&](T value) { return narrow<T>(f(static_cast<W>(value))); });
  };
  if (map.function == "add") return each([by](W x) { return x + by; });
  if (map.function == "multiply") return each([by](W x) { return x * by; });
  if (map.function == "power") return each([by](W x) { return std::pow(x, by); });
  if (map.function == "clamp")
    return each([low = static_cast<W>(map.low), high = static_cast<W>(map.high)](W x) {
      return x < low ? low : x > high ? high : x;
    });
  if (map.function == "absolute") return each([](W x) { return std::abs(x); });
  if (map.function == "negate") return each([](W x) { return -x; });
  if (map.function == "square") return each([](W x) { return x * x; });
  if (map.function == "root") return each([](W x) { return std::sqrt(x); });
  if (map.function == "exp") return each([](W x) { return std::exp(x); });
  if (map.function == "log") return each([](W x) { return std::log(x); });
  if (map.function == "tanh") return each([](W x) { return std::tanh(x); });
  if (map.function == "sigmoid") return each([](W x) { return 1 / (1 + std::exp(-x)); });
  return each([](W x) { return x < 0 ? W{0} : x; });  // relu
}

}  // namespace

Result<void> tensor_map(std::string_view text, Pieces data, Output& output) {
  Parameters parameters(text);
  const std::string type = read_type(parameters);
  const Map map = read_map(parameters);
  if (auto read = parameters.finish(); !read) return read;
  if (map.low > map.high)
    return Error{ErrorCode::usage, "the parameters have a \"low\" above \"high\"", 0};
  return with_type(type, [&](auto zero) { return run_map<decltype(zero)>(map, data, output); });
}

/// Keeps what is in all the bounds that are given, in its order.
Result<void> tensor_filter(std::string_view text, Pieces data, Output& output) {
  Parameters parameters(text);
  const std::string type = read_type(parameters);
  const auto at_least = parameters.number("at_least"), at_most = parameters.number("at_most");
  const bool finite = parameters.flag("finite"), nonzero = parameters.flag("nonzero");
  if (auto read = parameters.finish(); !read) return read;
  return with_type(type, [&](auto zero) -> Result<void> {
    using T = decltype(zero);
    const auto keeps = [&](T value) {
      const auto wide = static_cast<Wide<T>>(value);
      return (!at_least || wide >= static_cast<Wide<T>>(*at_least)) &&
             (!at_most || wide <= static_cast<Wide<T>>(*at_most)) &&
             (!finite || std::isfinite(wide)) && (!nonzero || value != 0);
    };
    const auto count = count_of<T>(data);
    if (!count) return count.error();
    auto room = output.room(*count * sizeof(T));
    if (!room) return room.error();
    std::byte* to = room->data();
    auto done = for_each<T>(data, output, [&](T value) {
      if (!keeps(value)) return;
      std::memcpy(to, &value, sizeof value);
      to += sizeof value;
    });
    if (!done) return done;
    output.shrink(static_cast<std::size_t>(to - room->data()));
    return {};
  });
}

Result<void> tensor_convert(std::string_view text, Pieces data, Output& output) {
  Parameters parameters(text);
  const std::string type = read_type(parameters), to = read_type(parameters, "to");
  if (auto read = parameters.finish(); !read) return read;
  return with_type(type, [&](auto from_zero) {
    using In = decltype(from_zero);
    return with_type(to, [&](auto to_zero) {
      using Out = decltype(to_zero);
      return transform<In, Out>(
          data, output, [](In value) { return narrow<Out>(static_cast<Wide<Out>>(value)); });
    });
  });
}

}  // namespace micro_swarm::operations
