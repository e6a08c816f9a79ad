#pragma once

// When something has to be looked at without an event: one time per task.

#include <boost/intrusive/set.hpp>

#include "supervisor/scheduling/node.hpp"

namespace micro_swarm::scheduling {

class Timers {
 public:
  /// Puts the node's timer to where its state says, or takes it out.
  void set(Node& node) {
    std::uint64_t at = node.expires_ns;
    if (node.state == Node::State::delayed && node.not_before_ns < at) at = node.not_before_ns;
    if (at == node.timer_ns) return;
    if (node.timer_ns != never) tree_.erase(tree_.iterator_to(node));
    node.timer_ns = at;
    // Mostly the latest one: equal timeouts of tasks as they come.
    if (at != never) tree_.insert(tree_.end(), node);
  }
  void remove(Node& node) {
    if (node.timer_ns != never) tree_.erase(tree_.iterator_to(node));
    node.timer_ns = never;
  }
  /// The one that is due first at `now_ns`, or nullptr. Stays in until it is set anew.
  Node* due(std::uint64_t now_ns) {
    return tree_.empty() || tree_.begin()->timer_ns > now_ns ? nullptr : &*tree_.begin();
  }
  std::uint64_t next_due_ns() const { return tree_.empty() ? never : tree_.begin()->timer_ns; }

 private:
  struct Sooner {
    bool operator()(const Node& a, const Node& b) const { return a.timer_ns < b.timer_ns; }
  };
  intrusive::multiset<Node, intrusive::member_hook<Node, TreeHook, &Node::in_timers>,
                      intrusive::compare<Sooner>, intrusive::constant_time_size<false>>
      tree_;
};

}  // namespace micro_swarm::scheduling
