#pragma once

// An agent's regions: memory of its own to fill and to hand to other parties, and what they hand to
// it. Used from inside handlers, on the work thread. Regions may be kept from task to task; what an
// agent keeps when it dies goes back.

#include <memory>
#include <optional>
#include <span>

#include "ipc/client_cache.hpp"
#include "ipc/party_cache.hpp"
#include "ipc/party_memory.hpp"
#include "ipc/party_topics.hpp"

namespace micro_swarm {

/// What an agent's memory needs from the thread that runs it. Implemented by WorkThread.
class WorkLoop {
 public:
  virtual ~WorkLoop() = default;
  /// Deals with everything but tasks: banks, releases, regions that arrive.
  virtual void look_around() = 0;
  /// Sleeps up to `timeout_ns`, less when something happens.
  virtual void nap(std::uint64_t timeout_ns) = 0;
  /// The task in hand was cancelled: whoever waits gives up.
  virtual bool is_task_cancelled() const noexcept = 0;
};

class AgentMemory final : public RegionKeeper {
 public:
  AgentMemory(PartyLink& link, WorkLoop& loop) noexcept
      : link_(&link), loop_(&loop), memory_(link), cache_(link), topics_(link) {}

  /// Memory of this agent's own. Waits up to `timeout_ms` for it, less when the task is cancelled.
  /// Errors: usage (0 bytes), too_large (more than the pool can give), timed_out (says why none
  /// came), cancelled.
  Result<Region> allocate(std::size_t size_bytes, std::uint32_t timeout_ms = 30'000);
  /// A region of its own with these bytes: what others wrote cannot be written to. Counted.
  Result<Region> write(std::span<const std::byte> bytes, std::uint32_t timeout_ms = 30'000);
  /// As Client::transfer. Errors: usage, not_found, not_running, cancelled, timed_out.
  Result<void> transfer(Region&& region, PartyId target, std::uint64_t tag = 0,
                        std::uint32_t timeout_ms = 30'000);
  Result<void> transfer(ReceivedRegion&& region, PartyId target, std::uint64_t tag = 0,
                        std::uint32_t timeout_ms = 30'000);
  /// As Client::share.
  Result<void> share(Region& region, std::span<const PartyId> targets, std::uint64_t tag = 0,
                     std::uint32_t timeout_ms = 30'000);
  /// As Client::publish. Errors: also cancelled.
  Result<std::uint32_t> publish(std::string_view topic, Region&& region, std::uint64_t tag = 0,
                                std::uint32_t timeout_ms = 30'000);
  /// As Client::subscribe. It stays the agent's when this process dies: what is published meanwhile
  /// waits for its successor, as what is sent to it does. Errors: also cancelled.
  Result<void> subscribe(std::string_view topic, std::uint32_t timeout_ms = 30'000) {
    return set_subscription(topic, true, timeout_ms);
  }
  Result<void> unsubscribe(std::string_view topic, std::uint32_t timeout_ms = 30'000) {
    return set_subscription(topic, false, timeout_ms);
  }
  /// The next region that somebody handed to this agent, or that came back; waits up to
  /// `timeout_ms` (0 = only looks), less when the task is cancelled. At most PartyMemory::inbox_max
  /// wait here; further ones go back to their senders.
  std::optional<ReceivedRegion> receive(std::uint32_t timeout_ms = 0);

  /// As Client::cache_get: an entry of the cache, read where it lies; nullopt: there is none of
  /// that name. Errors: refused (too many read it; no hold is free), timed_out, cancelled.
  Result<std::optional<CachedEntry>> cache_get(std::string_view name,
                                               std::uint32_t timeout_ms = 30'000);
  /// As Client::cache_put: none = it is there now. Errors: as allocate, timed_out, cancelled.
  Result<CacheRefusal> cache_put(std::string_view name, std::span<const std::byte> bytes,
                                 const CacheOptions& options = {},
                                 std::uint32_t timeout_ms = 30'000);
  /// False = there was none.
  Result<bool> cache_erase(std::string_view name, std::uint32_t timeout_ms = 30'000);

  PartyMemoryStats stats() const noexcept { return memory_.stats(); }

  // RegionKeeper:
  void release_hold(std::uint32_t hold) noexcept override;
  Result<std::span<const std::byte>> view(Token token, std::size_t size_bytes,
                                          std::uint32_t timeout_ms) override;

  // For the thread that runs it:
  PartyMemory& party() noexcept { return memory_; }
  PartyCache& cache() noexcept { return cache_; }
  /// The runtime ends; regions that outlive it are the supervisor's to settle.
  void detach() noexcept { link_ = nullptr; }

 private:
  Result<void> set_subscription(std::string_view topic, bool subscribed, std::uint32_t timeout_ms);
  /// `attempt() -> Result<bool>`, again until it is true.
  template <class Attempt>
  Result<void> until_done(std::uint32_t timeout_ms, Attempt&& attempt);

  /// `ask() -> number`; the answer to it.
  template <class Ask>
  Result<PartyCache::Answer> ask_cache(std::uint32_t timeout_ms, Ask&& ask);

  PartyLink* link_;
  WorkLoop* loop_;
  PartyMemory memory_;
  PartyCache cache_;
  PartyTopics topics_;
};

}  // namespace micro_swarm
