#include "tests/sweep/memory_world.hpp"

#include <sys/eventfd.h>
#include <sys/mman.h>
#include <unistd.h>

#include <boost/test/unit_test.hpp>
#include <cstring>

#include "shm/size_classes.hpp"
#include "tests/sweep/shared_pages.hpp"

namespace micro_swarm::sweep {

namespace {

constexpr std::uint64_t pool_region_bytes = 4096;
constexpr std::uint64_t pool_regions = 64;
constexpr std::uint32_t reader_bank_slots = 16;
constexpr std::uint32_t banks_watched = 12;
constexpr std::uint32_t holds_watched = 32;

template <class T>
T value_of(Result<T> result) {
  BOOST_REQUIRE_MESSAGE(result.has_value(), result.error().message);
  return std::move(*result);
}

void make_live(SupervisorTables& tables, PartyId p, Incarnation incarnation) {
  PartyRow& row = tables.parties[p];
  row.incarnation = incarnation;
  row.phase = static_cast<std::uint32_t>(PartyPhase::live);
  store(row.roster, RosterWord::make(RosterState::live, incarnation).word);
}

/// The operation runs in a forked child, in the owner's place.
void give_to_children(const SegmentView& view) {
  BOOST_REQUIRE(::madvise(view.base(), view.layout().size_bytes, MADV_DOFORK) == 0);
}

/// Regions outlive nothing here: whoever held them is dead.
struct NoKeeper final : RegionKeeper {
  void release_hold(std::uint32_t) noexcept override {}
  Result<std::span<const std::byte>> view(Token, std::size_t, std::uint32_t) override {
    return Error{ErrorCode::usage, "not read here", 0};
  }
};

bool receive(int socket, SentMessage& into) {
  ReceivedMessage got =
      receive_with_fds(socket, std::as_writable_bytes(std::span(&into.message, 1)));
  if (got.size != static_cast<ssize_t>(sizeof(PartyMessage))) return false;
  for (int i = 0; i < got.fd_count; ++i) {
    UniqueFd fd(got.fds[i]);
    if (i == 0) into.fd = std::move(fd);
  }
  return true;
}

}  // namespace

// ---- the supervisor ----

MemorySupervisor::MemorySupervisor(const MemoryWorld& world, OwnerLife& owner)
    : world_(world),
      root_(value_of(seqpacket_pair())),
      context_(std::make_unique<SupervisorContext>(world.config(), world.tables_view(), -1,
                                                   root_.second.get(), ::getpid(), 1)),
      banks_(std::make_unique<Banks>(*context_)),
      tokens_(std::make_unique<Tokens>(*context_, *banks_)),
      deliveries_(std::make_unique<Deliveries>(*context_, *banks_, *tokens_)),
      tasks_(std::make_unique<Tasks>(*context_, *banks_, *tokens_)),
      succession_(
          std::make_unique<Succession>(*context_, *banks_, *tasks_, *tokens_, *deliveries_)) {
  Parties parties(*context_, *banks_);
  const auto attach = [&](Peer& peer, int fd) {
    const auto adopted = parties.adopt_live(peer, value_of(duplicate(fd)));
    BOOST_REQUIRE_MESSAGE(adopted.has_value(), adopted.error().message);
  };
  attach(reader(), world.reader_segment().fd());
  const RosterWord roster = context_->roster(owner_party);
  if (roster == RosterWord::make(RosterState::live, owner.incarnation)) {
    attach(this->owner(), owner.segment_fd.get());
    this->owner().unwatched.socket = value_of(duplicate(owner.wire.get()));
  }
  banks_->adopt([&world](std::uint32_t bank) {
    const auto found = world.kept.find(bank);
    return found == world.kept.end() ? -1 : value_of(duplicate(found->second.get())).release();
  });
  const std::vector<Hold*> carried = succession_->settle_own();
  deliveries_->adopt();
  tasks_->adopt();
  for (Hold* hold : carried) tokens_->release(*hold);
  if (roster.state() == RosterState::heir_is_supervisor) succession_->consume_as(this->owner());
}

void MemorySupervisor::hear(const SentMessage& sent) {
  switch (sent.message.kind) {
    case PartyMessageKind::bank_request: return banks_->requested(owner(), sent.message);
    case PartyMessageKind::bank_memory:
      return banks_->memory_arrived(owner(), sent.message, value_of(duplicate(sent.fd.get())));
    case PartyMessageKind::bank_returned: return banks_->returned(owner(), sent.message);
    default: BOOST_FAIL("the owner says what it should not");
  }
}

bool MemorySupervisor::serve() {
  bool blocked = false;
  // Root does what it is told.
  for (std::array<std::byte, 4096> message;;) {
    ReceivedMessage got = receive_with_fds(root_.first.get(), message);
    for (int i = 0; i < got.fd_count; ++i) UniqueFd(got.fds[i]).reset();
    if (got.size <= 0) break;
  }
  if (tokens_->has_pending()) tokens_->retry();
  if (deliveries_->has_waiting()) deliveries_->retry();
  std::uint32_t moved = succession_->drain(reader(), 64, blocked);
  if (owner().segment) moved += succession_->drain(owner(), 64, blocked);
  return moved != 0;
}

void MemorySupervisor::inherit_all() {
  owner().dead = true;
  owner().unwatched.socket.reset();
  if (context_->roster(owner_party).state() == RosterState::live) {
    bool blocked = false;
    while (succession_->drain(owner(), 64, blocked) != 0) {
    }
    succession_->become_heir(owner());
  }
  banks_->return_idle();
}

void MemorySupervisor::start_successor(OwnerLife& dead, OwnerLife& next) {
  bool blocked = false;
  while (succession_->drain(owner(), 64, blocked) != 0) {
  }
  start(next, &dead);
}

void MemorySupervisor::start(OwnerLife& next, const OwnerLife* dead) {
  next.incarnation = static_cast<Incarnation>(dead == nullptr ? 1 : dead->incarnation + 1);
  context_->row(owner_party).incarnation = next.incarnation;
  banks_->forget_reader(owner_party);
  auto pair = value_of(seqpacket_pair());
  next.wire = std::move(pair.first);
  PartyMessage welcome{PartyMessageKind::welcome, owner_party, next.incarnation};
  welcome.a = pool_region_bytes;
  std::vector<int> fds{world_.supervisor_segment().fd(), world_.eventfd()};
  if (dead != nullptr) {
    welcome.c = dead->incarnation;
    fds.push_back(dead->segment_fd.get());
  }
  BOOST_REQUIRE(send_with_fds(next.wire.get(), std::as_bytes(std::span(&welcome, 1)), fds) > 0);
  next.link = value_of(PartyLink::open(std::move(pair.second), 1000));
  next.memory = std::make_unique<PartyMemory>(*next.link);
  give_to_children(next.link->own());
  BOOST_REQUIRE(next.link->announce().has_value());
  SentMessage registered;
  BOOST_REQUIRE(receive(next.wire.get(), registered));
  next.segment_fd = value_of(reopen_read_only(registered.fd.get()));
  // As Parties::publish.
  for (const Lane lane : {Lane::data, Lane::release})
    store(context_->segment.cursor(owner_party, lane), Cursor::make(next.incarnation, 0).word);
  make_live(context_->tables(), owner_party, next.incarnation);
  Parties parties(*context_, *banks_);
  BOOST_REQUIRE(
      parties.adopt_live(owner(), value_of(duplicate(next.segment_fd.get()))).has_value());
  owner().dead = false;
  owner().outbox.clear();
  owner().unwatched.socket = value_of(duplicate(next.wire.get()));
}

// ---- the world ----

MemoryWorld::MemoryWorld()
    : supervisor_(value_of(Segment::create_supervisor(4))),
      reader_(value_of(Segment::create_party(reader_party, 1))),
      eventfd_(::eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK)),
      keeper_(new NoKeeper) {
  config_.memory.region_size = pool_region_bytes;
  config_.memory.pool_size = pool_regions * pool_region_bytes;
  give_to_children(supervisor_.view());
  give_to_children(reader_.view());
  SupervisorTables& tables = supervisor_.view().tables();
  store(tables.accepting, 1);
  store(tables.region_bytes, pool_region_bytes);
  store(tables.pool_regions, pool_regions);
  make_live(tables, reader_party, 1);
  BankRow& row = tables.banks[reader_bank];
  row.slots = reader_bank_slots;
  row.serial = 1;
  row.region_bytes = pool_region_bytes;
  store(row.word, BankWord::make(BankState::live, reader_party, 1).word);
  kept[reader_bank] = value_of(create_memfd("sweep-bank", reader_bank_slots * pool_region_bytes));
  const std::uint64_t start = Cursor::make(1, 0).word;
  for (const Lane lane : {Lane::data, Lane::release}) {
    store(supervisor_.view().cursor(reader_party, lane), start);
    store(reader_.view().cursor(supervisor_party, lane), start);
  }
  running_ = std::make_unique<MemorySupervisor>(*this, owner_);
  running_->start(owner_, nullptr);
  owner_.link->begin();
}

void MemoryWorld::settle() {
  for (bool moved = true; moved;) {
    moved = running_->serve();
    for (SentMessage sent; receive(owner_.wire.get(), sent); moved = true) {
      running_->hear(sent);
      if (sent.message.kind == PartyMessageKind::bank_memory)
        kept[static_cast<std::uint32_t>(sent.message.a)] = std::move(sent.fd);
    }
    for (ReceivedPartyMessage received;
         receive_party_message(owner_.link->socket(), received, false) == PartySocketRead::message;
         moved = true)
      BOOST_REQUIRE(owner_.link->take(received));
    moved |= reader_receives();
  }
}

void MemoryWorld::replace_supervisor() {
  running_.reset();
  running_ = std::make_unique<MemorySupervisor>(*this, owner_);
  owner_.link->banks().repeat();
  settle();
}

void MemoryWorld::replace_owner(bool is_heard) {
  std::vector<SentMessage> sent;
  collect(owner_, sent);
  for (SentMessage& message : sent) {
    if (!is_heard) break;
    running_->hear(message);
    if (message.message.kind == PartyMessageKind::bank_memory)
      kept[static_cast<std::uint32_t>(message.message.a)] = std::move(message.fd);
  }
  OwnerLife next;
  running_->start_successor(owner_, next);
  next.link->begin();
  owner_ = std::move(next);
  settle();
}

Allocation MemoryWorld::allocate(std::size_t size_bytes) {
  for (int i = 0; i < 8; ++i) {
    auto allocation = value_of(owner_.link->banks().try_allocate(size_bytes, now_ns()));
    settle();
    if (allocation) return *allocation;
  }
  BOOST_FAIL("the owner gets no region");
  return {};
}

Region MemoryWorld::region(const Allocation& allocation) {
  return owner_.memory->make_region(keeper_, allocation);
}

bool MemoryWorld::reader_receives() const {
  const SegmentView view = reader_.view();
  const std::uint32_t slots = ring_slots(supervisor_party, reader_party);
  RingReader data(supervisor_.view().ring(supervisor_party, reader_party, Lane::data), slots,
                  &view.cursor(supervisor_party, Lane::data));
  bool moved = false;
  for (; data.ready(); moved = true) {
    std::uint32_t k = 0;
    while (load(view.holds()[k].token) != 0) ++k;
    const Token token{data.front().token};
    const MessageInHand in_hand =
        take_in_hand(data, view.header().in_hand, Lane::data, supervisor_party);
    take_token(view.holds()[k], token);
    keep(in_hand);
  }
  RingReader releases(supervisor_.view().ring(supervisor_party, reader_party, Lane::release), slots,
                      &view.cursor(supervisor_party, Lane::release));
  for (; releases.ready(); moved = true) {
    const Token token{releases.front().token};
    receive_release(releases, view.region(token.region()), token);
  }
  return moved;
}

bool MemoryWorld::reader_releases() const {
  const SegmentView view = reader_.view();
  const std::uint32_t slots = ring_slots(reader_party, supervisor_party);
  Slot* ring = view.ring(reader_party, supervisor_party, Lane::release);
  RingWriter home(ring, slots, &supervisor_.view().cursor(reader_party, Lane::release), 1,
                  find_tail(ring, slots));
  bool moved = false;
  for (std::uint32_t k = 0; k < holds_watched; ++k) {
    Hold& hold = view.holds()[k];
    const Token token{load(hold.token)};
    if (!token) continue;
    moved = true;
    if (token.owner() == reader_party) {
      release_own(hold, view.region(token.region()));
      continue;
    }
    SlotBody body;
    body.kind = static_cast<std::uint16_t>(MessageKind::release);
    BOOST_REQUIRE(pass(home, hold, Lane::release, supervisor_party, body));
  }
  return moved;
}

void MemoryWorld::reader_transfers() {
  const SegmentView view = reader_.view();
  const RegionIndex region = region_index(reader_bank, static_cast<std::uint32_t>(tags_++));
  Hold& hold = view.holds()[holds_watched - 1];
  micro_swarm::allocate(hold, view.region(region), reader_party, region, 0);
  SlotBody body;
  body.kind = static_cast<std::uint16_t>(MessageKind::transfer);
  body.region_bytes = 100;
  body.inline_data[0] = TransferWord::make(owner_party, TransferRefusal::none).word;
  Slot* ring = view.ring(reader_party, supervisor_party, Lane::data);
  const std::uint32_t slots = ring_slots(reader_party, supervisor_party);
  RingWriter out(ring, slots, &supervisor_.view().cursor(reader_party, Lane::data), 1,
                 find_tail(ring, slots));
  BOOST_REQUIRE(pass(out, hold, Lane::data, supervisor_party, body));
  settle();
}

void MemoryWorld::collect(OwnerLife& life, std::vector<SentMessage>& sent) const {
  for (SentMessage message; receive(life.wire.get(), message); message = SentMessage())
    sent.push_back(std::move(message));
}

std::vector<Token> MemoryWorld::held_by_reader() const {
  std::vector<Token> held;
  for (std::uint32_t k = 0; k < holds_watched; ++k)
    if (const Token token{load(reader_.view().holds()[k].token)}; token) held.push_back(token);
  return held;
}

std::string MemoryWorld::run_to_quiet(MemorySupervisor& supervisor, OwnerLife* successor) const {
  const auto round = [&](bool reader_gives_back) {
    bool moved = supervisor.serve();
    if (successor != nullptr) {
      std::vector<SentMessage> sent;
      collect(*successor, sent);
      for (const SentMessage& message : sent) supervisor.hear(message);
      moved |= !sent.empty();
      for (ReceivedPartyMessage received; receive_party_message(successor->link->socket(), received,
                                                                false) == PartySocketRead::message;
           moved = true)
        successor->link->take(received);
      moved |= successor->link->drain_releases() != 0;
      successor->link->retry_releases();
      while (successor->memory->is_next() && successor->memory->take_next()) moved = true;
      while (successor->memory->has_received()) {
        // What came for its predecessor is its own now; it has no use for it.
        auto region = successor->memory->next(keeper_);
        for (std::uint32_t k = 0; k < holds_watched; ++k)
          if (const Token token{load(successor->link->holds()[k].token)};
              token && token.owner() != owner_party)
            successor->link->release(k);
        moved = true;
      }
    }
    moved |= reader_receives();
    if (reader_gives_back) moved |= reader_releases();
    return moved;
  };
  const auto to_rest = [&](bool reader_gives_back) {
    for (int quiet = 0, rounds = 0; quiet < 2; ++rounds) {
      if (rounds == 200) return false;
      quiet = round(reader_gives_back) ? 0 : quiet + 1;
    }
    return true;
  };
  const std::string restless = "the swarm does not come to rest";
  if (!to_rest(false)) return restless;
  supervisor.banks().return_idle();

  const std::vector<Token> held = held_by_reader();
  const auto held_is_safe = [&]() -> std::string {
    for (const Token token : held)
      if (!supervisor.banks().outstanding(token) ||
          !supervisor.banks().descriptor(bank_of(token.region())).has_value())
        return "what the reader holds is not its to read any more";
    return {};
  };
  if (std::string wrong = held_is_safe(); !wrong.empty()) return wrong;
  if (successor != nullptr) {
    std::vector<Allocation> all;
    BankOwner& banks = successor->link->banks();
    for (const std::size_t bytes : {small_bytes, quarter_bytes}) {
      std::uint32_t got = 0;
      for (int tries = 0; got < 8 && tries < 40; ++tries) {
        auto allocation = value_of(banks.try_allocate(bytes, now_ns()));
        if (!allocation) {
          if (!to_rest(false)) return restless;
          continue;
        }
        ++got;
        all.push_back(*allocation);
        for (const Token token : held)
          if (token.owner() == owner_party && token.region() == allocation->token.region())
            return "a region was given to a writer while the reader holds it";
      }
      if (got < 8) return "the successor gets no region";
    }
    if (std::string wrong = held_is_safe(); !wrong.empty()) return wrong;
    for (const Allocation& allocation : all) banks.release(allocation);
    banks.trim(now_ns(), 0);
  }
  if (!to_rest(true)) return restless;
  if (successor != nullptr) successor->link->banks().trim(now_ns(), 0);
  if (!to_rest(true)) return restless;
  supervisor.banks().return_idle();

  // Everything has been given back.
  if (supervisor.banks().leased() != reader_bank_slots)
    return "a bank has leaked: " + std::to_string(supervisor.banks().leased() - reader_bank_slots) +
           " pool regions are leased by nobody";
  std::vector<SegmentView> views{supervisor_.view(), reader_.view()};
  if (successor != nullptr) views.push_back(successor->link->own());
  for (const SegmentView& view : views)
    for (std::uint32_t k = 0; k < view.hold_count(); ++k)
      if (load(view.holds()[k].token) != 0) return "a hold is not empty at the end";
  for (std::uint32_t bank = 0; bank < banks_watched; ++bank)
    for (std::uint32_t slot = 0; slot < bank_slots_max; ++slot) {
      const RegionIndex i = region_index(bank, slot);
      if (RegionWord{load(supervisor_.view().tables().heir_regions[i])}.outstanding() != 0 ||
          RegionWord{load(reader_.view().region(i))}.outstanding() != 0 ||
          (successor != nullptr &&
           RegionWord{load(successor->link->own().region(i))}.outstanding() != 0))
        return "a region is not free at the end";
    }
  return {};
}

SharedMemory MemoryWorld::memory(const OwnerLife& life) const {
  SharedMemory memory = shared_pages({{supervisor_.fd(), supervisor_.view().base()},
                                      {reader_.fd(), reader_.view().base()},
                                      {life.segment_fd.get(), life.link->own().base()}});
  const auto watch = [&memory](const auto* first, std::size_t count) {
    memory.watched.push_back(std::as_bytes(std::span(first, count)));
  };
  const SegmentView s = supervisor_.view();
  const SegmentView own = life.link->own();
  const HeirArea& heir = s.tables().heirs[owner_party];
  watch(&own.header().in_hand, 1);
  watch(&own.cursor(supervisor_party, Lane::data), 2);
  watch(own.holds(), holds_watched);
  watch(&own.region(0), banks_watched * bank_slots_max);
  for (const Lane lane : {Lane::data, Lane::release})
    watch(own.ring(owner_party, supervisor_party, lane), 16);
  watch(&s.header().in_hand, 1);
  watch(&heir.in_hand, 1);
  watch(&heir.cursors[supervisor_party], 1);
  watch(heir.holds, holds_watched);
  watch(&s.tables().heir_regions[0], banks_watched * bank_slots_max);
  watch(s.tables().banks, banks_watched);
  watch(s.holds() + (s.hold_count() - transit_holds), holds_watched);
  watch(s.tables().deliveries, 16);
  for (const PartyId p : {owner_party, reader_party}) {
    watch(&s.cursor(p, Lane::data), 2);
    watch(&s.tables().parties[p], 1);
    for (const Lane lane : {Lane::data, Lane::release})
      watch(s.ring(supervisor_party, p, lane), 16);
  }
  return memory;
}

}  // namespace micro_swarm::sweep
