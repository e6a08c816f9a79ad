// libmicroswarm-client.so against a real swarm: what programs outside the project see, and what
// they are told when they use it wrongly.

#include <signal.h>
#include <sys/wait.h>

#include <boost/test/unit_test.hpp>
#include <cstring>
#include <set>
#include <string>

#include "micro_swarm/client.hpp"
#include "tests/swarm_process.hpp"

namespace {

namespace msc = micro_swarm::client;
using msc::bytes_of;
using msc::ErrorCode;
using msc::TaskState;

constexpr std::uint32_t patience_ms = 30'000;

constexpr const char* config = R"(
[swarm]
agents = 2
[memory]
pool_size = "4MiB"
[cache]
capacity = "1MiB"
[log]
level = "warn"
)";

/// The value, or the test ends with the error's text.
template <class T>
T need(msc::Result<T> result) {
  if (!result) BOOST_FAIL(result.error().message);
  return std::move(*result);
}

void need_void(const msc::Result<void>& result) {
  if (!result) BOOST_FAIL(result.error().message);
}

template <class T>
ErrorCode code_of(const msc::Result<T>& result) {
  if (result) BOOST_FAIL("it should have failed");
  BOOST_TEST(!result.error().message.empty());
  return result.error().code;
}

msc::Client join() { return need(msc::Client::connect("test", patience_ms)); }

msc::Request request(std::string_view capability, std::string_view payload = {}) {
  return {.capability = capability, .payload = bytes_of(payload)};
}

struct Swarm {
  Swarm() : Swarm(std::vector<std::string>()) {}
  explicit Swarm(std::vector<std::string> arguments) : swarm(config, std::move(arguments)) {
    BOOST_REQUIRE_MESSAGE(swarm.wait_for_live(2), swarm.log());
  }
  bool all_tokens_home() {
    return swarm.wait_until([](const auto& s) { return s.at("memory").at("tokens_out") == 0; });
  }
  micro_swarm::SwarmProcess swarm;
};

}  // namespace

BOOST_TEST_DONT_PRINT_LOG_VALUE(ErrorCode)
BOOST_TEST_DONT_PRINT_LOG_VALUE(TaskState)

BOOST_FIXTURE_TEST_SUITE(client_library, Swarm)

BOOST_AUTO_TEST_CASE(tasks_of_every_size_end_with_their_results) {
  {
    msc::Client client = join();
    for (const std::size_t size : {0u, 24u, 25u, 70'000u, 1'000'000u}) {
      const std::string payload(size, 'p');
      const auto result = need(client.run(request("echo", payload), patience_ms));
      BOOST_TEST(result.is_done());
      BOOST_TEST((result.text() == payload));
      BOOST_TEST(result.attempts() == 1u);
      BOOST_TEST(result.task_id() != 0u);
      BOOST_TEST((result.error().code == ErrorCode::usage));
    }
    const auto failed = need(client.run(request("fail", "why it failed"), patience_ms));
    BOOST_TEST((failed.state() == TaskState::failed));
    BOOST_TEST((failed.error().code == ErrorCode::failed));
    BOOST_TEST(failed.error().message == "why it failed");
    msc::Request late = request("sleep", "60000");
    late.timeout_ms = 50;
    const auto timed_out = need(client.run(std::move(late), patience_ms));
    BOOST_TEST((timed_out.state() == TaskState::timed_out));
    BOOST_TEST((timed_out.error().code == ErrorCode::timed_out));
    const auto capabilities = need(client.capabilities());
    BOOST_TEST((std::set(capabilities.begin(), capabilities.end()).count("echo") == 1));
    BOOST_TEST(client.in_flight() == 0u);
  }
  BOOST_TEST(all_tokens_home());
  BOOST_TEST(swarm.wait_until([](const auto& s) { return s.at("clients") == 0; }));
}

BOOST_AUTO_TEST_CASE(a_result_is_waited_for_by_its_number_and_the_others_are_kept_in_order) {
  msc::Client client = join();
  std::vector<std::uint64_t> numbers;
  for (int i = 0; i < 20; ++i)
    numbers.push_back(need(client.submit(request("echo", std::to_string(i)))));
  // From behind: the last wait() finds what the first one had to keep.
  for (int i = 19; i >= 10; --i) {
    const auto result = need(client.wait(numbers[i], patience_ms));
    BOOST_TEST(result.number() == numbers[i]);
    BOOST_TEST(result.text() == std::to_string(i));
  }
  BOOST_TEST(client.in_flight() == 10u);
  std::set<std::uint64_t> open(numbers.begin(), numbers.begin() + 10);
  while (!open.empty()) {
    const auto result = need(client.next_result(patience_ms));
    BOOST_REQUIRE(result.has_value());
    BOOST_TEST(open.erase(result->number()) == 1u);
  }
  BOOST_TEST(client.in_flight() == 0u);
  // Once each.
  BOOST_TEST((code_of(client.wait(numbers[3], 0)) == ErrorCode::not_found));
  BOOST_TEST((code_of(client.wait(numbers.back() + 1, 0)) == ErrorCode::not_found));
  BOOST_TEST((code_of(client.wait(0, 0)) == ErrorCode::not_found));
  BOOST_TEST(!need(client.next_result(0)).has_value());
  // What has not ended in time can be waited for again.
  const auto slow = need(client.submit(request("sleep", "200")));
  BOOST_TEST((code_of(client.wait(slow, 1)) == ErrorCode::timed_out));
  BOOST_TEST(need(client.wait(slow, patience_ms)).is_done());
  // A detached task is nobody's to wait for.
  msc::Request detached = request("echo", "later");
  detached.is_detached = true;
  BOOST_TEST(
      (code_of(client.wait(need(client.submit(std::move(detached))), 0)) == ErrorCode::not_found));
}

BOOST_AUTO_TEST_CASE(a_batch_is_a_graph_and_is_accepted_or_refused_as_one) {
  msc::Client client = join();
  const msc::Dependency both[] = {msc::Dependency::batch_entry(2), msc::Dependency::batch_entry(1)};
  std::vector<msc::Request> requests;
  requests.push_back(request("concat"));
  requests.push_back(request("echo", "second"));
  requests.push_back(request("echo", "first, "));
  requests[0].depends_on = both;
  requests[0].priority = msc::Priority::critical;
  auto batch = need(client.submit_batch(requests));
  BOOST_TEST(batch.count == 3u);
  BOOST_TEST(need(client.wait(batch.first_number, patience_ms)).text() == "first, second");
  BOOST_TEST(need(client.wait(batch.first_number + 1, patience_ms)).text() == "second");
  BOOST_TEST(need(client.wait(batch.first_number + 2, patience_ms)).text() == "first, ");

  // What an earlier one failed of.
  const msc::Dependency failing[] = {msc::Dependency::batch_entry(1)};
  requests[1] = request("fail", "as asked");
  requests.resize(2);
  for (const auto policy : {msc::OnDependencyFailure::fail, msc::OnDependencyFailure::skip,
                            msc::OnDependencyFailure::run}) {
    requests[0].depends_on = failing;
    requests[0].on_dependency_failure = policy;
    batch = need(client.submit_batch(requests));
    const auto result = need(client.wait(batch.first_number, patience_ms));
    const TaskState expected = policy == msc::OnDependencyFailure::fail   ? TaskState::failed
                               : policy == msc::OnDependencyFailure::skip ? TaskState::cancelled
                                                                          : TaskState::done;
    BOOST_TEST((result.state() == expected), msc::name_of(result.state()));
  }
  while (client.in_flight() != 0) need(client.next_result(patience_ms));

  // Refused as one, and each says why.
  requests[0] = request("echo");
  requests[0].category = "nobody knows it";
  requests[1] = request("echo", "innocent");
  batch = need(client.submit_batch(requests));
  for (std::uint64_t number = batch.first_number; number < batch.first_number + 2; ++number) {
    const auto result = need(client.wait(number, patience_ms));
    BOOST_TEST((result.state() == TaskState::refused));
    BOOST_TEST(result.refusal() == "unknown_category");
    BOOST_TEST(result.task_id() == 0u);
    BOOST_TEST(result.error().message.find("[[category]]") != std::string::npos);
  }
  // A ring never leaves here.
  const msc::Dependency itself[] = {msc::Dependency::batch_entry(0)};
  requests[0] = request("concat");
  requests[0].depends_on = itself;
  BOOST_TEST((code_of(client.submit_batch(requests)) == ErrorCode::usage));
  BOOST_TEST((code_of(client.submit_batch({})) == ErrorCode::usage));
}

BOOST_AUTO_TEST_CASE(a_region_is_handed_over_and_stays_where_handing_over_fails) {
  msc::Client client = join();
  msc::Client other = join();
  auto region = need(client.allocate(50'000, patience_ms));
  BOOST_TEST(region.bytes().size() == 50'000u);
  std::memset(region.bytes().data(), 'r', region.bytes().size());
  // Nobody takes it: it is here as before.
  msc::Request wrong{.capability = "no such work", .region = std::move(region)};
  BOOST_TEST((code_of(client.submit(std::move(wrong))) == ErrorCode::not_found));
  BOOST_REQUIRE(wrong.region);
  wrong.capability = "echo";
  wrong.payload = bytes_of(std::string_view("and bytes"));
  BOOST_TEST((code_of(client.submit(std::move(wrong))) == ErrorCode::usage));
  wrong.payload = {};
  BOOST_TEST((code_of(other.submit(std::move(wrong))) == ErrorCode::usage));
  BOOST_REQUIRE(wrong.region);
  BOOST_TEST(static_cast<char>(wrong.region.bytes()[49'999]) == 'r');
  // As a payload.
  const auto result = need(client.run(std::move(wrong), patience_ms));
  BOOST_TEST(!wrong.region);
  BOOST_TEST((result.text() == std::string(50'000, 'r')));

  // To another client, and on from there.
  region = need(client.allocate(100'000, patience_ms));
  std::memset(region.bytes().data(), 's', region.bytes().size());
  const msc::PartyId readers[] = {other.party()};
  need_void(client.share(region, readers, 7));
  BOOST_TEST((code_of(client.send(std::move(region), client.party())) == ErrorCode::usage));
  BOOST_TEST((code_of(client.send(std::move(region), 1000)) == ErrorCode::not_found));
  BOOST_REQUIRE(region);
  need_void(client.send(std::move(region), other.party(), 8));
  BOOST_TEST(!region);
  BOOST_TEST((code_of(client.send(std::move(region), other.party())) == ErrorCode::usage));
  for (const std::uint64_t tag : {7u, 8u}) {
    auto received = need(other.receive(patience_ms));
    BOOST_REQUIRE(received.has_value());
    BOOST_TEST(received->tag() == tag);
    BOOST_TEST(received->from() == client.party());
    BOOST_TEST((received->refusal() == msc::ReceivedRegion::Refusal::none));
    const auto bytes = need(received->bytes(patience_ms));
    BOOST_TEST(bytes.size() == 100'000u);
    BOOST_TEST(static_cast<char>(bytes.back()) == 's');
    if (tag == 8) need_void(other.send(std::move(*received), client.party(), 9));
  }
  const auto back = need(client.receive(patience_ms));
  BOOST_REQUIRE(back.has_value());
  BOOST_TEST(back->tag() == 9u);
  BOOST_TEST(!need(client.receive(0)).has_value());

  need_void(other.subscribe("news"));
  region = need(client.allocate(3));
  BOOST_TEST((code_of(client.publish("no blanks", std::move(region))) == ErrorCode::usage));
  BOOST_TEST(bool(region));
  BOOST_TEST(need(client.publish("news", std::move(region), 4)) == 1u);
  BOOST_TEST(!region);
  const auto heard = need(other.receive(patience_ms));
  BOOST_REQUIRE(heard.has_value());
  BOOST_TEST(heard->topic() == "news");
  BOOST_TEST(heard->tag() == 4u);
  need_void(other.unsubscribe("news"));
  BOOST_TEST(need(client.publish("news", need(client.allocate(3)))) == 0u);
  BOOST_TEST((code_of(other.subscribe("")) == ErrorCode::usage));
}

BOOST_AUTO_TEST_CASE(named_entries_are_put_read_and_erased) {
  msc::Client client = join();
  msc::Client other = join();
  BOOST_TEST(!need(client.cache_get("greeting")).has_value());
  BOOST_TEST(need(client.cache_put("greeting", bytes_of(std::string_view("hello")))));
  BOOST_TEST(!need(client.cache_put("greeting", bytes_of(std::string_view("goodbye")))));
  const auto entry = need(other.cache_get("greeting"));
  BOOST_REQUIRE(entry.has_value());
  BOOST_TEST(need(client.cache_erase("greeting")));
  BOOST_TEST(!need(client.cache_erase("greeting")));
  BOOST_TEST((std::string_view(reinterpret_cast<const char*>(entry->bytes().data()),
                               entry->bytes().size()) == "hello"));
  auto region = need(client.allocate(3'000, patience_ms));
  std::memset(region.bytes().data(), 'c', region.bytes().size());
  BOOST_TEST(need(client.cache_put("region", std::move(region), {.ttl_ms = 60'000})));
  BOOST_TEST(!region);
  BOOST_TEST(need(other.cache_get("region"))->bytes().size() == 3'000u);

  const auto bytes = bytes_of(std::string_view("x"));
  BOOST_TEST((code_of(client.cache_put("", bytes)) == ErrorCode::usage));
  BOOST_TEST((code_of(client.cache_put(std::string(65, 'n'), bytes)) == ErrorCode::usage));
  BOOST_TEST(
      (code_of(client.cache_put("nothing", std::span<const std::byte>())) == ErrorCode::usage));
  BOOST_TEST((code_of(client.cache_put("given away", std::move(region))) == ErrorCode::usage));
  const std::vector<std::byte> large(2 << 20);
  BOOST_TEST((code_of(client.cache_put("large", large)) == ErrorCode::too_large));
}

BOOST_AUTO_TEST_CASE(what_makes_no_sense_is_an_error_that_says_why_and_harms_nothing) {
  msc::Client client = join();
  const auto no_such = client.submit(request("no such work"));
  BOOST_TEST((code_of(no_such) == ErrorCode::not_found));
  // It names what there is.
  BOOST_TEST(no_such.error().message.find("echo") != std::string::npos);
  BOOST_TEST((code_of(client.submit(request(""))) == ErrorCode::not_found));
  const std::string large(5 << 20, 'x');
  const auto too_large = client.submit(request("echo", large));
  BOOST_TEST((code_of(too_large) == ErrorCode::too_large));
  BOOST_TEST(too_large.error().message.find("memory.pool_size") != std::string::npos);
  BOOST_TEST((code_of(client.allocate(0)) == ErrorCode::usage));
  BOOST_TEST((code_of(client.allocate(std::size_t{1} << 40)) == ErrorCode::too_large));
  msc::Request wrong = request("echo");
  wrong.priority = static_cast<msc::Priority>(9);
  BOOST_TEST((code_of(client.submit(std::move(wrong))) == ErrorCode::usage));
  const std::string long_key(65, 'k');
  wrong = request("echo");
  wrong.idempotency_key = long_key;
  BOOST_TEST((code_of(client.submit(std::move(wrong))) == ErrorCode::usage));
  // The swarm alone can say that it keeps nothing that would know a key again.
  msc::Request keyed = request("echo");
  keyed.idempotency_key = "a key";
  const auto refused = need(client.run(std::move(keyed), patience_ms));
  BOOST_TEST(refused.refusal() == (std::getenv("MS_TEST_DURABLE") ? "none" : "no_state_dir"));

  const msc::TaskResult none;
  BOOST_TEST((none.error().code == ErrorCode::usage));
  BOOST_TEST(none.bytes().empty());
  BOOST_TEST(none.refusal() == "none");
  const msc::Client moved = std::move(client);
  BOOST_TEST((code_of(client.submit(request("echo"))) == ErrorCode::usage));
  BOOST_TEST((code_of(client.next_result(0)) == ErrorCode::usage));
  BOOST_TEST((code_of(client.allocate(1)) == ErrorCode::usage));
  BOOST_TEST(client.in_flight() == 0u);
  BOOST_TEST(client.party() == 0xffff);
  client = join();
  BOOST_TEST(need(client.run(request("echo", "well"), patience_ms)).text() == "well");
}

BOOST_AUTO_TEST_CASE(the_value_of_a_failed_result_ends_the_program_with_its_error) {
  int ends[2];
  BOOST_REQUIRE(::pipe(ends) == 0);
  const pid_t child = ::fork();
  BOOST_REQUIRE(child >= 0);
  if (child == 0) {
    ::signal(SIGABRT, SIG_DFL);
    ::dup2(ends[1], 2);
    const msc::Result<int> failed(msc::Error{ErrorCode::refused, "the reason", 0});
    ::_exit(*failed);
  }
  ::close(ends[1]);
  std::string said(200, '\0');
  said.resize(static_cast<std::size_t>(std::max<ssize_t>(0, ::read(ends[0], said.data(), 200))));
  ::close(ends[0]);
  int status = 0;
  BOOST_REQUIRE(::waitpid(child, &status, 0) == child);
  BOOST_TEST((WIFSIGNALED(status) && WTERMSIG(status) == SIGABRT));
  BOOST_TEST(said.find("the reason") != std::string::npos);
}

BOOST_AUTO_TEST_CASE(supervisors_die_and_everything_ends_once) {
  msc::Client client = join();
  const std::string payload(3'000, 'q');
  for (int round = 0; round < 3; ++round) {
    std::vector<std::uint64_t> numbers;
    for (int i = 0; i < 50; ++i) numbers.push_back(need(client.submit(request("echo", payload))));
    ::kill(swarm.supervisor(), SIGKILL);
    for (int i = 0; i < 50; ++i) numbers.push_back(need(client.submit(request("echo", payload))));
    for (const std::uint64_t number : numbers)
      BOOST_TEST((need(client.wait(number, patience_ms)).text() == payload));
    BOOST_TEST(client.in_flight() == 0u);
  }
  BOOST_TEST(all_tokens_home());
}

BOOST_AUTO_TEST_CASE(what_came_from_a_client_outlives_it) {
  std::optional<msc::Client> client(join());
  const std::string payload(60'000, 'o');
  const auto result = need(client->run(request("echo", payload), patience_ms));
  const auto region = need(client->allocate(10, patience_ms));
  need(client->submit(request("sleep", "50")));
  client.reset();
  BOOST_TEST((result.text() == payload));
  region.bytes()[9] = std::byte{1};
}

BOOST_AUTO_TEST_CASE(the_end_of_the_swarm_is_an_error_not_a_hang) {
  msc::Client client = join();
  const auto number = need(client.submit(request("sleep", "60000")));
  ::kill(swarm.root(), SIGKILL);
  BOOST_TEST((code_of(client.wait(number)) == ErrorCode::not_running));
  BOOST_TEST((code_of(client.submit(request("echo"))) == ErrorCode::not_running));
  BOOST_TEST((code_of(client.receive(patience_ms)) == ErrorCode::not_running));
  BOOST_TEST((code_of(client.cache_get("x")) == ErrorCode::not_running));
  const auto again = msc::Client::connect("test");
  BOOST_TEST((code_of(again) == ErrorCode::not_running));
  BOOST_TEST(again.error().message.find("microswarm run") != std::string::npos,
             again.error().message);
}

BOOST_AUTO_TEST_SUITE_END()

BOOST_AUTO_TEST_SUITE(client_library_alone)

BOOST_AUTO_TEST_CASE(no_swarm_is_an_error_that_says_how_to_start_one) {
  const micro_swarm::TemporaryDirectory directory;
  ::setenv("MICROSWARM_RUNTIME_DIR", directory.path().c_str(), 1);
  const auto absent = msc::Client::connect("nobody");
  BOOST_TEST((code_of(absent) == ErrorCode::not_running));
  BOOST_TEST(absent.error().message.find("microswarm run --name nobody") != std::string::npos,
             absent.error().message);
  BOOST_TEST((code_of(msc::Client::connect("No Name")) == ErrorCode::usage));
  BOOST_TEST((code_of(msc::Client::connect("/tmp/socket")) == ErrorCode::usage));
}

BOOST_AUTO_TEST_CASE(a_key_makes_a_task_run_once) {
  const micro_swarm::TemporaryDirectory state;
  Swarm durable({"--state-dir", state.path().string()});
  msc::Client client = join();
  const auto keyed = [&](std::string_view payload) {
    msc::Request asked = request("echo", payload);
    asked.idempotency_key = "order 66";
    return need(client.run(std::move(asked), patience_ms));
  };
  BOOST_TEST(keyed("once").text() == "once");
  BOOST_TEST(keyed("once").text() == "once");
  const auto conflict = keyed("another");
  BOOST_TEST((conflict.state() == TaskState::refused));
  BOOST_TEST(conflict.refusal() == "key_conflict");
  BOOST_TEST(durable.swarm.status().at("tasks").at("done") == 2);
}

BOOST_AUTO_TEST_SUITE_END()
