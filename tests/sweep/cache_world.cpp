#include "tests/sweep/cache_world.hpp"

#include <poll.h>
#include <sys/socket.h>

#include <algorithm>
#include <boost/test/unit_test.hpp>
#include <cstring>
#include <fstream>

#include "tests/sweep/shared_pages.hpp"

namespace micro_swarm::sweep {

namespace {

constexpr std::uint64_t pool_region_bytes = 4096;
constexpr std::uint64_t pool_regions = 64;
constexpr std::uint32_t client_bank = 0;
constexpr std::uint32_t client_slots = 16;
constexpr std::uint32_t task_capacity = 4;
constexpr std::uint32_t cache_entries = 16;
constexpr std::uint32_t banks_watched = 12;

template <class T>
T value_of(Result<T> result) {
  BOOST_REQUIRE_MESSAGE(result.has_value(), result.error().message);
  return std::move(*result);
}

std::pair<UniqueFd, UniqueFd> root_socket() {
  int ends[2];
  BOOST_REQUIRE(::socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, ends) == 0);
  return {UniqueFd(ends[0]), UniqueFd(ends[1])};
}

}  // namespace

std::vector<std::byte> bytes_of(const std::string& name) {
  std::vector<std::byte> bytes(CacheWorld::entry_bytes);
  // Packs well, and differs from entry to entry.
  for (std::size_t i = 0; i < bytes.size(); ++i)
    bytes[i] = static_cast<std::byte>(name[i / 100 % name.size()] + (i % 10));
  return bytes;
}

// ---- the supervisor ----

CacheBrain::CacheBrain(const CacheWorld& world)
    : world_(world),
      root_(root_socket()),
      context_(std::make_unique<SupervisorContext>(world.config(), world.segment(), -1,
                                                   root_.second.get(), ::getpid(), 1)),
      banks_(std::make_unique<Banks>(*context_)),
      tokens_(std::make_unique<Tokens>(*context_, *banks_)),
      deliveries_(std::make_unique<Deliveries>(*context_, *banks_, *tokens_)),
      tasks_(std::make_unique<Tasks>(*context_, *banks_, *tokens_)),
      store_(std::make_unique<CacheStore>(*context_, *banks_, *tokens_)),
      succession_(
          std::make_unique<Succession>(*context_, *banks_, *tasks_, *tokens_, *deliveries_)) {
  succession_->set_cache([this](Peer& peer, const SlotBody& body, MessageInHand in_hand) {
    return store_->handle(peer, body, in_hand);
  });
  const auto adopted =
      Parties(*context_, *banks_).adopt_live(client(), value_of(duplicate(world.client_fd())));
  BOOST_REQUIRE_MESSAGE(adopted.has_value(), adopted.error().message);
}

Peer& CacheBrain::client() { return context_->peers[CacheWorld::client_party]; }

void CacheBrain::adopt() {
  banks_->adopt([this](std::uint32_t bank) {
    const auto found = world_.banks().find(bank);
    return found == world_.banks().end() ? -1 : duplicate(found->second.get())->release();
  });
  const std::vector<Hold*> carried = succession_->settle_own();
  deliveries_->adopt();
  tasks_->adopt();
  for (Hold* hold : carried) tokens_->release(*hold);
  store_->adopt();
}

bool CacheBrain::serve() {
  std::array<std::byte, 4096> told;  // root does what it is told
  for (ReceivedMessage got; (got = receive_with_fds(root_.first.get(), told)).size > 0;)
    for (int f = 0; f < got.fd_count; ++f) ::close(got.fds[f]);
  bool blocked = false;
  if (tokens_->has_pending()) tokens_->retry();
  if (store_->has_retry()) store_->retry();
  return succession_->drain(client(), 64, blocked) != 0;
}

void CacheBrain::hear_worker() {
  context_->io.poll();
  if (context_->io.stopped()) context_->io.restart();
}

void CacheBrain::wait_for_worker() const {
  while (!store_->have_jobs_ended()) ::poll(nullptr, 0, 1);
}

// ---- the world ----

CacheWorld::CacheWorld(caching::OnEviction on_eviction)
    : supervisor_(value_of(Segment::create_supervisor(task_capacity, cache_entries))),
      client_(value_of(Segment::create_party(client_party, 1))) {
  kept_[client_bank] = value_of(create_memfd("sweep-bank", client_slots * pool_region_bytes));
  client_memory_ = value_of(Mapping::map(kept_[client_bank].get(), client_slots * pool_region_bytes,
                                         Mapping::Access::read_write));
  config_.memory.region_size = pool_region_bytes;
  config_.memory.pool_size = pool_regions * pool_region_bytes;
  config_.swarm.state_dir = directory_.path();
  config_.cache.on_eviction = on_eviction;
  config_.cache.capacity = 8 * 1024;  // eight entries of a kilobyte's slab each
  config_.cache.entries_max = cache_entries;
  for (const Segment* segment : {&supervisor_, &client_})
    BOOST_REQUIRE(segment->mapping().give_to_children().has_value());
  SupervisorTables& tables = supervisor_.view().tables();
  store(tables.accepting, 1);
  store(tables.region_bytes, pool_region_bytes);
  store(tables.pool_regions, pool_regions);
  PartyRow& row = tables.parties[client_party];
  row.incarnation = 1;
  row.phase = static_cast<std::uint32_t>(PartyPhase::live);
  store(row.roster, RosterWord::make(RosterState::live, 1).word);
  BankRow& bank = tables.banks[client_bank];
  bank.slots = client_slots;
  bank.serial = 1;
  bank.region_bytes = pool_region_bytes;
  store(bank.word, BankWord::make(BankState::live, client_party, 1).word);
  const std::uint64_t start = Cursor::make(1, 0).word;
  for (const Lane lane : {Lane::data, Lane::release}) {
    store(supervisor_.view().cursor(client_party, lane), start);
    store(client_.view().cursor(supervisor_party, lane), start);
  }
}

namespace {
RingWriter writer_of(const CacheWorld& world, Lane lane) {
  constexpr PartyId client = CacheWorld::client_party;
  Slot* slots = world.client_segment().ring(client, supervisor_party, lane);
  const std::uint32_t count = ring_slots(client, supervisor_party);
  return {slots, count, &world.segment().cursor(client, lane), 1, find_tail(slots, count)};
}
RingReader reader_of(const CacheWorld& world, Lane lane) {
  constexpr PartyId client = CacheWorld::client_party;
  return {world.segment().ring(supervisor_party, client, lane),
          ring_slots(supervisor_party, client),
          &world.client_segment().cursor(supervisor_party, lane)};
}
}  // namespace

std::uint32_t CacheWorld::free_hold() const {
  std::uint32_t hold = 0;
  while (load(client_.view().holds()[hold].token) != 0) ++hold;
  return hold;
}

void CacheWorld::put(const std::string& name, std::uint32_t ttl_ms) {
  const std::uint64_t number = seen_.next_number++;
  seen_.open[number] = {MessageKind::cache_put, name};
  std::uint32_t slot = 0;
  const SegmentView view = client_.view();
  while (RegionWord{load(view.region(region_index(client_bank, slot)))}.outstanding() != 0) ++slot;
  const RegionIndex region = region_index(client_bank, slot);
  const std::vector<std::byte> bytes = bytes_of(name);
  std::byte* to = client_memory_.data() + slot * pool_region_bytes;
  std::memcpy(to, bytes.data(), bytes.size());
  std::memcpy(to + bytes.size(), name.data(), name.size());
  Hold& hold = view.holds()[free_hold()];
  allocate(hold, view.region(region), client_party, region, 0);
  SlotBody body;
  body.kind = static_cast<std::uint16_t>(MessageKind::cache_put);
  body.region_bytes = static_cast<std::uint32_t>(bytes.size() + name.size());
  body.inline_data[0] = number;
  body.inline_data[1] = bytes.size();
  body.inline_data[2] = CachePutWord::make(ttl_ms, Priority::normal, name.size()).word;
  RingWriter ring = writer_of(*this, Lane::data);
  BOOST_REQUIRE(pass(ring, hold, Lane::data, supervisor_party, body));
}

namespace {
SlotBody request(MessageKind kind, std::uint64_t number, const std::string& name) {
  const CacheKey key = cache_key(name);
  SlotBody body;
  body.kind = static_cast<std::uint16_t>(kind);
  body.inline_data[0] = number;
  if (kind == MessageKind::cache_put) return body;  // without a right: what became of it?
  body.inline_data[1] = key.words[0];
  body.inline_data[2] = key.words[1];
  return body;
}
}  // namespace

void CacheWorld::get(const std::string& name) {
  const std::uint64_t number = seen_.next_number++;
  seen_.open[number] = {MessageKind::cache_get, name};
  BOOST_REQUIRE(
      writer_of(*this, Lane::data).try_send(request(MessageKind::cache_get, number, name)));
}

void CacheWorld::erase(const std::string& name) {
  const std::uint64_t number = seen_.next_number++;
  may_go(name);
  seen_.open[number] = {MessageKind::cache_erase, name};
  BOOST_REQUIRE(
      writer_of(*this, Lane::data).try_send(request(MessageKind::cache_erase, number, name)));
}

void CacheWorld::release(const std::string& name) {
  std::vector<std::uint32_t>& holds = seen_.readers[name];
  BOOST_REQUIRE(!holds.empty());
  SlotBody body;
  body.kind = static_cast<std::uint16_t>(MessageKind::release);
  RingWriter ring = writer_of(*this, Lane::release);
  BOOST_REQUIRE(
      pass(ring, client_.view().holds()[holds.back()], Lane::release, supervisor_party, body));
  holds.pop_back();
}

bool CacheWorld::take_answer() {
  RingReader ring = reader_of(*this, Lane::data);
  if (!ring.ready()) return false;
  const SlotBody body = ring.front();
  const auto open = seen_.open.find(body.inline_data[0]);
  const auto answer = static_cast<CacheAnswer>(CacheAnswerWord{body.inline_data[1]}.answer());
  const Token token{body.token};
  std::uint32_t hold = 0;
  if (token) {
    hold = free_hold();
    const MessageInHand in_hand =
        take_in_hand(ring, client_.view().header().in_hand, Lane::data, supervisor_party);
    take_token(client_.view().holds()[hold], token);
    keep(in_hand);
  } else {
    ring.advance();
  }
  const bool is_wanted = open != seen_.open.end();
  const std::string name = is_wanted ? open->second.name : "";
  if (token) {
    seen_.readers[name].push_back(hold);
    if (!is_wanted) release(name);  // a second answer
  }
  if (!is_wanted) return true;
  if (open->second.kind == MessageKind::cache_put && answer == CacheAnswer::stored)
    seen_.must_be_there.emplace(name, true);
  if (open->second.kind == MessageKind::cache_get)
    ++(answer == CacheAnswer::found ? seen_.gets_found : seen_.gets_missed)[name];
  seen_.open.erase(open);
  return true;
}

bool CacheWorld::client_works(bool is_new_supervisor) {
  bool moved = false;
  while (take_answer()) moved = true;
  RingReader home = reader_of(*this, Lane::release);
  for (; home.ready(); moved = true) {
    const Token token{home.front().token};
    receive_release(home, client_.view().region(token.region()), token);
  }
  if (is_new_supervisor)
    for (const auto& [number, open] : seen_.open)
      BOOST_REQUIRE(writer_of(*this, Lane::data).try_send(request(open.kind, number, open.name)));
  return moved;
}

std::unique_ptr<CacheBrain> CacheWorld::running_supervisor() {
  auto brain = std::make_unique<CacheBrain>(*this);
  brain->adopt();
  return brain;
}

void CacheWorld::keep_banks(const CacheBrain& brain) {
  auto& banks = const_cast<CacheBrain&>(brain).banks();
  banks.for_each([&](std::uint32_t bank, const BankRow&, BankWord) {
    if (const int fd = banks.memory_fd(bank); fd >= 0) kept_[bank] = value_of(duplicate(fd));
  });
}

bool CacheWorld::run_to_quiet(CacheBrain& brain) {
  for (int quiet = 0, rounds = 0; quiet < 3; ++rounds) {
    if (rounds == 200) return false;
    const bool works = brain.store().jobs_under_way() != 0;
    if (works) {
      brain.wait_for_worker();
      brain.hear_worker();
    }
    bool moved = brain.serve();
    moved |= client_works();
    quiet = moved || works ? 0 : quiet + 1;
  }
  return true;
}

bool CacheWorld::has_bytes(CacheBrain& brain, Token token, const std::string& name) const {
  const std::vector<std::byte> wanted = bytes_of(name);
  std::vector<std::byte> there(wanted.size());
  return brain.banks().outstanding(token) && brain.banks().read(token, 0, there) && there == wanted;
}

std::string CacheWorld::check_readers(CacheBrain& brain) const {
  for (const auto& [name, holds] : seen_.readers)
    for (const std::uint32_t hold : holds)
      if (!has_bytes(brain, Token{load(client_.view().holds()[hold].token)}, name))
        return "a reader of '" + name + "' does not find its bytes";
  return {};
}

std::string CacheWorld::check(CacheBrain& brain) {
  client_works(true);
  if (!run_to_quiet(brain)) return "the swarm does not come to rest";
  if (!seen_.open.empty()) return "a request has no answer";
  if (brain.store().damaged() != 0) return "a row makes no sense";
  if (std::string wrong = check_readers(brain); !wrong.empty()) return wrong;

  // Everything that is there is whole, and everything is there that has to be.
  std::map<std::string, bool> all = seen_.must_be_there;
  for (const CacheEntryInfo& entry : brain.store().list()) all.emplace(entry.name, false);
  for (const auto& [name, must] : all) {
    const int found_before = seen_.gets_found[name];
    get(name);
    if (!run_to_quiet(brain)) return "a get does not come to rest";
    if (seen_.gets_found[name] == found_before && must) return "'" + name + "' is lost";
    if (std::string wrong = check_readers(brain); !wrong.empty()) return wrong;
    while (!seen_.readers[name].empty()) release(name);
    if (!run_to_quiet(brain)) return "a release does not come to rest";
  }

  // And then nothing is left.
  for (const auto& [name, must] : all) erase(name);
  if (!run_to_quiet(brain)) return "an erase does not come to rest";
  if (brain.store().cache().size() != 0) return "an entry is left";
  if (brain.store().damaged() != 0) return "an entry cannot be brought back";
  brain.banks().return_idle();
  for (std::uint32_t index = 0; index < banks_watched * bank_slots_max; ++index)
    if (RegionWord{load(supervisor_.view().tables().heir_regions[index])}.outstanding() != 0)
      return "a region of the cache is not free at the end";
  for (std::uint32_t slot = 0; slot < client_slots; ++slot)
    if (RegionWord{load(client_.view().region(region_index(client_bank, slot)))}.outstanding() != 0)
      return "a region that was handed over is not free at the end";
  for (const Segment* segment : {&supervisor_, &client_})
    for (std::uint32_t k = 0; k < segment->view().hold_count(); ++k)
      if (load(segment->view().holds()[k].token) != 0) return "a hold is not empty at the end";
  if (brain.banks().leased() != client_slots) return "the pool is short of regions at the end";
  brain.wait_for_worker();
  // The last job that has an answer is behind those that have none.
  put("last");
  if (!run_to_quiet(brain)) return "a put does not come to rest";
  if (!std::filesystem::exists(spill_directory())) return {};
  for (const auto& file : std::filesystem::directory_iterator(spill_directory()))
    return "a file is left: " + file.path().filename().string();
  return {};
}

CacheWorld::Outside CacheWorld::outside() const {
  Outside now = seen_;
  now.files.clear();
  if (!std::filesystem::exists(spill_directory())) return now;
  for (const auto& file : std::filesystem::directory_iterator(spill_directory())) {
    std::ifstream stream(file.path(), std::ios::binary);
    now.files[file.path().filename()] = std::string(std::istreambuf_iterator<char>(stream), {});
  }
  return now;
}

void CacheWorld::put_back(const Outside& outside) {
  seen_ = outside;
  std::filesystem::remove_all(spill_directory());
  if (outside.files.empty()) return;
  std::filesystem::create_directory(spill_directory());
  std::filesystem::permissions(spill_directory(), std::filesystem::perms::owner_all);
  for (const auto& [name, bytes] : outside.files)
    std::ofstream(spill_directory() / name, std::ios::binary) << bytes;
}

SharedMemory CacheWorld::memory() const {
  SharedMemory memory = shared_pages({{supervisor_.fd(), supervisor_.view().base()},
                                      {client_.fd(), client_.view().base()},
                                      {kept_.at(client_bank).get(), client_memory_.data()}});
  const auto watch = [&memory](const auto* first, std::size_t count) {
    memory.watched.push_back(std::as_bytes(std::span(first, count)));
  };
  const SegmentView s = supervisor_.view();
  watch(&s.header().in_hand, 1);
  watch(&s.cursor(client_party, Lane::data), 2);
  for (const Lane lane : {Lane::data, Lane::release})
    watch(s.ring(supervisor_party, client_party, lane), 32);
  watch(s.holds(), s.hold_count());
  watch(s.cache_rows(), cache_entries);
  watch(s.tables().banks, banks_watched);
  watch(&s.tables().heir_regions[0], banks_watched * bank_slots_max);
  return memory;
}

}  // namespace micro_swarm::sweep
