#include <algorithm>
#include <boost/test/unit_test.hpp>
#include <cstdint>
#include <utility>
#include <vector>

#include "shm/segment_data.hpp"
#include "shm/supervisor_data.hpp"
#include "shm/words.hpp"

using namespace micro_swarm;

BOOST_AUTO_TEST_CASE(a_token_keeps_every_field_at_its_limits) {
  for (const PartyId owner : {PartyId{0}, PartyId{255}, supervisor_party, PartyId{319}})
    for (const RegionIndex region : {RegionIndex{0}, RegionIndex{17}, regions_max - 1})
      for (const unsigned number : {0u, 1u, 31u})
        for (const std::uint32_t generation : {0u, 1u, 0x7fffffffu}) {
          const Token token = Token::make(owner, region, number, generation);
          BOOST_TEST(static_cast<bool>(token));
          BOOST_TEST(token.well_formed());
          BOOST_TEST(token.owner() == owner);
          BOOST_TEST(token.region() == region);
          BOOST_TEST(token.number() == number);
          BOOST_TEST(token.generation() == generation);
        }
}

BOOST_AUTO_TEST_CASE(what_is_out_of_range_is_not_well_formed) {
  BOOST_TEST(!Token{}.well_formed());
  BOOST_TEST(!Token{42}.well_formed());  // the present bit is missing
  BOOST_TEST(!Token::make(parties_max, 0, 0, 1).well_formed());
  BOOST_TEST(!Token::make(no_party, 0, 0, 1).well_formed());
  // Every region number that fits is in range: what is beyond is another owner's.
  static_assert(regions_max == 1u << 18);
}

BOOST_AUTO_TEST_CASE(a_region_word_sets_and_clears_one_number) {
  const RegionWord empty = RegionWord::make(9, 0);
  for (unsigned number = 0; number < 32; ++number) {
    const RegionWord one = empty.with(number);
    BOOST_TEST(one.outstanding() == 1u << number);
    BOOST_TEST(one.generation() == 9u);
    BOOST_TEST(one.names(Token::make(1, 2, number, 9)));
    BOOST_TEST(!one.names(Token::make(1, 2, number, 8)));
    BOOST_TEST(!one.names(Token::make(1, 2, (number + 1) % 32, 9)));
    BOOST_TEST(one.without(number).word == empty.word);
    BOOST_TEST(empty.without(number).word == empty.word);
  }
}

BOOST_AUTO_TEST_CASE(generations_of_token_and_region_word_wrap_together) {
  const RegionWord word = RegionWord::make(0xffffffff, 1);
  BOOST_TEST(word.names(Token::make(0, 0, 0, 0xffffffff)));
}

BOOST_AUTO_TEST_CASE(a_via_keeps_every_field_and_is_never_zero) {
  for (const Lane lane : {Lane::data, Lane::release, Lane::control})
    for (const PartyId target : {PartyId{0}, supervisor_party, PartyId{319}})
      for (const std::uint64_t sequence : {std::uint64_t{1}, Via::sequence_mask}) {
        const Via via = Via::make(lane, target, sequence);
        BOOST_TEST(static_cast<bool>(via));
        BOOST_TEST((via.lane() == lane));
        BOOST_TEST(via.target() == target);
        BOOST_TEST(via.sequence() == sequence);
      }
}

BOOST_AUTO_TEST_CASE(in_hand_is_at_its_cursor_and_at_no_other) {
  const Cursor at = Cursor::make(5, 1000);
  const InHand in_hand = InHand::make(Lane::release, 319, at);
  BOOST_TEST(in_hand.valid());
  BOOST_TEST((in_hand.lane() == Lane::release));
  BOOST_TEST(in_hand.producer() == 319);
  BOOST_TEST(in_hand.incarnation() == 5);
  BOOST_TEST(in_hand.is_at(at));
  BOOST_TEST(!in_hand.is_at(Cursor::make(5, 1001)));
  BOOST_TEST(!in_hand.is_at(Cursor::make(5, 999)));
  BOOST_TEST(!in_hand.is_at(Cursor::make(6, 1000)));
  BOOST_TEST(!InHand{}.is_at(Cursor{}));
  // A valid word differs from "nothing in hand" even at the very first message of party 0.
  BOOST_TEST(InHand::make(Lane::data, 0, Cursor{}).is_at(Cursor{}));
}

BOOST_AUTO_TEST_CASE(in_hand_compares_the_low_36_bits) {
  const std::uint64_t far = (std::uint64_t{1} << 40) + 3;
  BOOST_TEST(InHand::make(Lane::data, 1, Cursor::make(2, far)).is_at(Cursor::make(2, far)));
}

BOOST_AUTO_TEST_CASE(cursor_and_roster_keep_their_fields) {
  const Cursor cursor = Cursor::make(0xffff, Via::sequence_mask);
  BOOST_TEST(cursor.incarnation() == 0xffff);
  BOOST_TEST(cursor.consumed() == Via::sequence_mask);
  for (const RosterState state :
       {RosterState::vacant, RosterState::live, RosterState::heir_is_supervisor}) {
    const RosterWord roster = RosterWord::make(state, 0xfffe);
    BOOST_TEST((roster.state() == state));
    BOOST_TEST(roster.incarnation() == 0xfffe);
  }
}

BOOST_AUTO_TEST_CASE(regions_are_numbered_by_bank_and_slot) {
  BOOST_TEST(region_index(banks_max - 1, bank_slots_max - 1) == regions_max - 1);
  BOOST_TEST(bank_of(region_index(77, 5)) == 77u);
  BOOST_TEST(slot_of(region_index(77, 5)) == 5u);
}

namespace {

/// Every ring lies inside its part of the segment, aligned, and no two overlap.
void check_rings(PartyId producer, const SegmentLayout& layout) {
  std::vector<std::pair<std::uint64_t, std::uint64_t>> rings;  // begin, end
  for (PartyId consumer = 0; consumer < parties_max; ++consumer)
    for (const Lane lane : {Lane::data, Lane::release, Lane::control}) {
      const std::uint64_t at = layout.rings + SegmentLayout::ring_offset(producer, consumer, lane);
      BOOST_TEST(at % sizeof(Slot) == 0u);
      rings.emplace_back(at, at + ring_slots(producer, consumer) * sizeof(Slot));
    }
  std::sort(rings.begin(), rings.end());
  BOOST_TEST(layout.rings % 4096 == 0u);
  std::uint64_t end = layout.rings;
  for (const auto& ring : rings) {
    BOOST_TEST(ring.first >= end);
    end = ring.second;
  }
  BOOST_TEST(end <= layout.regions);
  BOOST_TEST(layout.extension <= layout.size_bytes);
}

}  // namespace

BOOST_AUTO_TEST_CASE(rings_do_not_overlap_in_any_segment) {
  for (const PartyId party : {PartyId{0}, PartyId{255}, first_client, PartyId{319}})
    check_rings(party, party_layout(party));
  check_rings(supervisor_party, supervisor_layout(16384));
}

BOOST_AUTO_TEST_CASE(what_an_agent_of_a_star_touches_lies_together) {
  const SegmentLayout layout = party_layout(0);
  const std::uint64_t ring_end = layout.rings +
                                 SegmentLayout::ring_offset(0, supervisor_party, Lane::release) +
                                 ring_slots(0, supervisor_party) * sizeof(Slot);
  BOOST_TEST(ring_end <= 64 * 1024u);  // what the kernel maps around one page fault
}

BOOST_AUTO_TEST_CASE(parts_of_a_segment_do_not_overlap) {
  const SegmentLayout layout = supervisor_layout(1000);
  BOOST_TEST(layout.cursors >= sizeof(SegmentHeader));
  BOOST_TEST(layout.recorder >= layout.cursors + sizeof(CursorRow) * parties_max);
  BOOST_TEST(layout.holds >= layout.recorder + sizeof(FlightRecorder));
  BOOST_TEST(layout.rings >= layout.holds + sizeof(Hold) * layout.hold_count);
  BOOST_TEST(layout.extension >= layout.regions + sizeof(Word) * regions_max);
  BOOST_TEST(layout.size_bytes >= layout.extension + supervisor_extension(1000).bytes);
}
