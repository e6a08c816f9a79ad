#pragma once

// The 64-bit words of the shared-memory protocol (docs/protocol.md), packed and unpacked.
// Every word has one writer; it is stored with release and loaded with acquire.

#include <cstdint>

#include "common/ids.hpp"

namespace micro_swarm {

/// A lane is one of the independent rings between the same two parties.
enum class Lane : std::uint8_t {
  data = 0,     ///< messages that may carry the right to read a region
  release = 1,  ///< tokens going home; its consumer needs neither space nor a free hold
  control = 2,
};
inline constexpr unsigned lanes_max = 4;  // two bits in words
inline constexpr unsigned lanes_used = 3;

/// region index = {bank:12, slot:6}. The bank number is the index of the bank's entry in the
/// supervisor's bank table, so a token alone leads to its memory.
using RegionIndex = std::uint32_t;
inline constexpr unsigned bank_slots_max = 64;
inline constexpr unsigned banks_max = 4096;
inline constexpr RegionIndex regions_max = banks_max * bank_slots_max;
static_assert(regions_max <= 1u << 18);  // as many as a token can name
constexpr RegionIndex region_index(std::uint32_t bank, std::uint32_t slot) {
  return bank * bank_slots_max + slot;
}
constexpr std::uint32_t bank_of(RegionIndex region) { return region / bank_slots_max; }
constexpr std::uint32_t slot_of(RegionIndex region) { return region % bank_slots_max; }

/// One right to read one region. Layout, high to low:
/// present:1 owner:9 region:18 number:5 generation:31. 0 is "no token".
struct Token {
  std::uint64_t word = 0;

  static constexpr std::uint32_t generation_mask = 0x7fffffff;

  static constexpr Token make(PartyId owner, RegionIndex region, unsigned number,
                              std::uint32_t generation) {
    return Token{(std::uint64_t{1} << 63) | (std::uint64_t{owner} << 54) |
                 (std::uint64_t{region} << 36) | (std::uint64_t{number} << 31) |
                 (generation & generation_mask)};
  }
  constexpr explicit operator bool() const { return word != 0; }
  constexpr PartyId owner() const { return static_cast<PartyId>((word >> 54) & 0x1ff); }
  constexpr RegionIndex region() const { return static_cast<RegionIndex>((word >> 36) & 0x3ffff); }
  constexpr unsigned number() const { return static_cast<unsigned>((word >> 31) & 0x1f); }
  constexpr std::uint32_t generation() const {
    return static_cast<std::uint32_t>(word & generation_mask);
  }
  /// In range for this build: what must hold before any field is used as an index.
  constexpr bool well_formed() const {
    return (word >> 63) == 1 && owner() < parties_max && region() < regions_max;
  }
  friend constexpr bool operator==(Token, Token) = default;
};

/// region[i] = {generation:32, outstanding:32}; bit n = token number n is out.
struct RegionWord {
  std::uint64_t word = 0;

  static constexpr RegionWord make(std::uint32_t generation, std::uint32_t outstanding) {
    return RegionWord{(std::uint64_t{generation & Token::generation_mask} << 32) | outstanding};
  }
  constexpr std::uint32_t generation() const { return static_cast<std::uint32_t>(word >> 32); }
  constexpr std::uint32_t outstanding() const { return static_cast<std::uint32_t>(word); }
  /// The bit of `token` is set and the generation stands.
  constexpr bool names(Token token) const {
    return generation() == token.generation() && ((outstanding() >> token.number()) & 1u) != 0;
  }
  constexpr RegionWord with(unsigned number) const {
    return RegionWord{word | (std::uint64_t{1} << number)};
  }
  constexpr RegionWord without(unsigned number) const {
    return RegionWord{word & ~(std::uint64_t{1} << number)};
  }
};

/// hold[k].via = where the hold's token is being passed: lane:2 target:9 sequence:48; 0 = nowhere.
/// (Sequences start at 1, so a real `via` is never 0.)
struct Via {
  std::uint64_t word = 0;

  static constexpr std::uint64_t sequence_mask = (std::uint64_t{1} << 48) - 1;

  static constexpr Via make(Lane lane, PartyId target, std::uint64_t sequence) {
    return Via{(static_cast<std::uint64_t>(lane) << 57) | (std::uint64_t{target} << 48) |
               (sequence & sequence_mask)};
  }
  constexpr explicit operator bool() const { return word != 0; }
  constexpr Lane lane() const { return static_cast<Lane>((word >> 57) & 3); }
  constexpr PartyId target() const { return static_cast<PartyId>((word >> 48) & 0x1ff); }
  constexpr std::uint64_t sequence() const { return word & sequence_mask; }
};

/// cursor[ring] = {producer incarnation:16, sequence:48}: messages consumed of that incarnation.
struct Cursor {
  std::uint64_t word = 0;

  static constexpr Cursor make(Incarnation producer_incarnation, std::uint64_t consumed) {
    return Cursor{(std::uint64_t{producer_incarnation} << 48) | (consumed & Via::sequence_mask)};
  }
  constexpr Incarnation incarnation() const { return static_cast<Incarnation>(word >> 48); }
  constexpr std::uint64_t consumed() const { return word & Via::sequence_mask; }
  friend constexpr bool operator==(Cursor, Cursor) = default;
};

/// in_hand = the message a thread is working on: valid:1 lane:2 producer:9 incarnation:16
/// sequence:36 (the cursor's low 36 bits at which the message lies).
struct InHand {
  std::uint64_t word = 0;

  static constexpr std::uint64_t sequence_mask = (std::uint64_t{1} << 36) - 1;

  static constexpr InHand make(Lane lane, PartyId producer, Cursor at) {
    return InHand{(std::uint64_t{1} << 63) | (static_cast<std::uint64_t>(lane) << 61) |
                  (std::uint64_t{producer} << 52) | (std::uint64_t{at.incarnation()} << 36) |
                  (at.consumed() & sequence_mask)};
  }
  constexpr bool valid() const { return (word >> 63) != 0; }
  constexpr Lane lane() const { return static_cast<Lane>((word >> 61) & 3); }
  constexpr PartyId producer() const { return static_cast<PartyId>((word >> 52) & 0x1ff); }
  constexpr Incarnation incarnation() const {
    return static_cast<Incarnation>((word >> 36) & 0xffff);
  }
  /// The message is still the next one of the ring whose cursor this is: not yet handled.
  constexpr bool is_at(Cursor cursor) const {
    return valid() && incarnation() == cursor.incarnation() &&
           (word & sequence_mask) == (cursor.consumed() & sequence_mask);
  }
};

/// roster[p] = whose words count for party p.
enum class RosterState : std::uint8_t { vacant = 0, live = 1, heir_is_supervisor = 2 };
struct RosterWord {
  std::uint64_t word = 0;

  static constexpr RosterWord make(RosterState state, Incarnation incarnation) {
    return RosterWord{(static_cast<std::uint64_t>(state) << 16) | incarnation};
  }
  constexpr RosterState state() const { return static_cast<RosterState>((word >> 16) & 3); }
  constexpr Incarnation incarnation() const { return static_cast<Incarnation>(word & 0xffff); }
  friend constexpr bool operator==(RosterWord, RosterWord) = default;
};

}  // namespace micro_swarm
