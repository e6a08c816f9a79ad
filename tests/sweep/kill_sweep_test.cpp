// fault.kill_sweep: every operation of the token protocol, and recovery itself, killed at every
// instruction (or at every distinct state), recovered by the production code, checked.
//
// The last two cases take minutes; they run when asked for by name (fault.kill_sweep_whole).

#include <boost/test/unit_test.hpp>
#include <cstdio>

#include "tests/sweep/planted.hpp"

using namespace micro_swarm;
using namespace micro_swarm::sweep;

namespace {

struct OneCore {
  OneCore() { pin_to_one_core(); }
};

void report(const char* what, const std::string& name, const SweepCounts& counts) {
  std::printf("%-10s %-52s %7llu instructions %5llu states %7llu kills\n", what, name.c_str(),
              static_cast<unsigned long long>(counts.instructions),
              static_cast<unsigned long long>(counts.states),
              static_cast<unsigned long long>(counts.kills));
  std::fflush(stdout);
}

}  // namespace

BOOST_TEST_GLOBAL_FIXTURE(OneCore);

BOOST_AUTO_TEST_CASE(no_operation_leaves_what_recovery_cannot_mend) {
  const World world;
  SweepCounts total;
  for (const Scenario& scenario : all_scenarios()) {
    const SweepCounts counts =
        sweep_operation(world, production, scenario, Depth::each_instruction);
    report("operation", scenario.name, counts);
    BOOST_TEST(counts.violations == 0u, scenario.name << ": " << counts.first_violation);
    BOOST_TEST(counts.states >= 2u, scenario.name << " changes nothing");
    total += counts;
  }
  report("all", "operations", total);
}

BOOST_AUTO_TEST_CASE(every_planted_mistake_is_caught) {
  const World world;
  for (const planted::Planted& one : planted::all_planted()) {
    const Scenario where = scenario(one.scenario);
    const SweepCounts counts = one.in_recovery
                                   ? sweep_recovery(world, one.protocol, where, Depth::each_state)
                                   : sweep_operation(world, one.protocol, where, Depth::each_state);
    std::printf("planted    %-52s %s\n", one.mistake.c_str(), counts.first_violation.c_str());
    BOOST_TEST(counts.violations != 0u, one.mistake << " was not caught in: " << one.scenario);
  }
}

BOOST_AUTO_TEST_CASE(the_copy_that_mistakes_are_planted_in_is_right_without_them) {
  const World world;
  Protocol copy;
  copy.inherit = planted::inherit<planted::InheritMistake::none>;
  for (const Scenario& one : all_scenarios()) {
    const SweepCounts counts = sweep_operation(world, copy, one, Depth::each_state);
    BOOST_TEST(counts.violations == 0u, one.name << ": " << counts.first_violation);
  }
}

namespace {

/// Recovery takes some 15,000 instructions, most of them the copying of cursors. So its sweeps
/// begin from every `stride`-th state of the operations that differ most.
void sweep_recoveries(const std::vector<std::string>& names, Depth depth, std::size_t stride) {
  const World world;
  SweepCounts total;
  for (const std::string& name : names) {
    const SweepCounts counts = sweep_recovery(world, production, scenario(name), depth, stride);
    report("recovery", name, counts);
    BOOST_TEST(counts.violations == 0u, name << ": " << counts.first_violation);
    total += counts;
  }
  report("all", "recoveries", total);
}

}  // namespace

BOOST_AUTO_TEST_CASE(recovery_may_be_killed_at_any_state_and_run_again) {
  sweep_recoveries({"give to two", "pass on", "arriving release", "relay a release",
                    "heir receives for the dead"},
                   Depth::each_state, 4);
}

BOOST_AUTO_TEST_CASE(recovery_from_every_death_may_be_killed_at_any_state,
                     *boost::unit_test::disabled()) {
  std::vector<std::string> names;
  for (const Scenario& one : all_scenarios()) names.push_back(one.name);
  sweep_recoveries(names, Depth::each_state, 1);
}

BOOST_AUTO_TEST_CASE(recovery_may_be_killed_at_each_of_its_instructions,
                     *boost::unit_test::disabled()) {
  sweep_recoveries({"give to two", "pass on", "relay a release", "heir receives for the dead"},
                   Depth::each_instruction, 8);
}
