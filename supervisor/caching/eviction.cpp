// Who makes room, and how.

#include <algorithm>
#include <boost/assert.hpp>

#include "supervisor/caching/cache.hpp"

namespace micro_swarm::caching {

Freed Cache::need(std::uint64_t bytes, std::uint64_t now_ns, Actions& actions) {
  const std::uint64_t before = used_;
  owed_ += std::min(bytes, never - owed_);
  spared_ = Priority::critical;
  expire(now_ns, actions);
  pay(actions);
  check_balance();
  return {before - used_, under_way_};
}

Entry* Cache::victim(Priority lowest_spared) const {
  auto& [plain, compressed, spilled] = orders_;
  for (unsigned p = priorities; p-- > static_cast<unsigned>(lowest_spared);) {
    Entry* whole = plain[p].first();
    Entry* packed = compressed[p].first();
    if (whole == nullptr || packed == nullptr) {
      if (whole != nullptr || packed != nullptr) return whole != nullptr ? whole : packed;
      continue;
    }
    return packed_ * 100 > used_ * settings_.compressed_percent_max ? packed : whole;
  }
  return nullptr;
}

Entry* Cache::spilled_victim(Priority lowest_spared) const {
  auto& orders = orders_[static_cast<unsigned>(State::spilled)];
  for (unsigned p = priorities; p-- > static_cast<unsigned>(lowest_spared);)
    if (Entry* entry = orders[p].first()) return entry;
  return nullptr;
}

// What is only being written is nobody's to drop; else there is always enough to drop.
bool Cache::make_disk_room(std::uint64_t bytes, Priority for_whom, Actions& actions) {
  while (on_disk_ + bytes > settings_.spill_bytes_max) {
    Entry* entry = spilled_victim(for_whom);
    if (entry == nullptr) return false;
    remove(*entry, Cause::evicted, actions);
  }
  return true;
}

bool Cache::make_slot(Priority for_whom, Actions& actions) {
  Entry* entry = spilled_victim(for_whom);
  if (entry == nullptr) entry = victim(for_whom);
  if (entry == nullptr) return false;
  remove(*entry, Cause::evicted, actions);
  return true;
}

void Cache::evict(Entry& entry, Actions& actions) {
  const bool compress = settings_.on_eviction == OnEviction::compress &&
                        entry.state == State::plain && !entry.incompressible;
  if (compress) return start_job(entry, Entry::Job::compress, actions);
  const bool spill = settings_.on_eviction == OnEviction::spill ||
                     (settings_.on_eviction == OnEviction::compress && settings_.spill_compressed);
  if (spill && !entry.unspillable && entry.pool_bytes <= settings_.spill_bytes_max &&
      make_disk_room(entry.pool_bytes, entry.priority, actions))
    return start_job(entry, Entry::Job::spill, actions);
  remove(entry, Cause::evicted, actions);
}

void Cache::start_job(Entry& entry, Entry::Job job, Actions& actions) {
  const bool spill = job == Entry::Job::spill;
  hold(entry);
  entry.job = job;
  entry.cancelled = false;
  // Compression is thought to halve: if it does less, others have to follow; if more, too many
  // have been compressed, and none dropped for it.
  entry.expected = spill ? entry.pool_bytes : (entry.pool_bytes + 1) / 2;
  under_way_ += entry.expected;
  if (spill) {
    entry.disk_bytes = entry.pool_bytes;
    on_disk_ += entry.disk_bytes;
  }
  actions.push_back({spill ? Action::Kind::spill : Action::Kind::compress, Cause::none, entry.state,
                     entry.id, entry.bytes});
}

void Cache::cancel_job(Entry& entry) {
  if (entry.job == Entry::Job::none) return;
  under_way_ -= entry.expected;
  entry.expected = 0;
  entry.cancelled = true;
}

void Cache::end_job(Entry& entry) {
  under_way_ -= entry.expected;
  entry.expected = 0;
  entry.job = Entry::Job::none;
}

bool Cache::could_fit(std::uint64_t bytes, Priority for_whom) const {
  std::uint64_t free = under_way_;
  for (unsigned p = static_cast<unsigned>(for_whom); p < priorities; ++p) free += evictable_[p];
  return used_ + bytes <= settings_.capacity_bytes + free;
}

void Cache::keep_capacity(std::uint64_t coming, Priority for_whom, Actions& actions) {
  if (used_ + coming <= settings_.capacity_bytes) return;
  // Not beside what is owed: what need() frees is below the capacity as well.
  const std::uint64_t over = used_ + coming - settings_.capacity_bytes;
  owed_ = std::max(owed_, over);
  spared_ = std::min(spared_, for_whom);
  pay(actions);
}

void Cache::pay(Actions& actions) {
  while (owed_ > under_way_) {
    Entry* entry = victim(spared_);
    if (entry == nullptr) break;
    evict(*entry, actions);
  }
  owed_ = std::min(owed_, under_way_);
  if (owed_ == 0) spared_ = Priority::low;
}

void Cache::freed(std::uint64_t bytes) { owed_ -= std::min(owed_, bytes); }

}  // namespace micro_swarm::caching
