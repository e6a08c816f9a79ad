#pragma once

// What the scheduler promises, said as plainly as possible: no queues, no indexes, every question
// answered by looking at everything. The harness plays the supervisor and lets the real one and
// this one see the same events; RC_ASSERT fails where they differ.

#include <rapidcheck.h>

#include <algorithm>
#include <deque>
#include <map>
#include <set>
#include <tuple>
#include <vector>

#include "supervisor/scheduling/scheduler.hpp"

namespace micro_swarm::scheduling::test {

struct ModelTask {
  enum State { none, waiting, delayed, released, queued, running, over } state = none;
  TaskId id = 0;
  TaskSpec spec;
  unsigned level = 0;
  std::uint64_t age_ns = 0;
  std::uint64_t order_ns = 0;
  std::uint64_t arrival = 0;
  std::uint64_t expires_ns = never;
  std::uint64_t not_before_ns = 0;
  PartyId agent = no_party;
  std::uint32_t failures = 0;
  std::uint32_t retries = 0;
  std::set<TaskId> dependencies;  // that are not over
  OnDependencyFailure on_failure = OnDependencyFailure::fail;
  bool succeeded = false;
  bool cancel_asked = false;

  bool is_live() const { return state != none && state != over; }
  std::pair<std::uint64_t, CategoryId> flow() const { return {spec.client, spec.category}; }
};

struct ModelAgent {
  bool up = false;
  std::vector<CapabilityOffer> offers;
  std::uint32_t in_flight = 0;
  const CapabilityOffer* offer(const TaskSpec& spec) const {
    for (const CapabilityOffer& offer : offers)
      if (offer.capability == spec.capability && offer.version >= spec.min_version) return &offer;
    return nullptr;
  }
};

class Model {
 public:
  static constexpr std::uint32_t slots = 24;
  static constexpr PartyId agents = 5;
  static constexpr std::uint16_t capabilities = 3;

  explicit Model(const Settings& settings)
      : settings_(settings), scheduler_(slots, settings, [this] { return ++random_; }) {}

  void apply(unsigned op, unsigned a, unsigned b, unsigned c);
  /// Ends everything; every task must get its turn.
  void drain();

 private:
  // The supervisor's part: one event, and what follows from it.
  void feed(const Event& event);
  void obey(const Action& action);
  // The promises.
  void promote();
  void due(std::multiset<std::tuple<int, TaskId>>& expected);
  void enqueue(ModelTask& t, std::multiset<std::tuple<int, TaskId>>& expected);
  void before(const Event& event, std::multiset<std::tuple<int, TaskId>>& expected);
  ModelTask* next();
  bool can_take(PartyId id, const ModelTask& t) const;
  bool is_held_back(const ModelTask& t) const;
  void check_choice(const ModelTask& t, PartyId chosen) const;
  void take(ModelTask& t, PartyId agent);
  void check() const;

  ModelTask* find(TaskId id) {
    ModelTask& t = tasks_[task_slot(id)];
    return t.id == id ? &t : nullptr;
  }
  ModelTask* pick(ModelTask::State state, unsigned a);
  std::uint64_t& time_of(const ModelTask& t);
  void submit(unsigned a, unsigned b, unsigned c);
  void answer(ModelTask& t, bool succeeded, bool failed_attempt);
  void end(ModelTask& t, bool succeeded, bool answered);
  void agent_up(PartyId id, unsigned b, unsigned c);
  void agent_died(PartyId id, unsigned b);

  Settings settings_;
  std::uint64_t random_ = 0;
  Scheduler scheduler_;
  std::uint64_t now_ns_ = 1'000;
  std::uint64_t arrivals_ = 0;
  std::uint32_t generation_ = 0;
  std::array<ModelTask, slots> tasks_;
  std::array<ModelAgent, agents> agents_;
  std::map<std::tuple<std::uint64_t, CategoryId, unsigned>, std::uint64_t> times_;
  std::array<std::uint64_t, priorities> class_times_{};
  std::deque<Action> to_obey_;
  bool obeying_ = false;
};

}  // namespace micro_swarm::scheduling::test
