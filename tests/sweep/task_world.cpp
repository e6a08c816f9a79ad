#include "tests/sweep/task_world.hpp"

#include <unistd.h>

#include <algorithm>
#include <boost/test/unit_test.hpp>
#include <cstring>

#include "tests/sweep/shared_pages.hpp"

namespace micro_swarm::sweep {

namespace {

template <class T>
T value_of(Result<T> result) {
  BOOST_REQUIRE_MESSAGE(result.has_value(), result.error().message);
  return std::move(*result);
}

constexpr std::uint32_t payload_bytes = 100;
constexpr std::uint64_t region_bytes = 4096;
constexpr std::uint32_t bank_slots = 16;
// In a batch's region: the payload of task n, and the entries.
constexpr std::uint64_t payload_offset(std::uint64_t number) { return number * 128; }
constexpr std::uint64_t header_offset = 2048;

void make_live(SupervisorTables& tables, PartyId p) {
  PartyRow& row = tables.parties[p];
  row.incarnation = 1;
  row.phase = static_cast<std::uint32_t>(PartyPhase::live);
  store(row.roster, RosterWord::make(RosterState::live, 1).word);
}

void make_bank(SupervisorTables& tables, std::uint32_t bank, PartyId owner) {
  BankRow& row = tables.banks[bank];
  row.slots = bank_slots;
  row.serial = 1;
  row.region_bytes = region_bytes;
  store(row.word, BankWord::make(BankState::live, owner, 1).word);
}

/// The number a payload or a result stands for.
std::uint64_t number_of(Token token) { return slot_of(token.region()); }

bool contains(const std::vector<std::uint64_t>& numbers, std::uint64_t number) {
  return std::find(numbers.begin(), numbers.end(), number) != numbers.end();
}

}  // namespace

Brain::Brain(const Config& config, SegmentView segment, int agent_fd, int client_fd,
             int client_bank_fd)
    : client_bank_fd_(client_bank_fd),
      context_(std::make_unique<SupervisorContext>(config, segment, -1, -1, ::getpid(), 1)),
      banks_(std::make_unique<Banks>(*context_)),
      tokens_(std::make_unique<Tokens>(*context_, *banks_)),
      deliveries_(std::make_unique<Deliveries>(*context_, *banks_, *tokens_)),
      tasks_(std::make_unique<Tasks>(*context_, *banks_, *tokens_)),
      succession_(
          std::make_unique<Succession>(*context_, *banks_, *tasks_, *tokens_, *deliveries_)) {
  Parties parties(*context_, *banks_);
  const auto attach = [&](PartyId p, int fd) {
    const auto adopted = parties.adopt_live(context_->peers[p], value_of(duplicate(fd)));
    BOOST_REQUIRE_MESSAGE(adopted.has_value(), adopted.error().message);
  };
  attach(agent_party, agent_fd);
  attach(client_party, client_fd);
}

void Brain::adopt() {
  banks_->adopt([this](std::uint32_t bank) {
    return bank == client_bank ? value_of(duplicate(client_bank_fd_)).release() : -1;
  });
  const std::vector<Hold*> carried = succession_->settle_own();
  deliveries_->adopt();
  tasks_->adopt();
  for (Hold* hold : carried) tokens_->release(*hold);
  agent_up();
  tasks_->client_adopted(client());
}

void Brain::agent_up() {
  CapabilitySet capabilities;
  capabilities.set(0);
  tasks_->agent_up(agent(), capabilities);
}

bool Brain::serve() {
  bool blocked = false;
  if (tasks_->has_retry()) tasks_->retry();
  if (tokens_->has_pending()) tokens_->retry();
  if (deliveries_->has_waiting()) deliveries_->retry();
  tasks_->tick(now_ns());
  const std::uint32_t from_client = succession_->drain(client(), 64, blocked);
  const std::uint32_t from_agent = succession_->drain(agent(), 64, blocked);
  return from_client + from_agent != 0;
}

void requeue_dead_letters(Brain& supervisor) {
  for (std::uint32_t slot = 0; slot < task_capacity; ++slot) {
    const TaskWord word = word_of(supervisor.tasks().record(slot));
    if (word.state() == TaskState::dead_letter)
      (void)supervisor.tasks().requeue(make_task_id(slot, word.generation()));
  }
}

TaskWorld::TaskWorld()
    : supervisor_(value_of(Segment::create_supervisor(task_capacity))),
      agent_(value_of(Segment::create_party(agent_party, 1))),
      client_(value_of(Segment::create_party(client_party, 1))),
      client_bank_(value_of(create_memfd("sweep-bank", bank_slots * region_bytes))),
      client_memory_(value_of(Mapping::map(client_bank_.get(), bank_slots * region_bytes,
                                           Mapping::Access::read_write))) {
  config_.tasks.attempts_max = 1;  // one agent's death makes a dead letter
  // The operation runs in a forked child: the one place where a writable mapping is passed on.
  for (const Segment* segment : {&supervisor_, &agent_, &client_})
    BOOST_REQUIRE(segment->mapping().give_to_children().has_value());
  SupervisorTables& tables = supervisor_.view().tables();
  store(tables.accepting, 1);
  std::strcpy(tables.capabilities[0].text, "work");
  make_live(tables, agent_party);
  make_live(tables, client_party);
  make_bank(tables, client_bank, client_party);
  make_bank(tables, agent_bank, agent_party);
  const std::uint64_t start = Cursor::make(1, 0).word;
  for (const Lane lane : {Lane::data, Lane::release}) {
    for (const PartyId p : {agent_party, client_party})
      store(supervisor_.view().cursor(p, lane), start);
    store(agent_.view().cursor(supervisor_party, lane), start);
    store(client_.view().cursor(supervisor_party, lane), start);
  }
}

std::unique_ptr<Brain> TaskWorld::new_supervisor() const {
  return std::make_unique<Brain>(config_, supervisor_.view(), agent_.fd(), client_.fd(),
                                 client_bank_.get());
}

std::unique_ptr<Brain> TaskWorld::running_supervisor() const {
  auto brain = new_supervisor();
  brain->adopt();
  return brain;
}

RingWriter TaskWorld::writer(const Segment& from, PartyId party, Lane lane) const {
  Slot* slots = from.view().ring(party, supervisor_party, lane);
  const std::uint32_t count = ring_slots(party, supervisor_party);
  return {slots, count, &supervisor_.view().cursor(party, lane), 1, find_tail(slots, count)};
}

RingReader TaskWorld::reader(const Segment& to, PartyId party, Lane lane) const {
  return {supervisor_.view().ring(supervisor_party, party, lane),
          ring_slots(supervisor_party, party), &to.view().cursor(supervisor_party, lane)};
}

void TaskWorld::submit(std::uint64_t number, bool with_region, std::uint16_t capability) {
  SlotBody body;
  body.kind = static_cast<std::uint16_t>(MessageKind::submit);
  body.inline_data[0] = number;
  body.inline_data[1] =
      SubmitWord::make(0, capability, static_cast<std::uint8_t>(Priority::normal), 0).word;
  RingWriter ring = writer(client_, client_party, Lane::data);
  seen.submitted.push_back(number);
  if (capability == unknown_capability) seen.to_be_refused.push_back(number);
  if (!with_region) {
    body.inline_bytes = 8;
    body.inline_data[2] = number;
    BOOST_REQUIRE(ring.try_send(body));
    return;
  }
  const RegionIndex region = region_index(client_bank, static_cast<std::uint32_t>(number));
  Hold& hold = client_.view().holds()[number];
  allocate(hold, client_.view().region(region), client_party, region, 0);
  body.region_bytes = payload_bytes;
  BOOST_REQUIRE(pass(ring, hold, Lane::data, supervisor_party, body));
}

void TaskWorld::submit_batch(std::uint64_t first, const std::vector<BatchTask>& tasks) {
  const bool is_refused = std::any_of(tasks.begin(), tasks.end(), [](const BatchTask& task) {
    return task.capability == unknown_capability;
  });
  std::vector<std::byte> bytes(sizeof(BatchHeader));
  std::vector<BatchDependency> dependencies;
  for (std::size_t i = 0; i < tasks.size(); ++i) {
    const std::uint64_t number = first + i;
    seen.submitted.push_back(number);
    if (is_refused) seen.to_be_refused.push_back(number);
    BatchEntry entry;
    entry.data.capability = tasks[i].capability;
    entry.data.priority = static_cast<std::uint8_t>(Priority::normal);
    if (tasks[i].with_region) {
      entry.data.payload_bytes = payload_bytes;
      entry.data.payload_offset = payload_offset(number);
    } else {
      entry.inline_payload = std::as_bytes(std::span(&number, 1));
    }
    dependencies.clear();
    for (const std::uint64_t named : tasks[i].depends_on)
      dependencies.push_back({BatchDependency::Kind::number, named});
    entry.dependencies = dependencies;
    entry.data.retries = tasks[i].retries;
    append_entry(bytes, entry);
  }
  BatchHeader header;
  header.count = static_cast<std::uint32_t>(tasks.size());
  header.bytes = static_cast<std::uint32_t>(bytes.size());
  std::memcpy(bytes.data(), &header, sizeof header);
  const RegionIndex region = region_index(client_bank, static_cast<std::uint32_t>(first));
  std::memcpy(client_memory_.data() + slot_of(region) * region_bytes + header_offset, bytes.data(),
              bytes.size());

  SlotBody body;
  body.kind = static_cast<std::uint16_t>(MessageKind::submit_batch);
  body.region_bytes = region_bytes;
  body.inline_bytes = 8;
  body.inline_data[0] = first;
  body.inline_data[1] = tasks.size();
  body.inline_data[2] = header_offset;
  Hold& hold = client_.view().holds()[first];
  allocate(hold, client_.view().region(region), client_party, region, 0);
  RingWriter ring = writer(client_, client_party, Lane::data);
  BOOST_REQUIRE(pass(ring, hold, Lane::data, supervisor_party, body));
}

void TaskWorld::transfer(std::uint64_t tag, PartyId target) {
  seen.transferred.push_back(tag);
  const RegionIndex region =
      region_index(client_bank, static_cast<std::uint32_t>(tag % bank_slots));
  Hold& hold = client_.view().holds()[tag];
  Word& word = client_.view().region(region);
  if (RegionWord{load(word)}.outstanding() == 0)
    allocate(hold, word, client_party, region, 0);
  else
    mint(hold, word, client_party, region);
  SlotBody body;
  body.kind = static_cast<std::uint16_t>(MessageKind::transfer);
  body.region_bytes = payload_bytes;
  body.inline_data[0] = TransferWord::make(target, TransferRefusal::none).word;
  body.inline_data[1] = tag;
  RingWriter ring = writer(client_, client_party, Lane::data);
  BOOST_REQUIRE(pass(ring, hold, Lane::data, supervisor_party, body));
}

void TaskWorld::receive_transfer(const Segment& at, PartyId party, RingReader& ring) {
  const SlotBody body = ring.front();
  const std::uint64_t tag = body.inline_data[1];
  const Token token{body.token};
  ++seen.arrived[tag];
  const bool is_right = body.region_bytes == payload_bytes && tag > seen.last_arrived[party] &&
                        (TransferWord{body.inline_data[0]}.refusal() == TransferRefusal::none) ==
                            (party == agent_party) &&
                        RegionWord{load(client_.view().region(token.region()))}.names(token);
  if (!is_right) seen.arrived[tag] += 100;
  seen.last_arrived[party] = tag;
  take_and_send_home(at, party, ring, 200 + tag);
}

void TaskWorld::take_and_send_home(const Segment& at, PartyId party, RingReader& ring,
                                   std::uint64_t hold_number) {
  Hold& hold = at.view().holds()[hold_number];
  const Token token{ring.front().token};
  const MessageInHand in_hand =
      take_in_hand(ring, at.view().header().in_hand, Lane::data, supervisor_party);
  take_token(hold, token);
  RingWriter home = writer(at, party, Lane::release);
  SlotBody release;
  release.kind = static_cast<std::uint16_t>(MessageKind::release);
  BOOST_REQUIRE(pass(home, hold, Lane::release, supervisor_party, release, in_hand));
}

bool TaskWorld::collect(const Segment& owner, PartyId party) {
  RingReader ring = reader(owner, party, Lane::release);
  bool moved = false;
  for (; ring.ready(); moved = true) {
    const Token token{ring.front().token};
    receive_release(ring, owner.view().region(token.region()), token);
  }
  return moved;
}

bool TaskWorld::client_works() {
  bool moved = collect(client_, client_party);
  RingReader ring = reader(client_, client_party, Lane::data);
  for (; ring.ready(); moved = true) {
    const SlotBody body = ring.front();
    if (body.kind == static_cast<std::uint16_t>(MessageKind::transfer)) {
      receive_transfer(client_, client_party, ring);
      continue;
    }
    const std::uint64_t number = body.inline_data[0];
    const Token token{body.token};
    if (ResultWord{body.inline_data[1]}.state() == TaskState::free) {
      for (std::uint32_t i = 0; i < RefusalScope{body.inline_data[4]}.count(); ++i) {
        ++seen.results[number + i];
        if (!contains(seen.to_be_refused, number + i)) ++seen.wrong[number + i];
      }
      ring.advance();
      continue;
    }
    ++seen.results[number];
    if (contains(seen.to_be_requeued, number) || contains(seen.to_stay_dead, number)) {
      const bool is_dead = ResultWord{body.inline_data[1]}.state() == TaskState::dead_letter;
      if (!is_dead || token) ++seen.wrong[number];
      ring.advance();
      continue;
    }
    const TaskState expected = contains(seen.to_fail, number) || contains(seen.to_be_doomed, number)
                                   ? TaskState::failed
                                   : TaskState::done;
    const bool right =
        ResultWord{body.inline_data[1]}.state() == expected &&
        (token ? number_of(token) == number && body.region_bytes == payload_bytes
               : contains(seen.to_be_doomed, number) || body.inline_data[2] == 2 * number);
    if (!right) ++seen.wrong[number];
    if (!token) {
      ring.advance();
      continue;
    }
    take_and_send_home(client_, client_party, ring, 100 + number);
  }
  return moved;
}

bool TaskWorld::agent_works() {
  bool moved = collect(agent_, agent_party);
  RingReader ring = reader(agent_, agent_party, Lane::data);
  for (; ring.ready(); moved = true) {
    const SlotBody dispatch = ring.front();
    if (dispatch.kind == static_cast<std::uint16_t>(MessageKind::transfer)) {
      receive_transfer(agent_, agent_party, ring);
      continue;
    }
    const Token lent{dispatch.token};
    std::uint64_t number = dispatch.inline_data[2];
    if (lent) number = number != 0 ? number / payload_offset(1) : number_of(lent);
    ++seen.executions[number];
    if (!inputs_are_there(dispatch.inline_data[0])) ++seen.wrong[number];
    SlotBody answer;
    answer.kind = static_cast<std::uint16_t>(MessageKind::complete);
    answer.inline_data[0] = dispatch.inline_data[0];
    const AttemptWord attempt{dispatch.inline_data[1]};
    const bool fails = contains(seen.to_fail, number) ||
                       (attempt.attempt() == 1 && contains(seen.to_fail_once, number));
    answer.inline_data[1] =
        AttemptWord::make(attempt.incarnation(), attempt.capability(), attempt.attempt(),
                          static_cast<std::uint8_t>(fails ? Outcome::failed : Outcome::done))
            .word;
    RingWriter out = writer(agent_, agent_party, Lane::data);
    if (lent) {
      const RegionIndex region = region_index(agent_bank, static_cast<std::uint32_t>(number));
      Hold& hold = agent_.view().holds()[number];
      // Run twice, it answers from the same region only once that is free again.
      if (RegionWord{load(agent_.view().region(region))}.outstanding() == 0)
        allocate(hold, agent_.view().region(region), agent_party, region, 0);
      else
        mint(hold, agent_.view().region(region), agent_party, region);
      answer.region_bytes = payload_bytes;
      BOOST_REQUIRE(pass(out, hold, Lane::data, supervisor_party, answer));
    } else {
      answer.inline_bytes = 8;
      answer.inline_data[2] = 2 * number;
      BOOST_REQUIRE(out.try_send(answer));
    }
    ring.advance();
  }
  return moved;
}

void TaskWorld::agent_dies_with(std::uint64_t number) {
  const auto brain = running_supervisor();
  brain->serve();
  for (RingReader ring = reader(agent_, agent_party, Lane::data); ring.ready();) ring.advance();
  for (std::uint32_t slot = 0; slot < task_capacity; ++slot)
    if (const TaskRecord& record = supervisor_.view().records()[slot];
        record.request.number == number && word_of(record).state() == TaskState::running) {
      brain->tasks().agent_died(brain->agent(), 1,
                                make_task_id(slot, word_of(record).generation()));
      break;
    }
  client_works();
}

/// All is quiet. What a requeued task left is for whoever asks, until the room is needed.
std::string TaskWorld::end_dead_letters(Brain& supervisor) {
  for (std::uint32_t slot = 0; slot < task_capacity; ++slot) {
    const TaskRecord& record = supervisor.tasks().record(slot);
    if (record.revived_after_ms != 0 && is_terminal(word_of(record).state()) &&
        record.result_token != 0 && load(supervisor.tasks().result_hold(slot).token) == 0)
      return "the result of a requeued task is lost";
  }
  while (supervisor.tasks().evict_one_result()) {
  }
  collect(client_, client_party);
  collect(agent_, agent_party);
  return {};
}

bool TaskWorld::inputs_are_there(TaskId task) const {
  const SegmentView s = supervisor_.view();
  const std::uint32_t slot = task_slot(task);
  if (s.records()[slot].request.has_options == 0) return true;
  for (std::uint32_t i = 0; i < s.task_options()[slot].dependency_count; ++i) {
    const TaskId id = s.task_dependencies()[slot].ids[i];
    const TaskRecord& input = s.records()[task_slot(id)];
    const Token token{input.result_token};
    if (word_of(input).generation() != task_generation(id) || !is_terminal(word_of(input).state()))
      return false;
    if (token && !RegionWord{load(agent_.view().region(token.region()))}.names(token)) return false;
  }
  return true;
}

std::string TaskWorld::run_to_quiet(Brain& supervisor) {
  if (!seen.to_be_requeued.empty()) requeue_dead_letters(supervisor);
  for (int quiet = 0, rounds = 0; quiet < 3; ++rounds) {
    if (rounds == 100) return "the swarm does not come to rest";
    bool moved = supervisor.serve();
    moved |= agent_works();
    moved |= client_works();
    quiet = moved ? 0 : quiet + 1;
  }
  if (!seen.to_be_requeued.empty() || !seen.to_stay_dead.empty())
    if (std::string wrong = end_dead_letters(supervisor); !wrong.empty()) return wrong;
  return check();
}

std::string TaskWorld::check() const {
  for (const std::uint64_t number : seen.submitted) {
    const std::string which = "task " + std::to_string(number);
    const auto count = [&](const std::map<std::uint64_t, int>& of) {
      const auto found = of.find(number);
      return found == of.end() ? 0 : found->second;
    };
    if (count(seen.results) == 0) return which + " has no result: it is lost";
    if (count(seen.results) != 1) return which + " has more than one result";
    if (count(seen.wrong) != 0) return which + " has a wrong result";
    if (contains(seen.to_be_refused, number)) {
      if (count(seen.executions) != 0) return which + " was refused and executed";
      continue;
    }
    if (contains(seen.to_be_doomed, number)) {
      if (count(seen.executions) != 0) return which + " was run although what it needs failed";
      continue;
    }
    if (contains(seen.to_stay_dead, number)) {
      if (count(seen.executions) != 0) return which + " was executed although nobody asked for it";
      continue;
    }
    if (count(seen.executions) != (contains(seen.to_fail_once, number) ? 2 : 1))
      return which + " was executed " + std::to_string(count(seen.executions)) +
             " times although no agent died";
  }
  for (const std::uint64_t tag : seen.transferred) {
    const auto arrived = seen.arrived.find(tag);
    if (arrived == seen.arrived.end()) return "a region that was handed over is lost";
    if (arrived->second != 1)
      return "region " + std::to_string(tag) + " arrived twice, out of order, or as another";
  }
  for (const auto& [segment, bank] : {std::pair{&client_, client_bank}, {&agent_, agent_bank}})
    for (std::uint32_t slot = 0; slot < bank_slots; ++slot)
      if (RegionWord{load(segment->view().region(region_index(bank, slot)))}.outstanding() != 0)
        return "a region is not free at the end";
  for (const Segment* segment : {&supervisor_, &agent_, &client_})
    for (std::uint32_t k = 0; k < segment->view().hold_count(); ++k)
      if (load(segment->view().holds()[k].token) != 0) return "a hold is not empty at the end";
  for (std::uint32_t slot = 0; slot < task_capacity; ++slot) {
    const TaskRecord& record = supervisor_.view().records()[slot];
    const TaskState state = word_of(record).state();
    if (state != TaskState::free && (!is_terminal(state) || record.notified == 0))
      return "a record is neither free nor over";
  }
  return {};
}

SharedMemory TaskWorld::memory() const {
  SharedMemory memory = shared_pages({{supervisor_.fd(), supervisor_.view().base()},
                                      {agent_.fd(), agent_.view().base()},
                                      {client_.fd(), client_.view().base()}});
  const SegmentView s = supervisor_.view();
  const auto watch = [&memory](const auto* first, std::size_t count) {
    memory.watched.push_back(std::as_bytes(std::span(first, count)));
  };
  watch(&s.header().in_hand, 1);
  for (const PartyId p : {agent_party, client_party}) {
    watch(&s.cursor(p, Lane::data), 2);
    watch(&s.tables().parties[p], 1);
    for (const Lane lane : {Lane::data, Lane::release})
      watch(s.ring(supervisor_party, p, lane), 16);
  }
  watch(s.holds(), s.hold_count());
  watch(s.records(), task_capacity);
  watch(s.task_options(), task_capacity);
  watch(s.task_dependencies(), task_capacity);
  watch(s.tables().banks, 2);
  watch(s.tables().deliveries, delivery_rows);
  return memory;
}

}  // namespace micro_swarm::sweep
