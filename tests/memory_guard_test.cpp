// Guard mode in a real swarm: careless writers die at the instruction and the certificate names the
// region; the same programs run through without it; honest ones do not notice it.

#include <sys/prctl.h>

#include <algorithm>
#include <array>
#include <cstring>

#include "ipc/guard.hpp"
#include "tests/fault_swarm.hpp"

namespace micro_swarm::testing {
namespace {

std::string careless_toml(bool with_guard) {
  const auto program =
      std::filesystem::read_symlink("/proc/self/exe").parent_path() / "rogue_agent";
  return std::string("[memory]\nguard = ") + (with_guard ? "true" : "false") + R"(
[[agent]]
name = "careless"
kind = "external"
capabilities = ["careless"]
command = [")" +
         program.string() + R"(", "careless"]
[[agent]]
name = "worker"
capabilities = ["echo"]
[tasks]
attempts_max = 1
[supervision]
intensity = 100
)";
}
constexpr PartyId careless = 0;

/// A swarm whose first agent has the bugs, and its client.
struct CarelessSwarm {
  explicit CarelessSwarm(bool with_guard = true) : swarm(careless_toml(with_guard)) {
    BOOST_REQUIRE(swarm.wait_for_live(2));
    client.emplace(swarm);
  }
  TaskResult keep() {
    TaskResult result = client->run("careless", "keep");
    BOOST_REQUIRE(result.is_done());
    check_bytes(result);
    return result;
  }
  static void check_bytes(const TaskResult& result) {
    BOOST_TEST(result.text() == std::string(100, 'k'));
  }
  /// "bank/slot" of the one region of the careless agent of which rights are out.
  std::string region_out() {
    std::vector<std::string> found;
    const auto regions = swarm.ask({{"verb", "region.list"}}).at("regions");
    for (const auto& region : regions)
      if (region.at("owner") == careless)
        found.push_back(std::to_string(region.at("bank").get<unsigned>()) + "/" +
                        std::to_string(region.at("slot").get<unsigned>()));
    BOOST_REQUIRE(found.size() == 1u);
    return found.front();
  }
  void wait_for_tokens(unsigned out) {
    BOOST_REQUIRE(
        swarm.wait_until([&](const auto& s) { return s.at("memory").at("tokens_out") == out; }));
  }
  /// The task kills its agent with `signal`; the certificate says `text`.
  void check_death(const std::string& what, int signal, const std::string& text) {
    BOOST_TEST((client->run("careless", what).state() == TaskState::dead_letter));
    const auto certificate = swarm.certificate(careless, ++deaths);
    BOOST_TEST(certificate.at("signal") == signal);
    const std::string guard = certificate.value("guard", std::string());
    BOOST_TEST(guard.starts_with(text), guard << " is not: " << text);
    BOOST_TEST(swarm.events("agent_died").back().value("guard", std::string()) == guard);
    BOOST_TEST(swarm.log().find("microswarm guard: process " +
                                std::to_string(certificate.at("pid").get<pid_t>()) + " ") !=
               std::string::npos);
  }
  /// All is given back, but for so many rights that nobody is left to fetch.
  void finish(unsigned unfetched = 0) {
    client->check_echo(std::string(100'000, 'e'));
    client.reset();
    wait_for_tokens(unfetched);
    swarm.finish();
  }

  FaultSwarm swarm;
  std::optional<TaskClient> client;
  std::size_t deaths = 0;
};

BOOST_AUTO_TEST_CASE(a_write_after_hand_over_kills_at_the_instruction) {
  CarelessSwarm s;
  TaskResult result = s.keep();
  const std::string region = s.region_out();
  s.check_death("poke 0", SIGSEGV,
                "wrote to region " + region + " after it was handed over, address 0x");
  CarelessSwarm::check_bytes(result);  // the write did not get through
  result.release();
  s.finish();
}

BOOST_AUTO_TEST_CASE(a_touch_after_release_kills_at_the_instruction) {
  CarelessSwarm s;
  for (const std::string what : {"poke 0", "peek 0"}) {
    TaskResult first = s.keep();
    const std::string region = s.region_out();
    // Lies in the same bank, which therefore stays.
    const TaskResult second = s.keep();
    s.wait_for_tokens(2);
    first.release();
    s.wait_for_tokens(1);
    s.check_death(what, SIGSEGV, "touched region " + region + " after its release, address 0x");
    CarelessSwarm::check_bytes(second);
  }
  s.finish();
}

BOOST_AUTO_TEST_CASE(a_byte_too_many_is_found_before_the_region_leaves) {
  CarelessSwarm s;
  s.check_death("overrun", SIGABRT, "wrote past the end of region ");
  BOOST_TEST(
      s.swarm.certificate(careless).at("guard").get<std::string>().ends_with(" (100 bytes asked)"));
  s.check_death("overrun_dropped", SIGABRT, "wrote past the end of region ");
  s.finish();
}

BOOST_AUTO_TEST_CASE(who_keeps_a_pointer_to_a_result_reads_poison) {
  CarelessSwarm s;
  TaskResult first = s.keep();
  TaskResult second = s.keep();
  const volatile std::byte* kept = first.bytes().data();
  first.release();
  s.wait_for_tokens(1);
  // The region's word is stored before the poison.
  BOOST_TEST(wait_for([&] { return kept[0] == guard_poison; }));
  BOOST_TEST((kept[99] == guard_poison));
  CarelessSwarm::check_bytes(second);
  second.release();
  s.finish();
}

BOOST_AUTO_TEST_CASE(without_guard_mode_the_same_programs_run_through) {
  CarelessSwarm s(false);
  {
    TaskResult first = s.keep();
    TaskResult second = s.keep();
    for (const char* what : {"poke 0", "overrun", "overrun_dropped"})
      BOOST_TEST(s.client->run("careless", what).is_done());
    BOOST_TEST((first.bytes()[0] == std::byte{'p'}));  // in front of its reader's eyes
    second.release();
    for (const char* what : {"poke 1", "peek 1"})
      BOOST_TEST(s.client->run("careless", what).is_done());
  }
  BOOST_TEST(s.swarm.agent(careless).at("deaths") == 0);
  s.finish();
}

/// Ends as a child of the test: `mode` 0 writes to a payload it has handed in, 1 past the end of
/// one it gives up, 2 makes neither mistake.
[[noreturn]] void careless_client(int mode) {
  ::prctl(PR_SET_PDEATHSIG, SIGKILL);
  ::prctl(PR_SET_DUMPABLE, 0);
  for (const int number : {SIGSEGV, SIGABRT}) ::signal(number, SIG_DFL);
  auto client = Client::connect("test", patience_ms);
  if (!client) ::_exit(90);
  auto region = client->allocate(5'000, patience_ms);
  if (!region) ::_exit(91);
  const auto bytes = region->bytes();
  std::memset(bytes.data(), 'c', bytes.size());
  if (mode == 1) {
    *(static_cast<volatile std::byte*>(bytes.data()) + bytes.size()) = std::byte{0};
    *region = Region();
    ::_exit(92);
  }
  TaskRequest request;
  request.capability = "echo";
  request.region = std::move(*region);
  if (!client->submit(std::move(request), patience_ms)) ::_exit(93);
  if (mode == 0) *static_cast<volatile std::byte*>(bytes.data()) = std::byte{0};
  const auto result = client->next_result(patience_ms);
  ::_exit(result && *result && (*result)->text() == std::string(5'000, 'c') ? 0 : 94);
}

BOOST_AUTO_TEST_CASE(a_careless_client_dies_too_and_leaves_nothing) {
  CarelessSwarm s;
  constexpr std::array<int, 3> signals{SIGSEGV, SIGABRT, 0};
  for (int mode = 0; mode < 3; ++mode) {
    const pid_t child = ::fork();
    BOOST_REQUIRE(child >= 0);
    if (child == 0) careless_client(mode);
    int status = 0;
    BOOST_REQUIRE_EQUAL(::waitpid(child, &status, 0), child);
    const int signal = signals[static_cast<std::size_t>(mode)];
    if (signal == 0)
      BOOST_TEST((WIFEXITED(status) && WEXITSTATUS(status) == 0), mode << ": " << status);
    else
      BOOST_TEST((WIFSIGNALED(status) && WTERMSIG(status) == signal), mode << ": " << status);
  }
  s.finish(1);  // the first one's result
}

BOOST_AUTO_TEST_CASE(an_honest_swarm_does_not_notice) {
  FaultSwarm swarm(R"(
[memory]
guard = true
[[agent]]
name = "worker"
count = 2
capabilities = ["echo", "fault.crash"]
[tasks]
attempts_max = 5
[supervision]
intensity = 100
)");
  BOOST_REQUIRE(swarm.wait_for_live(2));
  {
    TaskClient client(swarm);
    std::map<std::uint64_t, std::string> expected;
    const auto submit_all = [&] {
      for (const std::size_t bytes :
           {0, 1, 24, 25, 1'000, 4'032, 4'033, 4'096, 16'384, 65'472, 65'536, 70'000, 2'000'000}) {
        const std::string text(bytes, static_cast<char>('a' + bytes % 26));
        expected.emplace(client.submit("echo", text), text);
      }
    };
    submit_all();
    swarm.remember(swarm.agent_pid(0));
    BOOST_REQUIRE_EQUAL(::kill(swarm.agent_pid(0), SIGKILL), 0);
    submit_all();
    const pid_t supervisor = swarm.supervisor();
    BOOST_REQUIRE_EQUAL(::kill(supervisor, SIGKILL), 0);
    submit_all();
    for (const auto& [number, text] : expected) {
      const TaskResult result = client.result_of(number);
      BOOST_TEST(result.is_done());
      BOOST_TEST((result.text() == text));
    }
    // A region in a batch of one: its entry cannot lie behind the payload here.
    auto region = client.client().allocate(3'000, patience_ms);
    BOOST_REQUIRE(region.has_value());
    std::memset(region->bytes().data(), 'r', 3'000);
    micro_swarm::TaskOptions options;
    options.retries = 1;
    TaskRequest request;
    request.capability = "echo";
    request.region = std::move(*region);
    request.options = &options;
    const auto number = client.client().submit(std::move(request), patience_ms);
    BOOST_REQUIRE_MESSAGE(number.has_value(), fault_text(number));
    BOOST_TEST(client.result_of(*number).text() == std::string(3'000, 'r'));
    // Its own signal, not memory: the certificate does not blame the guard.
    const auto crash = client.submit("fault.crash");
    BOOST_TEST((client.result_of(crash).state() == TaskState::dead_letter));
    for (const PartyId id : {PartyId{0}, PartyId{1}})
      for (const auto& certificate : swarm.agent(id).at("death_certificates"))
        BOOST_TEST(!certificate.contains("guard"));
  }
  BOOST_TEST(swarm.wait_until([](const auto& s) { return s.at("memory").at("tokens_out") == 0; }));
  BOOST_TEST(swarm.counter("messages_malformed") == 0u);
  swarm.finish();
}

}  // namespace
}  // namespace micro_swarm::testing
