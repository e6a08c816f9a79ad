#pragma once

// What stands before and behind Silero VAD, version 5: voice or not, frame by frame. The network
// remembers: each frame's input has the state that the frame before left.

#include <cstddef>
#include <cstdint>
#include <span>

namespace senses {

inline constexpr std::int64_t voice_rate = 16'000;       ///< samples a second
inline constexpr std::size_t voice_frame = 512;          ///< samples, 32 ms
inline constexpr std::size_t voice_context = 64;         ///< samples of the frame before
inline constexpr std::size_t voice_state = 2 * 1 * 128;  ///< numbers that go on to the next frame

/// What the network reads: the samples with their context, -1 to 1, the state, and the rate.
struct VoiceInput {
  float samples[voice_context + voice_frame];
  float state[voice_state];
  std::int64_t rate;
};
/// What it gives.
struct VoiceOutput {
  float probability;
  float state[voice_state];
};

/// `samples`: context and frame. `before`: the output of the frame before; null = the first.
VoiceInput voice_features(std::span<const std::int16_t> samples, const VoiceOutput* before);

}  // namespace senses
