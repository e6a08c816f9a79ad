// What the scheduler says about itself: may a task come in, why does it wait, what holds how many.

#include <algorithm>

#include "supervisor/scheduling/scheduler.hpp"

namespace micro_swarm {

std::string_view name_of(scheduling::Reason reason) {
  using scheduling::Reason;
  switch (reason) {
    case Reason::unknown: return "unknown";
    case Reason::dependencies: return "dependencies";
    case Reason::backoff: return "backoff";
    case Reason::no_agent: return "no_agent";
    case Reason::max_concurrent: return "max_concurrent";
    case Reason::client_quota: return "client_quota";
    case Reason::category_quota: return "category_quota";
    case Reason::memory: return "memory";
    case Reason::queue: return "queue";
    case Reason::running: return "running";
    case Reason::handing_over: return "handing_over";
  }
  return "unknown";
}

std::string_view name_of(scheduling::Refusal refusal) {
  using scheduling::Refusal;
  switch (refusal) {
    case Refusal::none: return "none";
    case Refusal::queue_full: return "queue_full";
    case Refusal::client_quota: return "client_quota";
    case Refusal::category_quota: return "category_quota";
    case Refusal::unknown_category: return "unknown_category";
    case Refusal::too_large: return "too_large";
    case Refusal::too_many_demands: return "too_many_demands";
  }
  return "unknown";
}

namespace scheduling {

namespace {
constexpr std::uint64_t ns_in_ms = 1'000'000;
constexpr std::uint64_t retry_min_ms = 50;
constexpr std::uint64_t retry_max_ms = 10'000;
}  // namespace

Admission Scheduler::admit(const TaskSpec& spec, bool has_room, Coming coming) const {
  using Verdict = Admission::Verdict;
  if (spec.category >= settings_.categories.size())
    return {Verdict::refuse, Refusal::unknown_category, 0, 0};
  const Resources& asked = spec.resources;
  if (asked.cpu_slots > settings_.cpu_slots_per_agent || asked.regions > settings_.regions ||
      asked.bytes > settings_.bytes)
    return {Verdict::refuse, Refusal::too_large, 0, 0};
  // About as long as the next few tasks take to end.
  const auto hint = static_cast<std::uint32_t>(
      std::clamp(4 * ends_interval_ns_ / ns_in_ms, retry_min_ms, retry_max_ms));
  if (!shapes_.has_room_for(spec)) return {Verdict::refuse, Refusal::too_many_demands, hint, 0};

  Refusal full = Refusal::none;
  const std::uint32_t category_max = settings_.categories[spec.category].queued_max;
  if (settings_.client_queued_max != 0 &&
      flows_.usage_of(spec.client).queued() + coming.of_client >= settings_.client_queued_max)
    full = Refusal::client_quota;
  else if (category_max != 0 &&
           flows_.usage_of_category(spec.category).queued() + coming.of_category >= category_max)
    full = Refusal::category_quota;
  else if (!has_room)
    full = Refusal::queue_full;
  if (full == Refusal::none) return {};
  switch (settings_.when_full) {
    case WhenFull::block: return {Verdict::block, full, hint, 0};
    case WhenFull::shed:
      if (const Node* victim =
              queues_.least_wanted(static_cast<unsigned>(spec.priority),
                                   full == Refusal::client_quota ? &spec.client : nullptr,
                                   full == Refusal::category_quota ? &spec.category : nullptr))
        return {Verdict::shed, full, 0, victim->task};
      [[fallthrough]];
    case WhenFull::reject: break;
  }
  return {Verdict::refuse, full, hint, 0};
}

Reason Scheduler::reason_of(const Node& node) const {
  switch (node.state) {
    case Node::State::none: return Reason::unknown;
    case Node::State::waiting: return Reason::dependencies;
    case Node::State::delayed: return Reason::backoff;
    case Node::State::released: return Reason::handing_over;
    case Node::State::running: return Reason::running;
    case Node::State::queued: break;
  }
  const Shape& shape = shapes_.at(node.shape);
  if (shape.able.none()) return Reason::no_agent;
  if (flows_.client_is_full(node.flow)) return Reason::client_quota;
  if (flows_.category_is_full(node.flow)) return Reason::category_quota;
  if (is_at_limit()) return Reason::max_concurrent;
  if (shape.reserves && memory_claim_ != no_slot) return Reason::memory;
  return Reason::queue;
}

Explanation Scheduler::explain(TaskId task, std::uint64_t now_ns) const {
  Explanation answer;
  const Node* node = find(task);
  if (node == nullptr) return answer;
  answer.reason = reason_of(*node);
  answer.priority = static_cast<Priority>(node->level);
  switch (node->state) {
    case Node::State::waiting: answer.waits_for = graph_.waits_for(task); return answer;
    case Node::State::delayed:
      answer.until_ns = answer.expected_start_ns = node->not_before_ns;
      return answer;
    case Node::State::running: answer.agent = node->agent; return answer;
    case Node::State::queued: break;
    default: return answer;
  }
  answer.position = queues_.position(*node) + 1;
  const Shape& shape = shapes_.at(node->shape);
  const std::uint64_t each_ns = times_.estimate_ns(shape.capability);
  if (answer.reason == Reason::no_agent || each_ns == 0) return answer;
  // What is ahead of it, as though all of it were of its kind and went to those who can take it.
  std::uint64_t ahead = answer.position;
  for (unsigned level = 0; level < node->level; ++level) ahead += queues_.size(level);
  std::uint64_t in_flight = 0;
  for (std::size_t i = shape.able._Find_first(); i < agents_max; i = shape.able._Find_next(i))
    in_flight += agents_.at(static_cast<PartyId>(i)).in_flight;
  answer.expected_start_ns = now_ns + (ahead + in_flight) * each_ns / shape.able.count();
  return answer;
}

std::array<std::uint32_t, reasons> Scheduler::pending() const {
  std::array<std::uint32_t, reasons> counts{};
  nodes_.for_each([&](const Node& node) {
    if (node.state != Node::State::none && node.state != Node::State::running)
      ++counts[static_cast<unsigned>(reason_of(node))];
  });
  return counts;
}

}  // namespace scheduling
}  // namespace micro_swarm
