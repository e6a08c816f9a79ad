#pragma once

// What a client or an agent sees of the cache; the calls are Client's (ipc/client.hpp) and an
// agent's (agentproc/agent_memory.hpp).

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>

#include "ipc/cache_protocol.hpp"
#include "ipc/region.hpp"

namespace micro_swarm {

struct CacheOptions {
  std::uint32_t ttl_ms = 0;              ///< 0 = does not expire
  Priority priority = Priority::normal;  ///< whose entries go first when there is no room
};

/// An entry of the cache, read where it lies. It stays there, whatever becomes of the entry, until
/// the destructor (or release()) lets go of it. May outlive its Client.
class CachedEntry {
 public:
  CachedEntry() noexcept = default;
  CachedEntry(CachedEntry&& other) noexcept { swap(other); }
  CachedEntry& operator=(CachedEntry&& other) noexcept {
    CachedEntry(std::move(other)).swap(*this);
    return *this;
  }
  ~CachedEntry() { release(); }

  explicit operator bool() const noexcept { return keeper_ != nullptr; }
  /// Nobody changes them: only the supervisor could, and it does not. Aligned to 64 bytes.
  std::span<const std::byte> bytes() const noexcept { return bytes_; }
  /// Lets go of it now; bytes() is empty afterwards. Never blocks.
  void release() noexcept {
    if (keeper_ != nullptr) keeper_->release_hold(hold_);
    keeper_.reset();
    bytes_ = {};
  }

 private:
  friend class ClientCore;
  friend class AgentMemory;
  CachedEntry(RegionKeeperPtr keeper, std::span<const std::byte> bytes, std::uint32_t hold) noexcept
      : keeper_(std::move(keeper)), bytes_(bytes), hold_(hold) {}
  void swap(CachedEntry& other) noexcept {
    keeper_.swap(other.keeper_);
    std::swap(bytes_, other.bytes_);
    std::swap(hold_, other.hold_);
  }
  RegionKeeperPtr keeper_;
  std::span<const std::byte> bytes_;
  std::uint32_t hold_ = 0;
};

}  // namespace micro_swarm
