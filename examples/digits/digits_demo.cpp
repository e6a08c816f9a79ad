// The main job: a swarm classifies the 2,000 held-out digits, round after round, while its workers
// and its supervisor are killed. Every figure printed at the end is counted here, from what was
// submitted and what came back; the exit code says whether anything was lost, doubled or wrong.

#include <fmt/format.h>
#include <signal.h>
#include <unistd.h>

#include <CLI/CLI.hpp>
#include <cstring>
#include <filesystem>
#include <string>
#include <thread>
#include <vector>

#include "common/clock.hpp"
#include "common/exit_code.hpp"
#include "examples/digits/classify_alone.hpp"
#include "examples/digits/executioner.hpp"
#include "examples/digits/mnist_data.hpp"
#include "examples/digits/progress_line.hpp"
#include "examples/digits/swarm_process.hpp"
#include "examples/digits/tally.hpp"
#include "ipc/client.hpp"

namespace {

using namespace micro_swarm;
using namespace micro_swarm::digits;

constexpr const char* swarm_name = "digits";
constexpr const char* capability = "digits";
constexpr std::uint32_t start_timeout_ms = 20'000;
constexpr std::uint64_t silence_ns_max = 15 * ns_per_s;  ///< then what is missing counts as lost
constexpr std::uint64_t look_interval_ns = 50 * ns_per_ms;
constexpr std::uint32_t stop_timeout_ms = 15'000;

volatile sig_atomic_t interrupted = 0;

struct Options {
  std::string mnist = MS_MNIST_DIR;
  std::string holdout = MS_DIGITS_DIR "/holdout.txt";
  std::string model = MS_DIGITS_DIR "/digits.onnx";
  std::string binary;
  unsigned workers = 4;
  unsigned in_flight = 16;
  double seconds = 10;
  unsigned seed = 1;
  bool spare = false;
};

/// Workers one by one, two at once, the supervisor, a worker together with the supervisor, all
/// workers: spread over the run.
std::vector<Strike> plan_of(const Options& options) {
  if (options.spare) return {};
  const double s = options.seconds;
  return {{0.10 * s, 1, false}, {0.25 * s, 2, false}, {0.40 * s, 0, true},
          {0.55 * s, 1, false}, {0.70 * s, 1, true},  {0.85 * s, options.workers, false}};
}

std::string swarm_config(const Options& options) {
  return fmt::format(
      "[swarm]\nname = \"{}\"\n\n"
      "[[agent]]\nname = \"digits\"\nkind = \"neural\"\ncount = {}\ncapabilities = [\"{}\"]\n"
      "model = '{}'\n",
      swarm_name, options.workers, capability, std::filesystem::absolute(options.model).string());
}

struct Job {
  Pictures pictures;
  std::vector<std::uint32_t> numbers;  ///< the held-out ones
  AloneRun alone;
};

Result<Job> prepare(const Options& options) {
  auto pictures = load_pictures(options.mnist);
  if (!pictures) return pictures.error();
  auto numbers = load_holdout(options.holdout, pictures->count());
  if (!numbers) return numbers.error();
  auto alone = classify_alone(options.model, *pictures, *numbers);
  if (!alone) return alone.error();
  return Job{std::move(*pictures), std::move(*numbers), std::move(*alone)};
}

std::vector<std::uint8_t> labels_of(const Job& job) {
  std::vector<std::uint8_t> labels;
  for (const std::uint32_t number : job.numbers) labels.push_back(job.pictures.labels[number]);
  return labels;
}

/// Submits pictures and takes results until the plan is through, the time is up and the last round
/// of all pictures is whole.
class Classifier {
 public:
  Classifier(const Options& options, const Job& job, Client& client, Executioner& executioner,
             ProgressLine& progress)
      : options_(options),
        job_(job),
        client_(client),
        executioner_(executioner),
        progress_(progress),
        tally_(job.alone.scores, labels_of(job)) {}

  /// Returns early, and leaves it to the tally to show it, when nothing is heard for 15 s.
  /// Errors: of the client and of the executioner; interrupted.
  Result<void> run() {
    start_ns_ = shown_ns_ = now_ns();
    std::uint64_t last_heard_ns = start_ns_;
    for (;;) {
      if (interrupted != 0) return Error{ErrorCode::cancelled, "interrupted"};
      while (!is_over() && tally_.waiting() < options_.in_flight)
        if (const auto submitted = submit_next(); !submitted) return submitted.error();
      if (is_over() && tally_.waiting() == 0) break;
      const auto heard = take_result();
      if (!heard) return heard.error();
      const std::uint64_t now = now_ns();
      if (*heard) last_heard_ns = now;
      if (now - last_heard_ns > silence_ns_max) break;
      if (now >= next_look_ns_)
        if (const auto shown = show(now); !shown) return shown.error();
    }
    return show(now_ns());
  }

  const Tally& tally() const { return tally_; }
  const Executioner::Report& kills() const { return kills_; }

 private:
  /// Whole rounds only: then the accuracy can be held against the one of the model alone.
  bool is_over() {
    over_ = over_ || (next_picture_ == 0 && kills_.finished &&
                      static_cast<double>(now_ns() - start_ns_) > options_.seconds * 1e9);
    return over_;
  }

  Result<void> submit_next() {
    TaskRequest request;
    request.capability = capability;
    auto region = client_.allocate(picture_size_bytes);
    if (!region) return with_context(region.error(), "no memory for a picture");
    const auto picture = job_.pictures.picture(job_.numbers[next_picture_]);
    std::memcpy(region->bytes().data(), picture.data(), picture_size_bytes);
    request.region = std::move(*region);
    const std::uint64_t at_ns = now_ns();
    const auto number = client_.submit(std::move(request));
    if (!number) return with_context(number.error(), "submit");
    tally_.submitted(*number, next_picture_, at_ns);
    next_picture_ = (next_picture_ + 1) % job_.numbers.size();
    return {};
  }

  /// Whether there was one.
  Result<bool> take_result() {
    auto result = client_.next_result(100);
    if (!result) return with_context(result.error(), "next result");
    if (!*result) return false;
    const TaskResult& got = **result;
    tally_.answered(got.number(), got.is_done(), got.attempts(), got.bytes(), now_ns());
    if (!got.is_done() && failures_shown_ < 5) {
      ++failures_shown_;
      progress_.print(fmt::format("task {} ended in state {}: {}", got.number(),
                                  static_cast<int>(got.state()), got.text()));
    }
    return true;
  }

  Result<void> show(std::uint64_t now) {
    next_look_ns_ = now + look_interval_ns;
    kills_ = executioner_.report();
    for (const Executioner::Deed& deed : kills_.new_deeds)
      progress_.print(fmt::format("{:5.1f} s  {}", seconds_at(deed.at_ns), deed.text));
    if (kills_.error) return with_context(*kills_.error, "killing as planned");
    if (!progress_.is_due(now)) return {};
    const Tally::Counts& so_far = tally_.counts();
    const std::size_t answered = tally_.answered();
    const double rate = static_cast<double>(answered - shown_answered_) /
                        (static_cast<double>(now - shown_ns_) / 1e9);
    progress_.show(
        fmt::format("{:5.1f} s  {} digits  {:.2f} % right  {:.0f}/s  killed: {} workers, {} "
                    "supervisors  run again: {}",
                    seconds_at(now), answered, 100.0 * Tally::ratio(so_far.right, answered), rate,
                    kills_.workers_killed, kills_.supervisors_killed, so_far.run_again),
        now);
    shown_answered_ = answered;
    shown_ns_ = now;
    return {};
  }

  double seconds_at(std::uint64_t at_ns) const {
    return static_cast<double>(at_ns - start_ns_) / 1e9;
  }

  const Options& options_;
  const Job& job_;
  Client& client_;
  Executioner& executioner_;
  ProgressLine& progress_;
  Tally tally_;
  Executioner::Report kills_;
  std::uint64_t start_ns_ = 0;
  std::uint64_t next_look_ns_ = 0;
  std::uint64_t shown_ns_ = 0;
  std::size_t shown_answered_ = 0;
  std::size_t next_picture_ = 0;
  unsigned failures_shown_ = 0;
  bool over_ = false;
};

/// What the whole run came to.
struct Outcome {
  Tally::Figures figures;
  unsigned workers_killed = 0;
  unsigned supervisors_killed = 0;
  std::size_t workers_restarted = 0;
  std::uint64_t supervisors_restarted = 0;
  std::uint64_t repeats_dropped = 0;  ///< results told twice, kept away by the client library
  std::uint64_t tokens_out = 0;       ///< rights to regions not given back
  int swarm_exit_code = -1;
  std::vector<std::string> leftovers;
};

Result<std::size_t> count_lives(ControlClient& control) {
  const auto workers = list_workers(control);
  if (!workers) return workers.error();
  std::size_t lives = 0;
  for (const Worker& worker : *workers) lives += worker.incarnation;
  return lives;
}

/// Polls until every right to a region came home, at most 5 s; what is still out then.
Result<std::uint64_t> wait_for_regions(ControlClient& control) {
  const std::uint64_t deadline_ns = now_ns() + 5 * ns_per_s;
  for (;;) {
    const auto status = control.request({{"verb", "status"}}, {.timeout_ms = 15'000});
    if (!status) return status.error();
    const auto out = status->object.at("memory").value("tokens_out", std::uint64_t{0});
    if (out == 0 || now_ns() > deadline_ns) return out;
    std::this_thread::sleep_for(std::chrono::milliseconds(10));
  }
}

/// A swarm that cannot start says why in its log and ends.
Result<ControlClient> connect_to(SwarmProcess& swarm) {
  const std::uint64_t deadline_ns = now_ns() + start_timeout_ms * ns_per_ms;
  for (;;) {
    auto control = ControlClient::connect(swarm.endpoint(), 100);
    if (control || now_ns() > deadline_ns) return control;
    if (!swarm.has_ended()) continue;
    const auto exit_code = swarm.stop(0);
    if (!exit_code) return exit_code.error();
    return Error{ErrorCode::not_running,
                 fmt::format("the swarm ended with exit code {} before it was up", *exit_code)};
  }
}

Result<Outcome> classify_in(SwarmProcess& swarm, const Options& options, const Job& job,
                            ProgressLine& progress) {
  auto control = connect_to(swarm);
  if (!control) return control.error();
  const auto up = wait_for_workers(*control, options.workers, options.workers, start_timeout_ms);
  if (!up) return up.error();
  const auto lives_before = count_lives(*control);
  if (!lives_before) return lives_before.error();
  progress.print(fmt::format("swarm is up: root {}, {} workers forked from one loaded model",
                             swarm.root_pid(), options.workers));

  Outcome outcome;
  {
    auto client = Client::connect(swarm_name);
    if (!client) return client.error();
    const std::uint64_t epoch_before = client->supervisor_epoch();
    Executioner executioner(swarm.endpoint(), swarm.root_pid(), plan_of(options), options.seed);
    Classifier classifier(options, job, *client, executioner, progress);
    const auto ran = classifier.run();
    progress.finish();
    if (!ran) return ran.error();
    outcome.figures = classifier.tally().figures();
    outcome.workers_killed = classifier.kills().workers_killed;
    outcome.supervisors_killed = classifier.kills().supervisors_killed;
    outcome.repeats_dropped = client->doubled_results();
    outcome.supervisors_restarted = client->supervisor_epoch() - epoch_before;
  }
  const auto whole =
      wait_for_workers(*control, options.workers, *lives_before + outcome.workers_killed, 10'000);
  if (!whole) return with_context(whole.error(), "the killed workers did not all come back");
  const auto lives_after = count_lives(*control);
  if (!lives_after) return lives_after.error();
  outcome.workers_restarted = *lives_after - *lives_before;
  const auto tokens_out = wait_for_regions(*control);
  if (!tokens_out) return tokens_out.error();
  outcome.tokens_out = *tokens_out;

  const auto exit_code = swarm.stop(stop_timeout_ms);
  if (!exit_code) return exit_code.error();
  outcome.swarm_exit_code = *exit_code;
  outcome.leftovers = swarm.leftovers();
  return outcome;
}

void print_outcome(const Outcome& outcome, const Options& options, const Job& job) {
  const Tally::Figures& f = outcome.figures;
  const double alone_accuracy = Tally::ratio(job.alone.right, job.numbers.size());
  const double alone_rate = static_cast<double>(job.numbers.size()) / job.alone.seconds;
  const auto row = [](std::string_view what, const std::string& value) {
    fmt::print("{:<22}{}\n", what, value);
  };
  fmt::print("\n");
  row("accuracy", fmt::format("{:.2f} %; the model alone in one process: {:.2f} %; answers that "
                              "differ from it: {}",
                              100 * f.accuracy(), 100 * alone_accuracy, f.counts.different));
  row("tasks", fmt::format("{} in {:.1f} s: {:.0f}/s; alone, without any process between: {:.0f}/s",
                           f.answered, f.seconds, f.tasks_per_second(), alone_rate));
  row("latency", fmt::format("p50 {:.0f} us, p99 {:.0f} us, with {} in flight", f.latency_p50_us,
                             f.latency_p99_us, options.in_flight));
  row("killed", fmt::format("{} workers, {} supervisors", outcome.workers_killed,
                            outcome.supervisors_killed));
  row("restarted", fmt::format("{} workers, {} supervisors", outcome.workers_restarted,
                               outcome.supervisors_restarted));
  row("run again", fmt::format("{} tasks", f.counts.run_again));
  row("lost tasks", std::to_string(f.lost));
  row("doubled results", fmt::format("{} (told again by a new supervisor and dropped by the "
                                     "client library: {})",
                                     f.counts.doubled, outcome.repeats_dropped));
  row("regions not returned", std::to_string(outcome.tokens_out));
  row("swarm after SIGTERM", fmt::format("exit code {}, files left: {}", outcome.swarm_exit_code,
                                         outcome.leftovers.size()));
}

/// Everything that is not as promised.
std::vector<std::string> complaints(const Outcome& outcome, const Options& options,
                                    const Job& job) {
  const Tally::Figures& f = outcome.figures;
  std::vector<std::string> found;
  const auto expect = [&found](bool good, std::string complaint) {
    if (!good) found.push_back(std::move(complaint));
  };
  expect(f.lost == 0, fmt::format("{} tasks were lost", f.lost));
  expect(f.counts.doubled == 0, fmt::format("{} results came twice", f.counts.doubled));
  expect(f.counts.failed == 0, fmt::format("{} tasks failed", f.counts.failed));
  expect(f.counts.different == 0,
         fmt::format("{} answers differ from the model run alone", f.counts.different));
  expect(f.submitted != 0 && f.counts.right * job.numbers.size() == job.alone.right * f.submitted,
         "the accuracy is not that of the model run alone");
  expect(options.spare || outcome.workers_killed >= 3, "fewer than three workers were killed");
  expect(options.spare || outcome.supervisors_killed >= 1, "no supervisor was killed");
  // A supervisor killed in the middle of a birth makes its successor begin it anew.
  expect(outcome.workers_restarted >= outcome.workers_killed,
         fmt::format("{} workers were killed, {} restarted", outcome.workers_killed,
                     outcome.workers_restarted));
  expect(outcome.supervisors_restarted == outcome.supervisors_killed,
         fmt::format("{} supervisors were killed, {} restarted", outcome.supervisors_killed,
                     outcome.supervisors_restarted));
  expect(outcome.tokens_out == 0,
         fmt::format("{} rights to regions were not given back", outcome.tokens_out));
  expect(outcome.swarm_exit_code == 0,
         fmt::format("the swarm ended with exit code {}", outcome.swarm_exit_code));
  for (const std::string& name : outcome.leftovers)
    expect(false, "the swarm left " + name + " behind");
  return found;
}

int fail(const Error& error) {
  fmt::print(stderr, "digits_demo: {}\n", error.message);
  return to_int(exit_code_of(error.code));
}

int run_demo(const Options& options) {
  fmt::print("reading the digits and classifying the held-out ones with the model alone ...\n");
  std::fflush(stdout);
  const auto job = prepare(options);
  if (!job) return fail(job.error());
  fmt::print("{}: {} of {} held-out digits right, in one process\n",
             std::filesystem::path(options.model).filename().string(), job->alone.right,
             job->numbers.size());
  auto swarm = SwarmProcess::start(options.binary, swarm_config(options), swarm_name);
  if (!swarm) return fail(swarm.error());

  ProgressLine progress;
  const auto outcome = classify_in(*swarm, options, *job, progress);
  progress.finish();
  if (!outcome) {
    const int exit_code = fail(outcome.error());
    if (interrupted == 0)
      fmt::print(stderr, "the end of the swarm's log:\n{}", swarm->log_tail(40));
    return interrupted != 0 ? 128 + interrupted : exit_code;
  }
  print_outcome(*outcome, options, *job);
  const auto found = complaints(*outcome, options, *job);
  for (const std::string& complaint : found) fmt::print(stderr, "WRONG: {}\n", complaint);
  if (!found.empty()) {
    fmt::print(stderr, "the end of the swarm's log:\n{}", swarm->log_tail(40));
    return to_int(ExitCode::failed);
  }
  fmt::print("nothing lost, nothing doubled, every answer as the model gives it alone\n");
  return 0;
}

void note_interrupt(int number) { interrupted = number; }

}  // namespace

int main(int argc, char** argv) {
  Options options;
  std::error_code unknown;
  options.binary =
      (std::filesystem::read_symlink("/proc/self/exe", unknown).parent_path() / "microswarm")
          .string();
  CLI::App app{
      "Classifies the 2,000 held-out digits in a swarm, round after round, while processes of it "
      "are killed.\nExit code 0: nothing lost, doubled or different from the model run alone."};
  app.add_option("--workers", options.workers, "agents that run the model")
      ->check(CLI::Range(1, 64))
      ->capture_default_str();
  app.add_option("--in-flight", options.in_flight, "tasks submitted and not answered yet")
      ->check(CLI::Range(1, 128))
      ->capture_default_str();
  app.add_option("--seconds", options.seconds, "how long; the last round is finished")
      ->check(CLI::Range(1.0, 3600.0))
      ->capture_default_str();
  app.add_option("--seed", options.seed, "chooses the victims")->capture_default_str();
  app.add_flag("--no-kill", options.spare, "kill nobody");
  app.add_option("--model", options.model, "the network, as train_digits writes it")
      ->capture_default_str();
  app.add_option("--mnist", options.mnist, "directory with 0.json ... 9.json")
      ->capture_default_str();
  app.add_option("--holdout", options.holdout, "list of the pictures to classify")
      ->capture_default_str();
  app.add_option("--microswarm", options.binary, "the binary to start")->capture_default_str();
  try {
    app.parse(argc, argv);
  } catch (const CLI::ParseError& error) {
    return app.exit(error) == 0 ? 0 : to_int(ExitCode::usage);
  }
  struct sigaction noting {};
  noting.sa_handler = note_interrupt;
  ::sigaction(SIGINT, &noting, nullptr);
  ::sigaction(SIGTERM, &noting, nullptr);
  return run_demo(options);
}
