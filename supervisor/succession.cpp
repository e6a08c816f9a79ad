#include "supervisor/succession.hpp"

#include "common/log.hpp"
#include "supervisor/cache_store.hpp"

namespace micro_swarm {

RecoveryMaps Succession::maps() {
  RecoveryMaps maps;
  maps.ring = [this](PartyId producer, Incarnation incarnation, PartyId consumer,
                     Lane lane) -> const Slot* {
    if (producer == supervisor_party)
      return consumer == supervisor_party ? nullptr
                                          : c_.segment.ring(supervisor_party, consumer, lane);
    const Peer& peer = c_.peers[producer];
    if (!peer.segment || peer.segment.view().header().incarnation != incarnation) return nullptr;
    return peer.segment.view().ring(producer, consumer, lane);
  };
  return maps;
}

std::uint32_t Succession::drain(Peer& peer, std::uint32_t max, bool& blocked) {
  std::uint32_t taken = 0;
  Word& in_hand_word = c_.segment.header().in_hand;
  // Tokens coming home first: they are what others may be waiting for.
  while (taken < max && peer.release_in.ready()) {
    if (!tokens_.relay(peer.release_in, Lane::release, peer.id, in_hand_word)) {
      blocked = true;
      break;
    }
    ++taken;
  }
  while (taken < max && peer.data_in.ready()) {
    const SlotBody body = peer.data_in.front();
    const MessageInHand in_hand = take_in_hand(peer.data_in, in_hand_word, Lane::data, peer.id);
    bool done = true;
    if (is_client(peer.id) && body.kind == static_cast<std::uint16_t>(MessageKind::submit)) {
      done = tasks_.submitted(peer, body, in_hand);
    } else if (is_client(peer.id) &&
               body.kind == static_cast<std::uint16_t>(MessageKind::submit_batch)) {
      done = tasks_.batch_submitted(peer, body, in_hand);
    } else if (is_agent(peer.id) &&
               body.kind == static_cast<std::uint16_t>(MessageKind::complete)) {
      done = tasks_.answered(peer, body, in_hand);
    } else if (body.kind == static_cast<std::uint16_t>(MessageKind::transfer)) {
      done = deliveries_.taken(peer, body, in_hand);
    } else if (CacheStore::is_request(body)) {
      done = cache_(peer, body, in_hand);
    } else {
      c_.count(Counter::messages_malformed);
      const Token token{body.token};
      if (token)
        done = tokens_.return_to_sender(token, in_hand);
      else
        peer.data_in.advance();
    }
    if (!done) {
      blocked = true;
      break;
    }
    ++taken;
  }
  return taken;
}

void Succession::become_heir(Peer& peer) {
  const PartyId p = peer.id;
  PartyRow& row = c_.row(p);
  const RosterWord roster = c_.roster(p);
  HeirArea& area = c_.tables().heirs[p];
  if (roster.state() == RosterState::live && peer.segment) {
    const SegmentView& dead = peer.segment.view();
    for (Hold& hold : area.holds)
      if (load(hold.token) != 0) store(hold.token, 0);
    const auto regions = banks_.regions_of(p);
    DeadParty d{p,
                roster.incarnation(),
                dead.holds(),
                dead.hold_count(),
                reinterpret_cast<const CursorRow*>(&dead.cursor(0, Lane::data)),
                &dead.header().in_hand,
                &dead.region(0)};
    Heir f{area.holds, party_holds_max, area.cursors, &area.in_hand, c_.tables().heir_regions};
    inherit(d, f, regions, maps());
    banks_.heir_of(p);
  }
  store(row.roster, RosterWord::make(RosterState::heir_is_supervisor, roster.incarnation()).word);
  row.phase = stored(PartyPhase::gave_up);
  peer.linked = false;
  consume_as(peer);
  for (Hold& hold : area.holds)
    if (load(hold.token) != 0) tokens_.release(hold);
  peer.segment = Segment();
  peer.bell = Mapping();
  peer.unwatched.bell.reset();
  c_.root.drop(fd_key::segment + p);
  c_.root.drop(fd_key::bell + p);
  c_.root.drop(fd_key::pending_segment + p);
}

void Succession::consume_as(Peer& peer) {
  const PartyId p = peer.id;
  HeirArea& area = c_.tables().heirs[p];
  const std::uint32_t slots = ring_slots(supervisor_party, p);
  const auto cursor = [&](Lane lane) -> Word& {
    Word& word = area.cursors[supervisor_party].lane[static_cast<unsigned>(lane)];
    if (load(word) == 0) store(word, Cursor::make(1, 0).word);
    return word;
  };
  RingReader releases(c_.segment.ring(supervisor_party, p, Lane::release), slots,
                      &cursor(Lane::release));
  while (releases.ready()) {
    const Token token{releases.front().token};
    if (Word* word = banks_.heir_word(token))
      receive_release(releases, *word, token);
    else
      releases.advance();
  }
  RingReader data(c_.segment.ring(supervisor_party, p, Lane::data), slots, &cursor(Lane::data));
  while (data.ready()) {
    const SlotBody body = data.front();
    const Token token{body.token};
    // A dispatch lends its token: no right came with it.
    if (!token || !carries_right(static_cast<MessageKind>(body.kind)) ||
        !banks_.outstanding(token)) {
      data.advance();
      continue;
    }
    Hold* hold = nullptr;
    for (Hold& candidate : area.holds)
      if (load(candidate.token) == 0) {
        hold = &candidate;
        break;
      }
    if (hold == nullptr) break;  // all waiting for space at their owners: tried again by the tick
    const MessageInHand in_hand = take_in_hand(data, area.in_hand, Lane::data, supervisor_party);
    take_token(*hold, token);
    keep(in_hand);
    tokens_.release(*hold);
  }
  peer.data_out =
      RingWriter(c_.segment.ring(supervisor_party, p, Lane::data), slots, &cursor(Lane::data), 1,
                 find_tail(c_.segment.ring(supervisor_party, p, Lane::data), slots));
  peer.release_out =
      RingWriter(c_.segment.ring(supervisor_party, p, Lane::release), slots, &cursor(Lane::release),
                 1, find_tail(c_.segment.ring(supervisor_party, p, Lane::release), slots));
}

std::vector<Hold*> Succession::settle_own() {
  const RecoveryMaps lookup = maps();
  const auto region_word = [this](Token token) -> const Word* { return banks_.heir_word(token); };
  std::vector<Hold*> carried;
  const auto settle = [&](std::span<Hold> holds, Word& in_hand, CursorRow* cursors,
                          PartyId receiver) {
    settle_in_place(holds, in_hand, cursors, supervisor_party, 1, receiver, region_word, lookup);
  };
  Hold* holds = c_.segment.holds();
  const SegmentHeader& header = c_.segment.header();
  const std::uint32_t first_of_cache = first_cache_hold(header.task_capacity);
  // Of the cache's only those that may have been used: to look at memory is to make it exist. The
  // row behind the last used one may have a right without having been entered.
  const std::uint32_t rows = used_rows({c_.segment.cache_rows(), header.cache_entries});
  const std::uint32_t of_cache = cache_holds(std::min(rows + 1, header.cache_entries));
  const auto settle_own_holds = [&](std::uint32_t first, std::uint32_t count) {
    settle({holds + first, count}, c_.segment.header().in_hand,
           reinterpret_cast<CursorRow*>(&c_.segment.cursor(0, Lane::data)), supervisor_party);
  };
  settle_own_holds(0, first_of_cache);
  settle_own_holds(first_of_cache, of_cache);
  settle_own_holds(c_.segment.hold_count() - transit_holds, transit_holds);
  if (of_cache != 0 && load(holds[first_of_cache].token) != 0)
    carried.push_back(&holds[first_of_cache]);  // a reader's right that did not leave
  for (std::uint32_t k = c_.segment.hold_count() - transit_holds; k < c_.segment.hold_count(); ++k)
    if (load(holds[k].token) != 0) carried.push_back(&holds[k]);
  for (PartyId p = 0; p < parties_max; ++p) {
    if (c_.roster(p).state() != RosterState::heir_is_supervisor) continue;
    HeirArea& area = c_.tables().heirs[p];
    settle(area.holds, area.in_hand, area.cursors, p);
    for (Hold& hold : area.holds)
      if (load(hold.token) != 0) carried.push_back(&hold);
  }
  return carried;
}

}  // namespace micro_swarm
