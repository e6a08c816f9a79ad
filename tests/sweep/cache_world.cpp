#include "tests/sweep/cache_world.hpp"

#include <fcntl.h>
#include <poll.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <boost/test/unit_test.hpp>
#include <cstdarg>
#include <cstring>
#include <fstream>

#include "supervisor/bank_rows.hpp"
#include "tests/sweep/shared_pages.hpp"

// ---- calls that change what is not memory (linked with --wrap) ----

namespace {

/// Counts what the stepped process has called; shared with who looks for new states.
micro_swarm::Word& calls() {
  static auto* const count = static_cast<micro_swarm::Word*>(
      ::mmap(nullptr, sizeof(micro_swarm::Word), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS,
             -1, 0));
  return *count;
}
bool are_calls_states = false;

template <class T>
T noted(T answer) {
  if (are_calls_states) micro_swarm::store(calls(), micro_swarm::load(calls()) + 1);
  return answer;
}

}  // namespace

extern "C" {
int __real_open(const char* path, int flags, ...);
int __real_rename(const char* from, const char* to);
int __real_unlink(const char* path);
ssize_t __real_write(int fd, const void* bytes, size_t size);
ssize_t __real_sendmsg(int fd, const msghdr* message, int flags);

int __wrap_open(const char* path, int flags, ...);
int __wrap_rename(const char* from, const char* to);
int __wrap_unlink(const char* path);
ssize_t __wrap_write(int fd, const void* bytes, size_t size);
ssize_t __wrap_sendmsg(int fd, const msghdr* message, int flags);

int __wrap_open(const char* path, int flags, ...) {
  if ((flags & O_CREAT) == 0) return __real_open(path, flags);
  va_list more;
  va_start(more, flags);
  const auto mode = va_arg(more, mode_t);
  va_end(more);
  return noted(__real_open(path, flags, mode));
}
int __wrap_rename(const char* from, const char* to) { return noted(__real_rename(from, to)); }
int __wrap_unlink(const char* path) { return noted(__real_unlink(path)); }
/// What is long is written in pieces, as the kernel may do it: a death then leaves half.
ssize_t __wrap_write(int fd, const void* bytes, size_t size) {
  constexpr size_t piece = 64;
  return noted(__real_write(fd, bytes, are_calls_states ? std::min(size, piece) : size));
}
ssize_t __wrap_sendmsg(int fd, const msghdr* message, int flags) {
  return noted(__real_sendmsg(fd, message, flags));
}
}

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
    return found == world_.banks().end() ? -1 : duplicate(found->second->get())->release();
  });
  const std::vector<Hold*> carried = succession_->settle_own();
  deliveries_->adopt();
  tasks_->adopt();
  for (Hold* hold : carried) tokens_->release(*hold);
  store_->adopt();
}

bool CacheBrain::serve() {
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
  kept_[client_bank] = std::make_shared<UniqueFd>(
      value_of(create_memfd("sweep-bank", client_slots * pool_region_bytes)));
  client_memory_ = value_of(Mapping::map(
      kept_[client_bank]->get(), client_slots * pool_region_bytes, Mapping::Access::read_write));
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

void CacheWorld::hear_root(const CacheBrain& brain) {
  std::array<RootRequest, root_batch_max> told;
  for (;;) {
    const ReceivedMessage got =
        receive_with_fds(brain.at_root(), std::as_writable_bytes(std::span(told)));
    if (got.size <= 0) return;
    const auto count = static_cast<std::size_t>(got.size) / sizeof(RootRequest);
    int fd = 0;
    for (const RootRequest& request : std::span(told).first(count)) {
      BOOST_REQUIRE(request.key >= fd_key::bank && request.key < fd_key::control_channel);
      const std::uint32_t bank = request.key - fd_key::bank;
      if (request.kind == RootRequestKind::keep_fd)
        kept_[bank] = std::make_shared<UniqueFd>(got.fds[fd++]);
      else
        kept_.erase(bank);
    }
    BOOST_REQUIRE(fd == got.fd_count);
  }
}

void CacheWorld::give_banks_to_children() {
  std::ifstream maps("/proc/self/maps");
  for (std::string line; std::getline(maps, line);) {
    if (line.find("rw-s") == std::string::npos || line.find("memfd:ms-bank") == std::string::npos)
      continue;
    std::size_t behind = 0;
    const auto first = std::stoull(line, &behind, 16);
    const auto last = std::stoull(line.substr(behind + 1), nullptr, 16);
    BOOST_REQUIRE(::madvise(reinterpret_cast<void*>(first), last - first, MADV_DOFORK) == 0);
  }
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
    hear_root(brain);
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

std::string CacheWorld::check_places(CacheBrain& brain) const {
  std::map<RegionIndex, RegionWord> words;
  brain.banks().for_each([&](std::uint32_t bank, const BankRow& row, BankWord) {
    for (std::uint32_t slot = 0; slot < row.slots; ++slot)
      if (const Word* word = brain.banks().region_word(bank, slot))
        words[region_index(bank, slot)] = RegionWord{load(*word)};
  });
  std::map<RegionIndex, std::uint32_t> held;
  for (const Segment* segment : {&supervisor_, &client_})
    for (std::uint32_t k = 0; k < segment->view().hold_count(); ++k) {
      const Token token{load(segment->view().holds()[k].token)};
      if (!token) continue;
      const auto word = words.find(token.region());
      const std::uint32_t bit = 1u << token.number();
      if (word == words.end() || (word->second.outstanding() & bit) == 0 ||
          word->second.generation() != token.generation())
        return "a right is held that is not out";
      if ((held[token.region()] & bit) != 0) return "a right is held twice";
      held[token.region()] |= bit;
    }
  for (const auto& [region, word] : words)
    if (const auto at = held.find(region);
        word.outstanding() != (at == held.end() ? 0 : at->second))
      return "a right is out that nobody holds";

  std::uint64_t leased = 0;
  brain.banks().for_each([&](std::uint32_t, const BankRow& row, BankWord) {
    leased += regions_taken(row, pool_region_bytes);
  });
  if (leased != brain.banks().leased()) return "the pool's account is wrong";
  return {};
}

std::string CacheWorld::check(CacheBrain& brain) {
  client_works(true);
  if (!run_to_quiet(brain)) return "the swarm does not come to rest";
  if (!seen_.open.empty()) return "a request has no answer";
  if (brain.store().damaged() != 0) return "a row makes no sense";
  if (std::string wrong = check_readers(brain); !wrong.empty()) return wrong;
  if (std::string wrong = check_places(brain); !wrong.empty()) return wrong;

  // Everything that is there is whole, and everything is there that has to be. Who reads, reads on.
  std::map<std::string, bool> all = seen_.must_be_there;
  for (const CacheEntryInfo& entry : brain.store().list()) all.emplace(entry.name, false);
  for (const auto& [name, must] : all) {
    const int found_before = seen_.gets_found[name];
    const std::size_t readers_before = seen_.readers[name].size();
    get(name);
    if (!run_to_quiet(brain)) return "a get does not come to rest";
    if (seen_.gets_found[name] == found_before && must) return "'" + name + "' is lost";
    if (std::string wrong = check_readers(brain); !wrong.empty()) return wrong;
    while (seen_.readers[name].size() > readers_before) release(name);
    if (!run_to_quiet(brain)) return "a release does not come to rest";
  }

  // Others come into what became free, and nothing else.
  for (const auto& [name, must] : all) erase(name);
  if (!run_to_quiet(brain)) return "an erase does not come to rest";
  for (const char* name : {"new 1", "new 2", "new 3"}) {
    put(name);
    if (!run_to_quiet(brain)) return "a put does not come to rest";
    if (!seen_.must_be_there[name]) return "a put is refused";
    if (std::string wrong = check_readers(brain); !wrong.empty()) return wrong;
    if (std::string wrong = check_places(brain); !wrong.empty()) return wrong;
    erase(name);
  }

  // And then nothing is left.
  for (auto& [name, holds] : seen_.readers)
    while (!holds.empty()) release(name);
  if (!run_to_quiet(brain)) return "the last release does not come to rest";
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
  hear_root(brain);
  for (const auto& [bank, fd] : kept_)
    if (brain.banks().slots_of(bank) == 0) return "root keeps the memory of a bank that is gone";
  brain.wait_for_worker();
  for (const auto& [name, bytes] : files()) return "a file is left: " + name;
  return {};
}

CacheWorld::Files CacheWorld::files() const {
  Files files;
  if (!std::filesystem::exists(spill_directory())) return files;
  for (const auto& file : std::filesystem::directory_iterator(spill_directory())) {
    std::ifstream stream(file.path(), std::ios::binary);
    files[file.path().filename()] = std::string(std::istreambuf_iterator<char>(stream), {});
  }
  return files;
}

/// What is as it should be is not touched: somebody may be writing it.
void CacheWorld::put_files(const Files& wanted) const {
  if (files() == wanted) return;
  std::filesystem::remove_all(spill_directory());
  std::filesystem::create_directory(spill_directory());
  std::filesystem::permissions(spill_directory(), std::filesystem::perms::owner_all);
  for (const auto& [name, bytes] : wanted)
    std::ofstream(spill_directory() / name, std::ios::binary) << bytes;
}

std::string CacheWorld::adopt_and_check(const CacheBrain& dead) {
  hear_root(dead);
  const Seen seen = seen_;
  const Kept kept = kept_;
  const Files left = files();
  unfinished_seen_ += static_cast<std::size_t>(std::count_if(
      left.begin(), left.end(), [](const auto& file) { return file.first.ends_with(".new"); }));
  config_.swarm.state_dir = copy_.path();
  put_files(left);
  std::string wrong;
  {
    CacheBrain next(*this);
    next.adopt();
    wrong = check(next);
  }
  config_.swarm.state_dir = directory_.path();
  seen_ = seen;
  kept_ = kept;
  return wrong;
}

namespace {
std::string content_of(int fd) {
  struct stat st {};
  BOOST_REQUIRE(::fstat(fd, &st) == 0);
  std::string bytes(static_cast<std::size_t>(st.st_size), '\0');
  BOOST_REQUIRE(::pread(fd, bytes.data(), bytes.size(), 0) == st.st_size);
  return bytes;
}
}  // namespace

/// A bank that is as it was stays what it is; of another, which nobody here may write, there is a
/// copy. Whoever comes next only reads either.
void CacheWorld::put_beside(const Beside& beside) {
  kept_ = beside.kept;
  for (const auto& [bank, bytes] : beside.in_banks) {
    if (content_of(kept_[bank]->get()) == bytes) continue;
    UniqueFd copy = value_of(create_memfd("sweep-bank", bytes.size()));
    BOOST_REQUIRE(::pwrite(copy.get(), bytes.data(), bytes.size(), 0) ==
                  static_cast<ssize_t>(bytes.size()));
    kept_[bank] = std::make_shared<UniqueFd>(std::move(copy));
  }
  put_files(beside.files);
}

std::uint64_t CacheWorld::remember() {
  Beside now{kept_, {}, files()};
  for (const auto& [bank, fd] : kept_)
    if (bank != client_bank) now.in_banks[bank] = content_of(fd->get());
  if (beside_.empty() || !(beside_.back() == now)) beside_.push_back(std::move(now));
  return beside_.size() - 1;
}

std::function<void()> CacheWorld::with_calls_as_states(std::function<void()> step) {
  return [step = std::move(step)] {
    are_calls_states = true;
    step();
  };
}

SharedMemory CacheWorld::memory(const CacheBrain& stepped) {
  SharedMemory memory = shared_pages({{supervisor_.fd(), supervisor_.view().base()},
                                      {client_.fd(), client_.view().base()},
                                      {kept_.at(client_bank)->get(), client_memory_.data()}});
  // Its last bytes say what was beside it.
  memory.save = [this, &stepped, save = memory.save] {
    hear_root(stepped);
    const std::uint64_t beside = remember();
    Snapshot copy = save();
    const auto number = std::as_bytes(std::span(&beside, 1));
    copy.insert(copy.end(), number.begin(), number.end());
    return copy;
  };
  memory.load = [this, load = memory.load](const Snapshot& copy) {
    std::uint64_t beside = 0;
    const std::size_t pages = copy.size() - sizeof beside;
    std::memcpy(&beside, copy.data() + pages, sizeof beside);
    load(Snapshot(copy.begin(), copy.begin() + static_cast<std::ptrdiff_t>(pages)));
    put_beside(beside_[beside]);
  };
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
  watch(&calls(), 1);
  return memory;
}

}  // namespace micro_swarm::sweep
