// What the cache has decided, done: at once, or by the worker.

#include <algorithm>

#include "common/log.hpp"
#include "supervisor/cache_store.hpp"

namespace micro_swarm {

namespace {
/// How long an entry is tried to be brought back while the pool has no room for it.
constexpr std::uint64_t restore_patience_ns = ns_per_s;
}  // namespace

/// Also those that come about by doing so. What is dropped goes first: the others want its memory.
void CacheStore::run_actions() {
  using Kind = caching::Action::Kind;
  while (!actions_.empty()) {
    caching::Actions actions;
    actions.swap(actions_);
    for (const caching::Action& action : actions)
      if (action.kind == Kind::drop) drop(action);
    for (const caching::Action& action : actions) {
      if (action.kind == Kind::restore)
        start_restore(action, now_ns() + restore_patience_ns);
      else if (action.kind != Kind::drop)
        start_job(action);
    }
  }
}

void CacheStore::drop(const caching::Action& action) {
  Slot* slot = find(action.id);
  if (slot == nullptr) return;  // a put that was taken back
  const std::uint32_t at = caching::entry_slot(action.id);
  lose_name(at);
  for (const Waiting& to : slot->waiting) tell(to, CacheAnswer::miss, CacheRefusal::none);
  release_hold(hold(at, 0));
  release_hold(hold(at, 1));
  if (slot->state == CacheRowState::spilled) {
    CacheJob job;
    job.kind = CacheJob::Kind::remove;
    job.id = action.id;
    worker_.add(std::move(job));
  }
  *slot = Slot();
}

/// A job that reads what hold `which` has the right to. The hold keeps it there meanwhile.
bool CacheStore::source_of(std::uint32_t slot, unsigned which, std::uint64_t bytes,
                           CacheJob& job) const {
  const Token token{load(hold(slot, which).token)};
  if (!banks_.outstanding(token) || bytes > banks_.region_bytes(token)) return false;
  auto copy = duplicate(banks_.memory_fd(bank_of(token.region())));
  if (!copy) return false;
  job.source = std::move(*copy);
  job.offset = slot_of(token.region()) * banks_.region_bytes(token);
  job.bytes = bytes;
  return true;
}

void CacheStore::start_job(const caching::Action& action) {
  const bool is_spill = action.kind == caching::Action::Kind::spill;
  const std::uint32_t at = caching::entry_slot(action.id);
  const Slot& slot = slots_[at];
  ++room_jobs_;
  CacheJob job;
  job.kind = is_spill ? CacheJob::Kind::spill : CacheJob::Kind::pack;
  job.id = action.id;
  job.is_packed = slot.state == CacheRowState::compressed;
  // The bytes it was put with may still be waiting for space on their way home.
  const bool is_other_free = load(hold(at, slot.current ^ 1).token) == 0;
  if (is_other_free && source_of(at, slot.current, row(at).stored_bytes[slot.current], job)) {
    watch_worker();
    return worker_.add(std::move(job));
  }
  CacheJobDone failed;
  failed.kind = job.kind;
  failed.id = action.id;
  failed.error = Error{ErrorCode::system, "no descriptor, or its bank is gone", 0};
  finished(failed);
}

void CacheStore::start_restore(const caching::Action& action, std::uint64_t until_ns) {
  Slot* slot = find(action.id);
  if (slot == nullptr) return;
  const std::uint32_t at = caching::entry_slot(action.id);
  const unsigned into = slot->state == CacheRowState::spilled ? 0 : slot->current ^ 1;
  const std::uint64_t bytes = row(at).bytes;
  const auto token = load(hold(at, into).token) == 0
                         ? regions_.allocate(bytes, hold(at, into), true)
                         : Result<Token>(Error{ErrorCode::refused, "its hold is in use", 0});
  if (!token) {
    if (token.error().code == ErrorCode::refused && now_ns() < until_ns)
      return hungry_.push_back({action, until_ns});
    return restored(at, false);
  }
  by_region_[token->region()] = at;
  CacheJob job;
  job.kind = CacheJob::Kind::restore;
  job.id = action.id;
  job.to = regions_.memory(*token).first(bytes);
  if (slot->state == CacheRowState::spilled)
    job.bytes = bytes;
  else if (!source_of(at, slot->current, row(at).stored_bytes[slot->current], job))
    return restored(at, false);
  watch_worker();
  worker_.add(std::move(job));
}

void CacheStore::begin_copy(std::uint32_t at) {
  CacheJob job;
  job.kind = CacheJob::Kind::copy;
  job.id = slots_[at].id;
  const Token token{load(hold(at, 0).token)};
  job.to = regions_.memory(token).first(row(at).bytes);
  if (!source_of(at, 1, row(at).bytes, job)) return fill_failed(at, CacheRefusal::no_room);
  watch_worker();
  worker_.add(std::move(job));
}

void CacheStore::watch_worker() {
  if (std::exchange(is_watching_, true)) return;
  if (!worker_event_) worker_event_.emplace(c_.io, worker_.event_fd());
  worker_event_->async_wait(boost::asio::posix::stream_descriptor::wait_read,
                            [this](boost::system::error_code ec) {
                              is_watching_ = false;
                              if (ec) return;
                              for (CacheJobDone& done : worker_.take()) finished(done);
                              run_actions();
                              if (worker_.under_way() != 0) watch_worker();
                            });
}

// ---- what the worker has done ----

void CacheStore::finished(CacheJobDone& done) {
  const std::uint32_t at = caching::entry_slot(done.id);
  if (find(done.id) == nullptr) return;  // cannot be: a job's entry waits for its answer
  switch (done.kind) {
    case CacheJob::Kind::copy: copied(at, done); break;
    case CacheJob::Kind::pack: packed(at, done); break;
    case CacheJob::Kind::write: compressed(at, done.error ? 0 : done.bytes); break;
    case CacheJob::Kind::spill: spilled(at, done); break;
    case CacheJob::Kind::restore:
      if (done.error) {
        if (done.error->code == ErrorCode::protocol || done.error->code == ErrorCode::system)
          ++damaged_;
        log::warn("a cache entry cannot be brought back: {}", done.error->message);
      }
      restored(at, !done.error);
      break;
    default: break;
  }
  run_actions();
}

void CacheStore::fill_failed(std::uint32_t at, CacheRefusal why) {
  const caching::EntryId id = slots_[at].id;
  const std::uint64_t key = row(at).put_key;
  tell(
      {static_cast<PartyId>(key >> 16), static_cast<Incarnation>(key & 0xffff), row(at).put_number},
      CacheAnswer::refused, why);
  if (!slots_[at].is_nameless) cache_.erase(name_at(at), now_ns(), actions_);
  cache_.unpin(id, now_ns(), actions_);
  run_actions();
}

void CacheStore::copied(std::uint32_t at, const CacheJobDone& done) {
  Slot& slot = slots_[at];
  if (done.error) {
    log::warn("a cache entry cannot be taken in: {}", done.error->message);
    return fill_failed(at, CacheRefusal::no_room);
  }
  slot.state = CacheRowState::plain;
  slot.current = 0;
  // From here on the entry is there, and only then its giver hears of it.
  if (!slot.is_nameless) commit(row(at), CacheRowState::plain, 0);
  release_hold(hold(at, 1));
  const std::uint64_t key = row(at).put_key;
  tell(
      {static_cast<PartyId>(key >> 16), static_cast<Incarnation>(key & 0xffff), row(at).put_number},
      CacheAnswer::stored, CacheRefusal::none);
  deliver(at);
  cache_.unpin(slot.id, now_ns(), actions_);
  keep_capacity();
}

/// Compressed bytes are there: now their region is, of the size it takes.
void CacheStore::packed(std::uint32_t at, CacheJobDone& done) {
  Slot& slot = slots_[at];
  const std::uint64_t pool_region = c_.config.memory.region_size;
  const bool pays =
      !done.error && done.bytes != 0 &&
      own_region_bytes(pool_region, done.bytes) < own_region_bytes(pool_region, row(at).bytes);
  const unsigned into = slot.current ^ 1;
  if (!pays || load(hold(at, into).token) != 0) return compressed(at, 0);
  const auto token = regions_.allocate(done.bytes, hold(at, into), false);
  if (!token) return compressed(at, 0);
  by_region_[token->region()] = at;
  CacheJob job;
  job.kind = CacheJob::Kind::write;
  job.id = done.id;
  job.to = regions_.memory(*token);
  job.block = std::move(done.block);
  watch_worker();
  worker_.add(std::move(job));
}

void CacheStore::compressed(std::uint32_t at, std::uint64_t bytes) {
  Slot& slot = slots_[at];
  const unsigned into = slot.current ^ 1;
  room_job_done();
  const std::uint64_t pool_bytes =
      bytes == 0 ? 0 : own_region_bytes(c_.config.memory.region_size, bytes);
  if (bytes == 0) row(at).incompressible = 1;
  const bool is_kept = cache_.compressed(slot.id, pool_bytes, now_ns(), actions_);
  if (!is_kept) {
    if (banks_.is_of_cache(Token{load(hold(at, into).token)})) release_hold(hold(at, into));
    return;
  }
  row(at).stored_bytes[into] = bytes;
  slot.state = CacheRowState::compressed;
  slot.current = into;
  if (!slot.is_nameless) commit(row(at), CacheRowState::compressed, into);
  release_hold(hold(at, into ^ 1));
}

void CacheStore::spilled(std::uint32_t at, const CacheJobDone& done) {
  Slot& slot = slots_[at];
  room_job_done();
  if (done.error) log::warn("a cache entry cannot be spilled: {}", done.error->message);
  if (cache_.spilled(slot.id, !done.error, now_ns(), actions_)) {
    row(at).file_bytes = done.bytes;
    slot.state = CacheRowState::spilled;
    if (!slot.is_nameless) commit(row(at), CacheRowState::spilled, slot.current);
    release_hold(hold(at, slot.current));
  } else if (!done.error) {
    CacheJob job;
    job.kind = CacheJob::Kind::remove;
    job.id = slot.id;
    worker_.add(std::move(job));
  }
}

void CacheStore::restored(std::uint32_t at, bool ok) {
  Slot& slot = slots_[at];
  const bool was_spilled = slot.state == CacheRowState::spilled;
  const unsigned into = was_spilled ? 0 : slot.current ^ 1;
  const caching::EntryId id = slot.id;
  if (cache_.restored(id, ok, now_ns(), actions_)) {
    row(at).stored_bytes[into] = row(at).bytes;
    slot.state = CacheRowState::plain;
    slot.current = into;
    if (!slot.is_nameless) commit(row(at), CacheRowState::plain, into);
    if (was_spilled) {
      CacheJob job;
      job.kind = CacheJob::Kind::remove;
      job.id = id;
      worker_.add(std::move(job));
    } else {
      release_hold(hold(at, into ^ 1));
    }
    deliver(at);
    return;
  }
  // Lost. Its readers hear of it, and with the last of them it goes.
  if (banks_.is_of_cache(Token{load(hold(at, into).token)})) release_hold(hold(at, into));
  lose_name(at);
  std::vector<Waiting> waiting;
  waiting.swap(slot.waiting);
  for (const Waiting& to : waiting) {
    tell(to, CacheAnswer::miss, CacheRefusal::none);
    cache_.unpin(id, now_ns(), actions_);
  }
}

}  // namespace micro_swarm
