#include "supervisor/own_regions.hpp"

#include <algorithm>

namespace micro_swarm {

OwnRegions::OwnRegions(SupervisorContext& context, Banks& banks) : c_(context), banks_(banks) {
  banks_.set_own_bank_gone([this](std::uint32_t bank) { gone(bank); });
}

Result<Token> OwnRegions::allocate(std::uint64_t bytes, Hold& hold, bool may_displace) {
  const std::uint64_t pool_region = c_.config.memory.region_size;
  const unsigned size_class = class_for(pool_region, bytes);
  std::optional<RegionIndex> index;
  if (size_class != large_class) index = find_free(size_class);
  if (!index) {
    const auto bank = make_bank(size_class, bytes, may_displace);
    if (!bank) return bank.error();
    index = region_index(*bank, 0);
  }
  const BankRow& row = c_.tables().banks[bank_of(*index)];
  return micro_swarm::allocate(hold, c_.tables().heir_regions[*index], supervisor_party, *index,
                               first_generation(row.serial));
}

std::optional<RegionIndex> OwnRegions::find_free(unsigned size_class) const {
  for (const std::uint32_t bank : by_class_[size_class])
    for (std::uint32_t slot = 0; slot < slab_slots(size_class); ++slot) {
      const RegionIndex index = region_index(bank, slot);
      if (RegionWord{load(c_.tables().heir_regions[index])}.outstanding() == 0) return index;
    }
  return std::nullopt;
}

Result<std::uint32_t> OwnRegions::make_bank(unsigned size_class, std::uint64_t bytes,
                                            bool may_displace) {
  const std::uint64_t pool_region = c_.config.memory.region_size;
  Made made;
  made.size_class = size_class;
  made.slots = size_class == large_class ? 1 : slab_slots(size_class);
  made.region_bytes = own_region_bytes(pool_region, bytes);
  if (auto room = banks_.room_for_own(made.slots, made.region_bytes, may_displace); !room)
    return room.error();
  const std::uint64_t size_bytes = made.slots * made.region_bytes;
  auto memory = create_memfd("ms-bank", size_bytes);
  if (!memory) return memory.error();
  // All pages now: what cannot be had is refused here, instead of killing who writes it later.
  if (auto taken = take_pages(memory->get(), size_bytes); !taken) return taken.error();
  auto mapped = Mapping::map(memory->get(), size_bytes, Mapping::Access::read_write);
  if (!mapped) return with_context(mapped.error(), "mapping a bank");
  if (auto kept = mapped->keep_from_children(); !kept) return kept.error();
  if (auto sealed = seal_one_writer(memory->get()); !sealed) return sealed.error();
  auto read_only = reopen_read_only(memory->get());
  if (!read_only) return read_only.error();
  made.memory = std::move(*mapped);
  const std::uint32_t bank = banks_.add_own(made.slots, made.region_bytes, std::move(*read_only));
  if (size_class != large_class) by_class_[size_class].push_back(bank);
  made_.insert_or_assign(bank, std::move(made));
  return bank;
}

void OwnRegions::gone(std::uint32_t bank) {
  const auto found = made_.find(bank);
  if (found == made_.end()) return;
  if (found->second.size_class != large_class)
    std::erase(by_class_[found->second.size_class], bank);
  made_.erase(found);
}

std::span<std::byte> OwnRegions::memory(Token token) const {
  const auto found = made_.find(bank_of(token.region()));
  const std::uint32_t slot = slot_of(token.region());
  if (found == made_.end() || slot >= found->second.slots) return {};
  const Made& made = found->second;
  return {made.memory.data() + slot * made.region_bytes, made.region_bytes};
}

}  // namespace micro_swarm
