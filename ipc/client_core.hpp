#pragma once

// What stands behind Client, Region and TaskResult; shared by them, so that a result may be read
// after its client is gone. One thread at a time.

#include <deque>
#include <memory>
#include <string>

#include "ipc/client.hpp"
#include "ipc/client_numbers.hpp"
#include "ipc/party_cache.hpp"
#include "ipc/party_link.hpp"

namespace micro_swarm {

class ClientCore : public std::enable_shared_from_this<ClientCore> {
 public:
  static Result<std::shared_ptr<ClientCore>> attach(UniqueFd socket, std::uint32_t timeout_ms);
  explicit ClientCore(std::unique_ptr<PartyLink> link) noexcept
      : link_(std::move(link)), cache_(*link_) {}
  ~ClientCore();
  ClientCore(const ClientCore&) = delete;
  ClientCore& operator=(const ClientCore&) = delete;

  Result<Region> allocate(std::size_t size_bytes, std::uint32_t timeout_ms);
  Result<std::uint64_t> submit(TaskRequest& request, std::uint32_t timeout_ms);
  Result<BatchSubmitted> submit_batch(std::span<TaskRequest> requests, std::uint32_t timeout_ms);
  Result<BatchSubmitted> try_submit_batch(std::span<TaskRequest> requests);
  Result<std::optional<TaskResult>> next_result(std::uint32_t timeout_ms);

  Result<std::optional<CachedEntry>> cache_get(std::string_view name, std::uint32_t timeout_ms);
  Result<bool> cache_erase(std::string_view name, std::uint32_t timeout_ms);
  Result<CacheRefusal> cache_put(std::string_view name, std::span<const std::byte> bytes,
                                 const CacheOptions& options, std::uint32_t timeout_ms);
  Result<CacheRefusal> cache_put(std::string_view name, Region& region, const CacheOptions& options,
                                 std::uint32_t timeout_ms);

  void release(std::uint32_t hold);
  std::size_t in_flight() const noexcept { return numbers_.count() + kept_.size(); }
  std::uint64_t doubled() const noexcept { return doubled_; }
  std::vector<std::string> capabilities() const;
  PartyLink& link() const noexcept { return *link_; }
  /// The Client object is gone: what was kept for it is given back.
  void close();

 private:
  enum class Taken { result, nothing, dropped, not_mapped, no_hold };

  static std::uint64_t deadline_after(std::uint32_t timeout_ms);
  Result<void> join(std::uint64_t deadline_ns);
  /// Reads the socket, the release ring and what waits to be released. Error: not_running.
  Result<void> pump();
  /// The cheap half of pump(), for every call.
  void collect_releases();
  Result<std::uint16_t> capability_id(std::string_view name);
  Result<std::uint16_t> check(const TaskRequest& request);
  Result<void> check_rings(std::span<const TaskRequest> requests);
  Result<void> check_options(const TaskOptions& options, std::size_t batch_size);
  /// The entries of `requests` as they lie in the region; `payloads_at` is where the payloads
  /// begin, or nullopt: the one request's payload lies at the region's start already.
  Result<std::vector<std::byte>> batch_entries(std::span<const TaskRequest> requests,
                                               std::optional<std::uint64_t> payloads_at);
  /// With room in the ring for it. The header lies at `header_at` of the region.
  void send_batch(Region& region, std::uint64_t header_at, std::uint64_t region_bytes,
                  std::uint32_t count);
  /// Waits until a message to the supervisor has room.
  Result<void> wait_for_room(std::uint64_t deadline_ns);
  void finish_refused(TaskResult& result, const SlotBody& body);
  /// With room in the ring for it.
  void send(TaskRequest& request, std::uint16_t capability);
  Result<bool> try_copy_to_region(TaskRequest& request);
  Region make_region(const Allocation& allocation);
  Taken take_result(TaskResult& result);
  Taken take_region_result(TaskResult& result, const SlotBody& body);
  /// Takes results out of the ring, to make room there while the caller waits for something else.
  void keep_results();
  bool can_keep_more() const noexcept;
  void wait_for_memory(std::uint64_t deadline_ns);

  // client_cache.cpp
  Result<void> wait_for_cache_room(std::uint64_t deadline_ns);
  Result<PartyCache::Answer> wait_for_cache(std::uint64_t number, std::uint64_t deadline_ns);
  /// The bytes and behind them room for the name are in the region.
  Result<CacheRefusal> cache_put_region(std::string_view name, Region& region, std::size_t size,
                                        const CacheOptions& options, std::uint64_t deadline_ns);
  Taken take_cache_answer();

  std::unique_ptr<PartyLink> link_;
  PartyCache cache_;
  ClientNumbers numbers_;
  std::deque<TaskResult> kept_;
  std::string last_capability_;
  std::uint16_t last_capability_id_ = 0;
  std::uint64_t doubled_ = 0;
  std::uint32_t calls_ = 0;
  bool gone_ = false;
};

}  // namespace micro_swarm
