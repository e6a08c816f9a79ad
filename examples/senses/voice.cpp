#include "voice.hpp"

#include <algorithm>

namespace senses {

VoiceInput voice_features(std::span<const std::int16_t> samples, const VoiceOutput* before) {
  VoiceInput input{};
  std::transform(samples.begin(), samples.end(), input.samples,
                 [](std::int16_t value) { return static_cast<float>(value) / 32'768.0F; });
  if (before != nullptr) std::copy_n(before->state, voice_state, input.state);
  input.rate = voice_rate;
  return input;
}

}  // namespace senses
