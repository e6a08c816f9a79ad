// Eyes and ears: two published networks in one swarm, each in the middle of a graph of tasks.
//
//   senses [--face-model FILE] [--voice-model FILE] [--picture FILE.ppm]... [--sound FILE.wav]...
//
// Prints a line of JSON for each picture (128 x 128, binary PPM) and sound (16 kHz, mono, 16 bit
// WAV; its first two seconds). Without any: those beside this file, and noise.
// Exit code 0 if all was judged.

#include <unistd.h>

#include <CLI/CLI.hpp>
#include <cstdio>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <random>
#include <string>
#include <vector>

#include "supervisor/orchestrator/agent_factory.hpp"
#include "supervisor/orchestrator/swarm_builder.hpp"
#include "supervisor/orchestrator/task_builder.hpp"

using namespace micro_swarm;

namespace {

constexpr std::uint32_t patience_ms = 60'000;
constexpr std::size_t side = 128;
constexpr std::size_t rate = 16'000, frame = 512, context = 64, frames_max = 62;

[[noreturn]] void fail(const std::string& text, int code) {
  std::fprintf(stderr, "senses: %s\n", text.c_str());
  std::exit(code);
}
template <class Value>
Value must(Result<Value> result, const char* what) {
  if (!result)
    fail(std::string(what) + ": " + result.error().message,
         to_int(exit_code_of(result.error().code)));
  return std::move(*result);
}
void must(Result<void> result, const char* what) {
  if (!result)
    fail(std::string(what) + ": " + result.error().message,
         to_int(exit_code_of(result.error().code)));
}

std::string read(const std::string& path) {
  std::ifstream file(path, std::ios::binary);
  if (!file) fail(path + " cannot be read", 2);
  return {std::istreambuf_iterator<char>(file), {}};
}

/// The pixels of a binary PPM.
std::string read_picture(const std::string& path) {
  const std::string file = read(path);
  int width = 0, height = 0, most = 0, pixels_at = 0;
  if (std::sscanf(file.c_str(), "P6 %d %d %d%n", &width, &height, &most, &pixels_at) != 3 ||
      width != side || height != side || most != 255 ||
      file.size() != static_cast<std::size_t>(pixels_at) + 1 + side * side * 3)
    fail(path + ": expected a binary PPM (P6) of 128 x 128 pixels", 2);
  return file.substr(static_cast<std::size_t>(pixels_at) + 1);
}

using Samples = std::vector<std::int16_t>;

/// The samples of a WAV file as small as they come: 44 bytes of header.
Samples read_sound(const std::string& path) {
  const std::string file = read(path);
  const auto number = [&](std::size_t at, std::size_t bytes) {
    std::uint32_t value = 0;
    if (file.size() >= at + bytes) std::memcpy(&value, file.data() + at, bytes);
    return value;
  };
  if (file.compare(0, 4, "RIFF") != 0 || file.compare(8, 8, "WAVEfmt ") != 0 ||
      number(20, 2) != 1 || number(22, 2) != 1 || number(24, 4) != rate || number(34, 2) != 16 ||
      file.compare(36, 4, "data") != 0)
    fail(path + ": expected a WAV file of 16000 samples a second, mono, 16 bit", 2);
  Samples samples((file.size() - 44) / sizeof(std::int16_t));
  std::memcpy(samples.data(), file.data() + 44, samples.size() * sizeof(std::int16_t));
  return samples;
}

/// White noise, about as loud as somebody who speaks.
Samples noise() {
  std::mt19937 random(1);
  Samples samples(2 * rate);
  for (std::int16_t& value : samples)
    value = static_cast<std::int16_t>(static_cast<int>(random() % 4'001) - 2'000);
  return samples;
}

TaskBuilder task(const char* capability) {
  TaskBuilder builder;
  builder.requires_capability(capability);
  return builder;
}

/// picture -> features -> network -> decision
std::vector<Task> look_at(const std::string& picture) {
  std::vector<Task> graph;
  graph.push_back(must(task("face.features").payload(picture).build(), "task"));
  graph.push_back(must(task("face").depends_on_entry(0).build(), "task"));
  graph.push_back(must(task("face.decision").depends_on_entry(1).build(), "task"));
  return graph;
}

/// For each frame features -> network, the features of the next one wait for it; all -> decision.
std::vector<Task> listen_to(const Samples& samples) {
  std::vector<Task> graph;
  TaskBuilder decision = task("voice.decision");
  Samples heard(context + frame);  // the first has silence before it
  for (std::size_t i = 0; i < frames_max && (i + 1) * frame <= samples.size(); ++i) {
    std::copy(heard.end() - context, heard.end(), heard.begin());
    std::copy_n(samples.begin() + static_cast<std::ptrdiff_t>(i * frame), frame,
                heard.begin() + context);
    TaskBuilder features = task("voice.features");
    features.payload(
        std::string_view(reinterpret_cast<const char*>(heard.data()), heard.size() * 2));
    if (!graph.empty()) features.depends_on_entry(graph.size() - 1);
    graph.push_back(must(features.build(), "task"));
    graph.push_back(must(task("voice").depends_on_entry(graph.size() - 1).build(), "task"));
    decision.depends_on_entry(graph.size() - 1);
  }
  graph.push_back(must(decision.build(), "task"));
  return graph;
}

/// Prints what its last task decided.
void judge(SwarmOrchestrator& swarm, const std::string& name, std::vector<Task> graph) {
  const SubmissionId first = must(swarm.submit_tasks(graph), "submit");
  auto result = must(swarm.wait_task_result(first + graph.size() - 1, patience_ms), "result");
  if (!result) fail(name + ": no decision in time", 124);
  if (!result->is_done()) fail(name + ": " + std::string(result->text()), 7);
  std::printf("%s %s\n", name.c_str(), std::string(result->text()).c_str());
}

}  // namespace

int main(int argc, char** argv) {
  CLI::App app{"Looks at pictures and listens to sounds with a swarm"};
  std::string face_model = MS_FACE_MODEL, voice_model = MS_VOICE_MODEL;
  std::vector<std::string> pictures, sounds;
  app.add_option("--face-model", face_model, "BlazeFace for front cameras, ONNX");
  app.add_option("--voice-model", voice_model, "Silero VAD version 5, ONNX");
  app.add_option("--picture", pictures, "128 x 128 pixels, binary PPM")->allow_extra_args(false);
  app.add_option("--sound", sounds, "16 kHz, mono, 16 bit, WAV")->allow_extra_args(false);
  CLI11_PARSE(app, argc, argv);
  const bool own = pictures.empty() && sounds.empty();
  if (own) {
    pictures = {MS_SENSES_DIR "/astronaut.ppm", MS_SENSES_DIR "/coffee.ppm"};
    sounds = {MS_SENSES_DIR "/speech.wav"};
  }

  const auto beside = std::filesystem::read_symlink("/proc/self/exe").parent_path();
  SwarmBuilder builder;
  builder.name("senses-" + std::to_string(::getpid()))
      .topology(Topology::star)
      .monitoring({.level = LogLevel::warn, .log_file = {}});
  SwarmOrchestrator swarm = must(builder.build(), "build");
  must(swarm.register_agent(AgentFactory::create_neural("face", face_model)), "face");
  must(swarm.register_agent(AgentFactory::create_neural("voice", voice_model)), "voice");
  must(swarm.register_agent(AgentFactory::from_command(
           "senses", {(beside / "senses_agent").string()}, 1,
           {"face.features", "face.decision", "voice.features", "voice.decision"})),
       "senses_agent");
  must(swarm.initialize(), "initialize");
  for (const std::string& picture : pictures)
    judge(swarm, std::filesystem::path(picture).filename(), look_at(read_picture(picture)));
  for (const std::string& sound : sounds)
    judge(swarm, std::filesystem::path(sound).filename(), listen_to(read_sound(sound)));
  if (own) judge(swarm, "noise", listen_to(noise()));
  must(swarm.shutdown(), "shutdown");
  return 0;
}
