#include "supervisor/caching/cache.hpp"

#include <algorithm>
#include <bit>
#include <boost/assert.hpp>

namespace micro_swarm::caching {

Cache::Cache(const Settings& settings)
    : settings_(settings),
      buckets_(std::bit_ceil(std::size_t{settings.entries_max} + 1)),
      names_(Names::bucket_traits(buckets_.data(), buckets_.size())) {
  for (auto& orders : orders_)
    for (EvictionOrder& order : orders) order.set_policy(settings_.policy);
}

// ---- events ----

PutAnswer Cache::put(const NewEntry& entry, std::uint64_t now_ns, Actions& actions) {
  const auto refuse = [this](Refusal refusal) {
    ++count().refusals;
    return PutAnswer{refusal, 0};
  };
  if (entry.name.empty() || entry.name.size() > name_bytes_max) return refuse(Refusal::bad_name);
  if (entry.bytes == 0) return refuse(Refusal::bad_size);
  if (static_cast<unsigned>(entry.priority) >= priorities) return refuse(Refusal::bad_priority);
  if (entry.bytes > settings_.capacity_bytes) return refuse(Refusal::too_large);
  expire(now_ns, actions);
  if (names_.find(entry.name) != names_.end()) return refuse(Refusal::duplicate);
  // Nobody is sent away for one that cannot come in all the same.
  if (!could_fit(entry.bytes, entry.priority)) return refuse(Refusal::no_room);
  keep_capacity(entry.bytes, entry.priority, actions);
  if (used_ + entry.bytes > settings_.capacity_bytes) return refuse(Refusal::no_room);
  if (size_ >= settings_.entries_max && !make_slot(entry.priority, actions))
    return refuse(Refusal::table_full);

  std::uint32_t slot = static_cast<std::uint32_t>(entries_.size());
  if (!free_slots_.empty()) {
    slot = free_slots_.back();
    free_slots_.pop_back();
  } else {
    entries_.emplace_back();
  }
  if (next_serial_ == 0) next_serial_ = 1;
  Entry& fresh = add(make_entry_id(slot, next_serial_++), entry.name, entry.bytes, entry.priority);
  fresh.pool_bytes = entry.bytes;
  used_ += entry.bytes;
  fresh.stored_ns = fresh.last_use_ns = now_ns;
  fresh.uses = 1;
  if (entry.ttl_ns != 0)
    set_expiry(fresh, entry.ttl_ns < never - now_ns ? now_ns + entry.ttl_ns : never);
  ++count().insertions;
  count().bytes_inserted += entry.bytes;
  enter_order(fresh);
  if (entry.is_pinned)
    fresh.pins = 1;
  else
    release(fresh, false);
  check_balance();
  return {Refusal::none, fresh.id};
}

LookupAnswer Cache::lookup(std::string_view name, std::uint64_t now_ns, Actions& actions) {
  Entry* entry = find(name, now_ns, actions);
  if (entry == nullptr) {
    ++count().misses;
    return {};
  }
  ++count().hits;
  cancel_job(*entry);
  if (entry->evictable) hold(*entry);
  ++entry->pins;
  ++entry->uses;
  entry->last_use_ns = now_ns;
  if (entry->state == State::compressed || entry->state == State::spilled)
    restore(*entry, actions);
  else if (entry->order != nullptr)
    entry->order->used(*entry);
  pay(actions);
  check_balance();
  return {entry->state == State::plain ? LookupAnswer::Kind::hit : LookupAnswer::Kind::restoring,
          entry->id};
}

bool Cache::unpin(EntryId id, std::uint64_t now_ns, Actions& actions) {
  Entry* entry = get(id);
  if (entry == nullptr || entry->pins == 0) return false;
  entry->last_use_ns = now_ns;
  --entry->pins;
  settle(*entry, false, now_ns, actions);
  pay(actions);
  check_balance();
  return true;
}

bool Cache::erase(std::string_view name, std::uint64_t now_ns, Actions& actions) {
  Entry* entry = find(name, now_ns, actions);
  if (entry == nullptr) return false;
  discard(*entry, Cause::erased, actions);
  check_balance();
  return true;
}

void Cache::tick(std::uint64_t now_ns, Actions& actions) {
  expire(now_ns, actions);
  check_balance();
}

void Cache::set(const Settings& settings, std::uint64_t now_ns, Actions& actions) {
  BOOST_ASSERT(settings.entries_max == settings_.entries_max);
  expire(now_ns, actions);
  const bool reorder = settings.policy != settings_.policy;
  settings_ = settings;
  if (reorder) rebuild();
  keep_capacity(0, Priority::critical, actions);
  make_disk_room(0, Priority::critical, actions);
  check_balance();
}

bool Cache::compressed(EntryId id, std::uint64_t stored_bytes, std::uint64_t now_ns,
                       Actions& actions) {
  Entry* entry = get(id);
  if (entry == nullptr || entry->job != Entry::Job::compress) return false;
  const bool pays = stored_bytes != 0 && stored_bytes < entry->bytes;
  const bool wanted = !entry->cancelled;
  end_job(*entry);
  if (!pays) {
    entry->incompressible = true;
    ++count().incompressible;
  }
  const bool kept = pays && wanted;
  if (kept) {
    BOOST_ASSERT(entry->pins == 0 && entry->state == State::plain);
    leave_order(*entry);
    const std::uint64_t saved = entry->pool_bytes - stored_bytes;
    entry->pool_bytes = stored_bytes;
    entry->state = State::compressed;
    used_ -= saved;
    packed_ += stored_bytes;
    enter_order(*entry);
    ++count().compressed;
    count().bytes_saved += saved;
    freed(saved);
  }
  // It was to make room and did not: it is the first to be asked again.
  settle(*entry, !pays && wanted, now_ns, actions);
  pay(actions);
  check_balance();
  return kept;
}

bool Cache::spilled(EntryId id, bool ok, std::uint64_t now_ns, Actions& actions) {
  Entry* entry = get(id);
  if (entry == nullptr || entry->job != Entry::Job::spill) return false;
  const bool wanted = !entry->cancelled;
  end_job(*entry);
  if (!ok) entry->unspillable = true;
  const bool kept = ok && wanted;
  if (kept) {
    BOOST_ASSERT(entry->pins == 0 && entry->state != State::restoring);
    leave_order(*entry);
    const std::uint64_t out = entry->pool_bytes;
    if (entry->state == State::compressed) packed_ -= out;
    used_ -= out;
    entry->pool_bytes = 0;
    entry->state = State::spilled;
    enter_order(*entry);
    ++count().spilled;
    count().bytes_spilled += out;
    freed(out);
  } else {
    on_disk_ -= entry->disk_bytes;
    entry->disk_bytes = 0;
  }
  settle(*entry, !ok && wanted, now_ns, actions);
  pay(actions);
  check_balance();
  return kept;
}

bool Cache::restored(EntryId id, bool ok, std::uint64_t now_ns, Actions& actions) {
  Entry* entry = get(id);
  if (entry == nullptr || entry->state != State::restoring) return false;
  if (ok) {
    const std::uint64_t copy = entry->pool_bytes - entry->bytes;  // 0 if it was spilled
    entry->pool_bytes = entry->bytes;
    used_ -= copy;
    count().bytes_replaced += copy;
    freed(copy);
    if (entry->job == Entry::Job::none) {
      on_disk_ -= entry->disk_bytes;
      entry->disk_bytes = 0;
    }
    entry->state = State::plain;
    ++count().restored;
    if (entry->doomed == Cause::none) enter_order(*entry);
  } else {
    entry->pool_bytes -= entry->bytes;
    used_ -= entry->bytes;
    count().bytes_lost += entry->bytes;
    freed(entry->bytes);
    entry->state = entry->from;
    if (entry->state == State::compressed) packed_ += entry->pool_bytes;
    if (entry->doomed == Cause::none) lose_name(*entry);
    entry->doomed = Cause::lost;
  }
  settle(*entry, false, now_ns, actions);
  pay(actions);
  check_balance();
  return ok;
}

std::uint64_t Cache::next_due_ns() const {
  return expiries_.empty() ? never : expiries_.begin()->expires_ns;
}

std::optional<Record> Cache::look(std::string_view name) const {
  const auto found = names_.find(name);
  if (found == names_.end()) return std::nullopt;
  const Entry& entry = *found;
  return Record{entry.id,
                entry.name(),
                entry.bytes,
                entry.state == State::spilled ? entry.disk_bytes : entry.pool_bytes,
                entry.state,
                entry.priority,
                entry.pins,
                entry.uses,
                entry.stored_ns,
                entry.last_use_ns,
                entry.expires_ns == never ? 0 : entry.expires_ns,
                entry.incompressible};
}

// ---- entries ----

Entry* Cache::get(EntryId id) {
  const std::uint32_t slot = entry_slot(id);
  return id != 0 && slot < entries_.size() && entries_[slot].id == id ? &entries_[slot] : nullptr;
}

Entry* Cache::find(std::string_view name, std::uint64_t now_ns, Actions& actions) {
  const auto found = names_.find(name);
  if (found == names_.end()) return nullptr;
  if (found->expires_ns > now_ns) return &*found;
  discard(*found, Cause::expired, actions);
  return nullptr;
}

Entry& Cache::add(EntryId id, std::string_view name, std::uint64_t bytes, Priority priority) {
  Entry& entry = entries_[entry_slot(id)];
  BOOST_ASSERT(entry.id == 0);
  entry = Entry{};
  entry.id = id;
  entry.bytes = bytes;
  entry.priority = priority;
  entry.arrival = ++arrivals_;
  entry.name_bytes = static_cast<std::uint8_t>(name.size());
  std::copy(name.begin(), name.end(), entry.name_chars.begin());
  names_.insert(entry);
  ++size_;
  return entry;
}

void Cache::set_expiry(Entry& entry, std::uint64_t expires_ns) {
  entry.expires_ns = expires_ns;
  if (expires_ns != never) expiries_.insert(expiries_.end(), entry);
}

void Cache::enter_order(Entry& entry) {
  orders_[static_cast<unsigned>(entry.state)][static_cast<unsigned>(entry.priority)].enter(entry);
}

void Cache::leave_order(Entry& entry) {
  if (entry.evictable) hold(entry);
  if (entry.order != nullptr) entry.order->leave(entry);
}

void Cache::hold(Entry& entry) {
  entry.order->hold(entry);
  evictable_[static_cast<unsigned>(entry.priority)] -= entry.pool_bytes;
}

void Cache::release(Entry& entry, bool first) {
  entry.touched = first ? --touched_first_ : ++touched_last_;
  entry.order->release(entry, first);
  evictable_[static_cast<unsigned>(entry.priority)] += entry.pool_bytes;
}

// The compressed copy stays until the original is there, and both count.
void Cache::restore(Entry& entry, Actions& actions) {
  leave_order(entry);
  if (entry.state == State::compressed) packed_ -= entry.pool_bytes;
  entry.from = entry.state;
  entry.state = State::restoring;
  entry.pool_bytes += entry.bytes;
  used_ += entry.bytes;
  count().bytes_restored += entry.bytes;
  keep_capacity(0, entry.priority, actions);  // before its memory is asked for
  actions.push_back({Action::Kind::restore, Cause::none, entry.from, entry.id, entry.bytes});
}

void Cache::lose_name(Entry& entry) {
  names_.erase(names_.iterator_to(entry));
  if (entry.expires_ns != never) expiries_.erase(expiries_.iterator_to(entry));
  entry.expires_ns = never;
  leave_order(entry);
}

void Cache::discard(Entry& entry, Cause cause, Actions& actions) {
  if (!entry.in_use()) return remove(entry, cause, actions);
  lose_name(entry);
  entry.doomed = cause;
  entry.cancelled = true;
}

void Cache::remove(Entry& entry, Cause cause, Actions& actions) {
  BOOST_ASSERT(!entry.in_use());
  if (entry.doomed == Cause::none) lose_name(entry);
  actions.push_back({Action::Kind::drop, cause, entry.state, entry.id, entry.bytes});
  const std::uint64_t bytes = entry.pool_bytes;
  if (entry.state == State::compressed) packed_ -= bytes;
  used_ -= bytes;
  on_disk_ -= entry.disk_bytes;
  Counters& counters = count();
  switch (cause) {
    case Cause::none: BOOST_ASSERT(false); break;
    case Cause::evicted: ++counters.evictions, counters.bytes_evicted += bytes; break;
    case Cause::expired: ++counters.expirations, counters.bytes_expired += bytes; break;
    case Cause::erased: ++counters.erasures, counters.bytes_erased += bytes; break;
    case Cause::lost: ++counters.losses, counters.bytes_lost += bytes; break;
  }
  freed(bytes);
  free_slots_.push_back(entry_slot(entry.id));
  --size_;
  entry.id = 0;
}

// Somebody has let go of it: is it still used, still wanted?
void Cache::settle(Entry& entry, bool first, std::uint64_t now_ns, Actions& actions) {
  if (entry.in_use()) return;
  if (entry.doomed != Cause::none)
    remove(entry, entry.doomed, actions);
  else if (entry.expires_ns <= now_ns)
    remove(entry, Cause::expired, actions);
  else
    release(entry, first);
}

void Cache::expire(std::uint64_t now_ns, Actions& actions) {
  while (!expiries_.empty() && expiries_.begin()->expires_ns <= now_ns)
    discard(*expiries_.begin(), Cause::expired, actions);
}

void Cache::rebuild() {
  std::vector<Entry*> known;
  for (Entry& entry : entries_)
    if (entry.order != nullptr) known.push_back(&entry);
  std::sort(known.begin(), known.end(),
            [](const Entry* a, const Entry* b) { return a->touched < b->touched; });
  for (auto& orders : orders_)
    for (EvictionOrder& order : orders) {
      order.clear();
      order.set_policy(settings_.policy);
    }
  for (Entry* entry : known) {
    const bool evictable = entry->evictable;
    EvictionOrder& order = *entry->order;
    entry->order = nullptr;
    entry->frequency = nullptr;
    entry->evictable = false;
    order.enter(*entry);
    if (evictable) order.release(*entry, false);
  }
}

}  // namespace micro_swarm::caching
