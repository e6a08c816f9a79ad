#pragma once

// What the cache promises, said as plainly as possible: one vector, every question answered by
// looking at everything. A planted mistake is one of the model's: that it is seen shows that the
// same mistake of the cache would be.

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

}  // namespace micro_swarm::caching::test
