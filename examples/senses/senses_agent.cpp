// The two ends of each ensemble; the networks between them are the swarm's neural agents.
//
//   face.features    a picture, 128 x 128 RGB bytes          -> what the network reads
//   face.decision    input: the network's outputs            -> JSON: whether, how sure, where
//   voice.features   samples; input: the frame before's      -> what the network reads
//   voice.decision   inputs: the network's outputs, in order -> JSON: how many frames are speech

#include <cstdio>
#include <cstring>
#include <micro_swarm/agent.hpp>
#include <stdexcept>
#include <string>

#include "face.hpp"
#include "voice.hpp"

namespace {

using micro_swarm::agent::Task;

template <class T>
std::span<const T> values(std::span<const std::byte> bytes, std::size_t count, const char* what) {
  if (bytes.size() != count * sizeof(T))
    throw std::runtime_error(std::string(what) + ": " + std::to_string(bytes.size()) +
                             " bytes instead of " + std::to_string(count * sizeof(T)));
  return {reinterpret_cast<const T*>(bytes.data()), count};
}

void face_features(Task& task) {
  const auto rgb = values<std::byte>(task.bytes(), senses::face_pixels, "the picture");
  senses::face_features(rgb, task.result<float>(senses::face_pixels));
}

void face_decision(Task& task) {
  const auto face =
      senses::best_face(values<float>(task.input(0).bytes, senses::face_scores, "the outputs"));
  char text[160];
  std::snprintf(text, sizeof text,
                R"({"face":%s,"score":%.3f,"x":%.3f,"y":%.3f,"width":%.3f,"height":%.3f})",
                face.score > 0.5F ? "true" : "false", static_cast<double>(face.score),
                static_cast<double>(face.x), static_cast<double>(face.y),
                static_cast<double>(face.width), static_cast<double>(face.height));
  task.complete(std::string_view(text));
}

const senses::VoiceOutput& output(Task& task, std::size_t input) {
  return values<senses::VoiceOutput>(task.input(input).bytes, 1, "the frame before").front();
}

void voice_features(Task& task) {
  const auto samples = values<std::int16_t>(
      task.bytes(), senses::voice_context + senses::voice_frame, "the samples");
  const auto features =
      senses::voice_features(samples, task.input_count() == 0 ? nullptr : &output(task, 0));
  task.result<senses::VoiceInput>(1)[0] = features;
}

void voice_decision(Task& task) {
  unsigned speech = 0;
  for (std::size_t i = 0; i < task.input_count(); ++i)
    speech += output(task, i).probability > 0.5F ? 1 : 0;
  task.complete(std::string_view("{\"frames\":" + std::to_string(task.input_count()) +
                                 ",\"speech\":" + std::to_string(speech) + "}"));
}

}  // namespace

int main() {
  micro_swarm::agent::Agent agent;
  agent.on("face.features", face_features);
  agent.on("face.decision", face_decision);
  agent.on("voice.features", voice_features);
  agent.on("voice.decision", voice_decision);
  return agent.run();
}
