#pragma once

// Guard mode (memory.guard), for finding honest bugs: a party protects, in its own mapping, the
// regions of its banks that are not its to write. Who writes nevertheless dies at the instruction,
// and its flight recorder says of what.
//
//   region                        the owner's pages      who touches them
//   never allocated, or free      inaccessible, poison   guard_touch_after_release
//   allocated, in its own hold    writable               - ; behind what was asked for: a redzone,
//                                                        looked at when the region leaves
//   handed over                   read-only              guard_write_after_hand_over
//
// Every region has pages of its own and at least guard_redzone_bytes behind what was asked for.
// Readers in other processes are not protected from a region that went home: they see the poison.
//
// Only mappings change, never a shared word: a swarm in guard mode recovers as any other. Where the
// kernel gives no more mappings (vm.max_map_count) pages stay as open as they are.
//
// What it cannot see: system calls that are told to write into protected memory fail with EFAULT;
// a bank that was returned is unmapped, and touching it is a plain SIGSEGV.

#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

#include "shm/segment.hpp"

namespace micro_swarm {

inline constexpr std::size_t guard_redzone_bytes = 64;
inline constexpr std::byte guard_redzone{0xfd};
inline constexpr std::byte guard_poison{0xdd};

/// A party's own banks under guard. Belongs to its BankOwner's thread. Making the first one of a
/// process installs its SIGSEGV handler, which stays, and hands on what is not its business.
class Guard {
 public:
  /// `own` outlives this object.
  explicit Guard(const SegmentView& own);
  ~Guard();
  Guard(const Guard&) = delete;
  Guard& operator=(const Guard&) = delete;

  /// What must be free for an allocation of so many bytes: they and the redzone, at least a page.
  static constexpr std::size_t needed_bytes(std::size_t asked_bytes) {
    constexpr std::size_t page_bytes = 4096;
    const std::size_t bytes = asked_bytes + guard_redzone_bytes;
    return bytes < page_bytes ? page_bytes : bytes;
  }

  /// A bank just mapped: all of it becomes inaccessible. Its regions are whole pages.
  void add(std::uint32_t bank, std::span<std::byte> memory, std::uint64_t region_bytes);
  /// Before it is unmapped.
  void remove(std::uint32_t bank);

  /// Opens the region and fills its redzone.
  void allocated(RegionIndex region, std::size_t asked_bytes);
  /// Its token is about to leave: ends the process if the redzone is damaged, else closes it for
  /// writing.
  void leaving(RegionIndex region);
  /// It is given up where it is: ends the process if the redzone is damaged.
  void check(RegionIndex region) const;
  /// No token of it is out: poison, then no access.
  void freed(RegionIndex region);
  /// Bytes asked for when it was allocated.
  std::size_t asked_bytes(RegionIndex region) const;

 private:
  struct Bank {
    std::byte* memory = nullptr;
    std::uint64_t region_bytes = 0;
    std::uint32_t entry = 0;  ///< in the handler's table
    std::vector<std::uint64_t> asked;
  };
  std::span<std::byte> pages(RegionIndex region) const;

  SegmentView own_;
  std::vector<Bank> banks_;  ///< by number; as large as the highest
};

}  // namespace micro_swarm
