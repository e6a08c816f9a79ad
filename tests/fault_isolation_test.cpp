// Agents that lie and write where they must not: they are stopped, the reason can be read, and
// nobody else is harmed.

#include <filesystem>

#include "tests/fault_swarm.hpp"

namespace micro_swarm::testing {
namespace {

std::string rogue_program() {
  return (std::filesystem::read_symlink("/proc/self/exe").parent_path() / "rogue_agent").string();
}

constexpr const char* scribbler = R"(
[[agent]]
name = "scribbler"
count = 1
capabilities = ["fault.scribble"]
[[agent]]
name = "worker"
count = 1
capabilities = ["echo"]
[tasks]
attempts_max = 1
)";

/// `store` dies of it; what asks the kernel is refused.
void check_scribble(FaultSwarm& swarm, TaskClient& client, const std::string& target,
                    std::size_t& deaths) {
  const std::string filler(target == "bank" ? 5'000 : 0, '#');  // behind the line: in a region
  for (const std::string method : {"mprotect", "remap", "write"}) {
    const TaskResult result = client.run("fault.scribble", target + " " + method + "\n" + filler);
    BOOST_TEST(result.is_done(), target << " " << method << ": " << result.text());
    BOOST_TEST(result.text().starts_with("errno "),
               target << " " << method << ": " << result.text());
  }
  const TaskResult result = client.run("fault.scribble", target + " store\n" + filler);
  BOOST_TEST((result.state() == TaskState::dead_letter), target << ": " << result.text());
  const auto certificate = swarm.certificate(0, ++deaths);
  BOOST_TEST(certificate.at("signal") == SIGSEGV);
  client.check_echo("not harmed");
}

BOOST_AUTO_TEST_CASE(nobody_writes_to_the_supervisors_segment_or_anothers_bank) {
  FaultSwarm swarm(scribbler);
  BOOST_REQUIRE(swarm.wait_for_live(2));
  const pid_t supervisor = swarm.supervisor();
  {
    TaskClient client(swarm);
    std::size_t deaths = 0;
    check_scribble(swarm, client, "supervisor", deaths);
    check_scribble(swarm, client, "bank", deaths);
    client.check_echo(std::string(200'000, 'e'));
  }
  BOOST_TEST(swarm.agent(1).at("deaths") == 0);
  const auto status = swarm.status();
  BOOST_TEST(status.at("supervisor_pid") == supervisor);
  BOOST_TEST(status.at("epoch") == 1);
  BOOST_TEST(status.at("counters").at("messages_malformed") == 0);
  // All but the payload of the dead letter that had one: it may be tried again.
  BOOST_TEST(swarm.wait_until([](const auto& s) { return s.at("memory").at("tokens_out") == 1; }));
  swarm.finish();
}

struct Rogue {
  const char* mode;
  const char* key;   ///< of the certificate
  const char* text;  ///< in its value
};

std::string toml_of(std::span<const Rogue> rogues) {
  std::string text =
      "[[agent]]\nname = \"worker\"\ncount = 2\ncapabilities = [\"echo\", \"sleep\"]\n";
  for (std::size_t i = 0; i < rogues.size(); ++i)
    text += "[[agent]]\nname = \"rogue-" + std::to_string(i) +
            "\"\nkind = \"external\"\ncount = 1\n" + "command = [\"" + rogue_program() + "\", \"" +
            rogues[i].mode + "\"]\n";
  return text;
}

/// Each is stopped, tried again, and given up; the workers work.
void check_rogues(FaultSwarm& swarm, std::span<const Rogue> rogues, unsigned lives) {
  TaskClient client(swarm);
  const auto accompanying = client.submit("sleep", "500");
  const PartyId first = 2;
  for (std::size_t i = 0; i < rogues.size(); ++i) {
    BOOST_TEST_CONTEXT(rogues[i].mode) {
      const auto id = static_cast<PartyId>(first + i);
      const auto certificate = swarm.certificate(id, lives);
      BOOST_TEST(
          certificate.value(rogues[i].key, nlohmann::json("none")).dump().find(rogues[i].text) !=
              std::string::npos,
          certificate.dump());
      BOOST_TEST(wait_for([&] { return swarm.agent(id).at("state") == "gave_up"; }));
      BOOST_TEST(swarm.agent(id).at("deaths") == lives);
    }
    client.check_echo(std::string(30'000, 'e'));
  }
  BOOST_TEST(client.result_of(accompanying).attempts() == 1u);
  for (PartyId worker = 0; worker < first; ++worker)
    BOOST_TEST(swarm.agent(worker).at("deaths") == 0);
  const auto status = swarm.status();
  BOOST_TEST(status.at("epoch") == 1);
  BOOST_TEST(status.at("state") == "running");
  BOOST_TEST(swarm.events("agent_died").size() == lives * rogues.size());
}

BOOST_AUTO_TEST_CASE(wrong_registrations_are_refused) {
  const std::string layout_text = "layout version is " + std::to_string(layout_version + 1) +
                                  ", expected " + std::to_string(layout_version);
  const Rogue rogues[] = {
      {"unsealed", "killed_because", "seal"},
      {"too_large", "killed_because", "size"},
      {"too_small", "killed_because", "size"},
      {"layout", "killed_because", layout_text.c_str()},
      {"other_party", "killed_because", "party is"},
      {"protocol", "killed_because", "speaks protocol 2, this supervisor speaks 1"},
      {"no_segment", "killed_because", "registered without its segment and bell page"},
      {"bell_unsealed", "killed_because", "bell page"},
      {"garbage", "killed_because", "malformed message"},
      {"unknown_kind", "killed_because", "unknown kind 4711"},
      {"dies", "exit_code", "9"},
      {"crashes", "signal", "6"},
  };
  FaultSwarm swarm(toml_of(rogues) +
                   "[supervision]\nintensity = 1\nperiod_ms = 60000\nbackoff_initial_ms = 1\n");
  BOOST_REQUIRE(swarm.wait_until([](const auto& s) { return s.at("agents").at("live") >= 2; }));
  check_rogues(swarm, rogues, 2);
  BOOST_TEST(swarm.counter("agents_evicted") == 20u);  // ten refused, twice each
  swarm.finish();
}

BOOST_AUTO_TEST_CASE(who_never_registers_is_killed) {
  const Rogue rogues[] = {
      {"silent", "killed_because", "did not register in 2000 ms"},
      {"closes", "killed_because", ""},
  };
  FaultSwarm swarm(toml_of(rogues) + "[supervision]\nintensity = 0\nregister_timeout_ms = 2000\n");
  BOOST_REQUIRE(swarm.wait_until([](const auto& s) { return s.at("agents").at("live") >= 2; }));
  check_rogues(swarm, rogues, 1);
  swarm.finish();
}

// Root may reap it before its template has named it, and its socket may be closed before that.
BOOST_AUTO_TEST_CASE(no_death_at_birth_is_missed) {
  constexpr PartyId many = 16;
  constexpr std::size_t lives = 6;
  FaultSwarm swarm("[[agent]]\nname = \"rogue\"\nkind = \"external\"\ncount = " +
                   std::to_string(many) + "\ncommand = [\"" + rogue_program() +
                   "\", \"dies\"]\n[supervision]\nrestart = \"transient\"\n" +
                   "intensity = 5\nperiod_ms = 60000\nbackoff_initial_ms = 1\n");
  BOOST_TEST(swarm.wait_until([](const auto& s) { return s.at("agents").at("gave_up") == many; },
                              patience_ms),
             swarm.status().at("agents").dump());
  for (PartyId id = 0; id < many; ++id) {
    const auto certificates = swarm.agent(id).at("death_certificates");
    BOOST_TEST(certificates.size() == lives);
    for (const auto& certificate : certificates)
      BOOST_TEST(certificate.value("exit_code", -1) == 9, certificate.dump());
  }
  swarm.finish();
}

BOOST_AUTO_TEST_CASE(a_forged_cursor_evicts_its_writer) {
  const Rogue rogues[] = {{"forged_cursor", "killed_because", "its cursor went back or ahead"}};
  FaultSwarm swarm(toml_of(rogues) + "[supervision]\nintensity = 0\n");
  BOOST_REQUIRE(swarm.wait_until([](const auto& s) { return s.at("agents").at("live") >= 2; }));
  {
    TaskClient client(swarm);
    static_cast<void>(client.submit("rogue-0", "x", {.timeout_ms = 5'000}));  // makes S look at it
    check_rogues(swarm, rogues, 1);
  }
  BOOST_TEST(swarm.counter("agents_evicted") == 1u);
  swarm.finish();
}

BOOST_AUTO_TEST_CASE(an_honest_program_of_somebody_elses_works) {
  FaultSwarm swarm("[[agent]]\nname = \"other\"\nkind = \"external\"\ncount = 2\ncommand = [\"" +
                   rogue_program() + "\", \"good\"]\ncapabilities = [\"rogue.good\"]\n");
  BOOST_REQUIRE(swarm.wait_for_live(2));
  TaskClient client(swarm);
  for (int i = 0; i < 20; ++i) BOOST_TEST(client.run("rogue.good").is_done());
  swarm.finish();
}

}  // namespace
}  // namespace micro_swarm::testing
