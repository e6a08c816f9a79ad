// What parties ask of the cache, and what they are answered.

#include <algorithm>

#include "supervisor/cache_store.hpp"

namespace micro_swarm {

namespace {

MessageKind kind_of(const SlotBody& body) { return static_cast<MessageKind>(body.kind); }

CacheKey key_of(const SlotBody& body) {
  return CacheKey{{body.inline_data[1], body.inline_data[2]}};
}

CacheRefusal refusal_of(caching::Refusal refusal) {
  switch (refusal) {
    case caching::Refusal::none: return CacheRefusal::none;
    case caching::Refusal::bad_name: return CacheRefusal::bad_name;
    case caching::Refusal::bad_size: return CacheRefusal::bad_size;
    case caching::Refusal::bad_priority: return CacheRefusal::bad_priority;
    case caching::Refusal::duplicate: return CacheRefusal::duplicate;
    case caching::Refusal::too_large: return CacheRefusal::too_large;
    case caching::Refusal::table_full: return CacheRefusal::table_full;
    case caching::Refusal::no_room: return CacheRefusal::no_room;
  }
  return CacheRefusal::malformed;
}

SlotBody answer_body(std::uint64_t number, CacheAnswer answer, CacheRefusal refusal,
                     Incarnation incarnation) {
  SlotBody body;
  body.kind = static_cast<std::uint16_t>(MessageKind::cache_answer);
  body.inline_data[0] = number;
  body.inline_data[1] = CacheAnswerWord::make(answer, refusal, incarnation).word;
  return body;
}

}  // namespace

bool CacheStore::is_request(const SlotBody& body) {
  return kind_of(body) == MessageKind::cache_get || kind_of(body) == MessageKind::cache_put ||
         kind_of(body) == MessageKind::cache_erase;
}

bool CacheStore::handle(Peer& peer, const SlotBody& body, MessageInHand in_hand) {
  // Room for the answer first. Nobody reads the answer to one who is gone.
  if (!peer.dead && !peer.data_out.has_space(1)) return false;
  const bool is_put = kind_of(body) == MessageKind::cache_put;
  if (!is_put && body.token != 0) return refuse_put(peer, body, in_hand, CacheRefusal::malformed);
  if (is_put) return body.token != 0 ? put(peer, body, in_hand) : put_again(peer, body, in_hand);
  return kind_of(body) == MessageKind::cache_get ? get(peer, body, in_hand)
                                                 : erase(peer, body, in_hand);
}

/// The answer before the message is done with: died in between, it comes again, and is answered
/// again; its party takes one answer.
bool CacheStore::answer(Peer& peer, std::uint64_t number, CacheAnswer answer, CacheRefusal refusal,
                        MessageInHand in_hand) {
  if (!peer.dead) {
    peer.data_out.try_send(answer_body(number, answer, refusal, c_.row(peer.id).incarnation));
    c_.ring(peer);
  }
  in_hand.ring->advance();
  return true;
}

// ---- get, erase ----

bool CacheStore::get(Peer& peer, const SlotBody& body, MessageInHand in_hand) {
  const std::uint64_t now = now_ns();
  const std::uint64_t number = body.inline_data[0];
  const Waiting to{peer.id, c_.row(peer.id).incarnation, number};
  const auto found = by_key_.find(key_of(body));
  if (peer.dead || found == by_key_.end()) {
    cache_.lookup({}, now, actions_);  // counts
    return answer(peer, number, CacheAnswer::miss, CacheRefusal::none, in_hand);
  }
  const std::uint32_t at = found->second;
  if (slots_[at].state == CacheRowState::plain && slots_[at].readers == 31)
    return answer(peer, number, CacheAnswer::refused, CacheRefusal::busy, in_hand);
  const caching::LookupAnswer looked = cache_.lookup(name_at(at), now, actions_);
  Slot* slot = find(looked.id);
  if (looked.kind == caching::LookupAnswer::Kind::miss || slot == nullptr) {
    run_actions();
    return answer(peer, number, CacheAnswer::miss, CacheRefusal::none, in_hand);
  }
  note_use(at, now);
  if (looked.kind == caching::LookupAnswer::Kind::hit && slot->state == CacheRowState::plain) {
    if (!deliver_to(*slot, to)) {
      slot->waiting.push_back(to);
      undelivered_.push_back(at);
    }
  } else {
    slot->waiting.push_back(to);
  }
  // Passed on before it is done with, as answer() does it.
  in_hand.ring->advance();
  run_actions();
  return true;
}

bool CacheStore::erase(Peer& peer, const SlotBody& body, MessageInHand in_hand) {
  const auto found = by_key_.find(key_of(body));
  bool is_erased = false;
  if (found != by_key_.end()) {
    const std::uint32_t at = found->second;
    const caching::EntryId id = slots_[at].id;
    is_erased = cache_.erase(name_at(at), now_ns(), actions_);
    run_actions();
    if (find(id) != nullptr) lose_name(at);  // used, and gone with its last reader
  }
  return answer(peer, body.inline_data[0], is_erased ? CacheAnswer::erased : CacheAnswer::miss,
                CacheRefusal::none, in_hand);
}

// ---- put ----

bool CacheStore::refuse_put(Peer& peer, const SlotBody& body, MessageInHand in_hand,
                            CacheRefusal why) {
  const Token token{body.token};
  const bool is_right = token && token.owner() == peer.id && banks_.outstanding(token);
  if (is_right && !tokens_.can_return(token)) return false;
  if (why == CacheRefusal::malformed) c_.count(Counter::messages_malformed);
  deferred_.erase(peer.id);
  if (!is_right) return answer(peer, body.inline_data[0], CacheAnswer::refused, why, in_hand);
  if (!peer.dead) {
    peer.data_out.try_send(
        answer_body(body.inline_data[0], CacheAnswer::refused, why, c_.row(peer.id).incarnation));
    c_.ring(peer);
  }
  return tokens_.return_to_sender(token, in_hand);
}

/// Without a right: what became of it? Its answer was lost with a supervisor.
bool CacheStore::put_again(Peer& peer, const SlotBody& body, MessageInHand in_hand) {
  const std::uint64_t number = body.inline_data[0];
  const auto found = by_put_.find({client_key(peer.id, c_.row(peer.id).incarnation), number});
  if (found == by_put_.end())
    return answer(peer, number, CacheAnswer::refused, CacheRefusal::interrupted, in_hand);
  if (slots_[found->second].state != CacheRowState::filling)
    return answer(peer, number, CacheAnswer::stored, CacheRefusal::none, in_hand);
  in_hand.ring->advance();  // the answer comes when it is known
  return true;
}

/// Room is being made, and more than a moment ago was not asked for by this message.
bool CacheStore::may_wait(const Peer& peer, std::uint64_t number) {
  if (room_jobs_ == 0) return false;
  deferred_[peer.id] = Deferred{number, room_made_};
  return true;
}

bool CacheStore::put(Peer& peer, const SlotBody& body, MessageInHand in_hand) {
  const std::uint64_t number = body.inline_data[0];
  const std::uint64_t bytes = body.inline_data[1];
  const CachePutWord word{body.inline_data[2]};
  const Token token{body.token};
  if (const auto waits = deferred_.find(peer.id);
      waits != deferred_.end() && waits->second.number == number && room_jobs_ != 0 &&
      waits->second.room_made == room_made_)
    return false;
  if (!token.well_formed() || token.owner() != peer.id || !banks_.outstanding(token) ||
      body.region_bytes > banks_.region_bytes(token) || bytes > body.region_bytes ||
      word.name_bytes() > body.region_bytes - bytes || word.flags() != 0)
    return refuse_put(peer, body, in_hand, CacheRefusal::malformed);
  if (c_.draining) return refuse_put(peer, body, in_hand, CacheRefusal::stopping);
  if (word.name_bytes() == 0 || word.name_bytes() > cache_name_bytes_max)
    return refuse_put(peer, body, in_hand, CacheRefusal::bad_name);
  if (word.priority() >= priorities)
    return refuse_put(peer, body, in_hand, CacheRefusal::bad_priority);
  if (bytes == 0) return refuse_put(peer, body, in_hand, CacheRefusal::bad_size);
  std::array<char, cache_name_bytes_max> text;
  const std::string_view name(text.data(), word.name_bytes());
  if (!banks_.read(token, bytes, std::as_writable_bytes(std::span(text.data(), name.size()))))
    return refuse_put(peer, body, in_hand, CacheRefusal::malformed);

  const std::uint64_t now = now_ns();
  caching::NewEntry entry;
  entry.name = name;
  entry.bytes = own_region_bytes(c_.config.memory.region_size, bytes);
  entry.ttl_ns = word.ttl_ms() * ns_per_ms;
  entry.priority = static_cast<Priority>(word.priority());
  entry.is_pinned = true;  // until it is filled
  const caching::PutAnswer decided = cache_.put(entry, now, actions_);
  run_actions();
  if (decided.refusal != caching::Refusal::none) {
    if (decided.refusal == caching::Refusal::no_room && may_wait(peer, number)) return false;
    return refuse_put(peer, body, in_hand, refusal_of(decided.refusal));
  }
  const std::uint32_t at = caching::entry_slot(decided.id);
  if (at >= slots_.size()) slots_.resize(at + std::size_t{1});
  // The bytes of the row's last entry may still be waiting for space on their way home.
  if (load(hold(at, 0).token) != 0 || load(hold(at, 1).token) != 0) {
    undo_put(at, name, decided.id, now);
    return false;
  }
  const auto own = regions_.allocate(bytes, hold(at, 0), true);
  if (!own) {
    undo_put(at, name, decided.id, now);
    if (may_wait(peer, number)) return false;
    return refuse_put(
        peer, body, in_hand,
        own.error().code == ErrorCode::too_large ? CacheRefusal::too_large : CacheRefusal::no_room);
  }
  deferred_.erase(peer.id);
  CacheRowFacts facts;
  facts.serial = caching::entry_serial(decided.id);
  facts.name = name;
  facts.priority = entry.priority;
  facts.bytes = bytes;
  facts.put_key = client_key(peer.id, c_.row(peer.id).incarnation);
  facts.put_number = number;
  facts.stored_ns = now;
  facts.expires_ns = entry.ttl_ns == 0 ? 0 : now + entry.ttl_ns;
  begin_fill(row(at), hold(at, 1), facts, token, in_hand);
  slots_[at] = Slot();
  slots_[at].id = decided.id;
  slots_[at].state = CacheRowState::filling;
  index(at);
  begin_copy(at);
  return true;
}

void CacheStore::undo_put(std::uint32_t slot, std::string_view name, caching::EntryId id,
                          std::uint64_t now) {
  // Rows are used in order: this one has been, though it had no entry.
  if (load(row(slot).word) == 0)
    store(row(slot).word, CacheWord::make(caching::entry_serial(id), CacheRowState::free, 0).word);
  cache_.erase(name, now, actions_);
  cache_.unpin(id, now, actions_);
  run_actions();
}

// ---- answers that come later ----

Peer* CacheStore::living(const Waiting& to) const {
  Peer& peer = c_.peers[to.party];
  const bool is_there = peer.linked && !peer.dead && c_.row(to.party).incarnation == to.incarnation;
  return is_there ? &peer : nullptr;
}

void CacheStore::tell(const Waiting& to, CacheAnswer answer, CacheRefusal refusal) {
  Peer* peer = living(to);
  if (peer == nullptr) return;
  if (!peer->data_out.try_send(answer_body(to.number, answer, refusal, to.incarnation)))
    return due_.push_back({to, answer, refusal});
  c_.ring(*peer);
}

/// One reader of a plain entry that is pinned for it. False: no space, it waits on.
bool CacheStore::deliver_to(Slot& slot, const Waiting& to) {
  const std::uint32_t at = caching::entry_slot(slot.id);
  Peer* peer = living(to);
  if (peer == nullptr) {
    cache_.unpin(slot.id, now_ns(), actions_);
    return true;
  }
  if (!peer->data_out.has_space(1)) return false;
  const Token own{load(hold(at, slot.current).token)};
  const RegionIndex index = own.region();
  Hold& out = holds_[0];
  const bool is_shown = banks_.show_to(*peer, bank_of(index));
  const auto right =
      is_shown ? mint(out, c_.tables().heir_regions[index], supervisor_party, index) : std::nullopt;
  if (!right) {
    cache_.unpin(slot.id, now_ns(), actions_);
    tell(to, CacheAnswer::refused, CacheRefusal::busy);
    return true;
  }
  SlotBody body = answer_body(to.number, CacheAnswer::found, CacheRefusal::none, to.incarnation);
  body.region_bytes = static_cast<std::uint32_t>(row(at).bytes);
  pass(peer->data_out, out, Lane::data, to.party, body);
  ++slot.readers;
  c_.ring(*peer);
  return true;
}

/// All who wait for an entry that is readable now.
void CacheStore::deliver(std::uint32_t at) {
  Slot& slot = slots_[at];
  if (slot.id == 0 || slot.state != CacheRowState::plain) return;
  std::vector<Waiting> waiting;
  waiting.swap(slot.waiting);
  for (const Waiting& to : waiting)
    if (!deliver_to(slot, to)) slot.waiting.push_back(to);
  if (!slot.waiting.empty()) undelivered_.push_back(at);
}

}  // namespace micro_swarm
