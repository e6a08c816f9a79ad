// fault.task_sweep: a task's life killed at every instruction of the supervisor: accept, dispatch,
// complete, notify, and adoption itself. After each death a new supervisor adopts the memory;
// every task must then have exactly one result, the right one, from exactly one execution, and
// every region must be free.

#include <boost/test/unit_test.hpp>
#include <cstdio>

#include "common/log.hpp"
#include "tests/sweep/task_world.hpp"

using namespace micro_swarm;
using namespace micro_swarm::sweep;

namespace {

struct OneCore {
  OneCore() { pin_to_one_core(); }
};

/// One step of a supervisor, from a state the swarm gets to by itself.
struct TaskScenario {
  std::string name;
  std::function<void(TaskWorld&)> prepare;
  std::function<void(Brain&)> step;
};

void accepted(TaskWorld& world) { world.running_supervisor()->serve(); }
void run_by_agent(TaskWorld& world) {
  accepted(world);
  world.agent_works();
}

/// As many regions as lie in its ring at a time.
void fill_ring_of_agent(TaskWorld& world) {
  for (std::uint64_t tag = 1; tag <= 16; ++tag) world.transfer(tag, agent_party);
  accepted(world);
}

std::vector<TaskScenario> task_scenarios() {
  const auto serve = [](Brain& brain) { brain.serve(); };
  return {
      {"accept and dispatch, inline payload", [](TaskWorld& w) { w.submit(1, false); }, serve},
      {"accept and dispatch, payload in a region", [](TaskWorld& w) { w.submit(1, true); }, serve},
      {"accept and dispatch two",
       [](TaskWorld& w) {
         w.submit(1, true);
         w.submit(2, false);
       },
       serve},
      {"complete and notify, inline result",
       [](TaskWorld& w) {
         w.submit(1, false);
         run_by_agent(w);
       },
       serve},
      {"complete and notify, result in a region",
       [](TaskWorld& w) {
         w.submit(1, true);
         w.submit(2, true);
         run_by_agent(w);
       },
       serve},
      {"accept a batch, payloads in its region and inline",
       [](TaskWorld& w) {
         w.submit_batch(1, {{true}, {false}, {true}});
       },
       serve},
      {"accept a batch that needs its region no more",
       [](TaskWorld& w) {
         w.submit_batch(1, {{false}, {false}});
       },
       serve},
      {"complete a batch that shares its region",
       [](TaskWorld& w) {
         w.submit_batch(1, {{true}, {true}});
         run_by_agent(w);
       },
       serve},
      {"refuse a batch",
       [](TaskWorld& w) {
         w.submit_batch(1, {{true}, {false, unknown_capability}});
       },
       serve},
      {"refuse a submission with a region",
       [](TaskWorld& w) { w.submit(1, true, unknown_capability); }, serve},
      {"refuse a submission and accept the next",
       [](TaskWorld& w) {
         w.submit(1, false, unknown_capability);
         w.submit_batch(2, {{true}});
       },
       serve},
      {"accept a batch with dependencies, also forward",
       [](TaskWorld& w) {
         w.submit_batch(1, {{false, known_capability, {3}}, {true, known_capability, {1, 3}}, {}});
       },
       serve},
      {"complete what others wait for, inline",
       [](TaskWorld& w) {
         w.submit_batch(1, {{}, {false, known_capability, {1}}, {false, known_capability, {1, 2}}});
         run_by_agent(w);
       },
       serve},
      {"complete what others wait for, in a region",
       [](TaskWorld& w) {
         w.submit_batch(1, {{true}, {true, known_capability, {1}}});
         run_by_agent(w);
       },
       serve},
      {"complete what reads a withheld result",
       [](TaskWorld& w) {
         w.submit_batch(1, {{true}, {true, known_capability, {1}}});
         run_by_agent(w);
         run_by_agent(w);
       },
       serve},
      {"fail what others wait for",
       [](TaskWorld& w) {
         w.seen.to_fail = {1};
         w.seen.to_be_doomed = {2, 3};
         w.submit_batch(1, {{}, {false, known_capability, {1}}, {true, known_capability, {2}}});
         run_by_agent(w);
       },
       serve},
      {"try again what failed",
       [](TaskWorld& w) {
         w.seen.to_fail_once = {1, 2};
         w.submit_batch(1, {{true, known_capability, {}, 1}, {false, known_capability, {1}, 2}});
         run_by_agent(w);
       },
       serve},
      {"hand a region on to an agent", [](TaskWorld& w) { w.transfer(1, agent_party); }, serve},
      {"give a region back that is for nobody",
       [](TaskWorld& w) {
         w.transfer(1, agent_party + 5);
         w.transfer(2, agent_party);
       },
       serve},
      {"keep a region for who does not read, and tasks go on",
       [](TaskWorld& w) {
         fill_ring_of_agent(w);
         w.transfer(17, agent_party);
         w.submit(1, false);
       },
       serve},
      {"deliver what waited",
       [](TaskWorld& w) {
         fill_ring_of_agent(w);
         w.transfer(17, agent_party);
         w.transfer(18, agent_party);
         accepted(w);
         w.agent_works();
         w.client_works();
       },
       serve},
      {"requeue a dead letter, inline payload",
       [](TaskWorld& w) {
         w.seen.to_be_requeued = {1};
         w.submit(1, false);
         w.agent_dies_with(1);
       },
       requeue_dead_letters},
      {"requeue a dead letter, payload in a region",
       [](TaskWorld& w) {
         w.seen.to_be_requeued = {1};
         w.submit(1, true);
         w.agent_dies_with(1);
       },
       requeue_dead_letters},
      {"requeue a dead letter, payload in a batch's region",
       [](TaskWorld& w) {
         w.seen.to_be_requeued = {1};
         w.submit_batch(1, {{true}, {true}});
         w.agent_dies_with(1);
       },
       requeue_dead_letters},
      {"complete a requeued task",
       [](TaskWorld& w) {
         w.seen.to_be_requeued = {1};
         w.submit(1, true);
         w.agent_dies_with(1);
         requeue_dead_letters(*w.running_supervisor());
         w.agent_works();
       },
       serve},
      {"give a dead letter's payload up",
       [](TaskWorld& w) {
         w.seen.to_stay_dead = {1};
         w.submit(1, true);
         w.agent_dies_with(1);
       },
       [](Brain& brain) { brain.tasks().evict_one_result(); }},
      {"relay the release of a result",
       [](TaskWorld& w) {
         w.submit(1, true);
         run_by_agent(w);
         w.running_supervisor()->serve();
         w.client_works();
       },
       serve},
  };
}

/// A new supervisor on the memory as it stands, to quiet. What was seen outside is put back.
std::string adopt_and_check(TaskWorld& world) {
  const TaskWorld::Seen before = world.seen;
  const auto next = world.running_supervisor();
  std::string wrong = world.run_to_quiet(*next);
  world.seen = before;
  return wrong;
}

SweepCounts sweep_step(const TaskScenario& scenario, Depth depth) {
  TaskWorld world;
  scenario.prepare(world);
  const auto brain = world.running_supervisor();
  return kill_at_every_instruction(
      world.memory(), depth, [&] { scenario.step(*brain); },
      [&] { return adopt_and_check(world); });
}

/// The adoption after the step's death is killed, too: from every `stride`-th state.
SweepCounts sweep_adoption(const TaskScenario& scenario, std::size_t stride) {
  TaskWorld world;
  scenario.prepare(world);
  std::vector<Snapshot> states;
  {
    const auto brain = world.running_supervisor();
    states = states_left_by(world.memory(), [&] { scenario.step(*brain); });
  }
  SweepCounts counts;
  const SharedMemory memory = world.memory();
  for (std::size_t i = 0; i < states.size(); i += stride) {
    memory.load(states[i]);
    const auto second = world.new_supervisor();
    counts += kill_at_every_instruction(
        memory, Depth::each_state,
        [&] {
          second->adopt();
          second->serve();
        },
        [&] { return adopt_and_check(world); });
  }
  return counts;
}

void report(const char* what, const std::string& name, const SweepCounts& counts) {
  std::printf("%-10s %-45s %8llu instructions %5llu states %7llu kills\n", what, name.c_str(),
              static_cast<unsigned long long>(counts.instructions),
              static_cast<unsigned long long>(counts.states),
              static_cast<unsigned long long>(counts.kills));
  std::fflush(stdout);
}

}  // namespace

BOOST_TEST_GLOBAL_FIXTURE(OneCore);

BOOST_AUTO_TEST_CASE(a_swarm_without_deaths_is_right) {
  TaskWorld world;
  for (std::uint64_t number = 1; number <= 3; ++number) world.submit(number, number % 2 == 0);
  const auto brain = world.running_supervisor();
  BOOST_TEST(world.run_to_quiet(*brain) == "");
}

BOOST_AUTO_TEST_CASE(no_step_of_a_task_loses_or_doubles_it) {
  SweepCounts total;
  for (const TaskScenario& scenario : task_scenarios()) {
    const SweepCounts counts = sweep_step(scenario, Depth::each_state);
    report("step", scenario.name, counts);
    BOOST_TEST(counts.violations == 0u, scenario.name << ": " << counts.first_violation);
    total += counts;
  }
  report("all", "steps", total);
}

BOOST_AUTO_TEST_CASE(adoption_may_be_killed_at_any_state) {
  SweepCounts total;
  for (const TaskScenario& scenario : task_scenarios()) {
    const SweepCounts counts = sweep_adoption(scenario, 9);
    report("adoption", scenario.name, counts);
    BOOST_TEST(counts.violations == 0u, scenario.name << ": " << counts.first_violation);
    total += counts;
  }
  report("all", "adoptions", total);
}

BOOST_AUTO_TEST_CASE(no_instruction_of_a_step_loses_or_doubles_a_task,
                     *boost::unit_test::disabled()) {
  SweepCounts total;
  for (const TaskScenario& scenario : task_scenarios()) {
    const SweepCounts counts = sweep_step(scenario, Depth::each_instruction);
    report("step", scenario.name, counts);
    BOOST_TEST(counts.violations == 0u, scenario.name << ": " << counts.first_violation);
    total += counts;
  }
  report("all", "steps", total);
}

BOOST_AUTO_TEST_CASE(adoption_from_every_death_may_be_killed_at_any_state,
                     *boost::unit_test::disabled()) {
  SweepCounts total;
  for (const TaskScenario& scenario : task_scenarios()) {
    const SweepCounts counts = sweep_adoption(scenario, 1);
    report("adoption", scenario.name, counts);
    BOOST_TEST(counts.violations == 0u, scenario.name << ": " << counts.first_violation);
    total += counts;
  }
  report("all", "adoptions", total);
}

// The supervisor died after the record said done and before the cursor moved: settling puts the
// right to the result back into the COMPLETE. The client must not be told before it is there again.
BOOST_AUTO_TEST_CASE(a_result_is_not_told_without_its_token) {
  TaskWorld world;
  world.submit(1, true);
  run_by_agent(world);
  {
    const auto brain = world.running_supervisor();
    RingReader& ring = brain->agent().data_in;
    take_in_hand(ring, brain->segment().header().in_hand, Lane::data, agent_party);
    const SlotBody body = ring.front();
    const std::uint32_t slot = task_slot(body.inline_data[0]);
    complete_task(brain->segment().records()[slot], brain->tasks().result_hold(slot), body,
                  TaskState::done, 1, {});
  }
  const auto next = world.running_supervisor();
  next->tasks().retry();
  BOOST_TEST(world.run_to_quiet(*next) == "");
}

// ---- planted mistakes: one step with two stores the wrong way round ----

namespace {

TaskRequestData request_in(const SlotBody& body) {
  TaskRequestData request;
  request.client_key = client_key(client_party, 1);
  request.number = body.inline_data[0];
  request.payload_token = body.token;
  request.accepted_ns = 1;
  request.payload_bytes = body.region_bytes;
  request.generation = 1;
  request.client = client_party;
  request.inline_bytes = static_cast<std::uint8_t>(body.inline_bytes);
  std::memcpy(request.inline_payload, &body.inline_data[2], task_inline_bytes_max);
  return request;
}

MessageInHand client_message_in_hand(Brain& brain) {
  return take_in_hand(brain.client().data_in, brain.segment().header().in_hand, Lane::data,
                      client_party);
}

void accept_cursor_before_word(Brain& brain) {
  const MessageInHand in_hand = client_message_in_hand(brain);
  const TaskRequestData request = request_in(brain.client().data_in.front());
  TaskRecord& record = brain.segment().records()[0];
  take_token(brain.tasks().payload_hold(0), Token{request.payload_token});
  keep(in_hand);
  accept_task(record, brain.tasks().payload_hold(0), request, {});
}

void accept_word_before_request(Brain& brain) {
  const MessageInHand in_hand = client_message_in_hand(brain);
  const TaskRequestData request = request_in(brain.client().data_in.front());
  TaskRecord& record = brain.segment().records()[0];
  take_token(brain.tasks().payload_hold(0), Token{request.payload_token});
  store(record.word, TaskWord::make(TaskState::ready, 0, no_party, request.generation).word);
  record.checksum = request_checksum(request);
  record.request = request;
  keep(in_hand);
}

/// The batch of scenario "accept a batch that needs its region no more".
template <bool cursor_first, bool token_last>
void accept_batch_wrongly(Brain& brain) {
  const MessageInHand in_hand = client_message_in_hand(brain);
  const SlotBody body = brain.client().data_in.front();
  const std::uint64_t sequence = in_hand.ring->at().consumed() + 1;
  if (!token_last) take_token(brain.tasks().payload_hold(0), Token{body.token});
  if (cursor_first) keep(in_hand);
  for (std::uint32_t slot = 0; slot < 2; ++slot) {
    TaskRequestData request = request_in(body);
    request.number += slot;
    request.payload_token = 0;
    request.payload_bytes = 0;
    request.inline_bytes = 8;
    request.has_options = 1;
    std::memcpy(request.inline_payload, &request.number, sizeof request.number);
    TaskOptionsRow options;
    options.batch_sequence = sequence;
    Tasks& tasks = brain.tasks();
    prepare_task(tasks.record(slot), tasks.options(slot), tasks.dependencies(slot), request,
                 options, nullptr, TaskState::ready);
  }
  if (!cursor_first) keep(in_hand);
  if (token_last) take_token(brain.tasks().payload_hold(0), Token{body.token});
}

void refuse_without_a_word(Brain& brain) {
  const MessageInHand in_hand = client_message_in_hand(brain);
  keep(in_hand);
  SlotBody answer;
  answer.kind = static_cast<std::uint16_t>(MessageKind::result);
  answer.inline_data[0] = 1;
  answer.inline_data[4] = RefusalScope::make(1, 0, 1).word;
  brain.client().data_out.try_send(answer);
  brain.serve();
}

/// What the client hears says nothing about whose life it was.
void refuse_unrecognisably(Brain& brain) {
  const MessageInHand in_hand = client_message_in_hand(brain);
  SlotBody answer;
  answer.kind = static_cast<std::uint16_t>(MessageKind::result);
  answer.inline_data[0] = 1;
  answer.inline_data[4] = RefusalScope::make(0, 0, 1).word;
  brain.client().data_out.try_send(answer);
  keep(in_hand);
  brain.serve();
}

void dispatch_effect_before_intent(Brain& brain) {
  const MessageInHand in_hand = client_message_in_hand(brain);
  TaskRecord& record = brain.segment().records()[0];
  accept_task(record, brain.tasks().payload_hold(0), request_in(brain.client().data_in.front()),
              in_hand);
  RingWriter& ring = brain.agent().data_out;
  const std::uint64_t sequence = ring.claim();
  record.dispatch_incarnation = 1;
  record.dispatch_sequence = sequence;
  SlotBody body = dispatch_body(record, 0, brain.tasks().options(0));
  body.inline_data[1] = AttemptWord::make(1, 0, 1, 0).word;
  ring.write(sequence, body);
  ring.publish(sequence);
  move_to(record, TaskState::running, 1, agent_party);
}

void complete_cursor_before_state(Brain& brain) {
  RingReader& ring = brain.agent().data_in;
  const MessageInHand in_hand =
      take_in_hand(ring, brain.segment().header().in_hand, Lane::data, agent_party);
  const SlotBody body = ring.front();
  TaskRecord& record = brain.segment().records()[task_slot(body.inline_data[0])];
  Hold& hold = brain.tasks().result_hold(task_slot(body.inline_data[0]));
  if (body.token != 0) take_token(hold, Token{body.token});
  keep(in_hand);
  complete_task(record, hold, body, TaskState::done, 1, {});
}

void notify_without_notice_number(Brain& brain) {
  RingReader& ring = brain.agent().data_in;
  const MessageInHand in_hand =
      take_in_hand(ring, brain.segment().header().in_hand, Lane::data, agent_party);
  const SlotBody body = ring.front();
  const std::uint32_t slot = task_slot(body.inline_data[0]);
  TaskRecord& record = brain.segment().records()[slot];
  complete_task(record, brain.tasks().result_hold(slot), body, TaskState::done, 1, in_hand);
  RingWriter& out = brain.client().data_out;
  const std::uint64_t sequence = out.claim();
  out.write(sequence, result_body(record, slot));
  out.publish(sequence);
  record.notice_sequence = sequence;
  record.notified = 1;
}

void requeue_before_its_client_is_known_to_be_told(Brain& brain) {
  TaskRecord& record = brain.segment().records()[0];
  record.notified = 0;
  std::atomic_signal_fence(std::memory_order_release);
  revive_task(record, 1);
}

}  // namespace

BOOST_AUTO_TEST_CASE(every_planted_mistake_is_caught) {
  struct Planted {
    const char* mistake;
    const char* scenario;
    void (*step)(Brain&);
  };
  const Planted all[] = {
      {"accept: cursor before the record's word", "accept and dispatch, payload in a region",
       accept_cursor_before_word},
      {"accept: word before the request", "accept and dispatch, inline payload",
       accept_word_before_request},
      {"batch: cursor before its records", "accept a batch that needs its region no more",
       accept_batch_wrongly<true, false>},
      {"batch: token into its hold after the cursor",
       "accept a batch that needs its region no more", accept_batch_wrongly<false, true>},
      {"refuse: cursor before the answer", "refuse a submission and accept the next",
       refuse_without_a_word},
      {"refuse: an answer that is not known again", "refuse a submission and accept the next",
       refuse_unrecognisably},
      {"dispatch: message before the record says running", "accept and dispatch, inline payload",
       dispatch_effect_before_intent},
      {"complete: cursor before the terminal state", "complete and notify, inline result",
       complete_cursor_before_state},
      {"requeue: not told before revived", "requeue a dead letter, inline payload",
       requeue_before_its_client_is_known_to_be_told},
      {"notify: published before the notice number", "complete and notify, inline result",
       notify_without_notice_number},
  };
  const std::vector<TaskScenario> scenarios = task_scenarios();
  for (const Planted& planted : all) {
    TaskScenario scenario;
    for (const TaskScenario& one : scenarios)
      if (one.name == planted.scenario) scenario = one;
    BOOST_REQUIRE(scenario.prepare);
    scenario.step = planted.step;
    const SweepCounts counts = sweep_step(scenario, Depth::each_state);
    std::printf("planted    %-52s %s\n", planted.mistake, counts.first_violation.c_str());
    BOOST_TEST(counts.violations != 0u, planted.mistake << " was not caught");
  }
}
