#include "ipc/bank_map.hpp"

#include "shm/size_classes.hpp"

namespace micro_swarm {

Result<void> BankMap::add(const PartyMessage& mapped, UniqueFd fd) {
  constexpr std::uint64_t region_bytes_max = std::uint64_t{1} << 40;
  if (mapped.a >= banks_max || mapped.d > region_bytes_max ||
      !is_bank_shape(load(tables_->region_bytes), mapped.c, mapped.d))
    return Error{ErrorCode::protocol, "bank_mapped: bank, slots or region size out of range", 0};
  // A new supervisor does not know what its predecessor has shown and shows it again. The mapping
  // stays where it is: somebody may be reading through it right now.
  if (const auto known = banks_.find(static_cast<std::uint32_t>(mapped.a));
      known != banks_.end() && known->second.serial == static_cast<std::uint32_t>(mapped.e))
    return {};
  Bank bank;
  bank.slots = static_cast<std::uint32_t>(mapped.c);
  bank.region_bytes = mapped.d;
  bank.serial = static_cast<std::uint32_t>(mapped.e);
  const std::uint64_t size_bytes = bank.slots * bank.region_bytes;
  if (auto ok = verify_memfd(fd.get(), size_bytes, SealKind::one_writer); !ok) return ok.error();
  auto memory = Mapping::map(fd.get(), size_bytes, Mapping::Access::read_only);
  if (!memory) return with_context(memory.error(), "mapping a bank");
  bank.memory = std::move(*memory);
  Bank& row = banks_[static_cast<std::uint32_t>(mapped.a)];
  retire(row);
  row = std::move(bank);
  return {};
}

void BankMap::drop(std::uint32_t bank) noexcept {
  const auto found = banks_.find(bank);
  if (found == banks_.end()) return;
  retire(found->second);
  banks_.erase(found);
}

void BankMap::retire(Bank& bank) noexcept {
  if (pin_.use_count() == 1)
    retired_.clear();
  else if (bank.memory)
    retired_.push_back(std::move(bank.memory));
}

Result<std::optional<std::span<const std::byte>>> BankMap::find(Token token,
                                                                std::size_t size_bytes) const {
  using Found = std::optional<std::span<const std::byte>>;
  if (!token.well_formed()) return Error{ErrorCode::protocol, "a token that names no region", 0};
  const std::uint32_t number = bank_of(token.region());
  const auto found = banks_.find(number);
  if (found == banks_.end()) return Found{};
  const Bank& bank = found->second;
  // The row stands still while a token of the bank is out, and one is: ours.
  if (tables_->banks[number].serial != bank.serial) return Found{};
  const std::uint32_t slot = slot_of(token.region());
  if (slot >= bank.slots || size_bytes > bank.region_bytes)
    return Error{ErrorCode::protocol, "a token or a size that does not fit its bank", 0};
  return Found{std::span(bank.memory.data() + slot * bank.region_bytes, size_bytes)};
}

}  // namespace micro_swarm
