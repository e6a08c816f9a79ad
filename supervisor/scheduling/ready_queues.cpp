#include "supervisor/scheduling/ready_queues.hpp"

#include <algorithm>
#include <iterator>

#include "common/prefetch.hpp"

namespace micro_swarm::scheduling {

void ReadyQueues::insert(Node& node, std::uint64_t now_ns) {
  node.age_ns = now_ns;
  link(node);
  shapes_.queued(node.shape);
  ++size_;
}

void ReadyQueues::erase(Node& node) {
  unlink(node);
  shapes_.unqueued(node.shape);
  --size_;
}

void ReadyQueues::put_in_order(Waiting& waiting, Node& node) {
  Queue& queue = waiting.in_order;
  if (waiting.latest == nullptr || Earlier()(node, *waiting.latest)) {
    queue.insert(node);
    waiting.latest = &node;
    return;
  }
  const auto next = std::next(queue.iterator_to(*waiting.latest));
  const bool is_next = next == queue.end() || Earlier()(node, *next);
  queue.insert(is_next ? next : queue.end(), node);
  if (is_next) waiting.latest = &node;
}

void ReadyQueues::link(Node& node) {
  Class& own = classes_[node.level];
  if (node.flow >= own.flows.size()) own.flows.resize(node.flow + 1);
  OfFlow& flow = own.flows[node.flow];
  if (flow.waiting.none()) {
    flow.active_at = static_cast<std::uint32_t>(own.active.size());
    own.active.push_back(node.flow);
    flows_.join(node.flow, node.level);
  }
  if (node.shape >= flow.queues.size()) flow.queues.resize(node.shape + 1u);
  auto& queue = flow.queues[node.shape];
  if (!queue) queue = std::make_unique<Waiting>();
  put_in_order(*queue, node);
  flow.waiting.set(node.shape);
  // What rises comes in by the step that noticed, so only others of that step can be younger.
  auto after = own.ages.end();
  for (unsigned steps = promotions_at_once;
       steps != 0 && after != own.ages.begin() && std::prev(after)->age_ns > node.age_ns; --steps)
    --after;
  own.ages.insert(after, node);
  ++sizes_[node.level];
}

void ReadyQueues::unlink(Node& node) {
  Class& own = classes_[node.level];
  OfFlow& flow = own.flows[node.flow];
  Waiting& waiting = *flow.queues[node.shape];
  Queue& queue = waiting.in_order;
  if (waiting.latest == &node) waiting.latest = nullptr;
  queue.erase(queue.iterator_to(node));
  own.ages.erase(own.ages.iterator_to(node));
  --sizes_[node.level];
  // Who is at the head now has waited longest: not in a cache since it came.
  if (!queue.empty()) return prefetch_for_write(&*queue.begin(), sizeof(Node));
  flow.waiting.reset(node.shape);
  if (flow.waiting.any()) return;
  own.active[flow.active_at] = own.active.back();
  own.flows[own.active.back()].active_at = flow.active_at;
  own.active.pop_back();
}

void ReadyQueues::promote(std::uint64_t now_ns, std::uint64_t aging_ns) {
  if (aging_ns == 0) return;
  unsigned left = promotions_at_once;
  for (unsigned level = 1; level < priorities; ++level)
    for (AgeList& ages = classes_[level].ages; left != 0 && !ages.empty(); --left) {
      Node& oldest = ages.front();
      const std::uint64_t classes = (now_ns - oldest.age_ns) / aging_ns;
      if (classes == 0) break;
      unlink(oldest);
      oldest.level = static_cast<std::uint8_t>(level - std::min<std::uint64_t>(classes, level));
      oldest.age_ns += classes * aging_ns;
      link(oldest);
    }
}

Node* ReadyQueues::best(const ShapeSet& shapes) const {
  for (const Class& own : classes_) {
    const auto level = static_cast<unsigned>(&own - classes_.data());
    Node* best = nullptr;
    std::uint64_t best_time = never;
    for (const std::uint32_t number : own.active) {
      const OfFlow& flow = own.flows[number];
      const std::uint64_t time = flows_.virtual_time(number, level);
      if (time > best_time) continue;
      const ShapeSet candidates = flow.waiting & shapes;
      if (candidates.none() || flows_.is_held_back(number)) continue;
      for (std::size_t shape = candidates._Find_first(); shape < shapes_max;
           shape = candidates._Find_next(shape)) {
        Node& head = *flow.queues[shape]->in_order.begin();
        if (best != nullptr && time == best_time && !Earlier()(head, *best)) continue;
        best = &head;
        best_time = time;
      }
    }
    if (best != nullptr) return best;
  }
  return nullptr;
}

const Node* ReadyQueues::least_wanted(unsigned level, const std::uint64_t* client,
                                      const CategoryId* category) const {
  for (unsigned low = priorities; low-- > level + 1;) {
    const Class& own = classes_[low];
    const Node* least = nullptr;
    for (const std::uint32_t number : own.active) {
      const Flow& flow = flows_.at(number);
      if ((client != nullptr && flow.client != *client) ||
          (category != nullptr && flow.category != *category))
        continue;
      const OfFlow& queues = own.flows[number];
      for (std::size_t shape = queues.waiting._Find_first(); shape < shapes_max;
           shape = queues.waiting._Find_next(shape)) {
        const Node& last = *queues.queues[shape]->in_order.rbegin();
        if (least == nullptr || Earlier()(*least, last)) least = &last;
      }
    }
    if (least != nullptr) return least;
  }
  return nullptr;
}

std::uint32_t ReadyQueues::position(const Node& node) const {
  std::uint32_t before = 0;
  for (const Node& other : classes_[node.level].ages)
    if (Earlier()(other, node)) ++before;
  return before;
}

}  // namespace micro_swarm::scheduling
