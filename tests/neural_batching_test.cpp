// A neural agent that runs what waits together as one, beside one that does not.

#include <cstring>
#include <random>

#include "ipc/task_names.hpp"
#include "tests/fault_swarm.hpp"

namespace micro_swarm::testing {
namespace {

constexpr std::size_t pixels = 784;

std::string agent(const std::string& name, const std::string& more) {
  return "[[agent]]\nname = \"" + name +
         "\"\nkind = \"neural\"\nmodel = \"" MS_DIGITS_MODEL "\"\ncapabilities = [\"" + name +
         "\"]\n" + more;
}

std::string picture(unsigned seed) {
  std::mt19937 random(seed);
  std::vector<float> values(pixels);
  for (float& value : values) value = static_cast<float>(random() % 1001) / 1000.0F;
  return {reinterpret_cast<const char*>(values.data()), pixels * sizeof(float)};
}

std::vector<float> scores(const TaskResult& result) {
  BOOST_REQUIRE_MESSAGE(result.is_done(), result.text());
  std::vector<float> values(result.bytes().size() / sizeof(float));
  std::memcpy(values.data(), result.bytes().data(), result.bytes().size());
  return values;
}

}  // namespace

BOOST_AUTO_TEST_SUITE(neural_batching)

BOOST_AUTO_TEST_CASE(the_answers_are_those_of_one_by_one) {
  FaultSwarm swarm("[tasks]\nin_flight_per_agent = 16\n" + agent("alone", "") +
                   agent("together", "batch_max = 16\nbatch_delay_us = 2000\n"));
  BOOST_REQUIRE_MESSAGE(swarm.wait_for_live(2), swarm.log());
  {
    TaskClient client(swarm);
    std::vector<std::uint64_t> alone, together;
    for (unsigned i = 0; i < 100; ++i) {
      together.push_back(client.submit("together", picture(i)));
      alone.push_back(client.submit("alone", picture(i)));
    }
    const std::uint64_t wrong = client.submit("together", "not a picture");
    for (unsigned i = 0; i < 100; ++i) {
      const auto one = scores(client.result_of(alone[i]));
      const auto other = scores(client.result_of(together[i]));
      BOOST_REQUIRE(one.size() == other.size());
      for (std::size_t k = 0; k < one.size(); ++k) BOOST_CHECK_SMALL(one[k] - other[k], 1e-4F);
    }
    const TaskResult refused = client.result_of(wrong);
    BOOST_TEST(name_of(refused.state()) == "failed");
    BOOST_TEST(std::string(refused.text()).find("13 bytes") != std::string::npos, refused.text());
  }
  swarm.finish();
}

/// What a task depends on is read before its own payload, whether it runs alone or with others.
BOOST_AUTO_TEST_CASE(the_results_it_depends_on_are_its_input) {
  FaultSwarm swarm("[tasks]\nin_flight_per_agent = 16\n[[agent]]\nname = \"tools\"\n" +
                   agent("alone", "") +
                   agent("together", "batch_max = 16\nbatch_delay_us = 2000\n"));
  BOOST_REQUIRE_MESSAGE(swarm.wait_for_live(3), swarm.log());
  {
    TaskClient client(swarm);
    const auto piece = [](const std::string& text, std::size_t from, std::size_t size) {
      return std::as_bytes(std::span(text.data() + from, size));
    };
    for (unsigned i = 0; i < 8; ++i) {
      const std::string whole = picture(i);
      const auto direct = scores(client.run("alone", whole));
      // One result where it lies; two and a payload, of sizes that align with nothing.
      micro_swarm::TaskOptions on_first, on_both;
      on_first.depends_on = {TaskDependency::batch_entry(0)};
      on_both.depends_on = {TaskDependency::batch_entry(2), TaskDependency::batch_entry(3)};
      std::vector<TaskRequest> batch(6);
      for (TaskRequest& request : batch) request.capability = "echo";
      batch[0].payload = piece(whole, 0, whole.size());
      batch[1].capability = "together";
      batch[1].options = &on_first;
      batch[2].payload = piece(whole, 0, 10);
      batch[3].payload = piece(whole, 10, 1'001);
      batch[4].capability = "together";
      batch[4].payload = piece(whole, 1'011, whole.size() - 1'011);
      batch[4].options = &on_both;
      batch[5].capability = "alone";
      batch[5].payload = batch[4].payload;
      batch[5].options = &on_both;
      const auto submitted = client.client().submit_batch(batch, patience_ms);
      BOOST_REQUIRE_MESSAGE(submitted.has_value(), fault_text(submitted));
      for (const unsigned entry : {1u, 4u, 5u}) {
        const auto found = scores(client.result_of(submitted->first_number + entry));
        BOOST_REQUIRE(found.size() == direct.size());
        for (std::size_t k = 0; k < found.size(); ++k)
          BOOST_CHECK_SMALL(found[k] - direct[k], 1e-4F);
      }
      for (const unsigned entry : {0u, 2u, 3u})
        BOOST_TEST(client.result_of(submitted->first_number + entry).is_done());
    }
  }
  swarm.finish();
}

BOOST_AUTO_TEST_SUITE_END()

}  // namespace micro_swarm::testing
