// Payloads and results in regions, and what a successor makes of its predecessor's.

#include <boost/test/unit_test.hpp>
#include <string>

#include "ipc/party_link.hpp"
#include "test_agent.hpp"

using namespace micro_swarm;
using namespace micro_swarm::testing;

namespace {

std::string fill_pattern(std::size_t size_bytes) {
  std::string text(size_bytes, '\0');
  for (std::size_t i = 0; i < size_bytes; ++i) text[i] = static_cast<char>(i % 251);
  return text;
}

SlotBody with_region(SlotBody body, Token token, std::size_t size_bytes) {
  body.token = token.word;
  body.region_bytes = static_cast<std::uint32_t>(size_bytes);
  return body;
}

RegionWord region_word(const FakeSupervisor& supervisor, Token token) {
  RegionWord word;
  word.word = load(supervisor.party().region(token.region()));
  return word;
}

}  // namespace

BOOST_AUTO_TEST_SUITE(agent_memory)

BOOST_AUTO_TEST_CASE(reads_the_payload_where_it_lies) {
  TestAgent agent(7);
  const auto fd = agent.supervisor.make_foreign_bank(30, 2, first_client, "some payload");
  agent.supervisor.map_bank(30, fd);
  const Token token = Token::make(first_client, region_index(30, 0), 0, 8193);
  agent.supervisor.publish(
      with_region(agent.supervisor.dispatch_body(0, TestAgent::hash, {}), token, 12));
  const SlotBody body = agent.supervisor.next();
  BOOST_CHECK(outcome_of(body) == Outcome::done);
  BOOST_CHECK_EQUAL(inline_text(body), "d8735fcc93f95fb3");
}

BOOST_AUTO_TEST_CASE(a_payload_whose_bank_is_not_mapped_yet_is_pending) {
  TestAgent agent(7);
  FakeSupervisor& supervisor = agent.supervisor;
  const auto old_fd = supervisor.make_foreign_bank(30, 2, first_client, "old content");
  supervisor.map_bank(30, old_fd);
  // The row is used again: what is mapped under its number is not what the token means.
  const auto new_fd = supervisor.make_foreign_bank(30, 3, first_client, "new content");
  const Token token = Token::make(first_client, region_index(30, 0), 0, 3 * 4096 + 1);
  supervisor.publish(with_region(supervisor.dispatch_body(0, TestAgent::echo, {}), token, 11));
  agent.wait_until_running(0);
  BOOST_CHECK(supervisor.nothing_from_party());
  supervisor.send(PartyMessageKind::bank_dropped, 30);
  supervisor.map_bank(30, new_fd);
  BOOST_CHECK_EQUAL(inline_text(supervisor.next()), "new content");
}

BOOST_AUTO_TEST_CASE(a_token_that_fits_no_bank_fails_the_task) {
  TestAgent agent(7);
  FakeSupervisor& supervisor = agent.supervisor;
  const auto fd = supervisor.make_foreign_bank(30, 2, first_client, "x");
  supervisor.map_bank(30, fd);
  const Token other_slot = Token::make(first_client, region_index(30, 5), 0, 1);
  supervisor.publish(with_region(supervisor.dispatch_body(0, TestAgent::echo, {}), other_slot, 1));
  supervisor.grant_bank(31, 1);  // for the reason
  BOOST_CHECK(outcome_of(supervisor.next()) == Outcome::failed);
}

BOOST_AUTO_TEST_CASE(a_size_that_fits_no_bank_fails_the_task_also_without_memory_for_the_reason) {
  TestAgent agent(7);
  FakeSupervisor& supervisor = agent.supervisor;
  const auto fd = supervisor.make_foreign_bank(30, 2, first_client, "x");
  supervisor.map_bank(30, fd);
  const Token token = Token::make(first_client, region_index(30, 0), 0, 1);
  supervisor.publish(
      with_region(supervisor.dispatch_body(1, TestAgent::echo, {}), token, fake_region_bytes + 1));
  supervisor.expect(PartyMessageKind::bank_request);
  supervisor.send(PartyMessageKind::drain);  // while it waits: the reason is cut, not lost
  const SlotBody body = supervisor.next();
  BOOST_CHECK(outcome_of(body) == Outcome::failed);
  BOOST_CHECK_EQUAL(body.inline_bytes, 24);
}

BOOST_AUTO_TEST_CASE(results_go_into_regions_of_its_own_that_are_used_again) {
  TestAgent agent(7);
  FakeSupervisor& supervisor = agent.supervisor;
  supervisor.dispatch(0, TestAgent::fill, "20000");
  const PartyMessage granted = supervisor.grant_bank(40, 5);
  BOOST_CHECK_EQUAL(granted.c, 1u);
  const SlotBody body = supervisor.next();
  const Token token{body.token};
  BOOST_CHECK_EQUAL(token.owner(), 7);
  BOOST_CHECK_EQUAL(token.region(), region_index(40, 0));
  BOOST_CHECK_EQUAL(token.generation(), first_generation(5) + 1);
  BOOST_CHECK_EQUAL(body.region_bytes, 20000u);
  BOOST_CHECK_EQUAL(supervisor.bytes_of(token, 20000), fill_pattern(20000));
  BOOST_CHECK(region_word(supervisor, token).names(token));

  // The region is out: the next result needs another bank, twice as large.
  supervisor.dispatch(1, TestAgent::fill, "65536");
  BOOST_CHECK_EQUAL(supervisor.grant_bank(41, 1).c, 2u);
  const SlotBody second = supervisor.next();
  BOOST_CHECK_EQUAL(bank_of(Token{second.token}.region()), 41u);
  BOOST_CHECK_EQUAL(supervisor.bytes_of(Token{second.token}, 65536), fill_pattern(65536));

  // Home again: used again, in the next generation.
  supervisor.release_home(token);
  FakeSupervisor::wait_until([&] { return region_word(supervisor, token).outstanding() == 0; });
  // After the other one of the bank that is in use, so that empty ones can go back.
  supervisor.dispatch(2, TestAgent::fill, "30000");
  BOOST_CHECK_EQUAL(bank_of(Token{supervisor.next().token}.region()), 41u);
  supervisor.dispatch(3, TestAgent::fill, "30000");
  const Token again{supervisor.next().token};
  BOOST_CHECK_EQUAL(again.region(), token.region());
  BOOST_CHECK_EQUAL(again.generation(), token.generation() + 1);
  // A release of the old generation changes nothing and is counted.
  supervisor.release_home(token);
  FakeSupervisor::wait_until(
      [&] { return load(supervisor.party().header().messages_malformed) == 1; });
  BOOST_CHECK(region_word(supervisor, again).names(again));
}

BOOST_AUTO_TEST_CASE(what_is_larger_than_a_region_gets_a_bank_of_its_own) {
  TestAgent agent(7);
  FakeSupervisor& supervisor = agent.supervisor;
  supervisor.dispatch(0, TestAgent::fill, "200001");
  const PartyMessage granted = supervisor.grant_bank(50, 0);
  BOOST_CHECK_EQUAL(granted.c, 1u);
  BOOST_CHECK_EQUAL(granted.d, 200704u);  // whole pages
  const SlotBody body = supervisor.next();
  const Token token{body.token};
  BOOST_CHECK_EQUAL(supervisor.bytes_of(token, 200001), fill_pattern(200001));

  // Nothing to return while the token is out; all of it once it is home.
  supervisor.send(PartyMessageKind::trim);
  supervisor.release_home(token);
  FakeSupervisor::wait_until([&] { return region_word(supervisor, token).outstanding() == 0; });
  supervisor.send(PartyMessageKind::trim);
  const auto returned = supervisor.expect(PartyMessageKind::bank_returned);
  BOOST_CHECK_EQUAL(returned.message.a, 50u);
  // The supervisor died before it heard that: said again until the row is free.
  supervisor.send(PartyMessageKind::new_supervisor, 2);
  supervisor.expect(PartyMessageKind::bank_returned);
  store(supervisor.tables().banks[50].word, 0);
  supervisor.send(PartyMessageKind::new_supervisor, 3);
  supervisor.send(PartyMessageKind::probe, 1);
  supervisor.expect(PartyMessageKind::pong);
  supervisor.dispatch(1, TestAgent::noop);
  supervisor.next();
  BOOST_CHECK(!supervisor.has_message());
}

BOOST_AUTO_TEST_CASE(a_refused_bank_is_asked_for_again_and_cancel_ends_the_wait) {
  TestAgent agent(7);
  FakeSupervisor& supervisor = agent.supervisor;
  supervisor.dispatch(0, TestAgent::fill, "60000");
  for (int i = 0; i < 3; ++i) {
    const auto request = supervisor.expect(PartyMessageKind::bank_request);
    PartyMessage refused;
    refused.kind = PartyMessageKind::bank_refused;
    refused.a = request.message.a;
    std::strcpy(refused.text, "pool full");
    supervisor.send(refused);
  }
  supervisor.grant_bank(40, 0);
  BOOST_CHECK(outcome_of(supervisor.next()) == Outcome::done);

  supervisor.dispatch(1, TestAgent::fill, "60001");
  supervisor.expect(PartyMessageKind::bank_request);
  supervisor.send(PartyMessageKind::cancel, make_task_id(1, 1));
  BOOST_CHECK(outcome_of(supervisor.next()) == Outcome::cancelled);
}

BOOST_AUTO_TEST_CASE(more_than_the_pool_is_refused_at_once) {
  TestAgent agent(7);
  agent.supervisor.dispatch(0, TestAgent::fill, "5000000000");
  agent.supervisor.grant_bank(40, 0);  // for the reason
  const SlotBody body = agent.supervisor.next();
  BOOST_CHECK(outcome_of(body) == Outcome::failed);
}

BOOST_AUTO_TEST_CASE(requests_lost_with_a_supervisor_are_repeated) {
  TestAgent agent(7);
  FakeSupervisor& supervisor = agent.supervisor;
  supervisor.dispatch(0, TestAgent::fill, "100");
  const auto lost = supervisor.expect(PartyMessageKind::bank_request);
  supervisor.send(PartyMessageKind::new_supervisor, 2);
  const auto repeated = supervisor.expect(PartyMessageKind::bank_request);
  BOOST_CHECK_EQUAL(repeated.message.a, lost.message.a);
  PartyMessage granted;
  granted.kind = PartyMessageKind::bank_granted;
  granted.a = lost.message.a;
  granted.b = 40;
  granted.c = lost.message.b;
  granted.d = lost.message.c;
  granted.e = 1;
  BankRow& row = supervisor.tables().banks[40];
  row.slots = static_cast<std::uint32_t>(granted.c);
  row.serial = 1;
  row.region_bytes = granted.d;
  supervisor.send(granted);
  supervisor.expect(PartyMessageKind::bank_memory);  // lost as well
  supervisor.send(PartyMessageKind::new_supervisor, 3);
  supervisor.take_bank(40);
  BOOST_CHECK(outcome_of(supervisor.next()) == Outcome::done);
}

// ---- succession ----

BOOST_AUTO_TEST_CASE(a_successor_releases_what_was_held_and_collects_what_is_out) {
  TestAgent agent(7);
  FakeSupervisor& supervisor = agent.supervisor;
  // Two results out: one the supervisor has, one it will get as the predecessor's last message.
  supervisor.dispatch(0, TestAgent::fill, "60000");
  supervisor.grant_bank(40, 1);
  const Token first{supervisor.next().token};
  supervisor.dispatch(1, TestAgent::fill, "60000");
  supervisor.grant_bank(41, 1);
  const Token second{supervisor.next().token};
  // One that was filled and not sent when it died: written as a death after allocate() leaves it.
  supervisor.send(PartyMessageKind::drain);
  supervisor.expect(PartyMessageKind::leaving);
  BOOST_REQUIRE(agent.join().has_value());
  supervisor.release_home(first);  // on its way home when it died
  supervisor.bury();

  agent.begin_life(2, true);
  // The release in the ring was inherited with its cursor: the bank is empty and returned.
  BOOST_CHECK_EQUAL(supervisor.expect(PartyMessageKind::bank_returned).message.a, 40u);
  BOOST_CHECK_EQUAL(region_word(supervisor, first).outstanding(), 0u);
  BOOST_CHECK(region_word(supervisor, second).names(second));
  supervisor.release_home(second);
  BOOST_CHECK_EQUAL(supervisor.expect(PartyMessageKind::bank_returned).message.a, 41u);
  // It never allocates from them.
  supervisor.dispatch(2, TestAgent::fill, "60000");
  supervisor.grant_bank(42, 1);
  BOOST_CHECK_EQUAL(bank_of(Token{supervisor.next().token}.region()), 42u);
  BOOST_CHECK_EQUAL(load(supervisor.party().header().messages_malformed), 0u);
}

BOOST_AUTO_TEST_CASE(a_successor_skips_the_dispatches_of_its_predecessor) {
  TestAgent agent(7);
  FakeSupervisor& supervisor = agent.supervisor;
  supervisor.dispatch(0, TestAgent::noop);
  supervisor.next();
  supervisor.send(PartyMessageKind::drain);
  supervisor.expect(PartyMessageKind::leaving);
  BOOST_REQUIRE(agent.join().has_value());
  supervisor.dispatch(1, TestAgent::noop);  // nobody read it
  supervisor.bury();
  agent.begin_life(2, true);
  supervisor.dispatch(2, TestAgent::noop);
  BOOST_CHECK_EQUAL(supervisor.next().inline_data[0], make_task_id(2, 1));
  BOOST_CHECK_EQUAL(
      Cursor{load(supervisor.party().cursor(supervisor_party, Lane::data))}.consumed(), 3u);
}

namespace {

/// A party's life of which only the words are left, in any state a death can leave.
struct DeadLife {
  explicit DeadLife(FakeSupervisor& supervisor) : supervisor_(supervisor) {
    auto link = PartyLink::open(supervisor.begin_life(1), patience_ms);
    require_ok(link);
    link_ = std::move(*link);
    require_ok(link_->announce());
    supervisor.take_registration();
    supervisor.admit();
    link_->begin();
  }
  void die() {
    link_.reset();
    supervisor_.bury();
  }
  SegmentView own() const { return link_->own(); }
  FakeSupervisor& supervisor_;
  std::unique_ptr<PartyLink> link_;
};

/// An own bank with one region, as the tables and the dead's region words show it.
Token own_token(FakeSupervisor& supervisor, std::uint32_t bank, std::uint32_t generation) {
  BankRow& row = supervisor.tables().banks[bank];
  row.slots = 1;
  row.serial = 1;
  row.region_bytes = fake_region_bytes;
  store(row.word, BankWord::make(BankState::live, 7, 1).word);
  return Token::make(7, region_index(bank, 0), 0, generation);
}

}  // namespace

BOOST_AUTO_TEST_CASE(a_successor_sorts_the_holds_of_the_dead) {
  FakeSupervisor supervisor(7);
  DeadLife dead(supervisor);
  // Bank 10: filled, death before pass: the successor releases it.
  const Token kept = own_token(supervisor, 10, 1);
  allocate(dead.own().holds()[0], dead.own().region(kept.region()), 7, kept.region(), 0);
  // Bank 11: death between `hold` and `bit` of allocate.
  const Token unminted = own_token(supervisor, 11, 1);
  store(dead.own().holds()[1].token, unminted.word);
  // Bank 12: published, death before the hold was emptied: the supervisor's now.
  const Token passed = own_token(supervisor, 12, 1);
  Hold& hold = dead.own().holds()[2];
  allocate(hold, dead.own().region(passed.region()), 7, passed.region(), 0);
  SlotBody body;
  body.kind = static_cast<std::uint16_t>(MessageKind::complete);
  BOOST_REQUIRE(pass(dead.link_->data_out(), hold, Lane::data, supervisor_party, body));
  store(hold.via, Via::make(Lane::data, supervisor_party, 1).word);
  store(hold.token, passed.word);
  // Bank 13: `via` written, death before the publication: still held.
  const Token unsent = own_token(supervisor, 13, 1);
  allocate(dead.own().holds()[3], dead.own().region(unsent.region()), 7, unsent.region(), 0);
  store(dead.own().holds()[3].via, Via::make(Lane::data, supervisor_party, 2).word);
  // A token of somebody else, kept: goes home through the supervisor.
  const Token foreign = Token::make(first_client, region_index(20, 0), 3, 9);
  store(dead.own().holds()[4].token, foreign.word);
  // A liar's: no party 400.
  store(dead.own().holds()[5].token, std::uint64_t{1} << 63 | std::uint64_t{400} << 54);
  dead.die();

  auto link = PartyLink::open(supervisor.begin_life(2, true), patience_ms);
  require_ok(link);
  require_ok((*link)->announce());
  supervisor.take_registration();
  // Seen by nobody yet: it may die here and start again.
  BOOST_CHECK(RegionWord{load((*link)->own().region(kept.region()))}.names(kept));
  BOOST_CHECK_EQUAL((*link)->inherited(), 3u);
  supervisor.admit();
  (*link)->begin();
  const auto outstanding = [&](Token token) {
    return RegionWord{load((*link)->own().region(token.region()))}.outstanding();
  };
  BOOST_CHECK_EQUAL(outstanding(kept), 0u);
  BOOST_CHECK_EQUAL(outstanding(unminted), 0u);
  BOOST_CHECK_EQUAL(outstanding(unsent), 0u);
  BOOST_CHECK_EQUAL(outstanding(passed), 1u);
  BOOST_CHECK_EQUAL(supervisor.next(Lane::release).token, foreign.word);
  BOOST_CHECK(supervisor.nothing_from_party());
  BOOST_CHECK_EQUAL((*link)->holds().in_use(), 0u);
  for (const std::uint64_t bank : {10, 11, 13})
    BOOST_CHECK_EQUAL(supervisor.expect(PartyMessageKind::bank_returned).message.a, bank);
  BOOST_CHECK(!supervisor.has_message());
}

BOOST_AUTO_TEST_CASE(a_successor_does_not_believe_a_liars_cursors) {
  for (const std::uint64_t lie :
       {Cursor::make(1, 1000).word, Cursor::make(9, 0).word, std::uint64_t{0}}) {
    FakeSupervisor supervisor(7);
    DeadLife dead(supervisor);
    for (int i = 0; i < 3; ++i) {
      SlotBody body;
      BOOST_REQUIRE(supervisor.to_party().try_send(body));
    }
    store(dead.own().cursor(supervisor_party, Lane::data), lie);
    store(dead.own().header().in_hand, ~std::uint64_t{0});
    dead.own().header().magic = 0;
    dead.die();
    auto link = PartyLink::open(supervisor.begin_life(2, true), patience_ms);
    require_ok(link);
    // Either at the end of the ring, or (word 0: it never set it) where the supervisor says.
    const Cursor cursor{load((*link)->own().cursor(supervisor_party, Lane::data))};
    BOOST_CHECK(cursor == Cursor::make(1, 3));
    BOOST_CHECK(!(*link)->data_in().ready());
  }
}

BOOST_AUTO_TEST_CASE(a_new_party_under_a_used_number_starts_behind_old_messages) {
  FakeSupervisor supervisor(7);
  for (int i = 0; i < 3; ++i) BOOST_REQUIRE(supervisor.to_party().try_send(SlotBody{}));
  auto link = PartyLink::open(supervisor.begin_life(4), patience_ms);
  require_ok(link);
  BOOST_CHECK(!(*link)->data_in().ready());
  BOOST_CHECK((*link)->data_in().at() == Cursor::make(1, 3));
}

BOOST_AUTO_TEST_SUITE_END()
