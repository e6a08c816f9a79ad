// Payloads compressed by the client library, in a real swarm: the handler reads what was handed in,
// whatever dies meanwhile, and a lying client harms nobody.

#include <poll.h>

#include <random>

#include "common/compression.hpp"
#include "ipc/party_link.hpp"
#include "ipc/transfer.hpp"
#include "tests/fault_swarm.hpp"

namespace micro_swarm::testing {
namespace {

std::string toml_with(const std::string& codec, const std::string& capabilities = "\"echo\"") {
  return "[memory]\ncompression_enabled = true\ncompression_threshold = \"4KiB\"\ncompression = "
         "\"" +
         codec + "\"\n[[agent]]\nname = \"worker\"\ncapabilities = [" + capabilities +
         "]\n[tasks]\nattempts_max = 50\n[supervision]\nintensity = 100\n";
}

std::string compressible(std::size_t bytes) {
  std::string text;
  while (text.size() < bytes) text += "line " + std::to_string(text.size() / 97) + "\n";
  text.resize(bytes);
  return text;
}
std::string incompressible(std::size_t bytes) {
  std::mt19937_64 random(bytes);
  std::string text(bytes, '\0');
  for (char& c : text) c = static_cast<char>(random());
  return text;
}

BOOST_AUTO_TEST_CASE(handlers_read_what_was_handed_in) {
  for (const std::string codec : {"lz4", "zstd"}) {
    FaultSwarm swarm(toml_with(codec));
    BOOST_REQUIRE(swarm.wait_for_live(1));
    {
      TaskClient client(swarm);
      for (const std::size_t bytes : {0, 24, 25, 4'095, 4'096, 4'097, 65'536, 3'000'000}) {
        client.check_echo(compressible(bytes));
        client.check_echo(incompressible(bytes));
      }
      BOOST_TEST(swarm.counter("payloads_compressed") == 4u);
      const std::uint64_t before = 4'096 + 4'097 + 65'536 + 3'000'000;
      BOOST_TEST(swarm.counter("payload_bytes_before") == before);
      BOOST_TEST(swarm.counter("payload_bytes_after") < before / 2);
      // Of a batch every payload by itself, but not one with a key: by its bytes it is known again.
      const std::string text = compressible(50'000);
      const std::string noise = incompressible(50'000);
      micro_swarm::TaskOptions options;
      options.retries = 3;
      std::vector<TaskRequest> requests(4);
      for (TaskRequest& request : requests) {
        request.capability = "echo";
        request.payload = std::as_bytes(std::span(text.data(), text.size()));
      }
      requests[1].payload = std::as_bytes(std::span(noise.data(), noise.size()));
      requests[2].payload = {};
      requests[3].options = &options;
      const auto batch = client.client().submit_batch(requests, patience_ms);
      BOOST_REQUIRE(batch.has_value());
      for (std::uint64_t i = 0; i < 4; ++i)
        BOOST_TEST((client.result_of(batch->first_number + i).text() == (i == 1   ? noise
                                                                         : i == 2 ? std::string()
                                                                                  : text)));
      BOOST_TEST(swarm.counter("payloads_compressed") == 6u);
      BOOST_TEST(swarm.counter("payload_compress_ns") > 0u);
      BOOST_TEST(swarm.counter("payload_unpack_ns") > 0u);
    }
    BOOST_TEST(
        swarm.wait_until([](const auto& s) { return s.at("memory").at("tokens_out") == 0; }));
    swarm.finish();
  }
}

BOOST_AUTO_TEST_CASE(the_next_attempt_and_the_next_supervisor_have_it_too) {
  FaultSwarm swarm(toml_with("lz4"));
  BOOST_REQUIRE(swarm.wait_for_live(1));
  {
    TaskClient client(swarm);
    const std::string text = compressible(200'000);
    const pid_t agent = swarm.agent_pid(0);
    swarm.remember(agent);
    BOOST_REQUIRE_EQUAL(::kill(agent, SIGSTOP), 0);
    const auto number = client.submit("echo", text);
    const TaskId id = client.id_of(number);
    BOOST_REQUIRE(wait_for([&] { return swarm.task_state(id) == "running"; }));
    BOOST_REQUIRE_EQUAL(::kill(swarm.supervisor(), SIGKILL), 0);
    swarm.wait_for_epoch(2);
    BOOST_REQUIRE_EQUAL(::kill(agent, SIGKILL), 0);
    const TaskResult result = client.result_of(number);
    BOOST_TEST(result.is_done());
    BOOST_TEST((result.text() == text));
    BOOST_TEST(result.attempts() == 2u);
    BOOST_TEST(swarm.counter("payloads_compressed") == 1u);
  }
  swarm.finish();
}

/// A client that hands in blocks of its own making.
struct Liar {
  Liar() {
    auto control = ControlClient::connect("test", 10'000);
    BOOST_REQUIRE(control.has_value());
    auto answer = control->request({{"verb", "attach"}}, {.timeout_ms = 10'000});
    BOOST_REQUIRE(answer.has_value());
    auto opened = PartyLink::open(std::move(answer->fds.front()), 10'000);
    BOOST_REQUIRE_MESSAGE(opened.has_value(), fault_text(opened));
    link = std::move(*opened);
    BOOST_REQUIRE(link->announce().has_value());
    BOOST_REQUIRE(wait_for([&] { return link->admitted(); }));
    link->begin();
  }
  void read() const {
    for (ReceivedPartyMessage received;
         receive_party_message(link->socket(), received, false) == PartySocketRead::message;)
      link->take(received);
  }
  ResultWord run(std::span<const std::byte> block) {
    std::optional<Allocation> memory;
    BOOST_REQUIRE(wait_for([&] {
      read();
      auto tried = link->banks().try_allocate(block.size(), now_ns());
      if (tried && *tried) memory = **tried;
      return memory.has_value();
    }));
    std::copy(block.begin(), block.end(), memory->memory.begin());
    SlotBody body;
    body.kind = static_cast<std::uint16_t>(MessageKind::submit);
    body.inline_data[0] = ++number;
    body.inline_data[1] = SubmitWord::make(0, 0, 2, submit_compressed).word;
    body.region_bytes = static_cast<std::uint32_t>(block.size());
    pass(link->data_out(), link->holds()[memory->hold], Lane::data, supervisor_party, body);
    link->banks().passed(memory->hold);
    link->ring_supervisor();
    BOOST_REQUIRE(wait_for([&] { return link->data_in().ready(); }));
    const ResultWord word{link->data_in().front().inline_data[1]};
    link->data_in().advance();
    return word;
  }
  std::unique_ptr<PartyLink> link;
  std::uint64_t number = 0;
};

BOOST_AUTO_TEST_CASE(damaged_blocks_fail_their_task_and_nothing_else) {
  FaultSwarm swarm(toml_with("lz4"));
  BOOST_REQUIRE(swarm.wait_for_live(1));
  {
    const std::string text = compressible(100'000);
    std::vector<std::byte> good(packed_bytes_max(text.size()));
    const auto packed = pack(Codec::lz4, std::as_bytes(std::span(text.data(), text.size())), good);
    BOOST_REQUIRE(packed.has_value());
    good.resize(packed->bytes);
    Liar liar;
    BOOST_TEST((liar.run(good).state() == TaskState::done));
    const auto changed = [&](std::size_t at, unsigned value) {
      auto block = good;
      block[at] = std::byte(value);
      return block;
    };
    auto enormous = changed(7, 0x70);  // says that it is 1.8 GiB
    auto shorter = good;
    shorter.resize(shorter.size() / 2);
    for (const auto& block : {changed(0, 0), changed(2, 0), changed(2, 9), changed(4, 1), enormous,
                              shorter, changed(12, 0x55), changed(good.size() / 2, 0x99),
                              std::vector<std::byte>(10), std::vector<std::byte>(5'000)})
      BOOST_TEST((liar.run(block).state() == TaskState::failed));
    BOOST_TEST(swarm.agent(0).at("deaths") == 0);
    TaskClient client(swarm);
    client.check_echo(text);
  }
  swarm.finish();
}

}  // namespace
}  // namespace micro_swarm::testing
