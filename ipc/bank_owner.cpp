#include "ipc/bank_owner.hpp"

#include <algorithm>
#include <bit>
#include <cassert>

#include "common/clock.hpp"
#include "ipc/guard.hpp"
#include "ipc/transfer.hpp"

namespace micro_swarm {

namespace {
constexpr std::uint64_t bank_bytes_max = std::uint64_t{1} << 20;
constexpr std::uint64_t backoff_first_ns = 5'000'000;
constexpr std::uint64_t backoff_max_ns = 200'000'000;
constexpr std::uint64_t short_ns = 2'000'000'000;
}  // namespace

BankOwner::BankOwner(const SegmentView& own, const SupervisorTables& tables, HoldSet& holds,
                     Send send)
    : own_(own),
      tables_(&tables),
      holds_(&holds),
      send_(std::move(send)),
      party_(own.header().party),
      pool_region_bytes_(load(tables.region_bytes)) {
  for (unsigned k = 0; k < size_classes; ++k) classes_[k].next_slots = slab_slots(k);
  if (load(tables.memory_guard) != 0) guard_ = std::make_unique<Guard>(own_);
}

BankOwner::~BankOwner() = default;

const BankOwner::Bank* BankOwner::find(std::uint32_t number) const {
  if (number >= places_.size() || places_[number] == 0) return nullptr;
  return &banks_[places_[number] - 1u];
}

Result<std::optional<Allocation>> BankOwner::try_allocate(std::size_t size_bytes,
                                                          std::uint64_t now) {
  const std::uint64_t pool_regions = load(tables_->pool_regions);
  const std::uint64_t pool_bytes = pool_regions * pool_region_bytes_;
  if (size_bytes > pool_bytes)
    return Error{ErrorCode::too_large,
                 std::to_string(size_bytes) + " bytes are more than the whole pool (" +
                     std::to_string(pool_bytes) + " bytes): raise memory.pool_size",
                 0};
  const std::size_t room_bytes = guard_ == nullptr ? size_bytes : Guard::needed_bytes(size_bytes);
  if (impossible_in_regions_ != pool_regions) impossible_bytes_ = ~std::uint64_t{0};
  if (room_bytes >= impossible_bytes_) return Error{ErrorCode::too_large, impossible_because_, 0};
  std::optional<Allocation> allocation;
  if (holds_->in_use() == holds_->capacity())
    return Error{ErrorCode::refused,
                 "all " + std::to_string(holds_->capacity()) +
                     " regions this process may hold at a time are in use: release some first",
                 0};
  const unsigned size_class = class_for(pool_region_bytes_, room_bytes);
  if (size_class == large_class) {
    allocation = from_large_bank(size_bytes, room_bytes);
  } else {
    allocation = from_class(size_class, size_bytes);
    if (allocation)
      ask_ahead(size_class, now);
    else if (now < short_until_ns_)
      for (unsigned k = size_class + 1; k < size_classes && !allocation; ++k)
        allocation = from_class(k, size_bytes);
  }
  if (!allocation) ask(room_bytes, now);
  return allocation;
}

std::optional<Allocation> BankOwner::allocate_in(Bank& bank, std::size_t size_bytes) {
  const auto hold = holds_->take();
  if (!hold) return std::nullopt;
  const auto slot = static_cast<std::uint32_t>(std::countr_zero(bank.free));
  const RegionIndex region = region_index(bank.number, slot);
  // The bits are this process's own bookkeeping: that one names a region with a token out would be
  // a bug that hands the same bytes to two writers' readers.
  assert(slot < bank.slots && RegionWord{load(own_.region(region))}.outstanding() == 0);
  if (guard_ != nullptr) guard_->allocated(region, size_bytes);
  Allocation allocation;
  allocation.hold = *hold;
  allocation.token = allocate((*holds_)[*hold], own_.region(region), party_, region,
                              first_generation(bank.serial));
  allocation.memory = {bank.memory.data() + slot * bank.region_bytes, size_bytes};
  if (bank.is_empty()) --idle_;
  bank.free &= bank.free - 1;
  bank.empty_since_ns = 0;
  if (bank.size_class != large_class) --classes_[bank.size_class].free;
  return allocation;
}

// Both in one piece: an allocation and its release are some thirty stores and loads.
[[gnu::flatten]] std::optional<Allocation> BankOwner::from_class(unsigned size_class,
                                                                 std::size_t size_bytes) {
  SizeClass& regions = classes_[size_class];
  if (regions.free == 0) return std::nullopt;
  Bank* bank = find(regions.last_bank);
  if (bank == nullptr || bank->size_class != size_class || bank->free == 0) {
    bank = nullptr;
    for (Bank& candidate : banks_)
      if (candidate.size_class == size_class && candidate.free != 0 &&
          (bank == nullptr || std::popcount(candidate.free) < std::popcount(bank->free)))
        bank = &candidate;
    if (bank == nullptr) return std::nullopt;
    regions.last_bank = bank->number;
  }
  return allocate_in(*bank, size_bytes);
}

std::optional<Allocation> BankOwner::from_large_bank(std::size_t size_bytes,
                                                     std::size_t room_bytes) {
  Bank* best = nullptr;
  for (Bank& bank : banks_) {
    if (bank.size_class != large_class || bank.free == 0 || bank.region_bytes < room_bytes)
      continue;
    if (best == nullptr || bank.region_bytes < best->region_bytes) best = &bank;
  }
  // One that is many times too large would be missing elsewhere in the pool.
  if (best == nullptr || best->region_bytes > 4 * page_up(room_bytes)) return std::nullopt;
  return allocate_in(*best, size_bytes);
}

[[gnu::flatten]] void BankOwner::release(std::uint32_t hold) {
  const Token token{load((*holds_)[hold].token)};
  assert(token.owner() == party_);
  if (guard_ != nullptr && is_own(token.region())) guard_->check(token.region());
  release_own((*holds_)[hold], own_.region(token.region()));
  holds_->put_back(hold);
  came_home(token.region());
}

Result<std::uint32_t> BankOwner::share(std::uint32_t hold) {
  const auto other = holds_->take();
  if (!other)
    return Error{ErrorCode::refused,
                 "all " + std::to_string(holds_->capacity()) +
                     " regions this process may hold at a time are in use: release some first",
                 0};
  const Token token{load((*holds_)[hold].token)};
  assert(token.owner() == party_);
  if (mint((*holds_)[*other], own_.region(token.region()), party_, token.region())) return *other;
  holds_->put_back(*other);
  return Error{ErrorCode::refused,
               "32 rights to read this region are out: as many as there can be at a time", 0};
}

void BankOwner::came_home(RegionIndex region) {
  if (RegionWord{load(own_.region(region))}.outstanding() != 0) return;
  const std::uint32_t number = bank_of(region);
  Bank* bank = find(number);
  if (bank == nullptr) {
    const auto old = std::find_if(adopted_.begin(), adopted_.end(),
                                  [number](Gone gone) { return gone.bank == number; });
    if (old == adopted_.end() || !is_empty(number)) return;
    const Gone gone = *old;
    adopted_.erase(old);
    send_returned(gone);
    return;
  }
  const std::uint64_t bit = std::uint64_t{1} << slot_of(region);
  if ((bank->free & bit) != 0 || (bank->all() & bit) == 0) return;  // a repeated release
  if (guard_ != nullptr) guard_->freed(region);
  bank->free |= bit;
  if (bank->is_empty()) {
    ++idle_;
    bank->empty_since_ns = 0;
  }
  if (bank->size_class == large_class) return;
  SizeClass& regions = classes_[bank->size_class];
  // The only one there is: who allocates next need not look for it.
  if (++regions.free == 1) regions.last_bank = number;
}

std::span<std::byte> BankOwner::whole_region(std::uint32_t hold) {
  const Token token{load((*holds_)[hold].token)};
  Bank* bank = find(bank_of(token.region()));
  if (bank == nullptr) return {};
  return {bank->memory.data() + slot_of(token.region()) * bank->region_bytes,
          guard_ == nullptr ? bank->region_bytes : guard_->asked_bytes(token.region())};
}

void BankOwner::guard_leaving(std::uint32_t hold) const {
  const Token token{load((*holds_)[hold].token)};
  if (token.owner() == party_ && is_own(token.region())) guard_->leaving(token.region());
}

std::span<const std::byte> BankOwner::memory_of(Token token, std::size_t size_bytes) const {
  const Bank* bank = find(bank_of(token.region()));
  if (token.owner() != party_ || bank == nullptr || bank->step != Step::live ||
      slot_of(token.region()) >= bank->slots || size_bytes > bank->region_bytes)
    return {};
  return {bank->memory.data() + slot_of(token.region()) * bank->region_bytes, size_bytes};
}

void BankOwner::ask(std::size_t size_bytes, std::uint64_t now) {
  if (request_) {
    if (!request_->sent) send_request();
    return;
  }
  if (now < not_before_ns_) return;
  const unsigned size_class = class_for(pool_region_bytes_, size_bytes);
  // Granted but not live yet: its regions are on their way.
  if (making_ != 0)
    for (const Bank& bank : banks_)
      if (bank.step == Step::granted && bank.size_class == size_class &&
          bank.region_bytes >= size_bytes)
        return;
  Request request;
  request.size_class = size_class;
  request.slots = size_class == large_class ? 1 : classes_[size_class].next_slots;
  if (size_class == large_class) request.region_bytes = page_up(size_bytes);
  send_request(request);
}

void BankOwner::ask_ahead(unsigned size_class, std::uint64_t now) {
  const SizeClass& regions = classes_[size_class];
  if (regions.free >= regions.next_slots / 4 || regions.making != 0 || request_ ||
      now < short_until_ns_)
    return;
  Request request;
  request.size_class = size_class;
  request.slots = regions.next_slots;
  request.ahead = true;
  send_request(request);
}

void BankOwner::send_request(Request request) {
  request.number = ++requests_;
  if (request.size_class < pool_class)
    request.region_bytes = class_region_bytes(pool_region_bytes_, request.size_class);
  request_ = request;
  send_request();
}

void BankOwner::send_request() {
  PartyMessage message;
  message.kind = PartyMessageKind::bank_request;
  message.a = request_->number;
  message.b = request_->slots;
  message.c = request_->region_bytes;
  message.d = request_->ahead ? 1 : 0;
  request_->sent = send_(message, {}).has_value();
}

bool BankOwner::send_memory(const Bank& bank) {
  PartyMessage message;
  message.kind = PartyMessageKind::bank_memory;
  message.a = bank.number;
  const int fd = bank.fd.get();
  return send_(message, std::span(&fd, 1)).has_value();
}

void BankOwner::granted(const PartyMessage& message) {
  if (message.b >= banks_max || !is_bank_shape(pool_region_bytes_, message.c, message.d)) return;
  const auto number = static_cast<std::uint32_t>(message.b);
  const auto serial = static_cast<std::uint32_t>(message.e);
  if (Bank* known = find(number); known != nullptr && known->serial == serial) {
    if (known->step == Step::granted) send_memory(*known);
    return;
  }
  if (!request_ || request_->number != message.a) return;
  if (guard_ != nullptr && message.d % page_up(1) != 0) return;  // was not asked for
  request_.reset();
  refusal_.clear();
  backoff_ns_ = 0;

  Bank bank;
  bank.number = number;
  bank.serial = serial;
  bank.slots = static_cast<std::uint32_t>(message.c);
  bank.region_bytes = message.d;
  bank.size_class = class_for(pool_region_bytes_, message.d);
  const std::uint64_t size_bytes = bank.slots * bank.region_bytes;
  auto fd = create_memfd("microswarm-bank", size_bytes);
  // The owner alone takes the pages, and all at once: in the pool's budget they are its own
  // already. Nobody populates mappings: every page in a page table costs time when its process
  // dies.
  auto taken = fd ? take_pages(fd->get(), size_bytes) : Result<void>(fd.error());
  auto memory = taken ? Mapping::map(fd->get(), size_bytes, Mapping::Access::read_write)
                      : Result<Mapping>(taken.error());
  auto kept = memory ? memory->keep_from_children() : Result<void>(memory.error());
  // Mapped before it is sealed: afterwards nobody can map it writable, this process included.
  auto sealed = kept ? seal_one_writer(fd->get()) : kept;
  if (!sealed) {
    refusal_ = sealed.error().message;
    not_before_ns_ = now_ns() + backoff_max_ns;
    send_returned(Gone{number, serial});
    return;
  }
  bank.fd = std::move(*fd);
  bank.memory = std::move(*memory);
  if (guard_ != nullptr) guard_->add(number, {bank.memory.data(), size_bytes}, bank.region_bytes);
  if (bank.size_class != large_class) ++classes_[bank.size_class].making;
  ++making_;
  if (places_.size() <= number) places_.resize(number + 1);
  banks_.push_back(std::move(bank));
  places_[number] = static_cast<std::uint16_t>(banks_.size());
  send_memory(banks_.back());
}

void BankOwner::refused(const PartyMessage& message, std::uint64_t now) {
  if (!request_ || request_->number != message.a) return;
  const Request asked = *request_;
  request_.reset();
  if (asked.ahead) {  // nobody waits for it
    short_until_ns_ = now + short_ns;
    return;
  }
  const bool was_large = asked.size_class == large_class;
  const bool is_final = message.b == 1 && (asked.size_class != pool_class || asked.slots == 1);
  refusal_ = message.text;
  if (is_final) {
    impossible_bytes_ = was_large ? asked.region_bytes - page_up(1) + 1 : 0;
    impossible_because_ = refusal_;
    impossible_in_regions_ = load(tables_->pool_regions);
    return;
  }
  if (asked.size_class == pool_class && asked.slots > 1) {  // ask for less, at once
    classes_[pool_class].next_slots = asked.slots / 2;
    return;
  }
  short_until_ns_ = now + short_ns;
  // What lies idle here may be what is missing: the pool counts it as taken.
  if (was_large || has_idle()) trim(now, 0);
  backoff_ns_ = std::clamp(2 * backoff_ns_, backoff_first_ns, backoff_max_ns);
  not_before_ns_ = now + backoff_ns_;
}

void BankOwner::live(const PartyMessage& message) {
  Bank* bank = find(static_cast<std::uint32_t>(message.a));
  if (bank == nullptr || bank->step == Step::live) return;
  bank->step = Step::live;
  bank->fd.reset();
  bank->free = bank->all();
  --making_;
  ++idle_;
  if (bank->size_class == large_class) return;
  SizeClass& regions = classes_[bank->size_class];
  --regions.making;
  regions.free += bank->slots;
  if (bank->size_class != pool_class) return;
  const auto slots_max = static_cast<std::uint32_t>(
      std::clamp<std::uint64_t>(bank_bytes_max / pool_region_bytes_, 1, bank_slots_max));
  regions.next_slots = std::min(2 * bank->slots, slots_max);
}

void BankOwner::repeat() {
  if (request_) send_request();
  for (const Bank& bank : banks_)
    if (bank.step == Step::granted) send_memory(bank);
  std::vector<Gone> again;
  again.swap(returned_);
  for (const Gone gone : again)
    if (is_mine(gone)) send_returned(gone);
}

void BankOwner::adopt(std::uint32_t bank, std::uint32_t serial) {
  if (is_empty(bank))
    send_returned(Gone{bank, serial});
  else
    adopted_.push_back(Gone{bank, serial});
}

bool BankOwner::is_empty(std::uint32_t bank) const {
  for (std::uint32_t slot = 0; slot < bank_slots_max; ++slot)
    if (RegionWord{load(own_.region(region_index(bank, slot)))}.outstanding() != 0) return false;
  return true;
}

bool BankOwner::is_mine(Gone gone) const {
  const BankRow& row = tables_->banks[gone.bank];
  const BankWord word{load(row.word)};
  return word.state() != BankState::free && word.owner() == party_ && row.serial == gone.serial;
}

void BankOwner::send_returned(Gone gone) {
  PartyMessage message;
  message.kind = PartyMessageKind::bank_returned;
  message.a = gone.bank;
  message.e = gone.serial;
  // Remembered whether or not it was heard: the row tells (is_mine).
  std::erase_if(returned_, [this](Gone old) { return !is_mine(old); });
  returned_.push_back(gone);
  static_cast<void>(send_(message, {}));
}

void BankOwner::trim(std::uint64_t now, std::uint64_t idle_ns) {
  if (idle_ == 0) return;
  for (std::size_t i = 0; i < banks_.size();) {
    Bank& bank = banks_[i];
    if (bank.step != Step::live || !bank.is_empty()) {
      ++i;
      continue;
    }
    if (bank.empty_since_ns == 0) bank.empty_since_ns = now;
    const bool is_above_high_mark =
        bank.size_class != large_class &&
        classes_[bank.size_class].free - bank.slots > classes_[bank.size_class].next_slots;
    if (now - bank.empty_since_ns < (is_above_high_mark ? idle_ns / 8 : idle_ns)) {
      ++i;
      continue;
    }
    const Gone gone{bank.number, bank.serial};
    remove(bank);  // unmapped before the supervisor hears of it
    send_returned(gone);
  }
}

void BankOwner::remove(Bank& bank) {
  if (bank.size_class != large_class) {
    SizeClass& regions = classes_[bank.size_class];
    regions.free -= bank.slots;
    if (bank.size_class == pool_class) regions.next_slots = std::max(1u, regions.next_slots / 2);
  }
  if (guard_ != nullptr) guard_->remove(bank.number);
  --idle_;
  places_[bank.number] = 0;
  if (&bank != &banks_.back()) {
    places_[banks_.back().number] = static_cast<std::uint16_t>(&bank - banks_.data() + 1);
    bank = std::move(banks_.back());
  }
  banks_.pop_back();
}

void BankOwner::pool_is_short(std::uint64_t now) {
  short_until_ns_ = now + short_ns;
  trim(now, 0);
}

}  // namespace micro_swarm
