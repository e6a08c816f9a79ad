#include "supervisor/cache_store.hpp"

#include <algorithm>

#include "common/log.hpp"

namespace micro_swarm {

namespace {

caching::Settings first_settings(const Config& config) {
  caching::Settings settings;
  settings.policy = config.cache.policy;
  settings.on_eviction = config.cache.on_eviction;
  settings.capacity_bytes =
      config.cache.capacity != 0 ? config.cache.capacity : config.memory.pool_size / 4;
  settings.spill_bytes_max = config.swarm.state_dir.empty() ? 0 : config.cache.spill_max;
  settings.entries_max = config.cache.entries_max;
  return settings;
}

std::filesystem::path spill_directory(const Config& config) {
  if (config.swarm.state_dir.empty()) return {};
  return std::filesystem::path(config.swarm.state_dir) / "cache";
}

caching::State state_of(CacheRowState state) {
  switch (state) {
    case CacheRowState::compressed: return caching::State::compressed;
    case CacheRowState::spilled: return caching::State::spilled;
    default: return caching::State::plain;
  }
}

}  // namespace

CacheStore::CacheStore(SupervisorContext& context, Banks& banks, Tokens& tokens)
    : c_(context),
      banks_(banks),
      tokens_(tokens),
      regions_(context, banks),
      rows_(context.segment.cache_rows()),
      holds_(context.segment.holds() + first_cache_hold(context.segment.header().task_capacity)),
      cache_(first_settings(context.config)),
      worker_(spill_directory(context.config), context.config.cache.compression) {
  tokens_.set_cache(
      {[this](Token token) { came_home(token); }, [this](Token token) { return is_kept(token); }});
  banks_.set_cache_gives_way([this](std::uint64_t bytes) { return give_way(bytes); });
}

CacheStore::~CacheStore() {
  if (worker_event_) worker_event_->release();  // it is the worker's
}

void CacheStore::start() {
  const std::filesystem::path directory = spill_directory(c_.config);
  std::error_code ec;
  if (directory.empty() || !std::filesystem::exists(directory, ec)) return;
  CacheJob job;
  job.kind = CacheJob::Kind::sweep;
  worker_.add(std::move(job));
}

// ---- succession ----

void CacheStore::adopt() {
  const std::uint64_t now = now_ns();
  const CacheSettingsRow& chosen = c_.segment.cache_settings();
  const std::uint64_t chosen_word = load(chosen.chosen);
  if ((chosen_word >> 16 & 1) != 0) {
    caching::Settings settings = cache_.settings();
    settings_from(
        {static_cast<caching::Policy>(chosen_word & 0xff),
         static_cast<caching::OnEviction>(chosen_word >> 8 & 0xff), chosen.capacity_bytes},
        settings);
    cache_.set(settings, now, actions_);
  }

  const std::span rows(rows_, c_.segment.header().cache_entries);
  const std::uint32_t used = used_rows(rows);
  if (used == 0 && load(holds_[1].token) == 0) return;
  slots_.resize(used);
  const auto found = survey(
      rows, holds_,
      [this](Token token, std::uint64_t bytes) {
        return banks_.is_of_cache(token) && banks_.outstanding(token) &&
               bytes <= banks_.region_bytes(token);
      },
      [this](Token token, std::uint64_t bytes) {
        return banks_.outstanding(token) && bytes <= banks_.region_bytes(token);
      });
  const auto give_back = [&](std::uint32_t slot) {
    if (slot < used && word_of(row(slot)).state() != CacheRowState::free) forget(row(slot));
    release_hold(hold(slot, 0));
    release_hold(hold(slot, 1));
  };

  std::uint32_t serial_max = 0;
  for (std::uint32_t slot = 0; slot < used; ++slot)
    serial_max = std::max(serial_max, word_of(rows_[slot]).serial());
  std::vector<caching::Record> records;
  std::vector<std::uint32_t> interrupted;
  std::vector<caching::EntryId> files;
  const std::uint64_t pool_region = c_.config.memory.region_size;
  for (const CacheRowFound& one : found) {
    using Kind = CacheRowFound::Kind;
    const CacheRow& from = row(one.slot);
    if (one.kind == Kind::damaged) {
      ++damaged_;
      log::warn("a row of the cache makes no sense: its entry is given up");
    }
    const bool is_entry = one.kind == Kind::entry || one.kind == Kind::interrupted;
    if (!is_entry || (from.expires_ns != 0 && from.expires_ns <= now)) {
      give_back(one.slot);
      continue;
    }
    Slot& slot = slots_[one.slot];
    slot.state = one.word.state();
    slot.current = one.word.current();
    caching::Record record;
    record.id = caching::make_entry_id(one.slot, one.word.serial());
    record.name = name_at(one.slot);
    record.bytes = own_region_bytes(pool_region, from.bytes);
    record.state = state_of(slot.state);
    record.priority = from.priority;
    record.uses = from.uses;
    record.stored_ns = from.stored_ns;
    record.last_use_ns = from.last_use_ns;
    record.expires_ns = from.expires_ns;
    record.incompressible = from.incompressible != 0;
    switch (slot.state) {
      case CacheRowState::filling:
        // Its region is one that only the dead could write.
        release_hold(hold(one.slot, 0));
        interrupted.push_back(one.slot);
        record.stored_bytes = record.bytes;
        record.pins = 1;
        break;
      case CacheRowState::spilled:
        release_hold(hold(one.slot, 0));
        release_hold(hold(one.slot, 1));
        record.stored_bytes = std::min(from.file_bytes, record.bytes);
        files.push_back(record.id);
        break;
      default: {
        release_hold(hold(one.slot, slot.current ^ 1));
        const Token token{load(hold(one.slot, slot.current).token)};
        const RegionWord word{load(*banks_.heir_word(token))};
        slot.readers = static_cast<std::uint32_t>(__builtin_popcount(word.outstanding())) - 1;
        record.stored_bytes = own_region_bytes(pool_region, from.stored_bytes[slot.current]);
        record.pins = slot.state == CacheRowState::plain ? slot.readers : 0;
        break;
      }
    }
    slot.id = record.id;
    records.push_back(record);
  }
  for (const caching::EntryId id : cache_.adopt(records, serial_max + 1, now, actions_)) {
    const std::uint32_t slot = caching::entry_slot(id);
    ++damaged_;
    slots_[slot] = Slot();
    give_back(slot);
    std::erase(interrupted, slot);
  }
  for (const caching::Record& record : records) {
    const std::uint32_t slot = caching::entry_slot(record.id);
    if (slots_[slot].id == record.id) index(slot);
  }
  if (!spill_directory(c_.config).empty() && (!files.empty() || used != 0)) {
    CacheJob job;
    job.kind = CacheJob::Kind::sweep;
    job.keep = std::move(files);
    worker_.add(std::move(job));
  }
  run_actions();
  for (const std::uint32_t slot : interrupted) {
    const CacheRow& from = row(slot);
    if (slots_[slot].id == 0) continue;
    const auto token = regions_.allocate(from.bytes, hold(slot, 0), true);
    if (!token) {
      fill_failed(slot, CacheRefusal::no_room);
      continue;
    }
    by_region_[token->region()] = slot;
    begin_copy(slot);
  }
}

// ---- one entry ----

CacheStore::Slot* CacheStore::find(caching::EntryId id) {
  const std::uint32_t slot = caching::entry_slot(id);
  return id != 0 && slot < slots_.size() && slots_[slot].id == id ? &slots_[slot] : nullptr;
}

/// Of an entry whose row is written.
void CacheStore::index(std::uint32_t slot) {
  Slot& entry = slots_[slot];
  entry.key = cache_key(name_at(slot));
  by_key_[entry.key] = slot;
  by_put_[{row(slot).put_key, row(slot).put_number}] = slot;
  for (const unsigned which : {0u, 1u}) {
    const Token token{load(hold(slot, which).token)};
    if (token && banks_.is_of_cache(token)) by_region_[token.region()] = slot;
  }
}

/// Before its rights go: from here on a new supervisor knows nothing of it.
void CacheStore::lose_name(std::uint32_t slot) {
  Slot& entry = slots_[slot];
  if (std::exchange(entry.is_nameless, true)) return;
  forget(row(slot));
  if (const auto at = by_key_.find(entry.key); at != by_key_.end() && at->second == slot)
    by_key_.erase(at);
  if (const auto at = by_put_.find({row(slot).put_key, row(slot).put_number});
      at != by_put_.end() && at->second == slot)
    by_put_.erase(at);
}

/// A right of the cache's own is given up at once; one to somebody's bytes goes home to its owner.
void CacheStore::release_hold(Hold& hold) {
  const Token token{load(hold.token)};
  if (!token) return;
  if (banks_.is_of_cache(token)) {
    by_region_.erase(token.region());
    release_own(hold, *banks_.heir_word(token));
    c_.count(Counter::tokens_released);
  } else {
    tokens_.release(hold);
  }
}

void CacheStore::came_home(Token token) {
  const auto found = by_region_.find(token.region());
  if (found == by_region_.end()) return;
  Slot& slot = slots_[found->second];
  const RegionWord word{load(c_.tables().heir_regions[token.region()])};
  const auto out = static_cast<std::uint32_t>(__builtin_popcount(word.outstanding()));
  const std::uint32_t readers = out == 0 ? 0 : out - 1;  // without the cache's own
  const caching::EntryId id = slot.id;
  for (std::uint32_t gone = slot.readers > readers ? slot.readers - readers : 0; gone != 0;
       --gone) {
    --slot.readers;
    cache_.unpin(id, now_ns(), actions_);
  }
  keep_capacity();
  run_actions();
}

void CacheStore::keep_capacity() {
  if (room_jobs_ == 0 && cache_.used_bytes() > cache_.settings().capacity_bytes)
    cache_.set(caching::Settings(cache_.settings()), now_ns(), actions_);
}

bool CacheStore::is_kept(Token token) const {
  const auto found = by_region_.find(token.region());
  if (found == by_region_.end()) return false;
  return load(hold(found->second, 0).token) == token.word ||
         load(hold(found->second, 1).token) == token.word;
}

bool CacheStore::give_way(std::uint64_t bytes) {
  if (room_jobs_ != 0 || cache_.size() == 0) return false;
  const caching::Freed freed = cache_.need(bytes, now_ns(), actions_);
  run_actions();
  return freed.bytes != 0;
}

void CacheStore::note_use(std::uint32_t slot, std::uint64_t now) {
  row(slot).last_use_ns = now;
  row(slot).uses += 1;
}

void CacheStore::tick(std::uint64_t now) {
  if (now < cache_.next_due_ns()) return;
  cache_.tick(now, actions_);
  run_actions();
}

void CacheStore::retry() {
  std::vector<Due> due;
  due.swap(due_);
  for (const Due& one : due) tell(one.to, one.answer, one.refusal);
  std::vector<std::uint32_t> undelivered;
  undelivered.swap(undelivered_);
  for (const std::uint32_t slot : undelivered) deliver(slot);
  std::vector<Hungry> hungry;
  hungry.swap(hungry_);
  for (const Hungry& one : hungry) start_restore(one.restore, one.until_ns);
  run_actions();
}

// ---- settings ----

CacheChoice CacheStore::choice() const {
  const caching::Settings& settings = cache_.settings();
  return {settings.policy, settings.on_eviction, settings.capacity_bytes};
}

void CacheStore::settings_from(const CacheChoice& choice, caching::Settings& settings) const {
  settings.policy = choice.policy;
  settings.on_eviction = choice.on_eviction;
  settings.capacity_bytes = choice.capacity_bytes;
}

Result<void> CacheStore::choose(const CacheChoice& choice) {
  if (choice.on_eviction == caching::OnEviction::spill && c_.config.swarm.state_dir.empty())
    return Error{ErrorCode::usage, "on_eviction: spill needs a directory; set swarm.state_dir", 0};
  if (choice.capacity_bytes > c_.pool_bytes())
    return Error{
        ErrorCode::usage,
        "capacity: " + std::to_string(choice.capacity_bytes) + " bytes are more than the pool has",
        0};
  caching::Settings settings = cache_.settings();
  settings_from(choice, settings);
  CacheSettingsRow& row = c_.segment.cache_settings();
  // Two stores: a death in between leaves the new capacity with the old words, or, the first time,
  // what the configuration says.
  row.capacity_bytes = choice.capacity_bytes;
  store(row.chosen, 1u << 16 | static_cast<std::uint64_t>(choice.on_eviction) << 8 |
                        static_cast<std::uint64_t>(choice.policy));
  cache_.set(settings, now_ns(), actions_);
  run_actions();
  return {};
}

std::vector<CacheEntryInfo> CacheStore::list() const {
  std::vector<CacheEntryInfo> entries;
  for (std::uint32_t slot = 0; slot < slots_.size(); ++slot) {
    const Slot& one = slots_[slot];
    if (one.id == 0 || one.is_nameless) continue;
    const CacheRow& from = row(slot);
    const auto known = cache_.look(name_at(slot));
    if (!known || known->id != one.id) continue;  // expired, and still read
    CacheEntryInfo info;
    info.name = name_at(slot);
    info.state = one.state;
    info.is_restoring = known->state == caching::State::restoring;
    info.priority = from.priority;
    info.bytes = from.bytes;
    info.stored_bytes =
        one.state == CacheRowState::spilled ? from.file_bytes : from.stored_bytes[one.current];
    info.readers = one.readers + static_cast<std::uint32_t>(one.waiting.size());
    info.uses = from.uses;
    info.stored_ns = from.stored_ns;
    info.last_use_ns = from.last_use_ns;
    info.expires_ns = from.expires_ns;
    entries.push_back(std::move(info));
  }
  return entries;
}

}  // namespace micro_swarm
