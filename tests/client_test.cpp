// The client library against a supervisor played by hand: no processes, no task is ever run.

#include "ipc/client.hpp"

#include <boost/test/unit_test.hpp>
#include <future>
#include <string>

#include "fake_supervisor.hpp"
#include "ipc/batch_protocol.hpp"
#include "ipc/client_numbers.hpp"

using namespace micro_swarm;
using namespace micro_swarm::testing;

namespace {

constexpr std::uint16_t echo_id = 3;

struct Fixture {
  Fixture() : supervisor(first_client) {
    supervisor.name_capability(echo_id, "echo");
    supervisor.name_capability(4, "hash");
  }

  /// Joins: the client blocks in the handshake, so it does that on another thread.
  Client join(Incarnation incarnation = 1) {
    auto joining =
        std::async(std::launch::async, [socket = supervisor.begin_life(incarnation)]() mutable {
          return Client::attach(std::move(socket), patience_ms);
        });
    supervisor.take_registration();
    supervisor.admit();
    auto client = joining.get();
    require_ok(client);
    return std::move(*client);
  }

  /// A region of the client, with the supervisor granting bank `number` for it meanwhile.
  Region allocate(Client& client, std::size_t size_bytes, std::uint32_t number) {
    auto allocating =
        std::async(std::launch::async, [&] { return client.allocate(size_bytes, patience_ms); });
    supervisor.grant_bank(number, 1);
    auto region = allocating.get();
    require_ok(region);
    return std::move(*region);
  }

  static TaskRequest request(std::string_view payload = {}) {
    TaskRequest request;
    request.capability = "echo";
    request.payload = std::as_bytes(std::span(payload.data(), payload.size()));
    return request;
  }

  std::uint64_t submit(Client& client, std::string_view payload = {}) {
    auto number = client.submit(request(payload), 0);
    require_ok(number);
    return *number;
  }

  /// A result notice.
  static SlotBody result(std::uint64_t number, std::string_view text,
                         TaskState state = TaskState::done) {
    SlotBody body;
    body.kind = static_cast<std::uint16_t>(MessageKind::result);
    body.inline_data[0] = number;
    body.inline_data[1] =
        ResultWord::make(state, 1, make_task_id(static_cast<std::uint32_t>(number), 1)).word;
    body.inline_bytes = static_cast<std::uint16_t>(text.size());
    std::copy(text.begin(), text.end(), reinterpret_cast<char*>(&body.inline_data[2]));
    return body;
  }

  TaskResult next(Client& client) {
    auto found = client.next_result(patience_ms);
    require_ok(found);
    BOOST_REQUIRE(found->has_value());
    return std::move(**found);
  }

  FakeSupervisor supervisor;
};

}  // namespace

BOOST_FIXTURE_TEST_SUITE(client, Fixture)

BOOST_AUTO_TEST_CASE(joins_submits_takes_the_result_and_leaves) {
  {
    Client client = join();
    BOOST_CHECK_EQUAL(client.party(), first_client);
    BOOST_CHECK((client.capabilities() == std::vector<std::string>{"echo", "hash"}));
    TaskRequest asked = request("payload");
    asked.priority = Priority::high;
    asked.timeout_ms = 1234;
    auto number = client.submit(std::move(asked));
    require_ok(number);
    BOOST_CHECK_EQUAL(*number, 1u);
    const SlotBody body = supervisor.next();
    BOOST_CHECK_EQUAL(body.kind, static_cast<std::uint16_t>(MessageKind::submit));
    BOOST_CHECK_EQUAL(body.inline_data[0], 1u);
    SubmitWord word;
    word.word = body.inline_data[1];
    BOOST_CHECK_EQUAL(word.timeout_ms(), 1234u);
    BOOST_CHECK_EQUAL(word.capability(), echo_id);
    BOOST_CHECK_EQUAL(word.priority(), static_cast<unsigned>(Priority::high));
    BOOST_CHECK_EQUAL(inline_text(body), "payload");
    BOOST_CHECK_EQUAL(client.in_flight(), 1u);

    supervisor.publish(result(1, "answer"));
    const TaskResult answer = next(client);
    BOOST_CHECK_EQUAL(answer.number(), 1u);
    BOOST_CHECK_EQUAL(answer.task_id(), make_task_id(1, 1));
    BOOST_CHECK_EQUAL(answer.attempts(), 1u);
    BOOST_CHECK(answer.is_done());
    BOOST_CHECK_EQUAL(answer.text(), "answer");
    BOOST_CHECK(!answer.refusal());
    BOOST_CHECK_EQUAL(client.in_flight(), 0u);
  }
  supervisor.expect(PartyMessageKind::leaving);
  BOOST_CHECK(!supervisor.receive());
}

namespace {
/// The entries of the batch in `body`, read as the supervisor does.
struct BatchRead {
  std::vector<std::uint64_t> words;
  std::vector<BatchEntry> entries;
  std::string memory;

  BatchRead(const FakeSupervisor& supervisor, const SlotBody& body)
      : memory(supervisor.bytes_of(Token{body.token}, body.region_bytes)) {
    const std::uint64_t at = body.inline_data[2];
    words.resize((memory.size() - at + 7) / 8);
    std::memcpy(words.data(), memory.data() + at, memory.size() - at);
    const auto refused = parse_batch(words, static_cast<std::uint32_t>(body.inline_data[1]),
                                     body.region_bytes, entries);
    BOOST_REQUIRE(!refused);
  }
  std::string payload(std::size_t i) const {
    const BatchEntry& entry = entries.at(i);
    if (entry.data.payload_bytes == 0)
      return {reinterpret_cast<const char*>(entry.inline_payload.data()),
              entry.inline_payload.size()};
    return memory.substr(entry.data.payload_offset, entry.data.payload_bytes);
  }
};

SlotBody refusal_of(std::uint64_t first, std::uint32_t count, std::uint32_t entry) {
  SlotBody body;
  body.kind = static_cast<std::uint16_t>(MessageKind::result);
  body.inline_bytes = 24;
  body.inline_data[0] = first;
  body.inline_data[1] = ResultWord::make(TaskState::free, 0, 0).word;
  body.inline_data[2] = RefusalCode::make(ErrorCode::refused, SubmitRefusal::queue_full).word;
  body.inline_data[3] = 50;
  body.inline_data[4] = RefusalScope::make(1, entry, count).word;
  return body;
}
}  // namespace

BOOST_AUTO_TEST_CASE(a_batch_is_one_message_with_everything_in_one_region) {
  Client client = join();
  const std::string large(5'000, 'L');
  TaskOptions options;
  options.depends_on = {TaskDependency::submission(1), TaskDependency::batch_entry(2),
                        TaskDependency::task(99)};
  options.on_dependency_failure = OnDependencyFailure::run;
  options.category = "kind";
  options.idempotency_key = "key";
  options.retries = 3;
  submit(client);
  supervisor.next();
  std::vector<TaskRequest> requests;
  requests.push_back(request("small"));
  requests.push_back(request(large));
  requests.push_back(request());
  requests[1].options = &options;
  auto submitting =
      std::async(std::launch::async, [&] { return client.submit_batch(requests, patience_ms); });
  supervisor.grant_bank(1, 1);
  auto batch = submitting.get();
  require_ok(batch);
  BOOST_CHECK_EQUAL(batch->first_number, 2u);
  BOOST_CHECK_EQUAL(batch->count, 3u);
  BOOST_CHECK_EQUAL(client.in_flight(), 4u);

  const SlotBody body = supervisor.next();
  BOOST_CHECK_EQUAL(body.kind, static_cast<std::uint16_t>(MessageKind::submit_batch));
  BOOST_CHECK_EQUAL(body.inline_data[0], 2u);
  const BatchRead read(supervisor, body);
  BOOST_CHECK_EQUAL(read.payload(0), "small");
  BOOST_CHECK_EQUAL(read.payload(1), large);
  BOOST_CHECK_EQUAL(read.payload(2), "");
  const BatchEntry& all = read.entries[1];
  BOOST_CHECK_EQUAL(all.category, "kind");
  BOOST_CHECK_EQUAL(all.key, "key");
  BOOST_CHECK_EQUAL(all.data.retries, 3);
  BOOST_REQUIRE_EQUAL(all.dependencies.size(), 3u);
  BOOST_CHECK_EQUAL(all.dependencies[0].value, 1u);
  BOOST_CHECK_EQUAL(all.dependencies[1].value, 4u);  // the batch's third has number 4
  BOOST_CHECK((all.dependencies[2].kind == BatchDependency::Kind::task));

  // Refused as a whole: each of its numbers hears it, and which one is the cause.
  supervisor.publish(refusal_of(2, 3, 1));
  for (std::uint64_t number = 2; number <= 4; ++number) {
    const TaskResult refused = next(client);
    BOOST_CHECK_EQUAL(refused.number(), number);
    BOOST_CHECK(refused.refusal() == ErrorCode::refused);
    BOOST_CHECK(refused.refusal_reason() == SubmitRefusal::queue_full);
    BOOST_CHECK_EQUAL(refused.refused_number(), 3u);
    BOOST_CHECK_EQUAL(refused.retry_after_ms(), 50u);
  }
  BOOST_CHECK_EQUAL(client.in_flight(), 1u);
  supervisor.release_home(Token{body.token});
}

BOOST_AUTO_TEST_CASE(a_region_with_options_is_handed_over_as_it_lies) {
  Client client = join();
  Region region = allocate(client, 3'000, 1);
  std::memset(region.bytes().data(), 'r', region.bytes().size());
  TaskOptions options;
  options.retries = 2;
  TaskRequest asked = request();
  asked.region = std::move(region);
  asked.options = &options;
  auto number = client.submit(std::move(asked));
  require_ok(number);
  BOOST_CHECK(!asked.region);
  const SlotBody body = supervisor.next();
  const BatchRead read(supervisor, body);
  BOOST_CHECK_EQUAL(read.entries.at(0).data.payload_offset, 0u);  // not copied
  BOOST_CHECK_EQUAL(read.payload(0), std::string(3'000, 'r'));
  BOOST_CHECK_EQUAL(read.entries.at(0).data.retries, 2);
}

BOOST_AUTO_TEST_CASE(what_is_wrong_with_options_is_said_before_anything_is_sent) {
  Client client = join();
  const auto error_of = [&](const TaskOptions& options) {
    TaskRequest asked = request();
    asked.options = &options;
    auto number = client.submit(std::move(asked));
    BOOST_REQUIRE(!number);
    BOOST_CHECK(number.error().code == ErrorCode::usage);
    return number.error().message;
  };
  TaskOptions options;
  options.depends_on.assign(65, TaskDependency::task(1));
  BOOST_CHECK(error_of(options).find("at most 64") != std::string::npos);
  options = {};
  options.category = "123456789012345678901234567890123";
  BOOST_CHECK(error_of(options).find("at most 32") != std::string::npos);
  options = {};
  const std::string key(65, 'k');
  options.idempotency_key = key;
  BOOST_CHECK(error_of(options).find("at most 64") != std::string::npos);
  options = {};
  options.depends_on = {TaskDependency::submission(5)};
  BOOST_CHECK(error_of(options).find("has not been submitted") != std::string::npos);
  options.depends_on = {TaskDependency::batch_entry(1)};
  BOOST_CHECK(error_of(options).find("not in its batch") != std::string::npos);
  BOOST_CHECK(supervisor.nothing_from_party());
  BOOST_CHECK_EQUAL(client.in_flight(), 0u);
}

BOOST_AUTO_TEST_CASE(a_refused_handshake_says_why) {
  auto joining = std::async(std::launch::async, [socket = supervisor.begin_life(1)]() mutable {
    return Client::attach(std::move(socket), patience_ms);
  });
  supervisor.take_registration();
  PartyMessage refused;
  refused.kind = PartyMessageKind::refused;
  std::strcpy(refused.text, "all 63 client places are taken");
  supervisor.send(refused);
  const auto client = joining.get();
  BOOST_REQUIRE(!client);
  BOOST_CHECK(client.error().code == ErrorCode::refused);
  BOOST_CHECK_EQUAL(client.error().message, "all 63 client places are taken");
}

BOOST_AUTO_TEST_CASE(a_refusal_instead_of_a_welcome_and_a_closed_socket) {
  auto pair = seqpacket_pair();
  require_ok(pair);
  PartyMessage refused;
  refused.kind = PartyMessageKind::refused;
  refused.a = static_cast<std::uint64_t>(ErrorCode::gave_up);
  std::strcpy(refused.text, "stopping");
  BOOST_REQUIRE(send_with_fds(pair->first.get(), std::as_bytes(std::span(&refused, 1)), {}) > 0);
  auto client = Client::attach(std::move(pair->second));
  BOOST_REQUIRE(!client);
  BOOST_CHECK(client.error().code == ErrorCode::gave_up);
  pair = seqpacket_pair();
  pair->first.reset();
  client = Client::attach(std::move(pair->second));
  BOOST_REQUIRE(!client);
  BOOST_CHECK(client.error().code == ErrorCode::not_running);
  pair = seqpacket_pair();
  client = Client::attach(std::move(pair->second), 1);
  BOOST_REQUIRE(!client);
  BOOST_CHECK(client.error().code == ErrorCode::timed_out);
}

BOOST_AUTO_TEST_CASE(wrong_requests_are_refused_before_anything_is_sent) {
  Client client = join();
  TaskRequest unknown = request();
  unknown.capability = "ehco";
  auto number = client.submit(std::move(unknown));
  BOOST_REQUIRE(!number);
  BOOST_CHECK(number.error().code == ErrorCode::not_found);
  BOOST_CHECK_EQUAL(number.error().message,
                    "this swarm has no capability 'ehco'; it has: echo, hash");

  const std::string huge(64 * fake_region_bytes + 1, 'x');
  number = client.submit(request(huge));
  BOOST_REQUIRE(!number);
  BOOST_CHECK(number.error().code == ErrorCode::too_large);
  const auto region = client.allocate(huge.size());
  BOOST_REQUIRE(!region);
  BOOST_CHECK(region.error().code == ErrorCode::too_large);

  store(supervisor.tables().accepting, 0);
  number = client.submit(request());
  BOOST_REQUIRE(!number);
  BOOST_CHECK(number.error().code == ErrorCode::refused);
  BOOST_CHECK(supervisor.nothing_from_party());
  BOOST_CHECK_EQUAL(client.in_flight(), 0u);
}

BOOST_AUTO_TEST_CASE(a_region_is_handed_over_and_comes_home) {
  Client client = join();
  Region region = allocate(client, 1000, 8);
  BOOST_CHECK_EQUAL(region.bytes().size(), 1000u);
  std::memset(region.bytes().data(), 'r', 1000);
  const std::byte* memory = region.bytes().data();

  TaskRequest asked = request();
  asked.region = std::move(region);
  require_ok(client.submit(std::move(asked)));
  BOOST_CHECK(!asked.region);  // NOLINT(bugprone-use-after-move): submit says what it leaves
  const SlotBody body = supervisor.next();
  const Token token{body.token};
  BOOST_CHECK_EQUAL(token.owner(), first_client);
  BOOST_CHECK_EQUAL(body.region_bytes, 1000u);
  BOOST_CHECK_EQUAL(supervisor.bytes_of(token, 1000), std::string(1000, 'r'));

  supervisor.release_home(token);
  auto again = client.allocate(900, 0);
  require_ok(again);
  BOOST_CHECK(again->bytes().data() == memory);
}

BOOST_AUTO_TEST_CASE(a_region_not_submitted_is_given_back) {
  Client client = join();
  {
    const Region region = allocate(client, 10, 8);
    BOOST_CHECK_EQUAL(RegionWord{load(supervisor.party().region(region_index(8, 0)))}.outstanding(),
                      1u);
  }
  BOOST_CHECK_EQUAL(RegionWord{load(supervisor.party().region(region_index(8, 0)))}.outstanding(),
                    0u);
  require_ok(client.allocate(10, 0));
  // A failed submit leaves the region where it was.
  TaskRequest asked;
  asked.capability = "nothing";
  auto region = client.allocate(10, 0);
  require_ok(region);
  asked.region = std::move(*region);
  BOOST_CHECK(!client.submit(std::move(asked)));
  BOOST_CHECK(static_cast<bool>(asked.region));  // NOLINT(bugprone-use-after-move)
  asked.payload = std::as_bytes(std::span("both"));
  asked.capability = "echo";
  const auto number = client.submit(std::move(asked));
  BOOST_REQUIRE(!number);
  BOOST_CHECK(number.error().code == ErrorCode::usage);
}

BOOST_AUTO_TEST_CASE(a_payload_beyond_a_message_is_copied_into_a_region) {
  Client client = join();
  const std::string text(25, 'p');
  auto submitting = std::async(std::launch::async, [&] { return client.submit(request(text)); });
  supervisor.grant_bank(8, 1);
  require_ok(submitting.get());
  const SlotBody body = supervisor.next();
  BOOST_CHECK_EQUAL(supervisor.bytes_of(Token{body.token}, body.region_bytes), text);
}

BOOST_AUTO_TEST_CASE(a_full_pool_is_a_refusal_with_the_reason) {
  Client client = join();
  auto allocating = std::async(std::launch::async, [&] { return client.allocate(10, 50); });
  const auto request = supervisor.expect(PartyMessageKind::bank_request);
  PartyMessage refused;
  refused.kind = PartyMessageKind::bank_refused;
  refused.a = request.message.a;
  std::strcpy(refused.text, "all 64 regions are leased");
  supervisor.send(refused);
  const auto region = allocating.get();
  BOOST_REQUIRE(!region);
  BOOST_CHECK(region.error().code == ErrorCode::refused);
  BOOST_CHECK(region.error().message.find("all 64 regions are leased") != std::string::npos);
}

BOOST_AUTO_TEST_CASE(a_final_refusal_is_too_large_and_not_asked_again) {
  Client client = join();
  auto allocating =
      std::async(std::launch::async, [&] { return client.allocate(100'000, patience_ms); });
  const auto request = supervisor.expect(PartyMessageKind::bank_request);
  PartyMessage refused;
  refused.kind = PartyMessageKind::bank_refused;
  refused.a = request.message.a;
  refused.b = 1;
  std::strcpy(refused.text, "not possible");
  supervisor.send(refused);
  auto region = allocating.get();
  BOOST_REQUIRE(!region);
  BOOST_CHECK(region.error().code == ErrorCode::too_large);
  BOOST_CHECK_EQUAL(region.error().message, "not possible");
  region = client.allocate(100'001);
  BOOST_REQUIRE(!region);
  BOOST_CHECK(region.error().code == ErrorCode::too_large);
  BOOST_CHECK(!supervisor.has_message());
  region = client.allocate(60'000, 0);  // what is smaller may be possible
  BOOST_REQUIRE(!region);
  BOOST_CHECK(region.error().code == ErrorCode::refused);
  supervisor.expect(PartyMessageKind::bank_request);
}

BOOST_AUTO_TEST_CASE(a_region_result_is_read_in_place_and_released) {
  Client client = join();
  const auto fd = supervisor.make_foreign_bank(30, 1, 5, "a result in a region");
  const Token token = Token::make(5, region_index(30, 0), 0, 4097);
  submit(client);
  supervisor.next();
  SlotBody body = result(1, {});
  body.token = token.word;
  body.region_bytes = 20;
  supervisor.publish(body);
  // Its bank is not mapped yet: no result so far, and no error.
  auto found = client.next_result(1);
  require_ok(found);
  BOOST_CHECK(!found->has_value());
  supervisor.map_bank(30, fd);
  TaskResult answer = next(client);
  BOOST_CHECK_EQUAL(answer.text(), "a result in a region");
  BOOST_CHECK_EQUAL(load(supervisor.party().holds()[0].token), token.word);

  TaskResult moved = std::move(answer);
  BOOST_CHECK_EQUAL(moved.text(), "a result in a region");
  moved.release();
  BOOST_CHECK(moved.bytes().empty());
  BOOST_CHECK_EQUAL(supervisor.next(Lane::release).token, token.word);
  BOOST_CHECK_EQUAL(load(supervisor.party().holds()[0].token), 0u);
}

BOOST_AUTO_TEST_CASE(a_result_may_outlive_its_client) {
  std::optional<TaskResult> answer;
  const auto fd = supervisor.make_foreign_bank(30, 1, 5, "text");
  {
    Client client = join();
    submit(client);
    supervisor.next();
    supervisor.map_bank(30, fd);
    SlotBody body = result(1, {});
    body.token = Token::make(5, region_index(30, 0), 0, 1).word;
    body.region_bytes = 4;
    supervisor.publish(body);
    answer = next(client);
  }
  BOOST_CHECK(!supervisor.has_message());
  BOOST_CHECK_EQUAL(answer->text(), "text");
  answer.reset();
  supervisor.expect(PartyMessageKind::leaving);
}

BOOST_AUTO_TEST_CASE(doubled_results_are_dropped_counted_and_their_tokens_sent_home) {
  Client client = join();
  const auto fd = supervisor.make_foreign_bank(30, 1, 5, "text");
  supervisor.map_bank(30, fd);
  submit(client);
  submit(client);
  supervisor.publish(result(1, "one"));
  supervisor.publish(result(1, "one"));
  SlotBody body = result(1, {});
  body.token = Token::make(5, region_index(30, 0), 2, 1).word;
  body.region_bytes = 4;
  supervisor.publish(body);
  supervisor.publish(result(77, "never submitted"));
  supervisor.publish(result(2, "two"));
  BOOST_CHECK_EQUAL(next(client).text(), "one");
  BOOST_CHECK_EQUAL(next(client).text(), "two");
  BOOST_CHECK_EQUAL(client.doubled_results(), 3u);
  BOOST_CHECK_EQUAL(supervisor.next(Lane::release).token, body.token);
}

BOOST_AUTO_TEST_CASE(a_refused_submission_comes_back_as_a_result) {
  Client client = join();
  submit(client);
  SlotBody body = result(1, {}, TaskState::free);
  body.inline_bytes = 16;
  body.inline_data[2] = static_cast<std::uint64_t>(ErrorCode::refused);
  body.inline_data[3] = 250;
  supervisor.publish(body);
  const TaskResult answer = next(client);
  BOOST_CHECK(answer.state() == TaskState::free);
  BOOST_CHECK(answer.refusal() == ErrorCode::refused);
  BOOST_CHECK_EQUAL(answer.retry_after_ms(), 250u);
  BOOST_CHECK_EQUAL(answer.task_id(), 0u);
  BOOST_CHECK(answer.bytes().empty());
}

BOOST_AUTO_TEST_CASE(a_batch_fills_the_ring_and_a_full_ring_says_so) {
  Client client = join();
  const std::uint32_t slots = ring_slots(first_client, supervisor_party);
  std::vector<TaskRequest> requests(slots + 10);
  for (TaskRequest& one : requests) one.capability = "echo";
  auto batch = client.try_submit_batch(requests);
  require_ok(batch);
  BOOST_CHECK_EQUAL(batch->first_number, 1u);
  BOOST_CHECK_EQUAL(batch->count, slots);
  batch = client.try_submit_batch(requests);
  require_ok(batch);
  BOOST_CHECK_EQUAL(batch->count, 0u);
  const auto number = client.submit(request(), 1);
  BOOST_REQUIRE(!number);
  BOOST_CHECK(number.error().code == ErrorCode::timed_out);

  // A submit that waits for room keeps the results that arrive.
  supervisor.publish(result(1, "early"));
  auto submitting =
      std::async(std::launch::async, [&] { return client.submit(request(), patience_ms); });
  FakeSupervisor::wait_until([&] {
    return Cursor{load(supervisor.party().cursor(supervisor_party, Lane::data))}.consumed() == 1;
  });
  BOOST_CHECK_EQUAL(supervisor.next().inline_data[0], 1u);
  require_ok(submitting.get());
  BOOST_CHECK_EQUAL(client.in_flight(), slots + 1);
  BOOST_CHECK_EQUAL(next(client).text(), "early");
  BOOST_CHECK_EQUAL(client.in_flight(), slots);
}

BOOST_AUTO_TEST_CASE(a_batch_stops_at_what_is_wrong) {
  Client client = join();
  std::vector<TaskRequest> requests(3);
  for (TaskRequest& one : requests) one.capability = "echo";
  requests[1].capability = "nope";
  auto batch = client.try_submit_batch(requests);
  require_ok(batch);
  BOOST_CHECK_EQUAL(batch->count, 1u);
  batch = client.try_submit_batch(std::span(requests).subspan(1));
  BOOST_REQUIRE(!batch);
  BOOST_CHECK(batch.error().code == ErrorCode::not_found);
}

BOOST_AUTO_TEST_CASE(the_end_of_the_swarm_is_noticed_and_what_had_arrived_is_read_first) {
  Client client = join();
  submit(client);
  submit(client);
  supervisor.next();
  supervisor.publish(result(1, "last words"));
  supervisor.close_socket();
  BOOST_CHECK_EQUAL(next(client).text(), "last words");
  const auto found = client.next_result(patience_ms);
  BOOST_REQUIRE(!found);
  BOOST_CHECK(found.error().code == ErrorCode::not_running);
  const auto number = client.submit(request());
  BOOST_REQUIRE(!number);
  BOOST_CHECK(number.error().code == ErrorCode::not_running);
}

BOOST_AUTO_TEST_CASE(malformed_results_are_counted) {
  Client client = join();
  submit(client);
  SlotBody body = result(1, "x");
  body.kind = 55;
  supervisor.publish(body);
  body = result(1, "x");
  body.inline_bytes = 30;
  supervisor.publish(body);
  body = result(1, "x");
  body.token = 1;
  supervisor.publish(body);
  supervisor.publish(result(1, "good"));
  BOOST_CHECK_EQUAL(next(client).text(), "good");
  BOOST_CHECK_EQUAL(load(supervisor.party().header().messages_malformed), 3u);
}

BOOST_AUTO_TEST_CASE(holding_too_many_results_is_an_error_that_releasing_ends) {
  Client client = join();
  const auto fd = supervisor.make_foreign_bank(30, 1, 5, "text");
  supervisor.map_bank(30, fd);
  std::vector<TaskResult> held;
  for (std::uint32_t i = 0; i <= party_holds_max; ++i) {
    const std::uint64_t number = submit(client);
    supervisor.next();
    SlotBody body = result(number, {});
    body.token = Token::make(5, region_index(30, 0), i % 32, i / 32).word;
    body.region_bytes = 4;
    supervisor.publish(body);
    if (i < party_holds_max) held.push_back(next(client));
  }
  auto found = client.next_result(patience_ms);
  BOOST_REQUIRE(!found);
  BOOST_CHECK(found.error().code == ErrorCode::refused);
  held.pop_back();
  BOOST_CHECK_EQUAL(next(client).number(), party_holds_max + 1);
}

BOOST_AUTO_TEST_CASE(numbers_are_finished_once_in_any_order) {
  ClientNumbers numbers;
  for (int i = 0; i < 5; ++i) numbers.submitted();
  BOOST_CHECK_EQUAL(numbers.next(), 6u);
  BOOST_CHECK(!numbers.finish(0));
  BOOST_CHECK(!numbers.finish(6));
  BOOST_CHECK(numbers.finish(3));
  BOOST_CHECK(!numbers.finish(3));
  BOOST_CHECK(numbers.finish(1));
  BOOST_CHECK(numbers.finish(2));
  BOOST_CHECK(!numbers.finish(2));
  BOOST_CHECK_EQUAL(numbers.count(), 2u);
  BOOST_CHECK(numbers.finish(5));
  BOOST_CHECK(numbers.finish(4));
  BOOST_CHECK_EQUAL(numbers.count(), 0u);
  BOOST_CHECK_EQUAL(numbers.next(), 6u);
}

BOOST_AUTO_TEST_SUITE_END()
