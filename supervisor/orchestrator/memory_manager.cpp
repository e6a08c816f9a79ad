#include "supervisor/orchestrator/memory_manager.hpp"

#include <cstring>
#include <nlohmann/json.hpp>

namespace micro_swarm {

namespace {

Error given_away() {
  return Error{ErrorCode::usage, "this region was freed or given away before", 0};
}

Result<void> check_range(std::size_t size_bytes, std::size_t offset, std::size_t bytes) {
  if (offset <= size_bytes && bytes <= size_bytes - offset) return {};
  return Error{ErrorCode::too_large,
               std::to_string(bytes) + " bytes at " + std::to_string(offset) +
                   " go past the end of a region of " + std::to_string(size_bytes),
               0};
}

Result<void> copy_out(Result<std::span<const std::byte>> bytes, std::size_t offset,
                      std::span<std::byte> into) {
  if (!bytes) return bytes.error();
  if (auto ok = check_range(bytes->size(), offset, into.size()); !ok) return ok;
  if (!into.empty()) std::memcpy(into.data(), bytes->data() + offset, into.size());
  return {};
}

/// `call(client)`, with the reason why the swarm is gone where it is.
template <class Call>
auto with_client(MemoryBackend& backend, Call&& call) -> decltype(call(std::declval<Client&>())) {
  auto client = backend.client();
  if (!client) return client.error();
  auto result = call(**client);
  if (!result) return backend.why(result.error());
  return result;
}

}  // namespace

Result<Region> MemoryManager::allocate(std::size_t size_bytes, std::uint32_t timeout_ms) {
  return with_client(*backend_,
                     [&](Client& client) { return client.allocate(size_bytes, timeout_ms); });
}

Result<void> MemoryManager::give(PartyId agent, std::span<const std::byte> bytes, std::uint64_t tag,
                                 std::uint32_t timeout_ms) {
  auto region = allocate(bytes.size(), timeout_ms);
  if (!region) return region.error();
  std::memcpy(region->bytes().data(), bytes.data(), bytes.size());
  return transfer(std::move(*region), agent, tag, timeout_ms);
}

Result<void> MemoryManager::write(const Region& region, std::size_t offset,
                                  std::span<const std::byte> bytes) {
  if (!region) return given_away();
  if (region.is_shared())
    return Error{ErrorCode::usage,
                 "this region is shared: others read it, so a new version is a region of its own",
                 0};
  if (auto ok = check_range(region.bytes().size(), offset, bytes.size()); !ok) return ok;
  if (!bytes.empty()) std::memcpy(region.bytes().data() + offset, bytes.data(), bytes.size());
  return {};
}

Result<Region> MemoryManager::write(const ReceivedRegion& region, std::size_t offset,
                                    std::span<const std::byte> bytes, std::uint32_t timeout_ms) {
  auto old = region.view();
  if (!old) return old.error();
  if (auto ok = check_range(old->size(), offset, bytes.size()); !ok) return ok.error();
  auto copy =
      with_client(*backend_, [&](Client& client) { return client.write(*old, timeout_ms); });
  if (copy && !bytes.empty())
    std::memcpy(copy->bytes().data() + offset, bytes.data(), bytes.size());
  return copy;
}

Result<void> MemoryManager::read(const Region& region, std::size_t offset,
                                 std::span<std::byte> into) {
  return copy_out(view(region), offset, into);
}
Result<void> MemoryManager::read(const ReceivedRegion& region, std::size_t offset,
                                 std::span<std::byte> into) {
  return copy_out(view(region), offset, into);
}

Result<std::span<const std::byte>> MemoryManager::view(const Region& region) {
  if (!region) return given_away();
  return std::span<const std::byte>(region.bytes());
}
Result<std::span<const std::byte>> MemoryManager::view(const ReceivedRegion& region) {
  return region.view();
}

Result<void> MemoryManager::transfer(Region&& region, PartyId target, std::uint64_t tag,
                                     std::uint32_t timeout_ms) {
  return with_client(*backend_, [&](Client& client) {
    return client.transfer(std::move(region), target, tag, timeout_ms);
  });
}
Result<void> MemoryManager::transfer(ReceivedRegion&& region, PartyId target, std::uint64_t tag,
                                     std::uint32_t timeout_ms) {
  return with_client(*backend_, [&](Client& client) {
    return client.transfer(std::move(region), target, tag, timeout_ms);
  });
}
Result<void> MemoryManager::share(Region& region, std::span<const PartyId> targets,
                                  std::uint64_t tag, std::uint32_t timeout_ms) {
  return with_client(
      *backend_, [&](Client& client) { return client.share(region, targets, tag, timeout_ms); });
}
Result<std::optional<ReceivedRegion>> MemoryManager::receive(std::uint32_t timeout_ms) {
  return with_client(*backend_, [&](Client& client) { return client.receive(timeout_ms); });
}

Result<void> MemoryManager::free(Region& region) {
  if (!region) return given_away();
  region.release();
  return {};
}
Result<void> MemoryManager::free(ReceivedRegion& region) {
  if (!region) return given_away();
  region.release();
  return {};
}

Result<GarbageCollected> MemoryManager::garbage_collect(std::uint32_t timeout_ms) {
  auto answer = backend_->ask({{"verb", "memory.gc"}}, timeout_ms);
  if (!answer) return answer.error();
  const auto count = [&](const char* name) { return answer->value(name, std::uint64_t{0}); };
  return GarbageCollected{count("banks_returned"), count("results_expired"), count("freed_bytes"),
                          count("parties_asked")};
}

Result<void> MemoryManager::set_pool_bytes(std::uint64_t pool_bytes, std::uint32_t timeout_ms) {
  auto answer = backend_->ask({{"verb", "memory.set"}, {"pool_bytes", pool_bytes}}, timeout_ms);
  if (!answer) return answer.error();
  return {};
}

Result<MemoryStats> MemoryManager::stats(std::uint32_t timeout_ms) {
  auto status = backend_->ask({{"verb", "status"}}, timeout_ms);
  if (!status) return status.error();
  return memory_stats_of(*status);
}

Result<PartyMemoryStats> MemoryManager::own_stats() {
  auto client = backend_->client();
  if (!client) return client.error();
  return (*client)->memory_stats();
}

}  // namespace micro_swarm
