#pragma once

// What the cache promises, said as plainly as possible: one vector, every question answered by
// looking at everything. Both() lets the real one and this one see the same events and says where
// they first differ. A planted mistake is one of the model's: that it is seen shows that the same
// mistake of the cache would be.

#include <algorithm>
#include <optional>
#include <string>
#include <vector>

#include "supervisor/caching/cache.hpp"

namespace micro_swarm::caching::test {

enum class Plant {
  none,
  evicts_pinned,
  wrong_end,
  forgets_priority,
  forgets_uses,
  expires_pinned,
  compresses_again,
  keeps_unwanted_copy,
  forgets_debt,
};

struct ModelEntry {
  std::string name;
  EntryId id = 0;
  std::uint64_t bytes = 0, pool = 0, disk = 0, expected = 0;
  State state = State::plain, from = State::plain;
  unsigned priority = 0;
  std::uint32_t pins = 0;
  char job = 0;  // 'c', 's'
  Cause doomed = Cause::none;
  bool cancelled = false, incompressible = false, unspillable = false;
  std::int64_t touched = 0;
  std::uint64_t uses = 1, arrival = 0, expires = never;

  bool in_use() const { return pins != 0 || job != 0 || state == State::restoring; }
};

class Model {
 public:
  Model(const Settings& settings, Plant plant) : settings_(settings), plant_(plant) {}

  Actions actions;

  Refusal put(const NewEntry& e, EntryId id_if_taken, std::uint64_t now) {
    if (e.name.empty() || e.name.size() > name_bytes_max) return Refusal::bad_name;
    if (e.bytes == 0) return Refusal::bad_size;
    if (e.bytes > settings_.capacity_bytes) return Refusal::too_large;
    tick(now);
    if (named(e.name)) return Refusal::duplicate;
    const auto priority = static_cast<unsigned>(e.priority);
    std::uint64_t could = under_way();
    for (const ModelEntry& m : entries_)
      if (evictable(m) && m.priority >= priority) could += m.pool;
    if (used() + e.bytes > settings_.capacity_bytes + could) return Refusal::no_room;
    keep_capacity(e.bytes, priority);
    if (used() + e.bytes > settings_.capacity_bytes) return Refusal::no_room;
    if (entries_.size() >= settings_.entries_max) {
      ModelEntry* goes = spilled_victim(priority);
      if (goes == nullptr) goes = victim(priority);
      if (goes == nullptr) return Refusal::table_full;
      remove(*goes, Cause::evicted);
    }
    ModelEntry m;
    m.name = e.name;
    m.id = id_if_taken;
    m.bytes = m.pool = e.bytes;
    m.priority = priority;
    m.arrival = ++arrivals_;
    m.touched = ++last_;
    if (e.ttl_ns != 0) m.expires = now + e.ttl_ns;
    entries_.push_back(m);
    return Refusal::none;
  }
  LookupAnswer::Kind lookup(const std::string& name, std::uint64_t now) {
    ModelEntry* m = alive(name, now);
    if (m == nullptr) return LookupAnswer::Kind::miss;
    if (m->job != 0) m->expected = 0, m->cancelled = true;
    ++m->pins;
    ++m->uses;
    const EntryId id = m->id;
    if (m->state == State::compressed || m->state == State::spilled) {
      m->from = m->state;
      m->state = State::restoring;
      m->pool += m->bytes;
      const Action restore{Action::Kind::restore, Cause::none, m->from, m->id, m->bytes};
      keep_capacity(0, m->priority);
      actions.push_back(restore);
    }
    pay();
    return at(id)->state == State::plain ? LookupAnswer::Kind::hit : LookupAnswer::Kind::restoring;
  }
  bool unpin(EntryId id, std::uint64_t now) {
    ModelEntry* m = at(id);
    if (m == nullptr || m->pins == 0) return false;
    --m->pins;
    settle(*m, false, now);
    pay();
    return true;
  }
  bool erase(const std::string& name, std::uint64_t now) {
    ModelEntry* m = alive(name, now);
    if (m == nullptr) return false;
    discard(*m, Cause::erased);
    return true;
  }
  void need(std::uint64_t bytes, std::uint64_t now) {
    owed_ += bytes;
    spared_ = 0;
    tick(now);
    pay();
  }
  void tick(std::uint64_t now) {
    for (;;) {
      ModelEntry* due = nullptr;
      for (ModelEntry& m : entries_)
        if (m.doomed == Cause::none && m.expires <= now &&
            (due == nullptr ||
             std::pair(m.expires, m.arrival) < std::pair(due->expires, due->arrival)))
          due = &m;
      if (due == nullptr) return;
      if (plant_ == Plant::expires_pinned)
        remove(*due, Cause::expired);
      else
        discard(*due, Cause::expired);
    }
  }
  void set(const Settings& settings, std::uint64_t now) {
    tick(now);
    settings_ = settings;
    keep_capacity(0, 0);
    disk_room(0, 0);
  }
  bool compressed(EntryId id, std::uint64_t stored, std::uint64_t now) {
    ModelEntry* m = at(id);
    if (m == nullptr || m->job != 'c') return false;
    const bool pays = stored != 0 && stored < m->bytes;
    const bool wanted = !m->cancelled || plant_ == Plant::keeps_unwanted_copy;
    m->job = 0;
    m->expected = 0;
    if (!pays && plant_ != Plant::compresses_again) m->incompressible = true;
    if (pays && wanted) {
      freed(m->pool - stored);
      m->pool = stored;
      m->state = State::compressed;
    }
    settle(*m, !pays && wanted, now);
    pay();
    return pays && wanted;
  }
  bool spilled(EntryId id, bool ok, std::uint64_t now) {
    ModelEntry* m = at(id);
    if (m == nullptr || m->job != 's') return false;
    const bool wanted = !m->cancelled;
    m->job = 0;
    m->expected = 0;
    if (!ok) m->unspillable = true;
    if (ok && wanted) {
      freed(m->pool);
      m->pool = 0;
      m->state = State::spilled;
    } else {
      m->disk = 0;
    }
    settle(*m, !ok && wanted, now);
    pay();
    return ok && wanted;
  }
  bool restored(EntryId id, bool ok, std::uint64_t now) {
    ModelEntry* m = at(id);
    if (m == nullptr || m->state != State::restoring) return false;
    if (ok) {
      freed(m->pool - m->bytes);
      m->pool = m->bytes;
      if (m->job == 0) m->disk = 0;
      m->state = State::plain;
    } else {
      freed(m->bytes);
      m->pool -= m->bytes;
      m->state = m->from;
      m->doomed = Cause::lost;
    }
    settle(*m, false, now);
    pay();
    return ok;
  }

  std::uint64_t used() const { return sum(&ModelEntry::pool); }
  std::uint64_t on_disk() const { return sum(&ModelEntry::disk); }
  std::uint64_t under_way() const { return sum(&ModelEntry::expected); }
  const std::vector<ModelEntry>& entries() const { return entries_; }
  const ModelEntry* named(std::string_view name) const {
    for (const ModelEntry& m : entries_)
      if (m.doomed == Cause::none && m.name == name) return &m;
    return nullptr;
  }

 private:
  std::uint64_t sum(std::uint64_t ModelEntry::*what) const {
    std::uint64_t all = 0;
    for (const ModelEntry& m : entries_) all += m.*what;
    return all;
  }
  bool evictable(const ModelEntry& m) const {
    if (plant_ == Plant::evicts_pinned) return m.job == 0 && m.state != State::restoring;
    return m.doomed == Cause::none && !m.in_use();
  }
  ModelEntry* at(EntryId id) {
    for (ModelEntry& m : entries_)
      if (m.id == id) return &m;
    return nullptr;
  }
  ModelEntry* alive(const std::string& name, std::uint64_t now) {
    for (ModelEntry& m : entries_) {
      if (m.doomed != Cause::none || m.name != name) continue;
      if (m.expires > now) return &m;
      discard(m, Cause::expired);
      return nullptr;
    }
    return nullptr;
  }
  bool goes_before(const ModelEntry& a, const ModelEntry& b) const {
    const bool before = [&] {
      switch (settings_.policy) {
        case Policy::lru: return a.touched < b.touched;
        case Policy::lfu:
          if (plant_ == Plant::forgets_uses) return a.touched < b.touched;
          return std::pair(a.uses, a.touched) < std::pair(b.uses, b.touched);
        case Policy::fifo: return a.arrival < b.arrival;
        case Policy::ttl: return std::pair(a.expires, a.arrival) < std::pair(b.expires, b.arrival);
      }
      return false;
    }();
    return plant_ == Plant::wrong_end ? !before : before;
  }
  ModelEntry* first(State state, unsigned priority) {
    ModelEntry* found = nullptr;
    for (ModelEntry& m : entries_)
      if (evictable(m) && m.state == state && m.priority == priority &&
          (found == nullptr || goes_before(m, *found)))
        found = &m;
    return found;
  }
  ModelEntry* victim(unsigned spared) {
    std::uint64_t packed = 0;
    for (const ModelEntry& m : entries_)
      if (m.state == State::compressed) packed += m.pool;
    const bool prefer = packed * 100 > used() * settings_.compressed_percent_max;
    for (unsigned i = priorities; i-- > spared;) {
      const unsigned p = plant_ == Plant::forgets_priority ? priorities - 1 - i + spared : i;
      ModelEntry* whole = first(State::plain, p);
      ModelEntry* small = first(State::compressed, p);
      if (whole != nullptr && small != nullptr) return prefer ? small : whole;
      if (whole != nullptr || small != nullptr) return whole != nullptr ? whole : small;
    }
    return nullptr;
  }
  ModelEntry* spilled_victim(unsigned spared) {
    for (unsigned p = priorities; p-- > spared;)
      if (ModelEntry* m = first(State::spilled, p)) return m;
    return nullptr;
  }
  bool disk_room(std::uint64_t bytes, unsigned spared) {
    while (on_disk() + bytes > settings_.spill_bytes_max) {
      ModelEntry* m = spilled_victim(spared);
      if (m == nullptr) return false;
      remove(*m, Cause::evicted);
    }
    return true;
  }
  void start(EntryId id, char job) {
    ModelEntry& m = *at(id);
    m.job = job;
    m.cancelled = false;
    m.expected = job == 's' ? m.pool : (m.pool + 1) / 2;
    if (job == 's') m.disk = m.pool;
    actions.push_back({job == 's' ? Action::Kind::spill : Action::Kind::compress, Cause::none,
                       m.state, m.id, m.bytes});
  }
  void pay() {
    while (owed_ > under_way()) {
      ModelEntry* m = victim(spared_);
      if (m == nullptr) break;
      const OnEviction how = settings_.on_eviction;
      const EntryId id = m->id;
      const bool spill =
          how == OnEviction::spill || (how == OnEviction::compress && settings_.spill_compressed);
      if (how == OnEviction::compress && m->state == State::plain && !m->incompressible)
        start(id, 'c');
      else if (spill && !m->unspillable && m->pool <= settings_.spill_bytes_max &&
               disk_room(m->pool, m->priority))
        start(id, 's');
      else
        remove(*at(id), Cause::evicted);
    }
    owed_ = std::min(owed_, under_way());
    if (owed_ == 0) spared_ = priorities - 1;
  }
  void keep_capacity(std::uint64_t coming, unsigned spared) {
    if (used() + coming <= settings_.capacity_bytes) return;
    owed_ = std::max(owed_, used() + coming - settings_.capacity_bytes);
    spared_ = std::min(spared_, spared);
    pay();
  }
  void freed(std::uint64_t bytes) {
    if (plant_ != Plant::forgets_debt)
      owed_ -= std::min(owed_, bytes);
    else
      owed_ = 0;
  }
  void discard(ModelEntry& m, Cause cause) {
    if (!m.in_use()) return remove(m, cause);
    m.doomed = cause;
    m.cancelled = true;
  }
  void remove(ModelEntry& m, Cause cause) {
    actions.push_back({Action::Kind::drop, cause, m.state, m.id, m.bytes});
    freed(m.pool);
    entries_.erase(entries_.begin() + (&m - entries_.data()));
  }
  void settle(ModelEntry& m, bool first, std::uint64_t now) {
    if (m.in_use()) return;
    if (m.doomed != Cause::none) return remove(m, m.doomed);
    if (m.expires <= now) return remove(m, Cause::expired);
    m.touched = first ? --first_ : ++last_;
  }

  Settings settings_;
  Plant plant_;
  std::vector<ModelEntry> entries_;
  std::uint64_t arrivals_ = 0, owed_ = 0;
  std::int64_t last_ = 0, first_ = 0;
  unsigned spared_ = priorities - 1;
};

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
