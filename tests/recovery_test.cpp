// Every state that a death can leave, written by hand, and what recovery makes of it. Each case is
// recovered twice: counts and words must be equal.

#include "shm/recovery.hpp"

#include <boost/test/unit_test.hpp>

#include "tests/sweep/succession.hpp"

using namespace micro_swarm;
using namespace micro_swarm::sweep;

namespace {

/// B is the dead: life 1. Its successor is life 2.
constexpr RegionIndex of_a = 0;
constexpr RegionIndex of_b = 2;
const Token token_of_a = Token::make(A, of_a, 0, 1);
const Token token_of_b = Token::make(B, of_b, 0, 1);

struct Death {
  World world;
  LifeWords& b = world.life(B, 1);
  LifeWords& a = world.life(A, 1);
  LifeWords& next = world.life(B, 2);

  Death() { store(a.regions[of_a], RegionWord::make(1, 1).word); }

  /// A's message number `n` to B, with a token.
  void message_from(PartyId producer, std::uint64_t n, Token token) {
    Slot& slot = world.life(producer, 1).rings[place_of(B)][0][(n - 1) % world_slots];
    slot.body.token = token.word;
    store(slot.sequence, n);
  }
  void published_by_b(PartyId target, Lane lane, std::uint64_t n, Token token) {
    Slot& slot = b.rings[place_of(target)][static_cast<unsigned>(lane)][(n - 1) % world_slots];
    slot.body.token = token.word;
    store(slot.sequence, n);
  }
  void hold(unsigned k, Token token, Via via = {}) {
    store(b.holds[k].via, via.word);
    store(b.holds[k].token, token.word);
  }
  void cursor(PartyId producer, std::uint64_t consumed) {
    store(b.cursors[producer].lane[0], Cursor::make(1, consumed).word);
  }
  void in_hand(PartyId producer, std::uint64_t consumed) {
    store(b.in_hand, InHand::make(Lane::data, producer, Cursor::make(1, consumed)).word);
  }

  Inheritance inherit_once() {
    const Heir heir{next.holds, hold_count, next.cursors, &next.in_hand, next.regions};
    return inherit(dead_party(world, B, 1), heir, World::regions_of(B), world.maps());
  }
  /// Recovers, and once more over the result: both must say and leave the same.
  Inheritance recovered() {
    const Inheritance first = inherit_once();
    const Snapshot words = snapshot(world);
    const Inheritance second = inherit_once();
    BOOST_TEST((first.kept == second.kept));
    BOOST_TEST(first.dropped == second.dropped);
    BOOST_TEST(first.skipped_message == second.skipped_message);
    BOOST_TEST((words == snapshot(world)), "a second run changed a word");
    return first;
  }
  std::uint64_t consumed_by_successor(PartyId producer) const {
    return Cursor{load(next.cursors[producer].lane[0])}.consumed();
  }
};

}  // namespace

BOOST_AUTO_TEST_CASE(nothing_held_nothing_inherited) {
  Death death;
  const Inheritance got = death.recovered();
  BOOST_TEST(got.kept.empty());
  BOOST_TEST(got.dropped == 0u);
  BOOST_TEST(!got.skipped_message);
}

BOOST_AUTO_TEST_CASE(a_kept_token_is_inherited_without_via) {
  Death death;
  death.message_from(A, 1, token_of_a);
  death.in_hand(A, 0);
  death.cursor(A, 1);
  death.hold(3, token_of_a);
  const Inheritance got = death.recovered();
  BOOST_REQUIRE(got.kept.size() == 1u);
  BOOST_TEST(load(death.next.holds[0].token) == token_of_a.word);
  BOOST_TEST(load(death.next.holds[0].via) == 0u);
  BOOST_TEST(death.consumed_by_successor(A) == 1u);
}

BOOST_AUTO_TEST_CASE(taken_in_hand_before_the_hold_the_message_comes_again) {
  Death death;
  death.message_from(A, 1, token_of_a);
  death.in_hand(A, 0);
  BOOST_TEST(death.recovered().kept.empty());
  BOOST_TEST(death.consumed_by_successor(A) == 0u);
}

BOOST_AUTO_TEST_CASE(held_but_the_cursor_not_moved_the_message_brings_it_again) {
  Death death;
  death.message_from(A, 1, token_of_a);
  death.in_hand(A, 0);
  death.hold(0, token_of_a);
  const Inheritance got = death.recovered();
  BOOST_TEST(got.kept.empty());
  BOOST_TEST(!got.skipped_message);
  BOOST_TEST(death.consumed_by_successor(A) == 0u);
}

BOOST_AUTO_TEST_CASE(passed_on_but_not_published_is_received_again) {
  Death death;
  death.message_from(A, 1, token_of_a);
  death.in_hand(A, 0);
  death.hold(0, token_of_a, Via::make(Lane::data, C, 1));
  BOOST_TEST(death.recovered().kept.empty());
  BOOST_TEST(death.consumed_by_successor(A) == 0u);
}

BOOST_AUTO_TEST_CASE(published_before_the_cursor_moved_the_message_is_skipped) {
  Death death;
  death.message_from(A, 1, token_of_a);
  death.in_hand(A, 0);
  death.hold(0, token_of_a, Via::make(Lane::data, C, 1));
  death.published_by_b(C, Lane::data, 1, token_of_a);
  const Inheritance got = death.recovered();
  BOOST_TEST(got.kept.empty());
  BOOST_TEST(got.dropped == 1u);
  BOOST_TEST(got.skipped_message);
  BOOST_TEST(death.consumed_by_successor(A) == 1u);
}

BOOST_AUTO_TEST_CASE(published_and_cursor_moved_the_hold_counts_for_nothing) {
  Death death;
  death.message_from(A, 1, token_of_a);
  death.in_hand(A, 0);
  death.cursor(A, 1);
  death.hold(0, token_of_a, Via::make(Lane::data, C, 1));
  death.published_by_b(C, Lane::data, 1, token_of_a);
  const Inheritance got = death.recovered();
  BOOST_TEST(got.kept.empty());
  BOOST_TEST(got.dropped == 1u);
  BOOST_TEST(!got.skipped_message);
  BOOST_TEST(death.consumed_by_successor(A) == 1u);
}

BOOST_AUTO_TEST_CASE(a_token_that_came_back_by_another_ring_skips_nothing_there) {
  Death death;
  death.message_from(A, 1, token_of_a);
  death.in_hand(A, 0);
  death.cursor(A, 1);
  death.hold(0, token_of_a, Via::make(Lane::data, C, 1));
  death.published_by_b(C, Lane::data, 1, token_of_a);
  death.message_from(C, 1, token_of_a);  // C has sent it back; not handled by B
  const Inheritance got = death.recovered();
  BOOST_TEST(!got.skipped_message);
  BOOST_TEST(death.consumed_by_successor(C) == 0u);
}

BOOST_AUTO_TEST_CASE(a_slot_that_was_written_again_still_says_published) {
  Death death;
  death.hold(0, token_of_a, Via::make(Lane::data, C, 1));
  death.published_by_b(C, Lane::data, 1 + world_slots, Token{});
  BOOST_TEST(death.recovered().kept.empty());
}

BOOST_AUTO_TEST_CASE(a_via_to_a_later_message_than_the_slot_holds_is_not_published) {
  Death death;
  death.hold(0, token_of_a, Via::make(Lane::data, C, 1 + world_slots));
  death.published_by_b(C, Lane::data, 1, Token{});
  BOOST_TEST(death.recovered().kept.size() == 1u);
}

BOOST_AUTO_TEST_CASE(an_allocation_whose_bit_was_not_set_is_dropped) {
  Death death;
  death.hold(0, token_of_b);
  const Inheritance got = death.recovered();
  BOOST_TEST(got.kept.empty());
  BOOST_TEST(got.dropped == 1u);
}

BOOST_AUTO_TEST_CASE(an_allocation_with_its_bit_is_inherited_with_its_region_word) {
  Death death;
  death.hold(0, token_of_b);
  store(death.b.regions[of_b], RegionWord::make(1, 1).word);
  BOOST_TEST(death.recovered().kept.size() == 1u);
  BOOST_TEST(load(death.next.regions[of_b]) == RegionWord::make(1, 1).word);
}

BOOST_AUTO_TEST_CASE(an_own_token_of_an_older_generation_is_dropped) {
  Death death;
  death.hold(0, token_of_b);
  store(death.b.regions[of_b], RegionWord::make(2, 1).word);
  BOOST_TEST(death.recovered().kept.empty());
}

BOOST_AUTO_TEST_CASE(a_region_with_nothing_out_is_not_carried_along) {
  Death death;
  store(death.b.regions[of_b], RegionWord::make(7, 0).word);
  death.recovered();
  BOOST_TEST(load(death.next.regions[of_b]) == 0u);
}

BOOST_AUTO_TEST_CASE(every_lane_and_producer_keeps_its_cursor) {
  Death death;
  death.cursor(A, 5);
  death.cursor(C, 9);
  store(death.b.cursors[S].lane[1], Cursor::make(1, 3).word);
  death.recovered();
  BOOST_TEST(death.consumed_by_successor(A) == 5u);
  BOOST_TEST(death.consumed_by_successor(C) == 9u);
  BOOST_TEST(Cursor{load(death.next.cursors[S].lane[1])}.consumed() == 3u);
}

BOOST_AUTO_TEST_CASE(words_of_a_liar_are_dropped_and_lead_nowhere) {
  Death death;
  store(death.b.holds[0].token, 42);  // no present bit
  store(death.b.holds[1].token, Token::make(no_party, 0, 0, 1).word);
  store(death.b.holds[2].token, Token::make(A, regions_max, 0, 1).word);
  store(death.b.holds[3].via, Via::make(static_cast<Lane>(3), A, 1).word);  // there is no lane 3
  store(death.b.holds[3].token, token_of_a.word);
  store(death.b.in_hand, ~std::uint64_t{0});
  const Inheritance got = death.recovered();
  BOOST_TEST(got.dropped == 3u);
  BOOST_TEST(got.kept.size() == 1u);
}

BOOST_AUTO_TEST_CASE(a_message_in_hand_that_is_not_there_does_not_stand_in_for_a_hold) {
  Death death;
  death.in_hand(A, 0);  // says so, but A has sent nothing
  death.world.life(A, 1).rings[place_of(B)][0][0].body.token = token_of_a.word;
  death.hold(0, token_of_a);
  BOOST_TEST(death.recovered().kept.size() == 1u);
}

// ---- the supervisor's own holds ----

namespace {

struct SupervisorDeath {
  World world;
  LifeWords& s = world.life(S, 1);
  LifeWords& a = world.life(A, 1);

  SupervisorDeath() { store(a.regions[of_a], RegionWord::make(1, 1).word); }

  void message_from_c(std::uint64_t n, Token token) {
    Slot& slot = world.life(C, 1).rings[place_of(S)][0][n - 1];
    slot.body.token = token.word;
    store(slot.sequence, n);
  }
  void published_to_a(Token token) {
    Slot& slot = s.rings[place_of(A)][1][0];
    slot.body.token = token.word;
    store(slot.sequence, 1);
  }
  SettleCounts settle_once() {
    const auto region_word = [this](Token token) -> const Word* {
      return world.is_live(token.owner()) ? nullptr : &world.heir_regions()[token.region()];
    };
    return settle_in_place({s.holds, hold_count}, s.in_hand, s.cursors, S, 1, S, region_word,
                           world.maps());
  }
  /// Settles; a second run must find nothing left to finish and change nothing.
  SettleCounts settled() {
    const SettleCounts first = settle_once();
    const Snapshot words = snapshot(world);
    const SettleCounts second = settle_once();
    BOOST_TEST(second.finished == 0u);
    BOOST_TEST(second.redelivered == 0u);
    BOOST_TEST(second.retried == first.retried);
    BOOST_TEST((words == snapshot(world)), "a second run changed a word");
    return first;
  }
  std::uint64_t consumed_from_c() const { return Cursor{load(s.cursors[C].lane[0])}.consumed(); }
};

const Via home = Via::make(Lane::release, A, 1);

}  // namespace

BOOST_AUTO_TEST_CASE(settling_finishes_what_was_published) {
  SupervisorDeath death;
  death.message_from_c(1, token_of_a);
  death.message_from_c(2, Token::make(A, 1, 0, 1));
  store(death.s.in_hand, InHand::make(Lane::data, C, Cursor::make(1, 0)).word);
  store(death.s.holds[0].via, home.word);
  store(death.s.holds[0].token, token_of_a.word);
  death.published_to_a(token_of_a);
  BOOST_TEST(death.settled().finished == 1u);
  BOOST_TEST(death.consumed_from_c() == 1u);
  BOOST_TEST(load(death.s.holds[0].token) == 0u);
}

BOOST_AUTO_TEST_CASE(settling_empties_a_hold_whose_cursor_had_moved_and_moves_it_no_further) {
  SupervisorDeath death;
  death.message_from_c(1, token_of_a);
  death.message_from_c(2, Token::make(A, 1, 0, 1));
  store(death.s.in_hand, InHand::make(Lane::data, C, Cursor::make(1, 0)).word);
  store(death.s.cursors[C].lane[0], Cursor::make(1, 1).word);
  store(death.s.holds[0].via, home.word);
  store(death.s.holds[0].token, token_of_a.word);
  death.published_to_a(token_of_a);
  BOOST_TEST(death.settled().finished == 1u);
  BOOST_TEST(death.consumed_from_c() == 1u);
}

BOOST_AUTO_TEST_CASE(settling_puts_a_message_in_hand_back) {
  SupervisorDeath death;
  death.message_from_c(1, token_of_a);
  store(death.s.in_hand, InHand::make(Lane::data, C, Cursor::make(1, 0)).word);
  store(death.s.holds[0].via, home.word);
  store(death.s.holds[0].token, token_of_a.word);
  BOOST_TEST(death.settled().redelivered == 1u);
  BOOST_TEST(death.consumed_from_c() == 0u);
  BOOST_TEST(load(death.s.holds[0].token) == 0u);
}

BOOST_AUTO_TEST_CASE(settling_leaves_a_kept_token_and_forgets_where_it_was_going) {
  SupervisorDeath death;
  store(death.s.holds[4].via, home.word);
  store(death.s.holds[4].token, token_of_a.word);
  BOOST_TEST(death.settled().retried == 1u);
  BOOST_TEST(load(death.s.holds[4].token) == token_of_a.word);
  BOOST_TEST(load(death.s.holds[4].via) == 0u);
}

BOOST_AUTO_TEST_CASE(settling_drops_a_hold_released_to_an_heired_region) {
  SupervisorDeath death;
  store(death.world.roster(A), RosterWord::make(RosterState::heir_is_supervisor, 1).word);
  store(death.world.heir_regions()[of_a], RegionWord::make(1, 0).word);  // bit cleared already
  store(death.s.holds[0].token, token_of_a.word);
  BOOST_TEST(death.settled().finished == 1u);
}

BOOST_AUTO_TEST_CASE(an_heir_area_receives_as_the_dead_and_sends_as_the_supervisor) {
  SupervisorDeath death;
  World& world = death.world;
  store(world.roster(B), RosterWord::make(RosterState::heir_is_supervisor, 1).word);
  HeirWords& area = world.heir(B);
  Slot& in = death.a.rings[place_of(B)][0][0];  // A's message to B, which S has in hand for B
  in.body.token = token_of_a.word;
  store(in.sequence, 1);
  store(area.cursors[A].lane[0], Cursor::make(1, 0).word);
  store(area.in_hand, InHand::make(Lane::data, A, Cursor::make(1, 0)).word);
  store(area.holds[0].via, home.word);
  store(area.holds[0].token, token_of_a.word);
  death.published_to_a(token_of_a);  // by S's ring
  const auto no_region = [](Token) -> const Word* { return nullptr; };
  const SettleCounts counts = settle_in_place({area.holds, hold_count}, area.in_hand, area.cursors,
                                              S, 1, B, no_region, world.maps());
  BOOST_TEST(counts.finished == 1u);
  BOOST_TEST(Cursor{load(area.cursors[A].lane[0])}.consumed() == 1u);
}
