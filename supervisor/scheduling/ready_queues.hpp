#pragma once

// The tasks that wait for an agent, by class, flow and shape. The order is the scheduler's
// (scheduler.hpp says it).

#include <array>
#include <boost/intrusive/list.hpp>
#include <boost/intrusive/set.hpp>
#include <memory>
#include <vector>

#include "supervisor/scheduling/flows.hpp"
#include "supervisor/scheduling/node.hpp"
#include "supervisor/scheduling/shapes.hpp"

namespace micro_swarm::scheduling {

class ReadyQueues {
 public:
  /// A step looks at no more than so many tasks that have grown old.
  static constexpr unsigned promotions_at_once = 64;

  ReadyQueues(Flows& flows, Shapes& shapes) : flows_(flows), shapes_(shapes) {}

  /// Into the class `node.level`.
  void insert(Node& node, std::uint64_t now_ns);
  void erase(Node& node);
  /// Those that have waited `aging_ns` in their class go one class up; 0 = nobody.
  void promote(std::uint64_t now_ns, std::uint64_t aging_ns);
  /// The next one among these shapes, or nullptr.
  Node* best(const ShapeSet& shapes) const;
  /// The one to give up first for a new one of class `level`: the latest of the lowest class, and
  /// lower than `level`; of one client or category only, where given. Linear in what is queued.
  const Node* least_wanted(unsigned level, const std::uint64_t* client,
                           const CategoryId* category) const;
  /// How many of its class come before it, whoever may run them. Linear in what is queued.
  std::uint32_t position(const Node& node) const;
  std::uint32_t size() const { return size_; }
  std::uint32_t size(unsigned level) const { return sizes_[level]; }

 private:
  using Queue =
      intrusive::multiset<Node, intrusive::member_hook<Node, TreeHook, &Node::in_queue>,
                          intrusive::compare<Earlier>, intrusive::constant_time_size<false>>;
  /// Of one flow, shape and class.
  struct Waiting {
    Queue in_order;
    /// Behind it is the place of the next one without a deadline: the others with deadlines far off
    /// would make each such look for its place among nodes that are in no cache.
    Node* latest = nullptr;
  };
  using AgeList = intrusive::list<Node, intrusive::member_hook<Node, ListHook, &Node::in_age_list>,
                                  intrusive::constant_time_size<false>>;
  struct OfFlow {
    ShapeSet waiting;
    std::vector<std::unique_ptr<Waiting>> queues;  // by shape, made when first used
    std::uint32_t active_at = 0;                   // where in `active`
  };
  struct Class {
    std::vector<OfFlow> flows;
    std::vector<std::uint32_t> active;  // flows with something in it
    AgeList ages;                       // in the order in which they came into the class
  };

  static void put_in_order(Waiting& waiting, Node& node);
  void link(Node& node);
  void unlink(Node& node);

  Flows& flows_;
  Shapes& shapes_;
  std::array<Class, priorities> classes_;
  std::array<std::uint32_t, priorities> sizes_{};
  std::uint32_t size_ = 0;
};

}  // namespace micro_swarm::scheduling
