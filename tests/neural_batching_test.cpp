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

BOOST_AUTO_TEST_SUITE_END()

}  // namespace micro_swarm::testing
