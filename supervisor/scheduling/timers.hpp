#pragma once

// When something has to be looked at without an event: one time per task.

#include <algorithm>
#include <cassert>
#include <vector>

#include "supervisor/scheduling/node.hpp"

namespace micro_swarm::scheduling {

/// A heap in which each node has four below it, and which knows where everybody is: times and
/// places lie close together, so that a task is put in or taken out without looking at other nodes,
/// which are in no cache when many wait. (Johnson, "Priority queues with update and finding minimum
/// spanning trees", 1975.)
class Timers {
 public:
  explicit Timers(std::uint32_t task_slots) : places_(task_slots) {}

  /// Puts the node's timer to where its state says, or takes it out.
  void set(Node& node) {
    std::uint64_t at = node.expires_ns;
    if (node.state == Node::State::delayed && node.not_before_ns < at) at = node.not_before_ns;
    if (at == node.timer_ns) return;
    remove(node);
    if (at == never) return;
    node.timer_ns = at;
    heap_.push_back({at, &node, task_slot(node.task)});
    rise(heap_.size() - 1);
  }
  void remove(Node& node) {
    if (node.timer_ns == never) return;
    node.timer_ns = never;
    std::uint32_t& place = places_[task_slot(node.task)];
    const std::size_t hole = place - 1u;
    assert(place != 0 && heap_[hole].node == &node);
    place = 0;
    const Entry last = heap_.back();
    heap_.pop_back();
    if (hole == heap_.size()) return;
    put(hole, last);
    rise(hole);
    sink(places_[last.slot] - 1u);
  }
  /// The one that is due first at `now_ns`, or nullptr. Stays in until it is set anew.
  Node* due(std::uint64_t now_ns) {
    return heap_.empty() || heap_.front().at_ns > now_ns ? nullptr : heap_.front().node;
  }
  std::uint64_t next_due_ns() const { return heap_.empty() ? never : heap_.front().at_ns; }

 private:
  static constexpr std::size_t below = 4;
  struct Entry {
    std::uint64_t at_ns;
    Node* node;
    std::uint32_t slot;
  };

  void put(std::size_t at, const Entry& entry) {
    heap_[at] = entry;
    places_[entry.slot] = static_cast<std::uint32_t>(at + 1);
  }
  void rise(std::size_t at) {
    const Entry entry = heap_[at];
    while (at != 0 && entry.at_ns < heap_[(at - 1) / below].at_ns) {
      put(at, heap_[(at - 1) / below]);
      at = (at - 1) / below;
    }
    put(at, entry);
  }
  void sink(std::size_t at) {
    const Entry entry = heap_[at];
    for (;;) {
      const std::size_t first = at * below + 1;
      if (first >= heap_.size()) break;
      std::size_t least = first;
      for (std::size_t i = first + 1; i < std::min(first + below, heap_.size()); ++i)
        if (heap_[i].at_ns < heap_[least].at_ns) least = i;
      if (heap_[least].at_ns >= entry.at_ns) break;
      put(at, heap_[least]);
      at = least;
    }
    put(at, entry);
  }

  std::vector<Entry> heap_;
  std::vector<std::uint32_t> places_;  ///< by slot: where in the heap, plus one; 0 = not there
};

}  // namespace micro_swarm::scheduling
