#include "ipc/party_cache.hpp"

#include "ipc/transfer.hpp"

namespace micro_swarm {

namespace {
SlotBody request_body(MessageKind kind, std::uint64_t number, const CacheKey& key) {
  SlotBody body;
  body.kind = static_cast<std::uint16_t>(kind);
  body.inline_data[0] = number;
  if (kind != MessageKind::cache_put) {
    body.inline_data[1] = key.words[0];
    body.inline_data[2] = key.words[1];
  }
  return body;
}
}  // namespace

std::uint64_t PartyCache::ask(MessageKind kind, const CacheKey& key) {
  const std::uint64_t number = next_++;
  // The epoch first: a supervisor that dies over the request has a later successor.
  open_.emplace(number, Request{kind, key, epoch(), false});
  link_->data_out().try_send(request_body(kind, number, key));
  return number;
}

std::uint64_t PartyCache::get(std::string_view name) {
  return ask(MessageKind::cache_get, cache_key(name));
}

std::uint64_t PartyCache::erase(std::string_view name) {
  return ask(MessageKind::cache_erase, cache_key(name));
}

std::uint64_t PartyCache::put(std::uint32_t hold, std::uint64_t bytes, std::string_view name,
                              CachePutWord word) {
  const std::uint64_t number = next_++;
  open_.emplace(number, Request{MessageKind::cache_put, {}, epoch(), false});
  SlotBody body = request_body(MessageKind::cache_put, number, {});
  body.region_bytes = static_cast<std::uint32_t>(bytes + name.size());
  body.inline_data[1] = bytes;
  body.inline_data[2] = word.word;
  link_->banks().leaving(hold);
  pass(link_->data_out(), link_->holds()[hold], Lane::data, supervisor_party, body);
  link_->banks().passed(hold);
  return number;
}

std::optional<PartyCache::Answer> PartyCache::take_answer(std::uint64_t number) {
  const auto found = answers_.find(number);
  if (found == answers_.end()) return std::nullopt;
  const Answer answer = found->second;
  answers_.erase(found);
  return answer;
}

void PartyCache::abandon(std::uint64_t number) {
  if (const auto open = open_.find(number); open != open_.end()) open->second.is_abandoned = true;
  if (const auto answer = take_answer(number); answer && answer->answer == CacheAnswer::found)
    link_->release(answer->hold);
}

PartyCache::Taken PartyCache::take() {
  RingReader& ring = link_->data_in();
  const SlotBody body = ring.front();
  const Token token{body.token};
  const CacheAnswerWord word{body.inline_data[1]};
  const std::uint64_t number = body.inline_data[0];
  const bool makes_sense = word.answer() != 0 &&
                           word.answer() <= static_cast<std::uint8_t>(last_cache_answer) &&
                           word.refusal() <= static_cast<std::uint8_t>(last_cache_refusal) &&
                           (!token || token.well_formed());
  if (!makes_sense) {
    ring.advance();
    link_->count_malformed();
    return Taken::done;
  }
  const auto open = open_.find(number);
  const bool is_wanted = open != open_.end() && !open->second.is_abandoned &&
                         word.incarnation() == link_->incarnation();
  Answer answer;
  answer.answer = static_cast<CacheAnswer>(word.answer());
  answer.refusal = static_cast<CacheRefusal>(word.refusal());
  if (!token) {
    ring.advance();
  } else {
    const auto bytes = link_->memory_of(token, body.region_bytes);
    if (is_wanted && bytes && !*bytes) return Taken::not_mapped;
    const auto hold = link_->holds().take();
    if (!hold) return Taken::no_hold;
    const MessageInHand in_hand =
        take_in_hand(ring, link_->own().header().in_hand, Lane::data, supervisor_party);
    take_token(link_->holds()[*hold], token);
    keep(in_hand);
    if (!is_wanted || answer.answer != CacheAnswer::found) {
      link_->release(*hold);
      link_->ring_supervisor();
    } else {
      answer.hold = *hold;
      if (bytes)
        answer.bytes = **bytes;
      else
        answer.is_unreadable = true;
    }
  }
  if (word.incarnation() != link_->incarnation() || open == open_.end()) return Taken::done;
  open_.erase(open);
  if (is_wanted) answers_.emplace(number, answer);
  return Taken::done;
}

void PartyCache::repeat() {
  const std::uint64_t now = epoch();
  if (now == epoch_) return;
  bool sent = false;
  for (auto& [number, request] : open_) {
    if (request.epoch == now) continue;
    if (!link_->data_out().try_send(request_body(request.kind, number, request.key))) return;
    request.epoch = now;
    sent = true;
  }
  epoch_ = now;
  if (sent) link_->ring_supervisor();
}

}  // namespace micro_swarm
