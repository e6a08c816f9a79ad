#include "supervisor/caching/eviction_order.hpp"

#include <boost/assert.hpp>

namespace micro_swarm::caching {

void EvictionOrder::set_policy(Policy policy) {
  BOOST_ASSERT(list_.empty() && tree_.empty() && frequencies_.empty());
  policy_ = policy;
  Tree tree{ComesFirst{policy}};
  tree_.swap(tree);
}

void EvictionOrder::clear() {
  list_.clear();
  tree_.clear();
  frequencies_.clear_and_dispose([](Frequency* frequency) { delete frequency; });
}

// `at_or_after`: the first of at least as many uses.
void EvictionOrder::join(Entry& entry, Frequencies::iterator at_or_after) {
  if (at_or_after == frequencies_.end() || at_or_after->uses != entry.uses) {
    auto* fresh = new Frequency;
    fresh->uses = entry.uses;
    at_or_after = frequencies_.insert_before(at_or_after, *fresh);
  }
  ++at_or_after->members;
  entry.frequency = &*at_or_after;
}

void EvictionOrder::part(Entry& entry) {
  Frequency& frequency = *entry.frequency;
  entry.frequency = nullptr;
  if (--frequency.members != 0) return;
  frequencies_.erase(frequencies_.iterator_to(frequency));
  delete &frequency;
}

void EvictionOrder::enter(Entry& entry) {
  BOOST_ASSERT(entry.order == nullptr && !entry.evictable);
  entry.order = this;
  if (policy_ != Policy::lfu) return;
  // A new entry has fewer uses than most: look there first.
  const auto begin = frequencies_.begin();
  join(entry, begin == frequencies_.end() || entry.uses <= begin->uses
                  ? begin
                  : frequencies_.lower_bound(entry.uses));
}

void EvictionOrder::leave(Entry& entry) {
  BOOST_ASSERT(entry.order == this && !entry.evictable);
  entry.order = nullptr;
  if (entry.frequency != nullptr) part(entry);
}

void EvictionOrder::release(Entry& entry, bool first) {
  BOOST_ASSERT(entry.order == this && !entry.evictable);
  entry.evictable = true;
  if (policy_ == Policy::fifo || policy_ == Policy::ttl) {
    // Mostly a new one, and mostly those with later times come later.
    tree_.insert(tree_.end(), entry);
    return;
  }
  EntryList& list = policy_ == Policy::lru ? list_ : entry.frequency->evictable;
  if (first)
    list.push_front(entry);
  else
    list.push_back(entry);
}

void EvictionOrder::hold(Entry& entry) {
  BOOST_ASSERT(entry.order == this && entry.evictable);
  entry.evictable = false;
  if (policy_ == Policy::fifo || policy_ == Policy::ttl) {
    tree_.erase(tree_.iterator_to(entry));
    return;
  }
  EntryList& list = policy_ == Policy::lru ? list_ : entry.frequency->evictable;
  list.erase(list.iterator_to(entry));
}

void EvictionOrder::used(Entry& entry) {
  BOOST_ASSERT(entry.order == this && !entry.evictable);
  if (policy_ != Policy::lfu) return;
  Frequency& before = *entry.frequency;
  auto next = frequencies_.iterator_to(before);
  // Alone with its count, and nobody has the next: the list itself moves on.
  ++next;
  if (before.members == 1 && (next == frequencies_.end() || next->uses != entry.uses)) {
    before.uses = entry.uses;
    return;
  }
  part(entry);
  join(entry, next);
}

Entry* EvictionOrder::first() {
  switch (policy_) {
    case Policy::lru: return list_.empty() ? nullptr : &list_.front();
    case Policy::lfu:
      for (Frequency& frequency : frequencies_)
        if (!frequency.evictable.empty()) return &frequency.evictable.front();
      return nullptr;
    case Policy::fifo:
    case Policy::ttl: return tree_.empty() ? nullptr : &*tree_.begin();
  }
  return nullptr;
}

}  // namespace micro_swarm::caching
