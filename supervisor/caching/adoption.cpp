// A successor's cache out of its predecessor's table.

#include <algorithm>
#include <boost/assert.hpp>

#include "supervisor/caching/cache.hpp"

namespace micro_swarm::caching {
namespace {

bool makes_sense(const Record& record, std::uint32_t entries_max) {
  if (entry_serial(record.id) == 0 || entry_slot(record.id) >= entries_max) return false;
  if (record.name.empty() || record.name.size() > name_bytes_max) return false;
  if (record.bytes == 0 || record.stored_bytes == 0 || record.stored_bytes > record.bytes)
    return false;
  if (static_cast<unsigned>(record.priority) >= priorities) return false;
  switch (record.state) {
    case State::plain: return record.stored_bytes == record.bytes;
    case State::compressed:
    case State::spilled: return true;
    case State::restoring: return false;
  }
  return false;
}

}  // namespace

std::vector<EntryId> Cache::adopt(std::span<const Record> records, std::uint32_t next_serial,
                                  std::uint64_t now_ns, Actions& actions) {
  BOOST_ASSERT(entries_.empty());
  next_serial_ = std::max(next_serial, 1u);
  std::vector<EntryId> rejected;
  std::vector<const Record*> sound;
  for (const Record& record : records) {
    if (makes_sense(record, settings_.entries_max))
      sound.push_back(&record);
    else
      rejected.push_back(record.id);
  }

  std::stable_sort(sound.begin(), sound.end(),
                   [](const Record* a, const Record* b) { return a->stored_ns < b->stored_ns; });
  std::vector<Entry*> adopted;
  for (const Record* record : sound) {
    const std::uint32_t slot = entry_slot(record->id);
    if (slot >= entries_.size()) entries_.resize(slot + std::size_t{1});
    if (entries_[slot].id != 0 || names_.find(record->name) != names_.end()) {
      rejected.push_back(record->id);
      continue;
    }
    Entry& entry = add(record->id, record->name, record->bytes, record->priority);
    entry.state = record->state;
    (entry.state == State::spilled ? entry.disk_bytes : entry.pool_bytes) = record->stored_bytes;
    entry.pins = record->pins;
    entry.uses = record->uses;
    entry.stored_ns = record->stored_ns;
    entry.last_use_ns = record->last_use_ns;
    entry.incompressible = record->incompressible;
    if (record->expires_ns != 0) set_expiry(entry, record->expires_ns);
    used_ += entry.pool_bytes;
    on_disk_ += entry.disk_bytes;
    if (entry.state == State::compressed) packed_ += entry.pool_bytes;
    count().bytes_adopted += entry.pool_bytes;
    if (entry_serial(entry.id) >= next_serial_) next_serial_ = entry_serial(entry.id) + 1;
    adopted.push_back(&entry);
  }
  for (std::size_t slot = entries_.size(); slot-- > 0;)
    if (entries_[slot].id == 0) free_slots_.push_back(static_cast<std::uint32_t>(slot));

  // In the order of their last uses, as they were let go.
  std::stable_sort(adopted.begin(), adopted.end(),
                   [](const Entry* a, const Entry* b) { return a->last_use_ns < b->last_use_ns; });
  for (Entry* entry : adopted) {
    enter_order(*entry);
    if (entry->pins == 0) release(*entry, false);
  }
  for (Entry* entry : adopted)
    if (entry->pins != 0 && entry->state != State::plain) restore(*entry, actions);
  expire(now_ns, actions);
  keep_capacity(0, Priority::critical, actions);
  make_disk_room(0, Priority::critical, actions);
  check_balance();
  return rejected;
}

}  // namespace micro_swarm::caching
