// What each operation on tokens stores when nothing goes wrong, and when it cannot be done.

#include "ipc/transfer.hpp"

#include <array>
#include <boost/test/unit_test.hpp>
#include <set>

#include "tests/sweep/world.hpp"

using namespace micro_swarm;
using namespace micro_swarm::sweep;

namespace {

/// A's first hold with a fresh token of region 0.
Token allocate_first(const World& world) {
  const PartyWords words = world.words_of(A);
  return allocate(words.holds[0], words.regions[0], A, 0, 0);
}

RegionWord region_of(const World& world, RegionIndex i) {
  return RegionWord{load(world.words_of(owner_of(i)).regions[i])};
}

}  // namespace

BOOST_AUTO_TEST_CASE(allocating_starts_a_generation_with_one_token) {
  const World world;
  const Token first = allocate_first(world);
  const PartyWords words = world.words_of(A);
  BOOST_TEST((first == Token::make(A, 0, 0, 1)));
  BOOST_TEST(load(words.holds[0].token) == first.word);
  BOOST_TEST(region_of(world, 0).outstanding() == 1u);
  BOOST_TEST(region_of(world, 0).names(first));

  release_own(words.holds[0], words.regions[0]);
  BOOST_TEST(region_of(world, 0).outstanding() == 0u);
  BOOST_TEST(load(words.holds[0].token) == 0u);
  const Token second = allocate_first(world);
  BOOST_TEST(second.generation() == 2u);
  BOOST_TEST(!region_of(world, 0).names(first));
}

BOOST_AUTO_TEST_CASE(generations_start_above_the_floor_of_the_bank) {
  const World world;
  const PartyWords words = world.words_of(A);
  const Token token = allocate(words.holds[0], words.regions[0], A, 0, 5000);
  BOOST_TEST(token.generation() == 5001u);
  release_own(words.holds[0], words.regions[0]);
  BOOST_TEST(allocate(words.holds[0], words.regions[0], A, 0, 5000).generation() == 5002u);
}

BOOST_AUTO_TEST_CASE(minting_hands_out_each_of_32_numbers_once) {
  const World world;
  allocate_first(world);
  const PartyWords words = world.words_of(A);
  std::set<std::uint64_t> seen{load(words.holds[0].token)};
  for (int i = 1; i < 32; ++i) {
    Hold hold{};
    const auto token = mint(hold, words.regions[0], A, 0);
    BOOST_REQUIRE(token.has_value());
    BOOST_TEST(load(hold.token) == token->word);
    BOOST_TEST(seen.insert(token->word).second);
    BOOST_TEST(region_of(world, 0).names(*token));
  }
  Hold hold{};
  BOOST_TEST(!mint(hold, words.regions[0], A, 0).has_value());
  BOOST_TEST(load(hold.token) == 0u);
  BOOST_TEST(region_of(world, 0).outstanding() == 0xffffffffu);
}

BOOST_AUTO_TEST_CASE(a_number_that_came_home_is_used_again) {
  const World world;
  allocate_first(world);
  const PartyWords words = world.words_of(A);
  const auto one = mint(words.holds[1], words.regions[0], A, 0);
  release_own(words.holds[1], words.regions[0]);
  const auto again = mint(words.holds[1], words.regions[0], A, 0);
  BOOST_TEST((*one == *again));
}

BOOST_AUTO_TEST_CASE(passing_moves_the_token_into_the_message) {
  const World world;
  const Token token = allocate_first(world);
  const PartyWords words = world.words_of(A);
  RingWriter out = world.writer(A, B, Lane::data);
  BOOST_TEST(pass(out, words.holds[0], Lane::data, B, world.new_message()));
  BOOST_TEST(load(words.holds[0].token) == 0u);
  BOOST_TEST((Via{load(words.holds[0].via)}.word == Via::make(Lane::data, B, 1).word));
  const RingReader in = world.reader(B, A, Lane::data);
  BOOST_REQUIRE(in.ready());
  BOOST_TEST(in.front().token == token.word);
  BOOST_TEST(region_of(world, 0).names(token));
}

BOOST_AUTO_TEST_CASE(a_full_ring_leaves_hold_and_via_as_they_were) {
  const World world;
  const Token token = allocate_first(world);
  const PartyWords words = world.words_of(A);
  RingWriter out = world.writer(A, B, Lane::data);
  while (out.try_send(world.new_message())) {
  }
  BOOST_TEST(!pass(out, words.holds[0], Lane::data, B, world.new_message()));
  BOOST_TEST(load(words.holds[0].token) == token.word);
  BOOST_TEST(load(words.holds[0].via) == 0u);
}

BOOST_AUTO_TEST_CASE(passing_on_finishes_the_message_in_hand) {
  const World world;
  allocate_first(world);
  RingWriter first = world.writer(A, B, Lane::data);
  pass(first, world.words_of(A).holds[0], Lane::data, B, world.new_message());

  const PartyWords words = world.words_of(B);
  RingReader in = world.reader(B, A, Lane::data);
  const MessageInHand in_hand = take_in_hand(in, *words.in_hand, Lane::data, A);
  BOOST_TEST(InHand{load(*words.in_hand)}.is_at(Cursor::make(1, 0)));
  take_token(words.holds[0], Token{in.front().token});
  RingWriter out = world.writer(B, C, Lane::data);
  BOOST_TEST(pass(out, words.holds[0], Lane::data, C, world.new_message(), in_hand));
  BOOST_TEST(Cursor{load(world.cursor(B, A, Lane::data))}.consumed() == 1u);
  BOOST_TEST(!InHand{load(*words.in_hand)}.is_at(Cursor::make(1, 1)));
  BOOST_TEST(load(words.holds[0].token) == 0u);
}

BOOST_AUTO_TEST_CASE(keeping_moves_only_the_cursor) {
  const World world;
  const Token token = allocate_first(world);
  RingWriter out = world.writer(A, B, Lane::data);
  pass(out, world.words_of(A).holds[0], Lane::data, B, world.new_message());
  const PartyWords words = world.words_of(B);
  RingReader in = world.reader(B, A, Lane::data);
  const MessageInHand in_hand = take_in_hand(in, *words.in_hand, Lane::data, A);
  take_token(words.holds[2], token);
  keep(in_hand);
  BOOST_TEST(Cursor{load(world.cursor(B, A, Lane::data))}.consumed() == 1u);
  BOOST_TEST(load(words.holds[2].token) == token.word);
}

BOOST_AUTO_TEST_CASE(a_release_that_arrives_clears_its_bit_and_is_consumed) {
  const World world;
  const Token token = allocate_first(world);
  RingWriter out = world.writer(B, A, Lane::release);
  SlotBody body = world.new_message();
  body.token = token.word;
  out.try_send(body);
  out.try_send(body);  // and a second time, as after a death
  RingReader in = world.reader(A, B, Lane::release);
  Word& region = world.words_of(A).regions[0];
  BOOST_TEST(receive_release(in, region, token));
  BOOST_TEST(region_of(world, 0).outstanding() == 0u);
  BOOST_TEST(!receive_release(in, region, token));
  BOOST_TEST(!in.ready());
}

BOOST_AUTO_TEST_CASE(a_release_of_an_old_generation_changes_nothing) {
  const World world;
  const Token old = allocate_first(world);
  const PartyWords words = world.words_of(A);
  release_own(words.holds[0], words.regions[0]);
  const Token now = allocate_first(world);
  RingWriter out = world.writer(B, A, Lane::release);
  SlotBody body = world.new_message();
  body.token = old.word;
  out.try_send(body);
  RingReader in = world.reader(A, B, Lane::release);
  BOOST_TEST(!receive_release(in, words.regions[0], old));
  BOOST_TEST(region_of(world, 0).names(now));
}

BOOST_AUTO_TEST_CASE(an_own_release_in_hand_also_moves_the_cursor) {
  const World world;
  const Token token = allocate_first(world);
  RingWriter back = world.writer(B, A, Lane::data);
  SlotBody body = world.new_message();
  body.token = token.word;
  back.try_send(body);
  const PartyWords words = world.words_of(A);
  store(words.holds[0].token, 0);  // it was passed away before
  RingReader in = world.reader(A, B, Lane::data);
  const MessageInHand in_hand = take_in_hand(in, *words.in_hand, Lane::data, B);
  take_token(words.holds[0], token);
  release_own(words.holds[0], words.regions[0], in_hand);
  BOOST_TEST(!in.ready());
  BOOST_TEST(region_of(world, 0).outstanding() == 0u);
  BOOST_TEST(load(words.holds[0].token) == 0u);
}
