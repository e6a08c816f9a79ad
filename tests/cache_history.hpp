#pragma once

// Lets the cache and its model see the same events, and says where they first differ.

#include <string>
#include <vector>

#include "tests/cache_model.hpp"

namespace micro_swarm::caching::test {

/// One step: which event, and three numbers that say the rest.
struct Step {
  std::uint8_t op = 0, a = 0, b = 0, c = 0;
};

/// The cache and the model side by side.
class Both {
 public:
  explicit Both(const Settings& settings, Plant plant = Plant::none)
      : settings_(settings), cache_(settings), model_(settings, plant) {}

  /// False where the two differ; why() says it.
  bool apply(const Step& s) {
    now_ += s.c % 8;
    const std::string name(1, static_cast<char>('a' + s.a % 12));
    switch (s.op % 16) {
      case 0:
      case 1:
      case 2:
      case 3: {
        const NewEntry entry{name, s.b % 40u, s.c % 4 != 0 ? 0 : 1 + s.b % 32u,
                             static_cast<Priority>(s.c / 8 % 4)};
        const PutAnswer put = cache_.put(entry, now_, actions_);
        same(put.refusal == model_.put(entry, put.id, now_), "put");
        break;
      }
      case 4:
      case 5:
      case 6:
      case 7: {
        const LookupAnswer answer = cache_.lookup(name, now_, actions_);
        same(answer.kind == model_.lookup(name, now_), "lookup");
        if (answer.id != 0) pins_.push_back(answer.id);
        break;
      }
      case 8:
      case 9: unpin(s.a); break;
      case 10: same(cache_.erase(name, now_, actions_) == model_.erase(name, now_), "erase"); break;
      case 11:
        cache_.need(s.b, now_, actions_);
        model_.need(s.b, now_);
        break;
      case 12:
        cache_.tick(now_, actions_);
        model_.tick(now_);
        break;
      case 13:
      case 14: answer(s.a, s.b); break;
      case 15:
        settings_.policy = static_cast<Policy>(s.a % 4);
        if (s.b % 4 == 0) settings_.on_eviction = static_cast<OnEviction>(s.b / 4 % 3);
        if (s.b % 8 == 1) settings_.capacity_bytes = 40 + s.c;
        if (s.b % 8 == 2) settings_.spill_bytes_max = s.c;
        cache_.set(settings_, now_, actions_);
        model_.set(settings_, now_);
        break;
    }
    compare();
    return why_.empty();
  }
  /// Everybody lets go, every action is answered: nothing may be left that cannot go.
  bool drain() {
    while (why_.empty() && (!pins_.empty() || !asked_.empty())) {
      if (!pins_.empty())
        unpin(0);
      else
        answer(0, static_cast<std::uint8_t>(asked_.size()));
      compare();
    }
    while (why_.empty() && cache_.used_bytes() != 0) {
      cache_.need(cache_.used_bytes(), now_, actions_);
      model_.need(model_.used(), now_);
      compare();
      while (why_.empty() && !asked_.empty()) {
        answer(0, 0);
        compare();
      }
    }
    return why_.empty();
  }
  const std::string& why() const { return why_; }
  Cache& cache() { return cache_; }

 private:
  void same(bool equal, const char* what) {
    if (!equal && why_.empty()) why_ = what;
  }
  void unpin(std::uint8_t which) {
    const std::size_t at = pins_.empty() ? 0 : which % pins_.size();
    const EntryId id = pins_.empty() ? 12345 : pins_[at];
    if (!pins_.empty()) pins_.erase(pins_.begin() + static_cast<std::ptrdiff_t>(at));
    same(cache_.unpin(id, now_, actions_) == model_.unpin(id, now_), "unpin");
  }
  void answer(std::uint8_t which, std::uint8_t how) {
    if (asked_.empty()) return;
    const std::size_t at = which % asked_.size();
    const Action asked = asked_[at];
    asked_.erase(asked_.begin() + static_cast<std::ptrdiff_t>(at));
    switch (asked.kind) {
      case Action::Kind::compress: {
        const std::uint64_t size = how % 3 == 0 ? asked.bytes : (asked.bytes * (how % 8) + 7) / 8;
        const bool kept = cache_.compressed(asked.id, size, now_, actions_);
        same(kept == model_.compressed(asked.id, size, now_), "compressed");
        break;
      }
      case Action::Kind::spill: {
        const bool kept = cache_.spilled(asked.id, how % 4 != 0, now_, actions_);
        same(kept == model_.spilled(asked.id, how % 4 != 0, now_), "spilled");
        break;
      }
      case Action::Kind::restore: {
        const bool kept = cache_.restored(asked.id, how % 4 != 0, now_, actions_);
        same(kept == model_.restored(asked.id, how % 4 != 0, now_), "restored");
        break;
      }
      case Action::Kind::drop: break;
    }
  }
  void compare() {
    const auto text = [](const Actions& actions) {
      std::string all;
      for (const Action& a : actions)
        all += std::to_string(static_cast<int>(a.kind)) + ":" + std::to_string(a.id) + ":" +
               std::to_string(static_cast<int>(a.cause)) + ":" +
               std::to_string(static_cast<int>(a.from)) + " ";
      return all;
    };
    const std::string real = text(actions_), model = text(model_.actions);
    if (real != model && why_.empty()) why_ = "actions " + real + " != " + model;
    same(cache_.used_bytes() == model_.used(), "used");
    same(cache_.spilled_bytes() == model_.on_disk(), "on disk");
    same(cache_.size() == model_.entries().size(), "size");
    for (const ModelEntry& m : model_.entries()) {
      if (m.doomed != Cause::none) continue;
      const auto seen = cache_.look(m.name);
      same(seen && seen->id == m.id && seen->state == m.state && seen->pins == m.pins, "an entry");
    }
    cache_.check();
    for (const Action& action : actions_)
      if (action.kind != Action::Kind::drop) asked_.push_back(action);
    actions_.clear();
    model_.actions.clear();
  }

  Settings settings_;
  Cache cache_;
  Model model_;
  std::uint64_t now_ = 1;
  Actions actions_;
  Actions asked_;  // not answered yet
  std::vector<EntryId> pins_;
  std::string why_;
};

}  // namespace micro_swarm::caching::test
