#pragma once

// The memory manager's part of step one: leases of banks out of the pool's budget, whose banks
// they are, who has been given which to read, and when their memory goes back.
//
// A bank: free -> reserved (granted) -> live (kept by root) -> [heired] -> free. Its region words
// lie in the owner's segment, its successor's, or, once the owner has no successor, in
// heir_regions. It is returned when its owner's life is over and no token of it is out.

#include <bitset>
#include <functional>
#include <span>

#include "common/agent_set.hpp"
#include "ipc/transfer.hpp"
#include "supervisor/context.hpp"

namespace micro_swarm {

/// Parties, agents apart.
class PartySet {
 public:
  bool test(PartyId party) const {
    return is_agent(party) ? agents_.test(party) : others_.test(party - agents_max);
  }
  void set(PartyId party) { put(party, true); }
  void reset(PartyId party) { put(party, false); }
  void clear() { *this = PartySet(); }
  const AgentSet& agents() const { return agents_; }

 private:
  void put(PartyId party, bool value) {
    if (is_agent(party))
      agents_.set(party, value);
    else
      others_.set(party - agents_max, value);
  }
  AgentSet agents_;
  std::bitset<parties_max - agents_max> others_;
};

class Banks {
 public:
  explicit Banks(SupervisorContext& context) : c_(context) {}
  /// What gives up one result that nobody has fetched when the pool is full; false = there is none.
  void set_give_up_result(std::function<bool()> give_up) { give_up_result_ = std::move(give_up); }

  /// What takes back up to so many bytes of the pool from the cache, before results give way; false
  /// = nothing came of it just now.
  void set_cache_gives_way(std::function<bool(std::uint64_t bytes)> gives_way) {
    cache_gives_way_ = std::move(gives_way);
  }
  /// Told of a bank of the cache that is not there any more.
  void set_own_bank_gone(std::function<void(std::uint32_t bank)> gone) {
    own_bank_gone_ = std::move(gone);
  }

  /// Rows and budget as the tables say; for a new supervisor. `kept(bank)` = root's fd or -1.
  void adopt(const std::function<int(std::uint32_t bank)>& kept);

  // Messages of a party.
  void requested(Peer& peer, const PartyMessage& message);
  void memory_arrived(Peer& peer, const PartyMessage& message, UniqueFd fd);
  void returned(Peer& peer, const PartyMessage& message);

  /// The party can read the bank, or will be able to when it has read its socket. False = the bank
  /// is not there (a liar's token).
  bool show_to(Peer& peer, std::uint32_t bank);

  /// The banks of what stands in our ring to the party, unread or taken and not released: its life
  /// is new, or this supervisor, and whoever published those messages may have shown them to
  /// another or not at all. A new life may have read on already by the time it is looked at.
  void show_sent(Peer& peer);

  /// Its socket is closed: whoever comes next under its number has been shown nothing.
  void forget_reader(PartyId party);
  /// Adds the agents that can read the token's bank already: its owner, and to whom it was shown.
  void add_near(Token token, AgentSet& near) const;

  /// The region word of a token whose owner is the supervisor's charge (heired), else null.
  Word* heir_word(Token token) const;
  /// The token names an outstanding right of a live bank: checked before it is believed.
  bool outstanding(Token token) const;
  /// Memory a token's region offers, 0 if there is no such bank.
  std::uint64_t region_bytes(Token token) const;
  /// Copies what lies at `offset` of the token's region. False = it does not lie there, or the bank
  /// is not there. The token has been checked (outstanding).
  bool read(Token token, std::uint64_t offset, std::span<std::byte> into) const;
  /// A bank of the supervisor's own with one region of these bytes, from the start as its heir's;
  /// `hold` (empty) gets the right to it. For payloads and results that come from disk.
  /// Errors: refused (no room in the pool now), too_large (never), system.
  Result<Token> hold_bytes(std::span<const std::byte> bytes, Hold& hold);
  /// There is room for a bank of the cache's: beside what is kept for agents and the supervisor.
  /// `may_displace`: other entries may have to go. Errors: refused (not now), too_large (never).
  Result<void> room_for_own(std::uint32_t slots, std::uint64_t region_bytes, bool may_displace);
  /// Enters it, right after room_for_own(); `memory` is read-only. Nothing of it is out yet:
  /// return_idle() frees it unless a region is allocated before.
  std::uint32_t add_own(std::uint32_t slots, std::uint64_t region_bytes, UniqueFd memory);
  /// The token is of a bank made by add_own(), in whichever life.
  bool is_of_cache(Token token) const;
  /// The bank's memory, read-only, as long as a right to it is out; -1: there is none.
  int memory_fd(std::uint32_t bank) const { return memory_[bank] ? memory_[bank].get() : -1; }
  /// A read-only descriptor of the bank, for a client of the control socket.
  Result<UniqueFd> descriptor(std::uint32_t bank) const;

  /// The party's banks become ours to settle: region words copied already by inherit().
  void heir_of(PartyId party);
  /// All region indices of `party`'s banks, for inherit().
  std::vector<RegionIndex> regions_of(PartyId party) const;
  /// Returns every bank whose owner's life is over and that has no token out.
  void return_idle();
  /// Asks everybody, but one, for what lies idle there; how many were asked. They return it a
  /// little later.
  std::uint32_t ask_to_trim(PartyId but = no_party);

  /// The pool's budget from now on, in pool regions; survives this supervisor. Nothing that is
  /// leased is taken away: where that is more, nobody gets a bank until enough came back.
  void set_pool_regions(std::uint64_t regions);
  /// Ten times a second: returns some of what return_idle() would, and, while more is leased than
  /// the budget has, asks for what lies idle.
  void tick(std::uint64_t now);
  /// So much more is leased than the budget has, since it shrank.
  std::uint64_t over_budget_regions() const {
    return leased_regions_ - std::min(leased_regions_, c_.pool_regions());
  }

  std::uint64_t leased() const { return leased_regions_; }
  /// What the party has leased, also where it does not use it and where others still read what it
  /// or an earlier life of it made. Not what the supervisor is heir to.
  std::uint64_t leased_bytes(PartyId party) const;
  /// How much it may have leased, 0 = no limit.
  std::uint64_t quota_bytes(PartyId party) const;
  /// It has four fifths of its quota or more.
  bool is_over_soft_limit(PartyId party) const {
    return quota_bytes(party) != 0 && leased_bytes(party) >= quota_bytes(party) / 5 * 4;
  }
  /// Rights to read that are out, over all banks.
  std::uint64_t tokens_out() const;
  /// Every bank in use.
  template <class F>
  void for_each(F&& f) const {
    for (std::uint32_t bank = 0; bank < rows_used_; ++bank) {
      const BankRow& row = c_.tables().banks[bank];
      BankWord word;
      word.word = load(row.word);
      if (word.state() != BankState::free) f(bank, row, word);
    }
  }
  /// Rows behind it were never used.
  std::uint32_t rows_used() const { return rows_used_; }
  /// 0 = the bank is free.
  std::uint32_t slots_of(std::uint32_t bank) const;
  /// What lies in banks whose regions are of one size class; the last are those with one large
  /// region. What of a region's bytes its owner does not use, only the owner knows.
  struct ClassUse {
    std::uint64_t region_bytes = 0;  ///< 0: of one large region each
    std::uint64_t banks = 0;
    std::uint64_t regions = 0;
    std::uint64_t regions_out = 0;   ///< with a token out
    std::uint64_t leased_bytes = 0;  ///< of the budget
    std::uint64_t bytes_out = 0;     ///< in regions with a token out
  };
  std::vector<ClassUse> use_by_class() const;
  /// Where the region's word lies now; null while its owner has no segment.
  const Word* region_word(std::uint32_t bank, std::uint32_t slot) const;
  /// Somebody was refused for want of room since the last return_idle(), or there is less room
  /// than what is leased.
  bool wanted() const { return refused_since_return_ || over_budget_regions() != 0; }

 private:
  bool is_shown_to(PartyId party, std::uint32_t bank) const {
    return bank < readers_.size() && readers_[bank].test(party);
  }
  std::uint64_t outstanding_in(std::uint32_t bank) const;
  static constexpr std::uint32_t rows_at_a_look = 512;
  /// As return_idle(), of the next few rows, all of them in turn.
  void return_some_idle();
  void return_if_idle(std::uint32_t bank);
  void free_row(std::uint32_t bank);
  void take_back_from_cache(std::uint64_t regions, const std::function<bool()>& is_full);
  std::uint32_t find_free_row() const;
  std::uint64_t reserve_for_agents(PartyId asking) const;
  std::uint64_t kept_for_supervisor() const;
  void add_leased(PartyId owner, std::uint64_t regions);
  void remove_leased(PartyId owner, std::uint64_t regions);

  SupervisorContext& c_;
  std::vector<UniqueFd> memory_ = std::vector<UniqueFd>(banks_max);  // read-only descriptors
  // By bank: to whom it was shown. As large as the highest of them: a new supervisor does not make
  // what is hardly ever needed.
  std::vector<PartySet> readers_;
  std::uint64_t leased_regions_ = 0;
  // Of leased_regions_, by owner; supervisor_party: its own and what it is heir to.
  std::vector<std::uint64_t> leased_by_ = std::vector<std::uint64_t>(parties_max);
  std::uint64_t own_regions_ = 0;  // made by hold_bytes
  std::uint32_t next_row_ = 0;
  std::uint32_t next_look_ = 0;
  std::uint64_t next_trim_ns_ = 0;
  std::function<bool()> give_up_result_;
  std::function<bool(std::uint64_t bytes)> cache_gives_way_;
  std::function<void(std::uint32_t bank)> own_bank_gone_;
  std::uint32_t rows_used_ = 0;  // high-water mark: rows behind it were never used
  bool refused_since_return_ = false;
};

}  // namespace micro_swarm
