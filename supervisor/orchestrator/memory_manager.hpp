#pragma once

// The pool as a program that started the swarm sees it: regions of its own to fill and to hand to
// agents, those that agents hand to it, and what all of it takes. Agents have the same calls
// (agentproc/agent_memory.hpp).
//
//   auto memory = swarm.memory();
//   auto region = memory.allocate(1 << 20);
//   memory.write(*region, 0, bytes);
//   memory.transfer(std::move(*region), agent);       // any size, the same cost: nothing is copied
//   auto answer = memory.receive(1'000);              // a region some agent handed back
//
// One writer: a region is written by whoever allocated it, until it is handed over or shared;
// everybody else reads. A new version of another's bytes is a region of one's own (write() into a
// received one copies, and counts that it did).

#include <cstddef>
#include <cstdint>
#include <nlohmann/json_fwd.hpp>
#include <optional>
#include <span>

#include "ipc/client.hpp"
#include "supervisor/orchestrator/statistics.hpp"

namespace micro_swarm {

/// What the manager works with. Implemented by the orchestrator.
class MemoryBackend {
 public:
  virtual ~MemoryBackend() = default;
  /// Error: usage (not initialized).
  virtual Result<Client*> client() = 0;
  virtual Result<nlohmann::json> ask(const nlohmann::json& request, std::uint32_t timeout_ms) = 0;
  /// "The swarm is gone" made into why it is.
  virtual Error why(Error error) = 0;
};

struct GarbageCollected {
  std::uint64_t banks_returned = 0;
  std::uint64_t results_expired = 0;
  std::uint64_t freed_bytes = 0;
  /// Agents and clients that were asked for what lies idle with them; it comes a little later.
  std::uint64_t parties_asked = 0;
};

/// A handle, cheap to copy; valid as long as the orchestrator it came from. One thread at a time,
/// the orchestrator's. Errors of every call: not_running (or why the swarm ended), usage (not
/// initialized).
class MemoryManager {
 public:
  explicit MemoryManager(MemoryBackend& backend) noexcept : backend_(&backend) {}

  /// Memory of this program's own: 1 byte to the whole pool. Errors: usage (0 bytes), too_large,
  /// refused (pool full, over quota; says which).
  Result<Region> allocate(std::size_t size_bytes, std::uint32_t timeout_ms = 10'000);
  /// Allocates, fills and hands over to `agent`, in one. Errors: as allocate, as transfer.
  Result<void> give(PartyId agent, std::span<const std::byte> bytes, std::uint64_t tag = 0,
                    std::uint32_t timeout_ms = 10'000);

  /// Into a region of one's own, in place. Errors: usage (shared already; given away), too_large
  /// (past its end); nothing is written then.
  Result<void> write(const Region& region, std::size_t offset, std::span<const std::byte> bytes);
  /// Of a region that another wrote: a copy with these bytes at `offset`, counted. Errors: as
  /// above, as allocate.
  Result<Region> write(const ReceivedRegion& region, std::size_t offset,
                       std::span<const std::byte> bytes, std::uint32_t timeout_ms = 10'000);
  /// Copies out. Errors: too_large (past its end), usage (given away), protocol (its writer lied).
  Result<void> read(const Region& region, std::size_t offset, std::span<std::byte> into);
  Result<void> read(const ReceivedRegion& region, std::size_t offset, std::span<std::byte> into);
  /// The bytes where they lie, until the region is freed or given away.
  Result<std::span<const std::byte>> view(const Region& region);
  Result<std::span<const std::byte>> view(const ReceivedRegion& region);

  /// As Client::transfer, Client::share and Client::receive.
  Result<void> transfer(Region&& region, PartyId target, std::uint64_t tag = 0,
                        std::uint32_t timeout_ms = 10'000);
  Result<void> transfer(ReceivedRegion&& region, PartyId target, std::uint64_t tag = 0,
                        std::uint32_t timeout_ms = 10'000);
  Result<void> share(Region& region, std::span<const PartyId> targets, std::uint64_t tag = 0,
                     std::uint32_t timeout_ms = 10'000);
  Result<std::optional<ReceivedRegion>> receive(std::uint32_t timeout_ms);

  /// Gives it back now. Error: usage (freed or given away before).
  Result<void> free(Region& region);
  Result<void> free(ReceivedRegion& region);

  /// Collects at once what the supervisor collects by the way.
  Result<GarbageCollected> garbage_collect(std::uint32_t timeout_ms = 10'000);
  /// The pool's budget from now on. Errors: usage (no multiple of the region's size, or out of
  /// range), refused (more than there is memory for).
  Result<void> set_pool_bytes(std::uint64_t pool_bytes, std::uint32_t timeout_ms = 10'000);
  /// The swarm's; and this program's own part in it.
  Result<MemoryStats> stats(std::uint32_t timeout_ms = 10'000);
  Result<PartyMemoryStats> own_stats();

 private:
  MemoryBackend* backend_;
};

}  // namespace micro_swarm
