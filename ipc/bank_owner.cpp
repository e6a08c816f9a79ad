#include "ipc/bank_owner.hpp"

#include <algorithm>
#include <cassert>

#include "common/clock.hpp"
#include "ipc/transfer.hpp"

namespace micro_swarm {

namespace {
constexpr std::uint64_t bank_bytes_max = std::uint64_t{1} << 20;
constexpr std::uint64_t backoff_first_ns = 5'000'000;
constexpr std::uint64_t backoff_max_ns = 200'000'000;
}  // namespace

BankOwner::BankOwner(const SegmentView& own, const SupervisorTables& tables, HoldSet& holds,
                     Send send)
    : own_(own),
      tables_(&tables),
      holds_(&holds),
      send_(std::move(send)),
      party_(own.header().party),
      pool_region_bytes_(load(tables.region_bytes)) {}

const BankOwner::Bank* BankOwner::find(std::uint32_t number) const {
  // Few banks: at most a handful of doublings and what is larger than a region.
  for (const Bank& bank : banks_)
    if (bank.number == number) return &bank;
  return nullptr;
}

Result<std::optional<Allocation>> BankOwner::try_allocate(std::size_t size_bytes,
                                                          std::uint64_t now) {
  const std::uint64_t pool_bytes = load(tables_->pool_regions) * pool_region_bytes_;
  if (size_bytes > pool_bytes)
    return Error{ErrorCode::too_large,
                 std::to_string(size_bytes) + " bytes are more than the whole pool (" +
                     std::to_string(pool_bytes) + " bytes): raise memory.pool_size",
                 0};
  if (size_bytes >= impossible_bytes_) return Error{ErrorCode::too_large, refusal_, 0};
  std::optional<Allocation> allocation;
  if (holds_->in_use() == holds_->capacity())
    return Error{ErrorCode::refused,
                 "all " + std::to_string(holds_->capacity()) +
                     " regions this process may hold at a time are in use: release some first",
                 0};
  if (size_bytes <= pool_region_bytes_) {
    auto found = from_pool_banks(size_bytes);
    if (!found) return found.error();
    allocation = *found;
  } else {
    allocation = from_large_bank(size_bytes);
  }
  if (!allocation) ask(size_bytes, now);
  return allocation;
}

std::optional<Allocation> BankOwner::allocate_in(Bank& bank, RegionIndex region,
                                                 std::size_t size_bytes) {
  const auto hold = holds_->take();
  if (!hold) return std::nullopt;
  Allocation allocation;
  allocation.hold = *hold;
  allocation.token = allocate((*holds_)[*hold], own_.region(region), party_, region,
                              first_generation(bank.serial));
  allocation.memory = {bank.memory.data() + slot_of(region) * bank.region_bytes, size_bytes};
  if (bank.out++ == 0) --idle_;
  bank.empty_since_ns = 0;
  return allocation;
}

Result<std::optional<Allocation>> BankOwner::from_pool_banks(std::size_t size_bytes) {
  while (!free_.empty()) {
    const RegionIndex region = free_.back();
    free_.pop_back();
    Bank* bank = find(bank_of(region));
    // The list is this process's own bookkeeping: that it names a region with a token out would be
    // a bug that hands the same bytes to two writers' readers.
    assert(bank != nullptr && RegionWord{load(own_.region(region))}.outstanding() == 0);
    return allocate_in(*bank, region, size_bytes);
  }
  return std::optional<Allocation>{};
}

std::optional<Allocation> BankOwner::from_large_bank(std::size_t size_bytes) {
  Bank* best = nullptr;
  for (Bank& bank : banks_) {
    if (bank.step != Step::live || bank.out != 0 || bank.region_bytes < size_bytes ||
        bank.region_bytes == pool_region_bytes_)
      continue;
    if (best == nullptr || bank.region_bytes < best->region_bytes) best = &bank;
  }
  // One that is many times too large would be missing elsewhere in the pool.
  if (best == nullptr || best->region_bytes > 4 * page_up(size_bytes)) return std::nullopt;
  return allocate_in(*best, region_index(best->number, 0), size_bytes);
}

void BankOwner::release(std::uint32_t hold) {
  const Token token{load((*holds_)[hold].token)};
  assert(token.owner() == party_);
  release_own((*holds_)[hold], own_.region(token.region()));
  holds_->put_back(hold);
  came_home(token.region());
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
  if (bank->out == 0) return;  // a repeated release
  if (--bank->out == 0) {
    ++idle_;
    bank->empty_since_ns = 0;
  }
  if (bank->region_bytes == pool_region_bytes_) free_.push_back(region);
}

std::span<std::byte> BankOwner::whole_region(std::uint32_t hold) {
  const Token token{load((*holds_)[hold].token)};
  Bank* bank = find(bank_of(token.region()));
  if (bank == nullptr) return {};
  return {bank->memory.data() + slot_of(token.region()) * bank->region_bytes, bank->region_bytes};
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
  // Granted but not live yet: its regions are on their way.
  for (const Bank& bank : banks_)
    if (bank.step == Step::granted && bank.region_bytes >= size_bytes) return;
  Request request;
  request.number = ++requests_;
  if (size_bytes <= pool_region_bytes_) {
    request.slots = next_slots_;
  } else {
    request.slots = 1;
    request.region_bytes = page_up(size_bytes);
  }
  request_ = request;
  send_request();
}

void BankOwner::send_request() {
  PartyMessage message;
  message.kind = PartyMessageKind::bank_request;
  message.a = request_->number;
  message.b = request_->slots;
  message.c = request_->region_bytes;
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
  if (message.b >= banks_max || message.c == 0 || message.c > bank_slots_max || message.d == 0)
    return;
  const auto number = static_cast<std::uint32_t>(message.b);
  const auto serial = static_cast<std::uint32_t>(message.e);
  if (Bank* known = find(number); known != nullptr && known->serial == serial) {
    if (known->step == Step::granted) send_memory(*known);
    return;
  }
  if (!request_ || request_->number != message.a) return;
  request_.reset();
  refusal_.clear();
  backoff_ns_ = 0;

  Bank bank;
  bank.number = number;
  bank.serial = serial;
  bank.slots = static_cast<std::uint32_t>(message.c);
  bank.region_bytes = message.d;
  const std::uint64_t size_bytes = bank.slots * bank.region_bytes;
  auto fd = create_memfd("microswarm-bank", size_bytes);
  auto memory = fd ? Mapping::map(fd->get(), size_bytes, Mapping::Access::read_write)
                   : Result<Mapping>(fd.error());
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
  banks_.push_back(std::move(bank));
  ++making_;
  send_memory(banks_.back());
}

void BankOwner::refused(const PartyMessage& message, std::uint64_t now) {
  if (!request_ || request_->number != message.a) return;
  const bool was_large = request_->region_bytes != 0;
  const bool is_final = message.b == 1 && request_->slots == 1;
  if (is_final) impossible_bytes_ = was_large ? request_->region_bytes - page_up(1) + 1 : 0;
  request_.reset();
  refusal_ = message.text;
  if (is_final) return;
  if (!was_large && next_slots_ > 1) {  // ask for less, at once
    next_slots_ /= 2;
    return;
  }
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
  --making_;
  ++idle_;
  if (bank->region_bytes != pool_region_bytes_) return;
  for (std::uint32_t slot = bank->slots; slot-- > 0;)
    free_.push_back(region_index(bank->number, slot));
  const auto slots_max = static_cast<std::uint32_t>(
      std::clamp<std::uint64_t>(bank_bytes_max / pool_region_bytes_, 1, bank_slots_max));
  next_slots_ = std::min(2 * bank->slots, slots_max);
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
    if (bank.step != Step::live || bank.out != 0) {
      ++i;
      continue;
    }
    if (bank.empty_since_ns == 0) bank.empty_since_ns = now;
    if (now - bank.empty_since_ns < idle_ns) {
      ++i;
      continue;
    }
    const std::uint32_t number = bank.number;
    const Gone gone{number, bank.serial};
    std::erase_if(free_, [number](RegionIndex region) { return bank_of(region) == number; });
    if (bank.region_bytes == pool_region_bytes_) next_slots_ = std::max(1u, next_slots_ / 2);
    std::swap(banks_[i], banks_.back());
    banks_.pop_back();  // unmapped before the supervisor hears of it
    --idle_;
    send_returned(gone);
  }
}

}  // namespace micro_swarm
