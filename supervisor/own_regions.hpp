#pragma once

// Regions that the supervisor itself owns and fills: where entries of the cache lie. As owner it
// can give one right to each reader (mint in ipc/transfer.hpp), and whoever has one is known
// exactly by the region's word, whatever dies.
//
// Below a pool region they lie in slabs of shm/size_classes.hpp, above it in a bank of their own.
// A bank's memory is written by the life that made it and by nobody else (sealed): a new supervisor
// finds its predecessor's banks with the others in Banks, gives rights to them and takes them back,
// and opens new ones for what it writes itself. A bank with no right out goes back to the pool by
// Banks::return_idle(); one that is being written has one out.
//
// Crash: a bank made and not entered is gone with the process; one entered and without a right out
// is free for return_idle(). A region counts by its word alone (transfer.hpp).

#include <array>
#include <unordered_map>

#include "shm/memfd.hpp"
#include "shm/size_classes.hpp"
#include "supervisor/banks.hpp"

namespace micro_swarm {

/// What a region of so many bytes takes of the pool, the rest of its slab apart.
constexpr std::uint64_t own_region_bytes(std::uint64_t pool_region_bytes, std::uint64_t bytes) {
  const unsigned size_class = class_for(pool_region_bytes, bytes);
  return size_class == large_class ? page_up(bytes)
                                   : class_region_bytes(pool_region_bytes, size_class);
}

class OwnRegions {
 public:
  OwnRegions(SupervisorContext& context, Banks& banks);
  OwnRegions(const OwnRegions&) = delete;
  OwnRegions& operator=(const OwnRegions&) = delete;

  /// A region for at least `bytes` (1 or more), its first right in `hold` (empty). Where the pool
  /// is full others give way only if `may_displace`. Errors: refused (no room now), too_large
  /// (never), system.
  Result<Token> allocate(std::uint64_t bytes, Hold& hold, bool may_displace);
  /// Where to write: all of a region that this life has made; empty for another's.
  std::span<std::byte> memory(Token token) const;
  /// Banks of this life.
  std::size_t banks() const { return made_.size(); }

 private:
  struct Made {
    Mapping memory;
    std::uint32_t slots = 0;
    std::uint64_t region_bytes = 0;
    unsigned size_class = large_class;
  };
  std::optional<RegionIndex> find_free(unsigned size_class) const;
  Result<std::uint32_t> make_bank(unsigned size_class, std::uint64_t bytes, bool may_displace);
  void gone(std::uint32_t bank);

  SupervisorContext& c_;
  Banks& banks_;
  std::unordered_map<std::uint32_t, Made> made_;
  std::array<std::vector<std::uint32_t>, size_classes> by_class_;
};

}  // namespace micro_swarm
