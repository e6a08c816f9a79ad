#include "ipc/party_memory.hpp"

#include <algorithm>

#include "ipc/transfer.hpp"

namespace micro_swarm {

Result<void> PartyMemory::check_ours(bool is_ours) {
  if (!is_ours)
    return Error{ErrorCode::usage, "the region is empty, or another party's of this process", 0};
  return {};
}

Result<void> PartyMemory::check(bool is_ours, PartyId target) const {
  if (auto ok = check_ours(is_ours); !ok) return ok.error();
  if (target == link_.party())
    return Error{ErrorCode::usage, "a region cannot be handed to the party that has it", 0};
  const std::string name = "party " + std::to_string(target);
  if (target >= parties_max || target == supervisor_party)
    return Error{ErrorCode::not_found,
                 "there is no " + name +
                     " to hand a region to: agents are 0 to 255, clients 257 "
                     "to 319",
                 0};
  // As of now: whoever goes away after this look has the region sent back.
  const PartyRow& row = link_.tables().parties[target];
  const RosterWord roster{load(row.roster)};
  if (roster.state() == RosterState::heir_is_supervisor)
    return Error{ErrorCode::not_running, name + " is gone", 0};
  if (is_client(target) && roster.state() != RosterState::live)
    return Error{ErrorCode::not_found, "there is no " + name, 0};
  return {};
}

void PartyMemory::send(std::uint32_t hold, std::uint64_t size_bytes, TransferWord word,
                       std::uint64_t tag, const TopicName& topic) {
  SlotBody body;
  body.kind = static_cast<std::uint16_t>(MessageKind::transfer);
  body.region_bytes = static_cast<std::uint32_t>(size_bytes);
  body.inline_data[0] = word.word;
  body.inline_data[1] = tag;
  std::copy_n(topic.words, std::size(topic.words), body.inline_data + 2);
  const bool is_own = Token{load(link_.holds()[hold].token)}.owner() == link_.party();
  if (is_own) link_.banks().leaving(hold);
  pass(link_.data_out(), link_.holds()[hold], Lane::data, supervisor_party, body);
  if (is_own)
    link_.banks().passed(hold);
  else
    link_.holds().put_back(hold);
  link_.ring_supervisor();
}

Result<bool> PartyMemory::try_transfer(const RegionKeeper& keeper, Region& region, PartyId target,
                                       std::uint64_t tag) {
  if (auto ok = check(region.keeper_.get() == &keeper, target); !ok) return ok.error();
  if (!link_.data_out().has_space(1)) return false;
  send(region.hold_, region.bytes_.size(), TransferWord::make(target, TransferRefusal::none), tag);
  region.forget();
  ++stats_.transfers_sent;
  return true;
}

Result<bool> PartyMemory::try_transfer(const RegionKeeper& keeper, ReceivedRegion& region,
                                       PartyId target, std::uint64_t tag) {
  if (auto ok = check(region.keeper_.get() == &keeper, target); !ok) return ok.error();
  if (!link_.data_out().has_space(1)) return false;
  send(region.hold_, region.size_bytes_, TransferWord::make(target, TransferRefusal::none), tag);
  region.keeper_.reset();
  ++stats_.transfers_sent;
  return true;
}

Result<bool> PartyMemory::try_share(const RegionKeeper& keeper, Region& region, PartyId target,
                                    std::uint64_t tag, const TopicName& topic) {
  if (auto ok = check(region.keeper_.get() == &keeper, target); !ok) return ok.error();
  if (!link_.data_out().has_space(1)) return false;
  const auto minted = link_.banks().share(region.hold_);
  if (!minted) return minted.error();
  region.is_shared_ = true;
  send(*minted, region.bytes_.size(), TransferWord::make(target, TransferRefusal::none), tag,
       topic);
  ++stats_.transfers_sent;
  return true;
}

bool PartyMemory::take_next() {
  RingReader& ring = link_.data_in();
  const SlotBody body = ring.front();
  const Token token{body.token};
  if (!token.well_formed()) {
    ring.advance();
    link_.count_malformed();
    return true;
  }
  const bool goes_back = inbox_.size() >= inbox_max;
  if (goes_back && !link_.data_out().has_space(1)) return false;
  const auto hold = link_.holds().take();
  if (!hold) return false;
  const MessageInHand in_hand =
      take_in_hand(ring, link_.own().header().in_hand, Lane::data, supervisor_party);
  take_token(link_.holds()[*hold], token);
  keep(in_hand);
  const TransferWord word{body.inline_data[0]};
  const TopicName topic{{body.inline_data[2], body.inline_data[3], body.inline_data[4]}};
  const Incoming incoming{*hold, token, body.region_bytes, word, body.inline_data[1], topic};
  if (goes_back && word.refusal() == TransferRefusal::none && !topic) {
    send(*hold, incoming.size_bytes, TransferWord::make(word.party(), TransferRefusal::full),
         incoming.tag);
    return true;
  }
  if (goes_back) {
    if (topic) ++stats_.publications_dropped;
    link_.release(*hold);
    link_.ring_supervisor();
    return true;
  }
  inbox_.push_back(incoming);
  ++(word.refusal() == TransferRefusal::none ? stats_.transfers_received
                                             : stats_.transfers_returned);
  return true;
}

std::optional<ReceivedRegion> PartyMemory::next(RegionKeeperPtr keeper) {
  if (inbox_.empty()) return std::nullopt;
  const Incoming incoming = inbox_.front();
  inbox_.pop_front();
  ReceivedRegion region;
  region.keeper_ = std::move(keeper);
  region.hold_ = incoming.hold;
  region.token_ = incoming.token;
  region.size_bytes_ = incoming.size_bytes;
  region.tag_ = incoming.tag;
  region.from_ = incoming.word.party();
  region.refusal_ = incoming.word.refusal();
  region.topic_ = incoming.topic;
  return region;
}

PartyMemoryStats PartyMemory::stats() const noexcept {
  PartyMemoryStats stats = stats_;
  stats.holds_in_use = link_.holds().in_use();
  stats.holds_max = link_.holds().capacity();
  stats.inbox = inbox_.size();
  return stats;
}

}  // namespace micro_swarm
