#include "supervisor/banks.hpp"

#include <unistd.h>

#include <algorithm>
#include <bit>
#include <bitset>

#include "common/log.hpp"
#include "shm/size_classes.hpp"
#include "supervisor/bank_rows.hpp"

namespace micro_swarm {

void Banks::adopt(const std::function<int(std::uint32_t bank)>& kept) {
  BankRow* rows = c_.tables().banks;
  leased_regions_ = 0;
  for (std::uint32_t bank = 0; bank < banks_max; ++bank) {
    BankRow& row = rows[bank];
    if (row.serial == 0) break;  // rows are taken in order the first time round
    rows_used_ = bank + 1;
    const BankState state = word_of(row).state();
    if (state == BankState::free) {
      // Kept and not entered, or its row was free before root heard of it: memory beside the
      // budget.
      if (const UniqueFd left(kept(bank)); left) c_.root.drop(fd_key::bank + bank);
      continue;
    }
    const BankWord word = word_of(row);
    const std::uint64_t taken = regions_taken(row, c_.config.memory.region_size);
    leased_regions_ += taken;
    // Whoever is above its soft mark was told so by the last supervisor.
    leased_by_[state == BankState::heired ? supervisor_party : word.owner()] += taken;
    if (is_reserve_used(row, word)) own_regions_ += taken;
    const int fd = kept(bank);
    if (fd >= 0) {
      memory_[bank] = UniqueFd(fd);
      // Root had it, the row does not say so yet: the store that was missing.
      if (state == BankState::reserved)
        store(
            row.word,
            BankWord::make(BankState::live, word_of(row).owner(), word_of(row).incarnation()).word);
    }
  }
  next_row_ = rows_used_ % banks_max;
  store(c_.tables().leased_regions, leased_regions_);
}

/// Every agent that has no bank yet will need one region for its first result: kept back from
/// everybody else's growth, so that a greedy client cannot starve the agents it waits for.
std::uint64_t Banks::reserve_for_agents(PartyId asking) const {
  std::bitset<agents_max> has_bank;
  for (std::uint32_t bank = 0; bank < rows_used_; ++bank) {
    const BankWord word = word_of(c_.tables().banks[bank]);
    if ((word.state() == BankState::live || word.state() == BankState::reserved) &&
        is_agent(word.owner()))
      has_bank.set(word.owner());
  }
  std::uint64_t without = 0;
  for (PartyId p = 0; p < agents_max; ++p)
    if (p != asking && c_.row(p).phase != stored(PartyPhase::none) &&
        c_.row(p).phase != stored(PartyPhase::gave_up) && !has_bank.test(p))
      ++without;
  if (is_agent(asking) && !has_bank.test(asking)) return 0;  // its own first one
  return without;
}

std::uint64_t Banks::kept_for_supervisor() const {
  const std::uint64_t reserve = c_.reserved_regions();
  return reserve - std::min(reserve, own_regions_);
}

std::uint64_t Banks::leased_bytes(PartyId party) const {
  return leased_by_[party] * c_.config.memory.region_size;
}

std::uint64_t Banks::quota_bytes(PartyId party) const {
  if (is_client(party)) return c_.config.memory.client_quota;
  if (!is_agent(party) || c_.row(party).kind >= c_.config.agents.size()) return 0;
  return c_.config.agents[c_.row(party).kind].memory_quota.value_or(c_.config.memory.agent_quota);
}

void Banks::add_leased(PartyId owner, std::uint64_t regions) {
  const bool was_over = is_over_soft_limit(owner);
  leased_regions_ += regions;
  leased_by_[owner] += regions;
  store(c_.tables().leased_regions, leased_regions_);
  if (was_over || !is_over_soft_limit(owner)) return;
  c_.count(Counter::quota_soft_limits);
  c_.events.add("memory_soft_limit", {{"party", owner},
                                      {"leased_bytes", leased_bytes(owner)},
                                      {"quota_bytes", quota_bytes(owner)}});
}

void Banks::remove_leased(PartyId owner, std::uint64_t regions) {
  leased_regions_ -= regions;
  leased_by_[owner] -= regions;
  store(c_.tables().leased_regions, leased_regions_);
}

void Banks::requested(Peer& peer, const PartyMessage& message) {
  PartyMessage answer;
  answer.party = peer.id;
  answer.incarnation = c_.row(peer.id).incarnation;
  answer.a = message.a;
  const std::uint64_t pool_region = c_.config.memory.region_size;
  const std::uint64_t slots = message.b;
  const std::uint64_t region = message.c == 0 ? pool_region : message.c;
  const auto refuse = [&](const std::string& why) {
    answer.kind = PartyMessageKind::bank_refused;
    why.copy(answer.text, sizeof answer.text - 1);
    if (message.d == 0) c_.count(Counter::banks_refused);
    c_.send(peer, answer);
  };
  const auto grant = [&](std::uint32_t bank, const BankRow& row) {
    answer.kind = PartyMessageKind::bank_granted;
    answer.b = bank;
    answer.c = row.slots;
    answer.d = row.region_bytes;
    answer.e = row.serial;
    c_.send(peer, answer);
  };
  // The budget counts whole pool regions, each bank rounded up.
  const std::uint64_t pool_bytes = c_.pool_bytes();
  const std::uint64_t shared = pool_bytes - c_.reserved_regions() * pool_region;
  if (!is_bank_shape(pool_region, slots, region) || region > shared / slots) {
    answer.b = 1;  // never: asking again will not help
    return refuse("a bank of " + std::to_string(slots) + " x " + std::to_string(region) +
                  " bytes is not possible in a pool of " + std::to_string(pool_bytes) +
                  " bytes, of which the supervisor keeps " + std::to_string(pool_bytes - shared));
  }
  BankRow* rows = c_.tables().banks;
  for (std::uint32_t bank = 0; bank < rows_used_; ++bank) {  // the same request, repeated
    const BankWord word = word_of(rows[bank]);
    if (word.owner() != peer.id || word.incarnation() != answer.incarnation ||
        rows[bank].request != message.a)
      continue;
    if (word.state() == BankState::reserved) return grant(bank, rows[bank]);
    if (word.state() == BankState::live) {
      grant(bank, rows[bank]);
      PartyMessage live{PartyMessageKind::bank_live, peer.id, answer.incarnation, bank};
      return c_.send(peer, live);
    }
  }
  const std::uint64_t wanted = pool_regions_of(pool_region, slots, region);
  const std::uint64_t budget = c_.pool_regions();
  const std::uint64_t quota = quota_bytes(peer.id);
  const std::uint64_t quota_after = (leased_by_[peer.id] + wanted) * pool_region;
  if (quota != 0 && quota_after > (message.d == 1 ? quota / 5 * 4 : quota)) {
    answer.b = wanted * pool_region > quota ? 1 : 0;
    if (message.d == 0) c_.count(Counter::quota_refusals);
    const bool is_kinds_own =
        is_agent(peer.id) && c_.config.agents[c_.row(peer.id).kind].memory_quota;
    return refuse("quota: " + std::to_string(leased_bytes(peer.id)) + " of " +
                  std::to_string(quota) + " bytes are leased, and " +
                  std::to_string(wanted * pool_region) + " more asked for; raise " +
                  (is_client(peer.id) ? "memory.client_quota"
                   : is_kinds_own     ? "memory_quota of the [[agent]]"
                                      : "memory.agent_quota"));
  }
  const std::uint64_t kept = kept_for_supervisor();
  // Asked ahead: nobody waits, so nobody gives anything up for it.
  if (message.d == 1 &&
      leased_regions_ + wanted + kept + reserve_for_agents(peer.id) > budget / 4 * 3)
    return refuse("asked ahead, and there is no plenty");
  if (leased_regions_ + wanted + kept > budget) return_idle();
  take_back_from_cache(wanted, [&] {
    return leased_regions_ + wanted + kept + reserve_for_agents(peer.id) > budget;
  });
  if (leased_regions_ + wanted + kept + reserve_for_agents(peer.id) > budget && give_up_result_) {
    // Results that nobody fetches give way, as many as are asked for; asked again, more. Those of
    // the living take their way home through the owner, who then returns the bank or uses it.
    for (std::uint64_t n = 0; n < wanted && give_up_result_(); ++n) {
    }
    return_idle();
  }
  if (leased_regions_ + wanted + kept + reserve_for_agents(peer.id) > budget) {
    if (!refused_since_return_)  // once per shortage: whoever holds idle memory gives it back
      ask_to_trim(peer.id);
    refused_since_return_ = true;
    return refuse("pool full: " + std::to_string(leased_regions_) + " of " +
                  std::to_string(budget) + " regions are leased, " + std::to_string(kept) +
                  " are kept for the supervisor");
  }
  const std::uint32_t bank = find_free_row();
  if (bank == banks_max) return refuse("all " + std::to_string(banks_max) + " banks are in use");
  next_row_ = (bank + 1) % banks_max;
  rows_used_ = std::max(rows_used_, bank + 1);
  BankRow& row = rows[bank];
  row.slots = static_cast<std::uint32_t>(slots);
  row.region_bytes = region;
  row.request = message.a;
  row.serial += 1;
  store(row.word, BankWord::make(BankState::reserved, peer.id, answer.incarnation).word);
  add_leased(peer.id, wanted);
  c_.count(Counter::banks_granted);
  grant(bank, row);
}

std::uint32_t Banks::ask_to_trim(PartyId but) {
  std::uint32_t asked = 0;
  for (Peer& other : c_.peers) {
    if (!other.linked || other.dead || other.id == but) continue;
    c_.send(other, PartyMessage{PartyMessageKind::trim, other.id, c_.row(other.id).incarnation});
    ++asked;
  }
  return asked;
}

void Banks::set_pool_regions(std::uint64_t regions) {
  store(c_.tables().pool_regions, regions);
  if (leased_regions_ > regions) ask_to_trim();
}

void Banks::tick(std::uint64_t now) {
  return_some_idle();
  if (over_budget_regions() == 0 || now < next_trim_ns_) return;
  next_trim_ns_ = now + ns_per_s / 2;
  ask_to_trim();
}

/// In order the first time round: who looks for a party's banks stops at the first row that was
/// never used (serial 0).
std::uint32_t Banks::find_free_row() const {
  for (std::uint32_t i = 0; i < banks_max; ++i) {
    const std::uint32_t at = (next_row_ + i) % banks_max;
    if (word_of(c_.tables().banks[at]).state() == BankState::free) return at;
  }
  return banks_max;
}

void Banks::memory_arrived(Peer& peer, const PartyMessage& message, UniqueFd fd) {
  const auto bank = static_cast<std::uint32_t>(message.a);
  if (message.a >= banks_max || !fd) return;
  BankRow& row = c_.tables().banks[bank];
  const BankWord word = word_of(row);
  const Incarnation incarnation = c_.row(peer.id).incarnation;
  if (word.owner() != peer.id || word.incarnation() != incarnation) return;
  if (word.state() == BankState::reserved) {
    if (auto ok = verify_memfd(fd.get(), row.slots * row.region_bytes, SealKind::one_writer); !ok) {
      log::warn("party {}: bank {}: {}", peer.id, bank, ok.error().message);
      c_.count(Counter::messages_malformed);
      return;
    }
    auto read_only = reopen_read_only(fd.get());
    if (!read_only) {
      log::warn("party {}: bank {}: {}", peer.id, bank, read_only.error().message);
      return;
    }
    memory_[bank] = std::move(*read_only);
    // Kept first: a live row without its memory could not be adopted.
    c_.root.keep(fd_key::bank + bank, memory_[bank].get());
    store(row.word, BankWord::make(BankState::live, peer.id, incarnation).word);
  }
  c_.send(peer, PartyMessage{PartyMessageKind::bank_live, peer.id, incarnation, bank});
}

void Banks::returned(Peer& peer, const PartyMessage& message) {
  if (message.a >= banks_max) return;
  const auto bank = static_cast<std::uint32_t>(message.a);
  const BankRow& row = c_.tables().banks[bank];
  const BankWord word = word_of(row);
  // Its own, or a predecessor's it inherited. Gone already (repeated) or never its own: no matter.
  const bool has_memory = word.state() == BankState::live;
  // Of an earlier life, or of this one where the machine had no memory for it.
  const bool never_made = word.state() == BankState::reserved;
  if (word.owner() != peer.id || row.serial != message.e || !(has_memory || never_made)) return;
  if (never_made || (peer.segment && outstanding_in(bank) == 0)) free_row(bank);
}

bool Banks::show_to(Peer& peer, std::uint32_t bank) {
  if (is_shown_to(peer.id, bank)) return true;
  const BankRow& row = c_.tables().banks[bank];
  if (!memory_[bank]) return false;
  auto copy = duplicate(memory_[bank].get());
  if (!copy) {
    log::warn("bank {} for party {}: {}", bank, peer.id, copy.error().message);
    return false;
  }
  PartyMessage message{PartyMessageKind::bank_mapped, peer.id, c_.row(peer.id).incarnation};
  message.a = bank;
  message.c = row.slots;
  message.d = row.region_bytes;
  message.e = row.serial;
  if (bank >= readers_.size()) readers_.resize(bank + 1);
  readers_[bank].set(peer.id);
  c_.send(peer, message, std::move(*copy));
  return true;
}

void Banks::show_sent(Peer& peer) {
  const std::uint64_t slots = ring_slots(supervisor_party, peer.id);
  const std::uint64_t sent = peer.data_out.sent();
  const std::uint64_t unread = std::min(sent - peer.data_out.consumed(), slots);
  const std::uint64_t kept = std::min(sent, slots);
  const Slot* ring = c_.segment.ring(supervisor_party, peer.id, Lane::data);
  for (std::uint64_t sequence = sent - kept + 1; sequence <= sent; ++sequence) {
    const Token token{ring[(sequence - 1) % slots].body.token};
    if (!token || !token.well_formed()) continue;
    if (sequence > sent - unread || outstanding(token)) show_to(peer, bank_of(token.region()));
  }
}

void Banks::forget_reader(PartyId party) {
  for (PartySet& readers : readers_) readers.reset(party);
}

void Banks::add_near(Token token, AgentSet& near) const {
  if (!token.well_formed()) return;
  const std::uint32_t bank = bank_of(token.region());
  if (bank < readers_.size()) near |= readers_[bank].agents();
  if (is_agent(token.owner())) near.set(token.owner());
}

Word* Banks::heir_word(Token token) const {
  if (!token.well_formed()) return nullptr;
  const BankWord word = word_of(c_.tables().banks[bank_of(token.region())]);
  if (word.state() != BankState::heired || word.owner() != token.owner()) return nullptr;
  return &c_.tables().heir_regions[token.region()];
}

bool Banks::outstanding(Token token) const {
  if (!token.well_formed()) return false;
  const BankRow& row = c_.tables().banks[bank_of(token.region())];
  const BankWord word = word_of(row);
  if (word.owner() != token.owner() || slot_of(token.region()) >= row.slots) return false;
  if (word.state() == BankState::heired)
    return RegionWord{load(c_.tables().heir_regions[token.region()])}.names(token);
  if (word.state() != BankState::live) return false;
  const Peer& owner = c_.peers[token.owner()];
  return owner.segment &&
         RegionWord{load(owner.segment.view().region(token.region()))}.names(token);
}

std::uint64_t Banks::region_bytes(Token token) const {
  if (!token.well_formed()) return 0;
  const BankRow& row = c_.tables().banks[bank_of(token.region())];
  return slot_of(token.region()) < row.slots ? row.region_bytes : 0;
}

bool Banks::read(Token token, std::uint64_t offset, std::span<std::byte> into) const {
  const std::uint32_t bank = bank_of(token.region());
  const std::uint64_t bytes = region_bytes(token);
  if (!memory_[bank] || offset > bytes || into.size() > bytes - offset) return false;
  // Copied by the kernel: no mapping of each client's banks in here, and no fault however it lies.
  const auto at = static_cast<off_t>(slot_of(token.region()) * bytes + offset);
  return ::pread(memory_[bank].get(), into.data(), into.size(), at) ==
         static_cast<ssize_t>(into.size());
}

Result<UniqueFd> Banks::descriptor(std::uint32_t bank) const {
  if (bank >= banks_max || !memory_[bank])
    return Error{ErrorCode::not_found, "bank " + std::to_string(bank) + " is gone", 0};
  return duplicate(memory_[bank].get());
}

std::vector<RegionIndex> Banks::regions_of(PartyId party) const {
  std::vector<RegionIndex> regions;
  for (std::uint32_t bank = 0; bank < rows_used_; ++bank) {
    const BankRow& row = c_.tables().banks[bank];
    const BankWord word = word_of(row);
    if (word.owner() != party || word.state() != BankState::live) continue;
    for (std::uint32_t slot = 0; slot < row.slots; ++slot)
      regions.push_back(region_index(bank, slot));
  }
  return regions;
}

void Banks::heir_of(PartyId party) {
  for (std::uint32_t bank = 0; bank < rows_used_; ++bank) {
    BankRow& row = c_.tables().banks[bank];
    const BankWord word = word_of(row);
    if (word.owner() != party) continue;
    if (word.state() == BankState::live) {
      store(row.word, BankWord::make(BankState::heired, party, word.incarnation()).word);
      const std::uint64_t taken = regions_taken(row, c_.config.memory.region_size);
      leased_by_[party] -= taken;  // whoever comes next under its number does not pay for it
      leased_by_[supervisor_party] += taken;
    } else if (word.state() == BankState::reserved)
      free_row(bank);
  }
}

std::uint32_t Banks::slots_of(std::uint32_t bank) const {
  const BankRow& row = c_.tables().banks[bank];
  return word_of(row).state() == BankState::free ? 0 : row.slots;
}

const Word* Banks::region_word(std::uint32_t bank, std::uint32_t slot) const {
  const BankWord word = word_of(c_.tables().banks[bank]);
  const RegionIndex i = region_index(bank, slot);
  if (word.state() == BankState::heired) return &c_.tables().heir_regions[i];
  const Peer& owner = c_.peers[word.owner()];
  return owner.segment ? &owner.segment.view().region(i) : nullptr;
}

std::uint64_t Banks::outstanding_in(std::uint32_t bank) const {
  std::uint64_t out = 0;
  for (std::uint32_t slot = 0; slot < c_.tables().banks[bank].slots; ++slot)
    if (const Word* word = region_word(bank, slot))
      out += static_cast<std::uint64_t>(__builtin_popcount(RegionWord{load(*word)}.outstanding()));
  return out;
}

std::uint64_t Banks::tokens_out() const {
  std::uint64_t out = 0;
  for_each([&](std::uint32_t bank, const BankRow&, BankWord) { out += outstanding_in(bank); });
  return out;
}

std::vector<Banks::ClassUse> Banks::use_by_class() const {
  const std::uint64_t pool_region = c_.config.memory.region_size;
  std::vector<ClassUse> classes(size_classes + 1);
  for (unsigned k = 0; k < size_classes; ++k)
    classes[k].region_bytes = class_region_bytes(pool_region, k);
  for_each([&](std::uint32_t bank, const BankRow& row, BankWord) {
    ClassUse& use = classes[class_for(pool_region, row.region_bytes)];
    std::uint64_t out = 0;
    for (std::uint32_t slot = 0; slot < row.slots; ++slot)
      if (const Word* word = region_word(bank, slot);
          word != nullptr && RegionWord{load(*word)}.outstanding() != 0)
        ++out;
    use.banks += 1;
    use.regions += row.slots;
    use.regions_out += out;
    use.leased_bytes += regions_taken(row, pool_region) * pool_region;
    use.bytes_out += out * row.region_bytes;
  });
  return classes;
}

void Banks::return_idle() {
  for (std::uint32_t bank = 0; bank < rows_used_; ++bank) return_if_idle(bank);
  refused_since_return_ = false;
}

void Banks::return_some_idle() {
  const std::uint32_t looks = std::min(rows_used_, rows_at_a_look);
  for (std::uint32_t i = 0; i < looks; ++i) {
    next_look_ = next_look_ < rows_used_ ? next_look_ : 0;
    return_if_idle(next_look_++);
  }
  refused_since_return_ = false;
}

void Banks::return_if_idle(std::uint32_t bank) {
  const BankWord word = word_of(c_.tables().banks[bank]);
  if (word.state() == BankState::free) return;
  const PartyId owner = word.owner();
  const bool life_over =
      word.state() == BankState::heired ||
      (c_.roster(owner).state() == RosterState::live &&
       c_.roster(owner).incarnation() != word.incarnation() && c_.peers[owner].linked);
  if (!life_over) return;
  if (word.state() == BankState::reserved || outstanding_in(bank) == 0) free_row(bank);
}

void Banks::free_row(std::uint32_t bank) {
  BankRow& row = c_.tables().banks[bank];
  for (Peer& peer : c_.peers)
    if (is_shown_to(peer.id, bank)) {
      PartyMessage message{PartyMessageKind::bank_dropped, peer.id, c_.row(peer.id).incarnation};
      message.a = bank;
      c_.send(peer, message);
    }
  if (bank < readers_.size()) readers_[bank].clear();
  const BankWord was = word_of(row);
  const std::uint64_t taken = regions_taken(row, c_.config.memory.region_size);
  if (is_reserve_used(row, was)) own_regions_ -= taken;
  if (was.owner() == supervisor_party && own_bank_gone_) own_bank_gone_(bank);
  remove_leased(was.state() == BankState::heired ? supervisor_party : was.owner(), taken);
  // The row's next use begins above every generation of this one, however often its regions were
  // used: its tokens stay stale. Whoever dies between the two stores leaves the usual 4096.
  std::uint32_t generations = 0;
  for (std::uint32_t slot = 0; slot < row.slots; ++slot)
    if (const Word* word = region_word(bank, slot)) {
      const std::uint32_t first = first_generation(row.serial);
      const std::uint32_t last = RegionWord{load(*word)}.generation();
      if (last > first) generations = std::max(generations, last - first);
    }
  // Heir words of a bank that is used again start empty.
  for (std::uint32_t slot = 0; slot < row.slots; ++slot) {
    Word& word = c_.tables().heir_regions[region_index(bank, slot)];
    if (load(word) != 0) store(word, 0);
  }
  store(row.word, 0);
  row.serial += generations >> 12;
  if (memory_[bank]) {
    memory_[bank].reset();
    c_.root.drop(fd_key::bank + bank);
  }
  c_.count(Counter::banks_returned);
}

}  // namespace micro_swarm
