// scheduler: what one decision costs, however many tasks wait. The decisions alone, without a
// process: the only group but `ring` that does not go through the client library.

#include <ctime>
#include <memory>
#include <queue>
#include <random>
#include <stdexcept>

#include "common/clock.hpp"
#include "supervisor/scheduling/scheduler.hpp"
#include "tests/bench/windows.hpp"

namespace micro_swarm::bench {

namespace {

using namespace scheduling;

constexpr PartyId agents = agents_max;
constexpr std::uint16_t capabilities = 8;

/// Of this thread: others on the same core do not count.
std::uint64_t cpu_ns() {
  timespec t{};
  ::clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
  return static_cast<std::uint64_t>(t.tv_sec) * ns_per_s + static_cast<std::uint64_t>(t.tv_nsec);
}

/// All agents have all the work they may have, and `queued` tasks of all classes, of eight
/// capabilities, three clients and some with deadlines wait; each end brings a dispatch and is
/// followed by a new task.
class Load {
 public:
  explicit Load(std::uint32_t queued)
      : scheduler_(queued + agents * 4 + 64, settings(), [this] { return random_(); }),
        free_slot_(queued + agents * 4) {
    std::vector<CapabilityOffer> offers;
    for (std::uint16_t c = 0; c < capabilities; ++c) offers.push_back({c, 1, 1});
    for (PartyId agent = 0; agent < agents; ++agent) step(AgentUp{agent, offers});
    for (std::uint32_t slot = 0; slot < free_slot_; ++slot) submit(slot);
    if (scheduler_.ready_count() != queued || running_.size() != agents * 4u)
      throw std::runtime_error("the scheduler did not take its load");
  }

  /// One task ends, another is dispatched, a third comes. Returns how long the decision took.
  std::uint64_t turn() {
    const std::size_t at = random_() % running_.size();
    const TaskId ended = running_[at];
    running_[at] = running_.back();
    running_.pop_back();
    const std::uint64_t before = now_ns();
    step(TaskEnded{ended, true, true});
    const std::uint64_t took = now_ns() - before;
    if (running_.size() != agents * 4u) throw std::runtime_error("an agent was left without work");
    submit(free_slot_);
    free_slot_ = task_slot(ended);
    return took;
  }

 private:
  static Settings settings() {
    Settings settings;
    settings.regions = 448;
    settings.bytes = 28u << 20;
    return settings;
  }
  void submit(std::uint32_t slot) {
    const std::uint64_t bits = random_();
    TaskSpec spec;
    spec.client = first_client + bits % 3;
    spec.capability = static_cast<std::uint16_t>((bits >> 8) % capabilities);
    spec.priority = static_cast<Priority>((bits >> 16) % priorities);
    spec.accepted_ns = clock_ns_;
    if ((bits >> 24) % 8 == 0) spec.deadline_ns = clock_ns_ + 3'600 * ns_per_s + (bits >> 32);
    step(TaskReady{make_task_id(slot, ++generation_), spec});
  }
  void step(const Event& event) {
    clock_ns_ += 1'000;
    actions_.clear();
    scheduler_.step(event, clock_ns_, actions_);
    for (const Action& action : actions_)
      if (action.kind == Action::Kind::dispatch) running_.push_back(action.task);
  }

  std::mt19937_64 random_{1};
  Scheduler scheduler_;
  std::uint64_t clock_ns_ = 1;
  std::uint32_t generation_ = 0;
  std::uint32_t free_slot_;
  std::vector<TaskId> running_;
  std::vector<Action> actions_;
};

/// The least that keeps tasks in order: one heap of as many, a push and a pop.
class Heap {
 public:
  explicit Heap(std::uint32_t queued) {
    for (std::uint32_t i = 0; i < queued; ++i) push();
  }
  std::uint64_t turn() {
    const std::uint64_t before = now_ns();
    push();
    heap_.pop();
    return now_ns() - before;
  }

 private:
  struct Entry {
    std::uint64_t priority, arrival, task;
    bool operator<(const Entry& other) const {
      return priority != other.priority ? priority > other.priority : arrival > other.arrival;
    }
  };
  void push() {
    ++arrivals_;
    heap_.push({random_() % priorities, arrivals_, arrivals_});
  }
  std::mt19937_64 random_{1};
  std::uint64_t arrivals_ = 0;
  std::priority_queue<Entry> heap_;
};

template <class Work>
double each_ns(Work& work, unsigned turns) {
  const std::uint64_t before = cpu_ns();
  for (unsigned i = 0; i < turns; ++i) work.turn();
  return static_cast<double>(cpu_ns() - before) / turns;
}

template <class Work>
double p99_ns(Work& work, unsigned turns) {
  std::vector<double> took(turns);
  for (double& one : took) one = static_cast<double>(work.turn());
  return quantile(std::move(took), 0.99);
}

void measure(const Options& options, const Tell& tell) {
  const unsigned turns = options.quick ? 500 : 20'000;
  const unsigned windows = options.quick ? 1 : 15;
  const std::uint32_t sizes[] = {10, 10'000, 100'000};
  const char* names[] = {"scheduler.task_10", "scheduler.task_10k", "scheduler.task_100k"};
  std::array<std::unique_ptr<Load>, 3> loads;
  for (std::size_t i = 0; i < loads.size(); ++i) loads[i] = std::make_unique<Load>(sizes[i]);
  {
    Heap heap(sizes[1]);
    tell(alternate(
             windows, [&] { return p99_ns(heap, turns); }, [&] { return p99_ns(*loads[1], turns); })
             .figure("scheduler.decision", "us", 1e-3, value_at_most(20),
                     "p99: a task ends, the next is chosen; 10,000 queued, 256 agents"));
  }
  for (std::size_t i = 0; i < loads.size(); ++i) {
    Heap heap(sizes[i]);
    tell(alternate(
             windows, [&] { return each_ns(heap, turns); },
             [&] { return each_ns(*loads[i], turns); })
             .figure(names[i], "ns", 1, std::nullopt,
                     "CPU of one task: it comes, is chosen, ends; beside a heap's push and pop"));
  }
  tell(alternate(
           windows, [&] { return each_ns(*loads[0], turns); },
           [&] { return each_ns(*loads[2], turns); })
           .figure("scheduler.growth", "ns", 1, ratio_at_most(1.5),
                   "CPU of one task, 100,000 queued beside 10 queued"));
}

}  // namespace

Group scheduler_group() {
  return {"scheduler",
          {"scheduler.decision", "scheduler.task_10", "scheduler.task_10k", "scheduler.task_100k",
           "scheduler.growth"},
          measure};
}

}  // namespace micro_swarm::bench
