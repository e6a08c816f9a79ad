#include "agentproc/neural_model.hpp"

#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cstdint>
#include <map>
#include <optional>
#include <utility>

#include "agentproc/onnx_session.hpp"
#include "common/posix.hpp"

namespace micro_swarm {
namespace {

static_assert(__STDCPP_DEFAULT_NEW_ALIGNMENT__ >= NeuralModel::alignment_bytes,
              "the zeros of a warm-up run come from the heap");

bool is_aligned(const void* address, std::size_t alignment_bytes) {
  return reinterpret_cast<std::uintptr_t>(address) % alignment_bytes == 0;
}

/// Tensors made over a caller's memory, kept for the next run on the same address: an agent's
/// regions come round again. One kept beyond the memory is harmless, nobody looks into it.
class TensorCache {
 public:
  struct Entry {
    const std::byte* address = nullptr;
    std::int64_t count = 0;
    OrtValues tensors;

    bool is_for(const std::byte* wanted, std::int64_t wanted_count) const {
      return address == wanted && count == wanted_count && !tensors.empty();
    }
  };

  Entry& at(const std::byte* address) {
    return entries_[(reinterpret_cast<std::uintptr_t>(address) >> region_bits) % entries_.size()];
  }

 private:
  static constexpr unsigned region_bits = 16;  // regions are 64 KiB
  std::array<Entry, 64> entries_;
};

/// Where in the result each output goes, for one input shape.
struct ResultLayout {
  struct Output {
    std::vector<std::int64_t> shape;
    std::size_t offset_bytes = 0;
    std::size_t size_bytes = 0;
  };
  std::vector<Output> outputs;  ///< empty: not known, the model refused zeros
  std::size_t size_bytes = 0;   ///< shape depends on the content: the largest seen
  bool aligned = true;          ///< each output starts where its element type may

  bool known() const { return !outputs.empty(); }
};

bool same_shapes(const ResultLayout& a, const ResultLayout& b) {
  return std::equal(a.outputs.begin(), a.outputs.end(), b.outputs.begin(), b.outputs.end(),
                    [](const auto& x, const auto& y) { return x.shape == y.shape; });
}

Result<std::vector<std::byte>> read_file(const std::string& path) {
  const auto fd =
      posix_call("open", [&path] { return ::open(path.c_str(), O_RDONLY | O_CLOEXEC); });
  if (!fd) return fd.error();
  const UniqueFd file(*fd);
  std::vector<std::byte> bytes;
  for (std::size_t filled = 0;;) {
    bytes.resize(filled + 256 * 1024);
    const auto got = posix_call(
        "read", [&] { return ::read(file.get(), bytes.data() + filled, bytes.size() - filled); });
    if (!got) return got.error();
    filled += static_cast<std::size_t>(*got);
    if (*got == 0) {
      bytes.resize(filled);
      return bytes;
    }
  }
}

Error too_small(std::size_t needed_bytes, std::size_t given_bytes) {
  return Error{ErrorCode::too_large, "the result has " + std::to_string(needed_bytes) +
                                         " bytes, but there is room for " +
                                         std::to_string(given_bytes)};
}

}  // namespace

struct NeuralModel::State {
  State(std::string_view model_name, OnnxSession loaded, PayloadLayout layout)
      : name(model_name), session(std::move(loaded)), inputs(std::move(layout)) {}

  std::string name;
  OnnxSession session;
  PayloadLayout inputs;
  std::map<std::int64_t, ResultLayout> results;  ///< by the counted dimension
  bool shape_follows_from_input = true;          ///< until a run shows otherwise
  std::uint64_t copied_results = 0;
  TensorCache input_tensors;
  TensorCache output_tensors;
  std::optional<bool> can_batch;
  std::vector<std::byte> gathered, computed;  ///< of a batch

  Error in_model(const Error& error) const { return with_context(error, "model '" + name + "'"); }

  Result<const OrtValues*> input_tensors_for(std::span<const std::byte> payload,
                                             std::int64_t count);
  Result<OrtValues*> output_tensors_for(std::byte* output, std::int64_t count,
                                        const ResultLayout& layout);
  Result<OrtValues> run_and_allocate(const OrtValues& in) const;
  Result<ResultLayout> layout_of(const OrtValues& tensors) const;
  Result<void> copy_out(const OrtValues& tensors, std::byte* output) const;
  Result<ResultLayout*> result_for(std::int64_t count);
  Result<std::size_t> run(std::span<const std::byte> input, std::span<std::byte> output);
};

Result<const OrtValues*> NeuralModel::State::input_tensors_for(std::span<const std::byte> payload,
                                                               std::int64_t count) {
  TensorCache::Entry& entry = input_tensors.at(payload.data());
  if (entry.is_for(payload.data(), count)) return &entry.tensors;
  OrtValues tensors = session.no_values();
  const auto parts = inputs.at(count);
  for (std::size_t i = 0; i < parts.size(); ++i) {
    // ONNX Runtime knows no constant tensors, but never writes to an input.
    auto* bytes = const_cast<std::byte*>(payload.data()) + parts[i].offset_bytes;
    const auto tensor =
        session.tensor_over(bytes, parts[i].size_bytes, inputs.inputs()[i].type, parts[i].shape);
    if (!tensor) return tensor.error();
    tensors.add(*tensor);
  }
  entry.address = payload.data();
  entry.count = count;
  entry.tensors = std::move(tensors);
  return &entry.tensors;
}

Result<OrtValues*> NeuralModel::State::output_tensors_for(std::byte* output, std::int64_t count,
                                                          const ResultLayout& layout) {
  TensorCache::Entry& entry = output_tensors.at(output);
  if (entry.is_for(output, count)) return &entry.tensors;
  OrtValues tensors = session.no_values();
  for (std::size_t i = 0; i < layout.outputs.size(); ++i) {
    const ResultLayout::Output& place = layout.outputs[i];
    const auto tensor = session.tensor_over(output + place.offset_bytes, place.size_bytes,
                                            session.outputs()[i].type, place.shape);
    if (!tensor) return tensor.error();
    tensors.add(*tensor);
  }
  entry.address = output;
  entry.count = count;
  entry.tensors = std::move(tensors);
  return &entry.tensors;
}

Result<OrtValues> NeuralModel::State::run_and_allocate(const OrtValues& in) const {
  OrtValues tensors = session.no_values();
  for (std::size_t i = 0; i < session.outputs().size(); ++i) tensors.add(nullptr);
  if (const auto ran = session.run(in, tensors); !ran) return ran.error();
  return tensors;
}

Result<ResultLayout> NeuralModel::State::layout_of(const OrtValues& tensors) const {
  ResultLayout layout;
  for (std::size_t i = 0; i < tensors.size(); ++i) {
    const ElementType type = session.outputs()[i].type;
    auto view = session.view(tensors[i], type);
    if (!view) return view.error();
    layout.aligned = layout.aligned && layout.size_bytes % size_bytes_of(type) == 0;
    layout.outputs.push_back({std::move(view->shape), layout.size_bytes, view->bytes.size()});
    layout.size_bytes += view->bytes.size();
  }
  return layout;
}

Result<void> NeuralModel::State::copy_out(const OrtValues& tensors, std::byte* output) const {
  for (std::size_t i = 0; i < tensors.size(); ++i) {
    const auto view = session.view(tensors[i], session.outputs()[i].type);
    if (!view) return view.error();
    output = std::copy(view->bytes.begin(), view->bytes.end(), output);
  }
  return {};
}

/// Finds the result's shapes by a run on zeros. A model may refuse zeros; then they stay unknown
/// until the first run on real content.
Result<ResultLayout*> NeuralModel::State::result_for(std::int64_t count) {
  const auto seen = results.find(count);
  if (seen != results.end()) return &seen->second;
  const std::vector<std::byte> zeros(inputs.size_bytes(count));
  const auto in = input_tensors_for(zeros, count);
  if (!in) return in.error();
  ResultLayout layout;
  if (const auto tensors = run_and_allocate(**in)) {
    auto found = layout_of(*tensors);
    if (!found) return found.error();
    layout = std::move(*found);
  }
  constexpr std::size_t results_max = 64;  // senders choose the sizes
  if (results.size() >= results_max) results.clear();
  return &results.emplace(count, std::move(layout)).first->second;
}

Result<std::size_t> NeuralModel::State::run(std::span<const std::byte> input,
                                            std::span<std::byte> output) {
  if (!is_aligned(input.data(), alignment_bytes) || !is_aligned(output.data(), alignment_bytes))
    return Error{ErrorCode::usage, "payload and result must start at a multiple of 16 bytes"};
  const auto count = inputs.count_in(input.size());
  if (!count) return count.error();
  const auto result = result_for(*count);
  if (!result) return result.error();
  ResultLayout& expected = **result;
  const auto in = input_tensors_for(input, *count);
  if (!in) return in.error();

  if (shape_follows_from_input && expected.known() && expected.aligned) {
    if (output.size() < expected.size_bytes) return too_small(expected.size_bytes, output.size());
    const auto out = output_tensors_for(output.data(), *count, expected);
    if (!out) return out.error();
    if (session.run(**in, **out)) return expected.size_bytes;
    // Either the model refuses this content, or the shape depends on it; the run below tells.
  }
  const auto tensors = run_and_allocate(**in);
  if (!tensors) return tensors.error();
  auto found = layout_of(*tensors);
  if (!found) return found.error();
  const std::size_t size_bytes = found->size_bytes;
  if (!expected.known()) {
    expected = std::move(*found);
  } else if (!same_shapes(expected, *found)) {
    shape_follows_from_input = false;
    expected.size_bytes = std::max(expected.size_bytes, size_bytes);
  }
  if (output.size() < size_bytes) return too_small(size_bytes, output.size());
  if (const auto copied = copy_out(*tensors, output.data()); !copied) return copied.error();
  ++copied_results;
  return size_bytes;
}

NeuralModel::NeuralModel(std::unique_ptr<State> state) : state_(std::move(state)) {}
NeuralModel::NeuralModel(NeuralModel&&) noexcept = default;
NeuralModel& NeuralModel::operator=(NeuralModel&&) noexcept = default;
NeuralModel::~NeuralModel() = default;

Result<NeuralModel> NeuralModel::load(std::span<const std::byte> onnx_bytes,
                                      std::string_view name) {
  const std::string context = "model '" + std::string(name) + "'";
  auto session = OnnxSession::load(onnx_bytes);
  if (!session) return with_context(session.error(), context);
  auto layout = PayloadLayout::make(session->inputs());
  if (!layout) return with_context(layout.error(), context);
  auto state = std::make_unique<State>(name, std::move(*session), std::move(*layout));
  if (const auto warmed = state->result_for(1); !warmed) return state->in_model(warmed.error());
  return NeuralModel(std::move(state));
}

Result<NeuralModel> NeuralModel::load_file(const std::string& path) {
  const auto bytes = read_file(path);
  if (!bytes)
    return Error{ErrorCode::model,
                 "model '" + path + "' cannot be read: " + bytes.error().message +
                     "; check the path and its permissions",
                 bytes.error().sys_errno};
  return load(*bytes, path);
}

const std::string& NeuralModel::name() const { return state_->name; }
const std::vector<TensorInfo>& NeuralModel::inputs() const { return state_->session.inputs(); }
const std::vector<TensorInfo>& NeuralModel::outputs() const { return state_->session.outputs(); }
bool NeuralModel::can_batch() {
  if (state_->can_batch) return *state_->can_batch;
  const auto leads_with = [](const auto& shape, std::int64_t count) {
    return !shape.empty() && shape.front() == count;
  };
  bool can = state_->inputs.inputs().size() == 1 &&
             state_->inputs.size_bytes(2) > state_->inputs.size_bytes(1);
  for (const std::int64_t count : {2, 3}) {
    if (!can || !leads_with(state_->inputs.at(count).front().shape, count)) {
      can = false;
      break;
    }
    const auto result = state_->result_for(count);
    can = result.has_value() && (*result)->known() &&
          std::all_of((*result)->outputs.begin(), (*result)->outputs.end(),
                      [&](const auto& output) { return leads_with(output.shape, count); });
  }
  state_->can_batch = can;
  return can;
}

Result<void> NeuralModel::run_batch(
    std::span<const std::span<const std::byte>> inputs,
    const std::function<std::span<std::byte>(std::size_t, std::size_t)>& make_output) {
  State& state = *state_;
  std::vector<std::int64_t> counts;
  std::int64_t rows = 0;
  state.gathered.clear();
  for (const std::span<const std::byte> input : inputs) {
    const auto count = state.inputs.count_in(input.size());
    if (!count) return state.in_model(count.error());
    counts.push_back(*count);
    rows += *count;
    state.gathered.insert(state.gathered.end(), input.begin(), input.end());
  }
  const auto layout = state.result_for(rows);
  if (!layout) return state.in_model(layout.error());
  if (!(*layout)->known())
    return state.in_model(Error{ErrorCode::model, "it refuses to be run in batches", 0});
  state.computed.resize((*layout)->size_bytes);
  const auto written = state.run(state.gathered, state.computed);
  if (!written) return state.in_model(written.error());
  std::int64_t row = 0;
  for (std::size_t i = 0; i < inputs.size(); ++i) {
    const auto part_of = [&](const ResultLayout::Output& output) {
      return output.size_bytes / static_cast<std::size_t>(rows);
    };
    std::size_t size_bytes = 0;
    for (const auto& output : (*layout)->outputs)
      size_bytes += part_of(output) * static_cast<std::size_t>(counts[i]);
    const std::span<std::byte> to = make_output(i, size_bytes);
    std::size_t at = 0;
    if (to.size() >= size_bytes)
      for (const auto& output : (*layout)->outputs) {
        const std::size_t bytes = part_of(output) * static_cast<std::size_t>(counts[i]);
        std::copy_n(state.computed.data() + output.offset_bytes +
                        part_of(output) * static_cast<std::size_t>(row),
                    bytes, to.data() + at);
        at += bytes;
      }
    row += counts[i];
  }
  return {};
}

std::uint64_t NeuralModel::copied_results() const { return state_->copied_results; }

Result<void> NeuralModel::validate(std::size_t payload_size_bytes) const {
  const auto count = state_->inputs.count_in(payload_size_bytes);
  if (!count) return state_->in_model(count.error());
  return {};
}

Result<void> NeuralModel::warm_up() {
  const std::vector<std::byte> zeros(state_->inputs.size_bytes(1));
  const auto in = state_->input_tensors_for(zeros, 1);
  if (!in) return in.error();
  const auto out = state_->run_and_allocate(**in);
  if (!out) return out.error();
  return {};
}

Result<std::size_t> NeuralModel::output_size_bytes(std::size_t payload_size_bytes) {
  const auto count = state_->inputs.count_in(payload_size_bytes);
  if (!count) return state_->in_model(count.error());
  const auto result = state_->result_for(*count);
  if (!result) return state_->in_model(result.error());
  return (*result)->size_bytes;
}

Result<std::size_t> NeuralModel::run(std::span<const std::byte> input,
                                     std::span<std::byte> output) {
  auto written = state_->run(input, output);
  if (!written) return state_->in_model(written.error());
  return written;
}

}  // namespace micro_swarm
