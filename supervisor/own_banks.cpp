// Banks of the supervisor's own: single regions of bytes that come from disk, and those that
// entries of the cache lie in (own_regions.hpp fills them). Both begin as their heir's.

#include <unistd.h>

#include <algorithm>
#include <bit>

#include "supervisor/bank_rows.hpp"
#include "supervisor/banks.hpp"

namespace micro_swarm {

namespace {
/// How often the cache is asked for one who needs memory: entries of a slab go one by one.
constexpr int cache_asked_max = 64;
}  // namespace

Result<Token> Banks::hold_bytes(std::span<const std::byte> bytes, Hold& hold) {
  const std::uint64_t pool_region = c_.config.memory.region_size;
  const std::uint64_t budget = c_.pool_regions();
  BankRow made{};
  made.slots = 1;
  // Below a pool region a size that a slab may have too; nothing is written behind the data, so it
  // costs no pages.
  made.region_bytes = page_up(bytes.size());
  if (made.region_bytes < pool_region)
    made.region_bytes = std::max(std::bit_ceil(made.region_bytes), pool_region / bank_slots_max);
  const std::uint64_t wanted = regions_taken(made, pool_region);
  if (wanted > budget)
    return Error{ErrorCode::too_large,
                 std::to_string(bytes.size()) + " bytes do not fit into the pool", 0};
  // What is kept for the supervisor is kept from agents without a bank too.
  const auto is_full = [&] {
    if (leased_regions_ + wanted > budget) return true;
    return wanted > kept_for_supervisor() &&
           leased_regions_ + wanted + reserve_for_agents(no_party) > budget;
  };
  if (is_full()) return_idle();
  take_back_from_cache(wanted, is_full);
  if (is_full() && give_up_result_) {
    for (std::uint64_t n = 0; n < wanted && give_up_result_(); ++n) {
    }
    return_idle();
  }
  const std::uint32_t bank = find_free_row();
  if (is_full() || bank == banks_max) return Error{ErrorCode::refused, "pool full", 0};

  auto memory = create_memfd("ms-bank", made.region_bytes);
  if (!memory) return memory.error();
  for (std::size_t at = 0; at < bytes.size();) {
    const auto put = posix_call("pwrite", [&] {
      return ::pwrite(memory->get(), bytes.data() + at, bytes.size() - at, static_cast<off_t>(at));
    });
    if (!put) return put.error();
    at += static_cast<std::size_t>(*put);
  }
  if (auto sealed = seal_one_writer(memory->get()); !sealed) return sealed.error();
  auto read_only = reopen_read_only(memory->get());
  if (!read_only) return read_only.error();

  next_row_ = (bank + 1) % banks_max;
  rows_used_ = std::max(rows_used_, bank + 1);
  BankRow& row = c_.tables().banks[bank];
  row.slots = made.slots;
  row.region_bytes = made.region_bytes;
  row.request = 0;
  row.serial += 1;
  memory_[bank] = std::move(*read_only);
  // Kept first, as for everybody's banks. Dying behind the store leaves a bank without a token out,
  // which return_idle() frees.
  c_.root.keep(fd_key::bank + bank, memory_[bank].get());
  store(row.word, BankWord::make(BankState::heired, supervisor_party, 1).word);
  own_regions_ += wanted;
  add_leased(supervisor_party, wanted);
  const RegionIndex index = region_index(bank, 0);
  return allocate(hold, c_.tables().heir_regions[index], supervisor_party, index,
                  first_generation(row.serial));
}

/// Entries of the cache give way before anybody's result does. What is compressed or spilled first
/// comes later: whoever asked comes again.
void Banks::take_back_from_cache(std::uint64_t regions, const std::function<bool()>& is_full) {
  if (!cache_gives_way_) return;
  for (int n = 0; n < cache_asked_max && is_full(); ++n) {
    const bool was_wanted = refused_since_return_;
    const bool gave = cache_gives_way_(regions * c_.config.memory.region_size);
    if (gave) return_idle();
    refused_since_return_ = was_wanted;
    if (!gave) return;
  }
}

Result<void> Banks::room_for_own(std::uint32_t slots, std::uint64_t region_bytes,
                                 bool may_displace) {
  const std::uint64_t pool_region = c_.config.memory.region_size;
  const std::uint64_t budget = c_.pool_regions();
  const std::uint64_t wanted = pool_regions_of(pool_region, slots, region_bytes);
  if (wanted > budget - c_.reserved_regions())
    return Error{ErrorCode::too_large,
                 std::to_string(region_bytes) + " bytes do not fit into the pool", 0};
  const auto is_full = [&] {
    return leased_regions_ + wanted + kept_for_supervisor() + reserve_for_agents(no_party) > budget;
  };
  if (is_full()) return_idle();
  if (may_displace) take_back_from_cache(wanted, is_full);
  if (is_full() || find_free_row() == banks_max) return Error{ErrorCode::refused, "pool full", 0};
  return {};
}

std::uint32_t Banks::add_own(std::uint32_t slots, std::uint64_t region_bytes, UniqueFd memory) {
  const std::uint32_t bank = find_free_row();
  next_row_ = (bank + 1) % banks_max;
  rows_used_ = std::max(rows_used_, bank + 1);
  BankRow& row = c_.tables().banks[bank];
  row.slots = slots;
  row.region_bytes = region_bytes;
  row.request = cache_request;
  row.serial += 1;
  memory_[bank] = std::move(memory);
  // As in hold_bytes().
  c_.root.keep(fd_key::bank + bank, memory_[bank].get());
  store(row.word, BankWord::make(BankState::heired, supervisor_party, 1).word);
  add_leased(supervisor_party, pool_regions_of(c_.config.memory.region_size, slots, region_bytes));
  return bank;
}

bool Banks::is_of_cache(Token token) const {
  if (!token.well_formed() || token.owner() != supervisor_party) return false;
  const BankRow& row = c_.tables().banks[bank_of(token.region())];
  const BankWord word = word_of(row);
  return word.state() == BankState::heired && word.owner() == supervisor_party &&
         row.request == cache_request;
}

}  // namespace micro_swarm
